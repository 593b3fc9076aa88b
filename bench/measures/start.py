"""How long a server takes from its start until it answers, with a database that is there."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from bench.alone import main
from bench.rounds import Row, Scale, run, tell
from bench.sides import Bench, Server


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """One row."""
    rounds = run(
        {"umusic": partial(_start, bench.umusic), "baseline": partial(_start, bench.baseline)},
        scale.rounds,
        warm_up=False,
    )
    why = (
        "umusic looks whether its directory, database, schema and ffmpeg are as they have to be, "
        "and says so before it takes anything; the baseline finds out with the first upload."
    )
    yield tell(rounds.row("start", "Start to first answer", "a new database", "s", why=why))


def _start(run_side: Callable[[], AbstractContextManager[Server]]) -> dict[str, float]:
    with run_side() as server:
        return {"start": server.started}


if __name__ == "__main__":
    main(measure)
