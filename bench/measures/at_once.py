"""Uploads at once, as fast as they go: the time for all of them against that of ffmpegs alone, one
on each core, for as many; and how long a small download takes meanwhile."""

import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, loading
from bench.rounds import Rounds, Row, Scale, Turn, run, tell
from bench.sides import CORES, Bench, Server, ffmpeg_alone
from bench.wavs import music

SECONDS = 15
UPLOADS = (1, 4, 16, 64)
QUICK_UPLOADS = (4,)
#: All of them are one user's.
UNLIMITED = {"max_uploads": "256", "uploads_per_user": "256"}

WHY_BESIDE = (
    "umusic's own process sends it, which takes in all uploads; in production nginx sends it. The "
    "baseline has a process on each core."
)


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Four rows a number of uploads."""
    wav = music(bench.scratch / "take.wav", SECONDS)
    with bench.umusic(**UNLIMITED) as umusic, bench.baseline() as baseline, loading() as load:
        links = {server.name: small_link(bench, server, load) for server in (umusic, baseline)}
        for count in QUICK_UPLOADS if scale.quick else UPLOADS:
            sides: dict[str, Turn] = {
                server.name: partial(_uploads, server, load, wav, count, links[server.name])
                for server in (umusic, baseline)
            }
            sides["an ffmpeg a core"] = partial(_ffmpegs, wav, bench.scratch / "alone.mp3", count)
            rounds = run(sides, scale.rounds, warm_up=False)
            case = f"{count} × {wav.stat().st_size / 1e6:.1f} MB"
            yield tell(rounds.row("all", "Uploads at once", case, "s", floor="an ffmpeg a core"))
            yield from download_rows(rounds, f"{count} uploads")


def small_link(bench: Bench, server: Server, load: Load) -> str:
    """The link of an MP3 of about 100 kB."""
    wav = music(bench.scratch / "small.wav", 5.4)
    return str(json.loads(load.upload(server.uploading(), wav)[0].body)["link"])


def downloads(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and the most, in ms."""
    if len(seconds) < 2:
        seconds = seconds * 2
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    told = {"p50": statistics.median(seconds), "p99": p99, "max": max(seconds)}
    return {what: 1e3 * value for what, value in told.items()}


def download_rows(rounds: Rounds, meanwhile: str) -> Iterator[Row]:
    """Three rows of a small download meanwhile."""
    for what in ("p50", "p99", "max"):
        case = f"{what} during {meanwhile}"
        yield tell(rounds.row(what, "A small download", case, "ms", why=WHY_BESIDE))


def _uploads(server: Server, load: Load, wav: Path, count: int, link: str) -> dict[str, float]:
    sent, took = load.upload_beside(link, server.uploading(), wav, count=count)
    return {"all": max(one.seconds for one in sent), **downloads(took)}


def _ffmpegs(wav: Path, mp3: Path, count: int) -> dict[str, float]:
    with ThreadPoolExecutor(CORES) as cores:
        at_once = min(count, CORES)
        mp3s = [mp3.with_suffix(f".{number}.mp3") for number in range(at_once)]
        began = time.perf_counter()
        list(cores.map(partial(ffmpeg_alone, wav), mp3s))
        seconds = time.perf_counter() - began
    return {"all": seconds * count / at_once}


if __name__ == "__main__":
    main(measure)
