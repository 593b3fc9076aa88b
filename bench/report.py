"""The table of a run, in Markdown."""

import json
import statistics
from collections import Counter
from pathlib import Path

from bench.rounds import Row, quartiles

_RESULTS = Path(__file__).with_name("results.json")
_INTRO = """# Where it stands

Made by `make bench`; the same figures with each single value are in `results.json`.

Each value is the median of the rounds, with the quartiles in brackets. All sides take turns in one
run, in an order that is turned round each time, and ratios are taken round by round before the
median of them: they say more than the values, which another machine would have otherwise.

- **umusic** and **baseline** run on the same machine with the same Postgres, ffmpeg and disk. The
  baseline (`bench/baseline/`) is the same service the plain way: FastAPI and uvicorn with a worker
  a core, `UploadFile`, ffmpeg on a temporary file, `FileResponse`.
- **floor** is the same without a service around it, in brackets what: ffmpeg alone with the file on
  the disk (it uses one core; umusic all of them), an ffmpeg on each core, or the same nginx with a
  static file.
- **behind** says that both quartiles of the ratio are; if they are not on the same side of 1, the
  two are level.
"""


def markdown(about: dict[str, object], rows: list[Row]) -> str:
    """The whole file."""
    told = ", ".join(f"{name} {value}" for name, value in about.items() if name != "seconds")
    parts = [_INTRO, f"Measured in {about['seconds']} s: {told}.\n"]
    for measure, unit in dict.fromkeys((row.measure, row.unit) for row in rows):
        same = [row for row in rows if (row.measure, row.unit) == (measure, unit)]
        parts.append(_table(measure, same))
    verdicts = Counter(row.verdict() for row in rows if row.verdict())
    told = ", ".join(f"{verdict} in {verdicts[verdict]}" for verdict in sorted(verdicts))
    parts.append(f"Beside the baseline, umusic is {told} of {verdicts.total()} rows.\n")
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
        _ratio(row, "baseline") + (" **behind**" if _is_behind(row) else ""),
        _ratio(row, floor),
    ]
    return f"| {' | '.join(cells)} |"


def _is_behind(row: Row) -> bool:
    return row.verdict() == "behind"


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


def main() -> None:
    """Writes the table anew, of the results that are there."""
    found = json.loads(_RESULTS.read_text())
    rows = [Row(**row) for row in found["rows"]]
    _RESULTS.with_name("RESULTS.md").write_text(markdown(found["about"], rows))


if __name__ == "__main__":
    main()
