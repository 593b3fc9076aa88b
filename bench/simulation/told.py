"""What came of a simulation, as a table."""

from collections.abc import Iterable, Sequence

from bench.simulation.arrivals import Law
from bench.simulation.costs import Costs
from bench.simulation.fleet import Fleet, Outcome

_REFUSALS = {
    "full": "refused: 503, all its uploads are taken",
    "user": "refused: 429, too many of one user",
    "nobody": "refused: 503, no replica",
    "cut": "broken off for good",
}


def lines_of(
    fleet: Fleet, outcome: Outcome, costs: Costs, law: Law, *, begin: float, end: float
) -> Iterable[tuple[str, str]]:
    """What is told of a run: names and values. How long things take and how busy it is is told of
    the time from `begin` to `end`, of the rest all."""
    kept = [one for one in outcome.kept if one.began >= begin]
    counts, arrived = outcome.counts, max(outcome.arrived, 1)
    asked = law.rate * law.mean_size / 1e6
    yield "asked for at the peak", f"{law.rate:.2f} uploads/s, {asked:,.0f} MB/s of WAV"
    yield "uploads", f"{outcome.arrived:,}"
    yield "kept", f"{counts['kept']:,} ({counts['kept'] / arrived:.2%})"
    for reason, told in _REFUSALS.items():
        yield told, f"{counts[reason]:,} ({counts[reason] / arrived:.2%})"
    broken = ", ".join(f"{number} by a {why}" for why, number in outcome.broken.items() if number)
    yield "broken off", broken or "none"
    yield "sent again by their clients", f"{outcome.resumed:,}"
    if kept:
        lags = [one.lag for one in kept]
        slower = [max(one.link / one.line, 1.0) for one in kept]
        yield "last byte to link, p50, p99", " ".join(_seconds(quantiles(lags)))
        yield "first byte to link ÷ line alone, p50, p99", " ".join(_factors(quantiles(slower)))
    waits = [wait for replica in fleet.all for at, wait in replica.pool.waits if begin <= at < end]
    yield "a segment's wait for an encoder, p50, p99", " ".join(_seconds(quantiles(waits or [0])))
    yield "encoders busy", f"{outcome.used:.0%}"
    yield "replicas, at the most", str(max(number for _, number in outcome.sizes))
    yield "uploads at once on one, at the most", str(max(one.most_live for one in fleet.all))
    most = max(one.most_memory for one in fleet.all) / 1e6
    yield "memory of one, at the most", f"{most:,.0f} MB (idle: {costs.idle_bytes / 1e6:.0f})"


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the 99th percentile."""
    ordered = sorted(values)
    return value_at(ordered, 0.5), value_at(ordered, 0.99)


def value_at(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the values is."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _seconds(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f} s" for value in values]


def _factors(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def table(lines: Iterable[tuple[str, str]]) -> str:
    """In two columns."""
    found = list(lines)
    width = max(len(name) for name, _ in found)
    return "\n".join(f"{name:{width}}  {value}" for name, value in found)
