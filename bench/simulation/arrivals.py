"""Who sends, when, how much, over what line. None of this is measured: it is an assumption, made so
that it is not kinder than life. Rates that follow the day, many short takes and a few very long
ones, lines that differ by a hundred times.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

from bench.simulation.costs import CD

#: Share of senders, and bytes per second of their lines.
LINES: dict[str, tuple[tuple[float, float], ...]] = {
    "live": ((1.0, CD),),  # as it is recorded
    "1": ((1.0, 1e6),),
    "10": ((1.0, 10e6),),
    "fast": ((1.0, 100e6),),
    "mixed": ((0.15, CD), (0.40, 1.25e6), (0.30, 5e6), (0.12, 12.5e6), (0.03, 100e6)),
}
#: How much a line differs from its kind: sigma of a lognormal.
_JITTER = 0.3
#: Takes in seconds: the median and sigma of a lognormal; a share of them are sessions, Pareto from
#: a shortest one on, none longer than a day's work.
_MEDIAN, _SIGMA = 180.0, 1.0
_SESSIONS, _SHORTEST, _ALPHA, _LONGEST = 0.03, 1200.0, 1.5, 8 * 3600.0
#: Hour of the day at which most is sent, and the least as a share of that.
_PEAK_HOUR, _TROUGH = 20.0, 0.15
_SAMPLES = 20_000


@dataclass(frozen=True)
class Arrival:
    """An upload that begins `at` so many seconds: its size, its line, whose it is, and whether its
    client sends it again by itself when it is broken off (tus)."""

    at: float
    size: float
    line: float
    user: int = 0
    resumes: bool = False


def day(hour: float) -> float:
    """How much is sent at an hour, as a share of the most."""
    wave = (1 + math.cos(2 * math.pi * (hour - _PEAK_HOUR) / 24)) / 2
    return _TROUGH + (1 - _TROUGH) * wave


@dataclass(frozen=True)
class Law:
    """Uploads as they come: at the peak of the day `uploads` at once would be on their way, if
    their lines were all that counts."""

    uploads: float
    lines: str = "mixed"
    users: int = 100_000
    resumes: float = 0.3

    def arrivals(self, random: Random, *, hour: float, seconds: float) -> Iterator[Arrival]:
        """Those that are on their way at an hour of the day, with what is left of them, and those
        that come then: a Poisson process, thinned by the hour."""
        drawn = [self.one(random) for _ in range(_SAMPLES)]
        durations = [size / line for size, line in drawn]
        for size, line in random.choices(drawn, durations, k=round(self.uploads * day(hour))):
            yield self._arrival(random, 0.0, size * random.random(), line)
        at, most = 0.0, self.rate
        while (at := at + random.expovariate(most)) < seconds:
            if random.random() < day(hour + at / 3600):
                yield self._arrival(random, at, *self.one(random))

    def _arrival(self, random: Random, at: float, size: float, line: float) -> Arrival:
        user = random.randrange(self.users)
        return Arrival(at, max(size, CD), line, user, random.random() < self.resumes)

    def one(self, random: Random) -> tuple[float, float]:
        """The size and the line of an upload."""
        if random.random() < _SESSIONS:
            take = min(_SHORTEST * random.paretovariate(_ALPHA), _LONGEST)
        else:
            take = min(random.lognormvariate(math.log(_MEDIAN), _SIGMA), _LONGEST)
        shares, lines = zip(*LINES[self.lines], strict=True)
        line = random.choices(lines, shares)[0]
        if line != CD:  # a sound card is exact
            line *= random.lognormvariate(0, _JITTER)
        return take * CD, line

    @cached_property
    def _means(self) -> tuple[float, float]:
        random = Random(0)
        drawn = [self.one(random) for _ in range(_SAMPLES)]
        size = sum(size for size, _ in drawn) / _SAMPLES
        return size, sum(size / line for size, line in drawn) / _SAMPLES

    @property
    def mean_size(self) -> float:
        """In bytes."""
        return self._means[0]

    @property
    def rate(self) -> float:
        """Uploads that begin in a second, at the peak (Little's law)."""
        return self.uploads / self._means[1]
