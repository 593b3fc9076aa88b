"""A umusic of its own for a measurement: scratch directories, free ports, nginx in front."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.front import Nginx
from umusic.embedded import ffmpeg_binary

FFMPEG = str(ffmpeg_binary())
#: Ten minutes of it have 105 MB.
_MUSIC = (
    "aevalsrc='0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(440+50*sin(t))*t)+0.1*random(0)"
    "|0.3*sin(2*PI*330*t)+0.2*sin(2*PI*110*t)+0.1*random(1)':s={rate}:d={seconds}"
)


@dataclass(frozen=True)
class Stack:
    """A running umusic: its URLs, its process, its scratch directory and a registered user."""

    direct: str
    nginx: str
    pid: int
    scratch: Path
    token: str

    def upload(self, base: str, wav: Path, *options: str) -> tuple[int, float, dict[str, object]]:
        """`curl -T`: the status, the seconds from first byte to reply, the reply."""
        done = subprocess.run(
            [
                *("curl", "-sS", "-H", f"Authorization: Bearer {self.token}"),
                *("-w", "\n%{http_code} %{time_total} %{time_pretransfer}", *options),
                *("-T", str(wav), f"{base}/record"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, last = done.stdout.rpartition("\n")
        status, total, before = last.split()
        return int(status), float(total) - float(before), json.loads(body)


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Stack]:
    """Starts umusic with the settings given, and nginx before it."""
    with tempfile.TemporaryDirectory(prefix="umusic-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        media = scratch / "media"
        media.mkdir()
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("UMUSIC_")},
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "UMUSIC_PORT": "0",
            "UMUSIC_DATA_DIR": str(scratch / "data"),
            "UMUSIC_MEDIA_DIR": str(media),
            **{f"UMUSIC_{key.upper()}": value for key, value in settings.items()},
        }
        with (scratch / "umusic.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "umusic", "serve"],
                cwd=scratch,  # where no .env is
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert process.stdout is not None
            greeting = process.stdout.readline()
            found = re.search(r"http://\S+", greeting)
            assert found, (scratch / "umusic.log").read_text()
            direct = found[0]
            nginx = Nginx(scratch / "nginx", upstream=direct.removeprefix("http://"), media=media)
            with nginx.running():
                yield Stack(direct, nginx.url, process.pid, scratch, register(direct))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def music(path: Path, seconds: float, *, rate: int = 44100, codec: str = "pcm_s16le") -> Path:
    """Writes a stereo WAV."""
    source = _MUSIC.format(seconds=seconds, rate=rate)
    subprocess.run(
        [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:a", codec, str(path)],
        check=True,
    )
    return path


def ffmpeg_alone(wav: Path, mp3: Path) -> float:
    """Seconds that ffmpeg needs for the file by itself, with the same quality."""
    began = time.perf_counter()
    subprocess.run(_encode([], wav, mp3), check=True)
    return time.perf_counter() - began


def ffmpegs_side_by_side(wav: Path, seconds: int) -> float:
    """Seconds that one ffmpeg on each core needs if each has its part of the file from the start:
    with no network and no seams, the least that this machine needs."""
    cores = len(os.sched_getaffinity(0))
    part = seconds / cores
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            _encode(
                ["-ss", str(number * part), "-t", str(part)], wav, wav.with_suffix(f".{number}")
            )
        )
        for number in range(cores)
    ]
    assert not any(process.wait() for process in running)
    return time.perf_counter() - began


def _encode(cut: list[str], wav: Path, mp3: Path) -> list[str]:
    return [
        *(FFMPEG, "-v", "error", "-y", *cut, "-i", str(wav), "-c:a", "libmp3lame", "-q:a", "2"),
        *("-threads", "1", "-f", "mp3", str(mp3)),
    ]


def register(base: str, name: str = "bench") -> str:
    """The token of a new user."""
    request = urllib.request.Request(f"{base}/user", data=json.dumps({"name": name}).encode())
    with urllib.request.urlopen(request) as reply:
        return str(json.load(reply)["token"])
