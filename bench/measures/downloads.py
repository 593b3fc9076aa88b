"""Downloads by wrk: records through nginx, as in production, against the same nginx with the same
file as a static one; and the baseline's `FileResponse`."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, loading
from bench.rounds import Row, Scale, Turn, run, tell
from bench.sides import Bench, Server
from bench.wavs import music
from bench.wrk import wrk

_SECONDS, _QUICK_SECONDS = 2, 1
#: By the size of the MP3: seconds of sound.
_LENGTHS = {"100 kB": 5.4, "8 MB": 380.0}
_QUICK_LENGTHS = {"100 kB": 5.4}


@dataclass(frozen=True)
class Case:
    """What is asked for."""

    name: str
    size: str
    range: str | None = None


CASES = (
    Case("100 kB", "100 kB"),
    Case("8 MB", "8 MB"),
    Case("64 kB in the middle of 8 MB", "8 MB", "bytes=4000000-4065535"),
)
QUICK_CASES = (Case("100 kB", "100 kB"), Case("10 kB of 100 kB", "100 kB", "bytes=40000-49999"))


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """A row a case; none without wrk."""
    if shutil.which("wrk") is None:
        print("wrk is not installed (apt-get install wrk): downloads are left out.", flush=True)
        return
    seconds = _QUICK_SECONDS if scale.quick else _SECONDS
    with contextlib.ExitStack() as stack:
        umusic = stack.enter_context(bench.umusic(x_accel_prefix="/_media/"))
        baseline = stack.enter_context(bench.baseline())
        load = stack.enter_context(loading())
        nginx, static = stack.enter_context(bench.nginx_before(umusic))
        urls: dict[str, dict[str, str]] = {}
        for size, length in (_QUICK_LENGTHS if scale.quick else _LENGTHS).items():
            wav = music(bench.scratch / "take.wav", length)
            ours, theirs = (_upload(server, load, wav) for server in (umusic, baseline))
            urls[size] = {
                "umusic": ours["link"].replace(umusic.url, nginx),
                "baseline": theirs["link"],
                "static nginx": f"{static}/{umusic.user}/{ours['id']}.mp3",
            }
        for case in QUICK_CASES if scale.quick else CASES:
            yield from _rows(case, urls[case.size], seconds, scale.rounds)


def _rows(case: Case, urls: dict[str, str], seconds: int, rounds: int) -> Iterator[Row]:
    sides: dict[str, Turn] = {
        side: partial(_wrk, url, case.range, seconds) for side, url in urls.items()
    }
    found = run(sides, rounds, warm_up=False)
    for what, unit in (("requests", "requests/s"), ("bytes", "MB/s")):
        yield tell(
            found.row(
                *(what, "Downloads", case.name, unit), more_is_better=True, floor="static nginx"
            )
        )


def _upload(server: Server, load: Load, wav: Path) -> dict[str, str]:
    reply: dict[str, str] = json.loads(load.upload(server.uploading(), wav)[0].body)
    return reply


def _wrk(url: str, byte_range: str | None, seconds: int) -> dict[str, float]:
    asked = wrk(url, seconds, {"Range": byte_range} if byte_range else {})
    return {"requests": asked.rate, "bytes": asked.bytes / 1e6}


if __name__ == "__main__":
    main(measure)
