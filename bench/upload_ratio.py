"""Time from first byte to reply of a ten-minute upload ÷ time of the same ffmpeg alone.

Pairs alternate in one run; the ratio is taken pair by pair, its median told. Then the same upload
paced at 5 MB/s: the seconds from its last byte to the reply.
"""

import statistics
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.stack import FFMPEG, Stack, music, running

PAIRS = 5
PACE = 5_000_000


def ffmpeg_alone(wav: Path, mp3: Path) -> float:
    """Seconds that ffmpeg needs for the file by itself."""
    began = time.perf_counter()
    command = [FFMPEG, "-v", "error", "-y", "-i", str(wav), "-c:a", "libmp3lame", "-q:a", "2"]
    subprocess.run([*command, "-threads", "1", str(mp3)], check=True)
    return time.perf_counter() - began


def lag_when_paced(stack: Stack, base: str, wav: Path) -> float:
    """Seconds from the last byte to the reply of an upload at `PACE` bytes per second."""
    connection = HTTPConnection(urlsplit(base).netloc)
    connection.putrequest("PUT", "/record")
    connection.putheader("Authorization", f"Bearer {stack.token}")
    connection.putheader("Content-Length", str(wav.stat().st_size))
    connection.endheaders()
    began, sent = time.perf_counter(), 0
    with wav.open("rb") as file:
        while block := file.read(64 * 1024):
            connection.send(block)
            sent += len(block)
            time.sleep(max(0.0, began + sent / PACE - time.perf_counter()))
    last_byte = time.perf_counter()
    reply = connection.getresponse()
    reply.read()
    assert reply.status == 201
    return time.perf_counter() - last_byte


def main() -> None:
    """Prints the figures."""
    with running() as stack:
        wav = music(stack.scratch / "ten.wav", 600)
        print(f"{wav.stat().st_size / 1e6:.0f} MB")
        for name, base in (("direct", stack.direct), ("nginx", stack.nginx)):
            pairs = []
            for _ in range(PAIRS):
                alone = ffmpeg_alone(wav, stack.scratch / "alone.mp3")
                status, seconds, _ = stack.upload(base, wav)
                assert status == 201
                pairs.append((seconds, alone))
            ratios = [upload / alone for upload, alone in pairs]
            print(
                f"{name}: upload {statistics.median(u for u, _ in pairs):.2f} s, ffmpeg alone "
                f"{statistics.median(a for _, a in pairs):.2f} s, ratio "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )
        for name, base in (("direct", stack.direct), ("nginx", stack.nginx)):
            lag = lag_when_paced(stack, base, wav)
            print(f"{name}: reply {1000 * lag:.0f} ms after the last byte at {PACE / 1e6:g} MB/s")


if __name__ == "__main__":
    main()
