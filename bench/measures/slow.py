"""200 slow uploads at once: the time from the last byte to the link, the memory of all processes,
and how long a small download takes meanwhile."""

import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, loading
from bench.measures.at_once import UNLIMITED, download_rows, downloads, small_link
from bench.rounds import Row, Scale, Turn, run, tell
from bench.sides import Bench, Server
from bench.watch import Watch
from bench.wavs import music

UPLOADS, QUICK_UPLOADS = 200, 20
BYTES_PER_SECOND = 64_000
SECONDS_OF_SENDING, QUICK_SECONDS = 6, 3


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Six rows."""
    count = QUICK_UPLOADS if scale.quick else UPLOADS
    sending = QUICK_SECONDS if scale.quick else SECONDS_OF_SENDING
    wav = music(bench.scratch / "take.wav", sending * BYTES_PER_SECOND / 4 / 44_100)
    with bench.umusic(**UNLIMITED) as umusic, bench.baseline() as baseline, loading() as load:
        sides: dict[str, Turn] = {
            server.name: partial(
                _uploads, server, load, wav, count, small_link(bench, server, load)
            )
            for server in (umusic, baseline)
        }
        rounds = run(sides, scale.rounds, warm_up=False)
    case = f"{count} at {BYTES_PER_SECOND / 1000:g} kB/s"
    why = "umusic has in memory what is not encoded yet, the baseline on the disk."
    for what, measure, unit in (
        ("median", "Last byte to link, median of all", "s"),
        ("longest", "Last byte to link, the longest", "s"),
        ("memory", "Most memory of all processes", "MB"),
    ):
        yield tell(rounds.row(what, measure, case, unit, why=why if what == "memory" else ""))
    yield from download_rows(rounds, f"{count} slow uploads")


def _uploads(server: Server, load: Load, wav: Path, count: int, link: str) -> dict[str, float]:
    watch = Watch(server.pid)
    sent, took = load.upload_beside(
        link, server.uploading(), wav, pace=BYTES_PER_SECOND, count=count
    )
    used = watch.stop()
    lags = [one.lag for one in sent]
    return {
        "median": statistics.median(lags),
        "longest": max(lags),
        "memory": used.memory / 1e6,
        **downloads(took),
    }


if __name__ == "__main__":
    main(measure)
