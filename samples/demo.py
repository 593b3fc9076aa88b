"""The whole job on a bare machine: `make demo`.

Starts a umusic of its own in a scratch directory, registers, streams `take.wav`, follows the
link, checks the MP3 by decoding it, and stops. Exits 1 if anything is not as it should be.
"""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg

HERE = Path(__file__).parent
TAKE = HERE / "take.wav"
BLOCK = 32 * 1024


def main() -> None:
    """Shows it, step by step."""
    with tempfile.TemporaryDirectory(prefix="umusic-demo-") as scratch:
        Path(scratch).chmod(0o755)
        began = time.perf_counter()
        server = start(Path(scratch))
        try:
            assert server.stdout is not None
            found = re.search(r"http://(\S+)", server.stdout.readline())
            if found is None:
                sys.exit("umusic did not start")
            say(f"umusic is up at {found[0]}", began)
            show(found[1], Path(scratch))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        say("umusic has stopped", began)


def show(host: str, scratch: Path) -> None:
    """Registers, uploads, downloads and checks."""
    user = ask(host, "POST", "/user", json.dumps({"name": "Egor Andreev"}).encode())
    print(f"registered as {user['name']}, id {user['id']}")
    began = time.perf_counter()
    receipt = ask(
        host,
        "PUT",
        "/record?name=take.wav",
        progress(TAKE),
        {
            "Authorization": f"Bearer {user['token']}",
            "Content-Length": str(TAKE.stat().st_size),
        },
    )
    say(f"{receipt['source']['size']:,} bytes of WAV in, {receipt['size']:,} of MP3 out", began)
    print(f"link: {receipt['link']}")
    began = time.perf_counter()
    mp3 = scratch / "take.mp3"
    mp3.write_bytes(download(receipt["link"]))
    say(f"followed the link, got {mp3.stat().st_size:,} bytes", began)
    check(receipt, mp3)
    print(f"receipt: {json.dumps(receipt, indent=2)}")


def check(receipt: dict[str, Any], mp3: Path) -> None:
    """Compares what arrived with the receipt, and the decoded length with the source's."""
    decoded = len(decode(mp3)) // 4
    problems = [
        wrong
        for wrong, right in {
            "the WAV's SHA-256": receipt["source"]["sha256"] == sha256(TAKE),
            "the MP3's SHA-256": receipt["sha256"] == sha256(mp3),
            "the decoded length": decoded == receipt["source"]["samples"],
        }.items()
        if not right
    ]
    if problems:
        sys.exit(f"wrong: {', '.join(problems)}")
    print(f"decoded: {decoded:,} samples, as many as the WAV has; both SHA-256 are right")


def start(scratch: Path) -> "subprocess.Popen[str]":
    """A umusic on a free port."""
    (scratch / "media").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("UMUSIC_")},
        "PYTHONPATH": str(HERE.parent),
        "UMUSIC_PORT": "0",
        "UMUSIC_DATA_DIR": str(scratch / "data"),
        "UMUSIC_MEDIA_DIR": str(scratch / "media"),
    }
    with (scratch / "umusic.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "umusic", "serve"],
            cwd=scratch,  # where no .env is
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def ask(
    host: str,
    method: str,
    path: str,
    body: bytes | Iterator[bytes],
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Sends a request and returns the JSON of a good reply."""
    connection = http.client.HTTPConnection(host)
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    answer: dict[str, Any] = json.load(reply)
    if reply.status != http.HTTPStatus.CREATED:
        sys.exit(f"refused: {answer['detail']}")
    return answer


def download(link: str) -> bytes:
    """Follows the link as it stands."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}?{parts.query}")
    return connection.getresponse().read()


def progress(path: Path) -> Iterator[bytes]:
    """The file in blocks, with a line that tells how far it is."""
    size, sent = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
            sent += len(block)
            bar = "#" * (30 * sent // size)
            if sys.stdout.isatty() or sent == size:
                print(f"\r{path.name} [{bar:<30}] {100 * sent // size:3} %", end="", flush=True)
            time.sleep(0.02)
    print()


def decode(mp3: Path) -> bytes:
    """The MP3 as 16-bit stereo PCM."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(mp3), "-f", "s16le", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def sha256(path: Path) -> str:
    """Hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def say(what: str, began: float) -> None:
    """A line with the seconds it took."""
    print(f"{what} ({time.perf_counter() - began:.2f} s)")


if __name__ == "__main__":
    main()
