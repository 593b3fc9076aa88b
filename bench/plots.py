"""The plots of a run, as SVG."""

import statistics
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.rounds import Row

_COLOURS = {"umusic": "#2563eb", "baseline": "#f59e0b"}
_FLOOR = "#9ca3af"
mpl.rcParams.update(
    {
        "svg.hashsalt": "umusic",  # the same figures make the same file
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "figure.facecolor": "white",
    }
)


def write(directory: Path, rows: list[Row]) -> None:
    """Writes those for which there are rows."""
    directory.mkdir(parents=True, exist_ok=True)
    uploads = _figure(2)
    _bars(uploads[1][0], rows, "First byte to link", "seconds (log)", log=True)
    _bars(uploads[1][1], rows, "Last byte to link, paced", "seconds (log)", log=True)
    _save(uploads[0], directory / "uploads.svg")
    cost = _figure(2)
    _bars(cost[1][0], rows, "Most memory of all processes", "MB")
    _bars(cost[1][1], rows, "Written to disk ÷ MP3", "bytes per byte of MP3")
    _save(cost[0], directory / "cost.svg")
    load = _figure(2)
    _bars(load[1][0], rows, "Uploads at once", "seconds until all are done")
    worst = [row for row in rows if row.measure == "A small download" and "p99" in row.case]
    _bars(load[1][1], worst, "A small download", "ms, 99th percentile (log)", log=True)
    load[1][1].set_title("A small download meanwhile")
    _save(load[0], directory / "load.svg")
    fetch = _figure(2)
    requests = [row for row in rows if row.unit == "requests/s"]
    _bars(fetch[1][0], requests, "Downloads", "requests per second (log)", log=True)
    _bars(fetch[1][1], rows, "The newest 100 records", "ms")
    _save(fetch[0], directory / "reading.svg")


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, count, figsize=(9, 3.4))
    return figure, list(axes)


def _bars(axes: Axes, rows: Iterable[Row], measure: str, label: str, *, log: bool = False) -> None:
    """A group of bars a row, a bar a side: the median, with a line from the least to the most."""
    shown = [row for row in rows if row.measure == measure]
    axes.set_title(measure)
    axes.set_ylabel(label)
    sides = list(dict.fromkeys(side for row in shown for side in row.sides))
    width = 0.8 / max(1, len(sides))
    for number, side in enumerate(sides):
        there = [(at, row.sides[side]) for at, row in enumerate(shown) if side in row.sides]
        places = [at + (number - (len(sides) - 1) / 2) * width for at, _ in there]
        heights = [statistics.median(values) for _, values in there]
        spread = [
            [height - min(values) for height, (_, values) in zip(heights, there, strict=True)],
            [max(values) - height for height, (_, values) in zip(heights, there, strict=True)],
        ]
        colour = _COLOURS.get(side, _FLOOR)
        axes.bar(places, heights, width * 0.92, label=side, color=colour, yerr=spread,
                 error_kw={"elinewidth": 0.8, "ecolor": "#374151"})  # fmt: skip
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(shown)), [_short(row.case) for row in shown])
    if shown:
        axes.legend(
            frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2)
        )


def _short(case: str) -> str:
    case = case.removeprefix("p99 during ").removesuffix(" uploads")
    for words, shorter in ((" (", "\n("), (" at ", "\nat "), (" in the middle of ", "\nof ")):
        case = case.replace(words, shorter)
    return case


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
