"""The simulation beside a measurement: a real umusic on this machine, and the same arrivals.

Postgres and the senders share its cores with it; what they take is measured apart from this
(`bench.costs`), and nothing is fitted to what is compared here.
"""

import os
import re
import statistics
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from simpy import Environment

from bench.load import Load, Planned, loading
from bench.rounds import quartiles
from bench.sides import CORES, Server, bench
from bench.simulation.arrivals import Arrival
from bench.simulation.costs import Costs
from bench.simulation.fleet import Fleet
from bench.simulation.replica import Size
from bench.simulation.told import table, value_at
from bench.watch import cpu, machine_cpu
from bench.wavs import music

#: Seconds of sound of the takes, and how often each is sent.
_TAKES = {5: 6, 15: 5, 40: 4, 90: 3, 180: 2, 300: 1}
_QUICK_TAKES = {2: 3, 10: 1}
#: MB/s of the lines; None is as fast as the loopback is.
_LINES: tuple[float | None, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, None)
_LOOPBACK = 1e9
#: Uploads that begin in a second, for so many seconds: two loads.
_RATES, _SECONDS = (1.0, 2.5), 75.0
_UNLIMITED = {"max_uploads": "256", "uploads_per_user": "256"}
_BUSY = re.compile(r"^umusic_segment_encode_seconds_sum (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """Seconds of each upload from its first and from its last byte to the link; the share of the
    encoders that was busy; the seconds of all, and the cores that others had meanwhile."""

    link: list[float]
    lag: list[float]
    used: float
    seconds: float
    others: float


def check(costs: Costs, *, quick: bool = False, seed: int = 1) -> Iterator[tuple[str, float]]:
    """Measures, simulates the same, and puts both in a table for each load; beside it, how far both
    are apart (`distance`)."""
    takes = _QUICK_TAKES if quick else _TAKES
    with bench() as opened, loading() as load:
        wavs = {take: music(opened.scratch / f"{take}.wav", take) for take in takes}
        for rate in _RATES[:1] if quick else _RATES:
            plan = planned(Random(seed), wavs, rate, 5.0 if quick else _SECONDS)
            with opened.umusic(**_UNLIMITED, encoders=str(CORES)) as umusic:
                measured = measure(umusic, load, plan)
            simulated = simulate(costs, plan, measured.others)
            megabytes = sum(one.wav.stat().st_size for one in plan) / 1e6
            about = f"{len(plan)} uploads, {megabytes:,.0f} MB in {measured.seconds:.0f} s"
            others = f"others took {measured.others:.2f} of {CORES} cores"
            told = f"{_beside(measured, simulated)}\n({about}; {others})\n"
            yield told, distance(measured, simulated)


def measure(umusic: Server, load: Load, plan: list[Planned]) -> Found:
    """What becomes of them for real."""
    mine, all_, busy = cpu(os.getpid()), machine_cpu(), _busy(umusic)
    began = time.monotonic()
    sent, _ = load.follow(umusic.uploading(), plan)
    seconds = time.monotonic() - began
    others = machine_cpu() - all_ - (cpu(os.getpid()) - mine)
    return Found(
        [one.seconds for one in sent],
        [one.lag for one in sent],
        (_busy(umusic) - busy) / seconds / CORES,
        seconds,
        max(others / seconds, 0.0),
    )


def planned(random: Random, wavs: dict[int, Path], rate: float, seconds: float) -> list[Planned]:
    """A Poisson process of takes of all lengths over all lines."""
    at, plan = 0.0, []
    takes = _TAKES if len(wavs) > len(_QUICK_TAKES) else _QUICK_TAKES
    while (at := at + random.expovariate(rate)) < seconds:
        take = random.choices([*wavs], [takes[take] for take in wavs])[0]
        line = random.choice(_LINES)
        plan.append(Planned(at, wavs[take], line and line * 1e6))
    return plan


def simulate(costs: Costs, plan: list[Planned], others: float = 0.0) -> Found:
    """The same arrivals on one replica, which shares its cores with senders and Postgres, and has
    not those of others on the machine."""
    env = Environment()
    fleet = Fleet(env, costs, Size(max(CORES - others, 0.1), CORES, 256, 256, beside=True), 1)
    arrivals = [Arrival(one.at, one.wav.stat().st_size, one.pace or _LOOPBACK) for one in plan]
    outcome = fleet.run(arrivals)
    kept = outcome.kept
    links, lags = [one.link for one in kept], [one.lag for one in kept]
    return Found(links, lags, outcome.used, env.now, others)


def distance(one: Found, two: Found) -> float:
    """The quotient, of the larger by the smaller, of the means from first byte to link or of how
    busy the encoders were, whichever is further from 1."""
    means = (statistics.mean(one.link), statistics.mean(two.link))
    return max(max(pair) / max(min(pair), 1e-9) for pair in (means, (one.used, two.used)))


def _busy(umusic: Server) -> float:
    """Seconds that ffmpegs have run."""
    with urllib.request.urlopen(f"{umusic.url}/metrics") as reply:
        found = _BUSY.search(reply.read().decode())
    return float(found[1]) if found else 0.0


def _beside(measured: Found, simulated: Found) -> str:
    """Both, and how much the simulation is off."""
    rows = [("", f"{'measured':>10}{'simulated':>11}{'÷':>7}")]
    for what in ("link", "lag"):
        name = {"link": "first byte to link", "lag": "last byte to link"}[what]
        one, two = sorted(getattr(measured, what)), sorted(getattr(simulated, what))
        rows.append((f"{name}, mean", _pair(statistics.mean(one), statistics.mean(two))))
        rows.append((f"{name}, median", _pair(quartiles(one)[1], quartiles(two)[1])))
        rows.append((f"{name}, p90", _pair(value_at(one, 0.9), value_at(two, 0.9))))
    rows.append(("encoders busy", _pair(measured.used, simulated.used)))
    return table(rows)


def _pair(one: float, two: float) -> str:
    return f"{one:10.3f}{two:11.3f}{two / one:7.2f}"
