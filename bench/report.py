"""The table of a run, in Markdown."""

import statistics
from collections.abc import Iterable

from bench.rounds import Row, quartiles

_INTRO = """# Where it stands

Made by `make bench`; the same figures with each single value are in `results.json`.

Each value is the median of the rounds, with the quartiles in brackets. All sides take turns in one
run, in an order that is turned round each time, and ratios are taken round by round before the
median of them: they say more than the values, which another machine would have otherwise.

- **umusic** and **baseline** run on the same machine with the same Postgres, ffmpeg and disk. The
  baseline (`bench/baseline/`) is the same service the plain way: FastAPI and uvicorn with a worker
  a core, `UploadFile`, ffmpeg on a temporary file, `FileResponse`.
- **floor** is what neither can beat, in brackets which: ffmpeg alone with the file on the disk (it
  uses one core), all cores without a pause, or the same nginx with a static file.
"""
_AHEAD, _BEHIND = "", " **behind**"


def markdown(about: dict[str, object], rows: list[Row]) -> str:
    """The whole file."""
    told = ", ".join(f"{name} {value}" for name, value in about.items() if name != "seconds")
    parts = [_INTRO, f"Measured in {about['seconds']} s: {told}.\n"]
    for measure, unit in dict.fromkeys((row.measure, row.unit) for row in rows):
        same = [row for row in rows if (row.measure, row.unit) == (measure, unit)]
        parts.append(_table(measure, same))
    compared = [row.is_ahead() for row in rows if row.is_ahead() is not None]
    parts.append(
        f"umusic is ahead of the baseline in {sum(map(bool, compared))} of {len(compared)} rows.\n"
    )
    return "\n".join(parts)


def _table(measure: str, rows: list[Row]) -> str:
    unit = f", {rows[0].unit}" if rows[0].unit else ""
    better = "more is better" if rows[0].more_is_better else "less is better"
    lines = [
        f"## {measure}{unit} ({better})\n",
        "| | umusic | baseline | floor | umusic ÷ baseline | umusic ÷ floor |",
        "|---|---|---|---|---|---|",
        *map(_line, rows),
        "",
        *dict.fromkeys(
            f"Where it is behind: {row.why}\n" for row in rows if _is_behind(row) and row.why
        ),
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    floor = row.floor if row.floor in row.sides else None
    cells = [
        row.case,
        _values(row.sides.get("umusic")),
        _values(row.sides.get("baseline")),
        f"{_values(row.sides[floor])} ({floor})" if floor else "",
        _ratio(row, "baseline") + (_BEHIND if _is_behind(row) else _AHEAD),
        _ratio(row, floor),
    ]
    return f"| {' | '.join(cells)} |"


def _is_behind(row: Row) -> bool:
    return row.is_ahead() is False


def _values(values: list[float] | None) -> str:
    if not values:
        return ""
    low, middle, high = (_digits(value) for value in quartiles(values))
    return f"{middle} ({low}–{high})"


def _ratio(row: Row, other: str | None) -> str:
    if other is None or other not in row.sides:
        return ""
    ratios = row.ratios("umusic", other)
    low, _, high = quartiles(ratios)
    return f"{_digits(statistics.median(ratios))} ({_digits(low)}–{_digits(high)})"


def _digits(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def behind(rows: Iterable[Row]) -> list[Row]:
    """The rows in which the baseline is ahead and nothing says why."""
    return [row for row in rows if _is_behind(row) and not row.why]
