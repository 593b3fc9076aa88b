"""An upload that survives a broken line (tus 1.0.0: POST /uploads and one PATCH) beside a plain
one, both to umusic."""

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, Request, loading
from bench.rounds import Row, Scale, Turn, run, tell
from bench.sides import Bench, Server
from bench.wavs import music

_VERSION = {"Tus-Resumable": "1.0.0"}
#: Seconds of sound, and MB/s of the line: None is as fast as it goes.
CASES = ((600, None), (60, 5))
QUICK_CASES = ((20, None),)


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """A row a case."""
    with bench.umusic() as umusic, loading() as load:
        for seconds, pace in QUICK_CASES if scale.quick else CASES:
            wav = music(bench.scratch / "take.wav", seconds)
            bytes_per_second = pace and pace * 1e6
            sides: dict[str, Turn] = {
                "umusic": partial(_resumably, umusic, load, wav, bytes_per_second),
                "plain upload": partial(_plainly, umusic, load, wav, bytes_per_second),
            }
            rounds = run(sides, scale.rounds, warm_up=False)
            size = f"{wav.stat().st_size / 1e6:.1f} MB"
            what, case = ("lag", f"{size} at {pace} MB/s") if pace else ("link", size)
            begin = "Last" if pace else "First"
            yield tell(
                rounds.row(
                    *(what, f"{begin} byte to link, resumable", case, "s"), floor="plain upload"
                )
            )


def _plainly(server: Server, load: Load, wav: Path, pace: float | None) -> dict[str, float]:
    sent = load.upload(server.uploading(), wav, pace=pace)[0]
    return {"link": sent.seconds, "lag": sent.lag}


def _resumably(server: Server, load: Load, wav: Path, pace: float | None) -> dict[str, float]:
    began = time.perf_counter()
    creation = urllib.request.Request(
        f"{server.url}/uploads",
        method="POST",
        headers={
            **_VERSION,
            "Authorization": f"Bearer {server.token}",
            "Upload-Length": str(wav.stat().st_size),
        },
    )
    with urllib.request.urlopen(creation) as created:
        url = created.headers["Location"]
    creating = time.perf_counter() - began
    headers = {
        **_VERSION,
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Prefer": "return=representation",
    }
    sent = load.upload(Request(url, "PATCH", headers), wav, pace=pace)[0]
    assert json.loads(sent.body)["link"]
    sent = replace(sent, seconds=sent.seconds + creating)
    return {"link": sent.seconds, "lag": sent.lag}


if __name__ == "__main__":
    main(measure)
