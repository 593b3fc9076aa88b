"""How many replicas so many uploads at once take, by formulas, and of what: the tables of
docs/scale.md, in Markdown.

    python -m bench.sizing [--cores 4] [--busy 0.6] [--minutes 4]
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.encoding import FRAME_BYTES
from bench.simulation.costs import CD, MEASURED, Costs
from umusic.audio.segments import Lengths, pre_roll

_ROLLED = pre_roll(FRAME_BYTES)
_UPLOADS = (10, 1_000, 100_000)
#: MB/s of each line, and what it is called.
_LINES = {CD / 1e6: "as it is recorded", 1.0: "1 MB/s", 10.0: "10 MB/s"}
#: MP3s up to so many bytes are one PUT to S3; of others each part has as many.
PART_BYTES = 8 * 2**20
#: Connections to Postgres of a replica, and what nginx's image allows a worker.
_CONNECTIONS, _WORKER_CONNECTIONS = 10, 1024


@dataclass(frozen=True)
class Plan:
    """What it is made for: the cores of a replica, how busy they may be, minutes of a take."""

    cores: int = 4
    busy: float = 0.6
    minutes: float = 4.0


def segment(members: float, encoders: int) -> tuple[int, int]:
    """MP3 frames of the shortest and the longest segment of CD sound, with so many uploads on a
    replica."""
    lengths = Lengths().capped(FRAME_BYTES, max(round(members), 1) + encoders)
    return lengths.shortest, lengths.longest


def encoding(costs: Costs, frames: int) -> float:
    """Seconds of ffmpegs for a MB of CD sound in segments of so many MP3 frames."""
    return costs.work((frames + _ROLLED) * FRAME_BYTES) / (frames * FRAME_BYTES / 1e6)


@dataclass(frozen=True)
class Need:
    """What so many uploads at once take, each at `line` MB/s."""

    costs: Costs
    found: dict[str, Any]
    plan: Plan
    uploads: int
    line: float

    @property
    def wav(self) -> float:
        """MB/s of WAV."""
        return self.uploads * self.line

    @property
    def rate(self) -> float:
        """Uploads that end in a second."""
        return self.wav / (self.plan.minutes * 60 * CD / 1e6)

    @property
    def intake(self) -> float:
        """Seconds of umusic itself for a MB, with what each upload takes besides."""
        return self.costs.intake(self.line * 1e6) + self.costs.upload * self.rate / self.wav

    def cores(self, replicas: int) -> float:
        """Cores that are busy on so many: those of ffmpegs, whose segments are as long as they may
        be, and umusic's own."""
        _, longest = segment(self.uploads / replicas, self.plan.cores)
        return self.wav * (encoding(self.costs, longest) * self.costs.crowded + self.intake)

    @cached_property
    def replicas(self) -> int:
        """The fewest of which neither the cores nor umusic's own thread are busier than planned."""
        low, high = 1, 10 * max(self.uploads, math.ceil(self.wav))
        while low < high:
            middle = (low + high) // 2
            cores = self.cores(middle) / self.plan.cores
            if max(cores, self.wav * self.intake) <= middle * self.plan.busy:
                high = middle
            else:
                low = middle + 1
        return low

    @property
    def each(self) -> float:
        """Uploads at once on a replica."""
        return self.uploads / self.replicas

    @property
    def memory(self) -> float:
        """Bytes of a replica: an upload has at most a segment that grows, or its share of the
        budget of all."""
        _, longest = segment(self.each, self.plan.cores)
        held = (longest + _ROLLED) * FRAME_BYTES * (self.each + self.plan.cores)
        costs = self.costs
        ffmpegs = costs.ffmpeg_bytes * self.plan.cores
        return costs.idle_bytes + ffmpegs + costs.upload_bytes * self.each + held

    @property
    def mp3(self) -> float:
        """MB/s of MP3."""
        return float(self.wav * self.found["encoding"]["MP3 bytes an hour"] / (3600 * CD))

    @property
    def puts(self) -> float:
        """Requests to S3 in a second, those that write."""
        size = self.mp3 / self.rate * 1e6
        return self.rate * (1 if size <= PART_BYTES else 2 + math.ceil(size / PART_BYTES))

    def cells(self) -> Iterator[str]:
        """A line of the table."""
        measured = self.found["uploads"]
        yield f"{self.uploads:,}"
        yield _LINES[self.line]
        yield f"{_digits(self.wav)} MB/s"
        yield _digits(self.cores(self.replicas))
        yield f"{self.replicas:,}"
        yield f"{self.each:.0f}"
        yield f"{self.memory / 1e9:.1f} GB"
        yield _digits(self.wav * self.found["nginx"]["s a MB"])
        yield f"{math.ceil(2 * self.uploads / _WORKER_CONNECTIONS):,}"
        yield _digits(self.rate)
        yield _digits(self.rate * measured["postgres s an upload"])
        yield f"{self.replicas * _CONNECTIONS:,}"
        yield f"{_digits(self.puts)}/s, {_digits(self.mp3)} MB/s"


_HEAD = (
    "uploads at once",
    "their lines",
    "WAV",
    "cores busy",
    "replicas",
    "uploads on each",
    "memory of each",
    "nginx: cores",
    "nginx: workers",
    "uploads/s",
    "Postgres: cores",
    "connections",
    "S3 writes",
)


def _digits(value: float) -> str:
    """Two digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizing")
    parser.add_argument("--cores", type=int, default=Plan.cores, help="of a replica")
    parser.add_argument("--busy", type=float, default=Plan.busy, help="share of them, at the most")
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="of sound in a take")
    plan = Plan(**vars(parser.parse_args()))
    costs, found = Costs.measured(), json.loads(MEASURED.read_text())
    print(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    for uploads in _UPLOADS:
        for line in _LINES:
            print(f"| {' | '.join(Need(costs, found, plan, uploads, line).cells())} |")
    for number in (1, 64, 100, 150):
        shortest, longest = segment(number, plan.cores)
        told = " to ".join(f"{encoding(costs, frames):.4f}" for frames in (shortest, longest))
        print(f"{number} uploads on a replica: {shortest} to {longest} frames, {told} s a MB")


if __name__ == "__main__":
    main()
