"""How it is measured: all sides by turns, round after round, after a warm-up that does not count.

The machine may be slow at one time and fast at another, so ratios are taken round by round, and of
these the median; spread is told by the quartiles.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: What one turn of a side gives: numbers by what they are of.
Turn = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Scale:
    """How much is measured: `quick` shows that all works, and is no measurement."""

    rounds: int
    quick: bool = False


FULL = Scale(rounds=5)
QUICK = Scale(rounds=2, quick=True)


@dataclass
class Row:
    """A row of the table: the values of each side, one a round. `floor` is the side without a
    service around it; `why` says why the baseline may be ahead."""

    measure: str
    case: str
    unit: str
    sides: dict[str, list[float]]
    more_is_better: bool = False
    floor: str | None = None
    why: str = ""

    def ratios(self, side: str, other: str) -> list[float]:
        """`side` ÷ `other`, round by round."""
        pairs = zip(self.sides[side], self.sides[other], strict=True)
        return [one / two if two else float("inf") for one, two in pairs]

    def verdict(self) -> str:
        """How umusic is beside the baseline: ahead or behind, if both quartiles of the ratio are,
        or else level; nothing if there is nothing to compare."""
        if "baseline" not in self.sides:
            return ""
        low, _, high = quartiles(self.ratios("umusic", "baseline"))
        if low <= 1 <= high:
            return "level"
        return "ahead" if (low > 1) is self.more_is_better else "behind"

    def as_json(self) -> dict[str, Any]:
        """All that is in it."""
        return asdict(self)


@dataclass
class Rounds:
    """The numbers of all turns, by side and by what they are of."""

    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def row(self, what: str, measure: str, case: str, unit: str, **more: Any) -> Row:
        """The row of one of the numbers, of the sides that have it."""
        sides = {side: values[what] for side, values in self.found.items() if what in values}
        return Row(measure, case, unit, sides, **more)


def run(sides: Mapping[str, Turn], rounds: int, *, warm_up: bool = True) -> Rounds:
    """Gives each side its turn, `rounds` times, in an order that is turned round each time."""
    if warm_up:
        for turn in sides.values():
            turn()
    found: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    for number in range(rounds):
        for side in sorted(sides, reverse=bool(number % 2)):
            for what, value in sides[side]().items():
                found[side].setdefault(what, []).append(value)
    return Rounds(found)


def tell(row: Row) -> Row:
    """Prints a row as soon as it is there."""
    values = ", ".join(
        f"{side} {statistics.median(values):.4g}" for side, values in row.sides.items()
    )
    print(f"{row.measure}, {row.case} [{row.unit}]: {values}", file=sys.stderr, flush=True)
    return row


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper one."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
