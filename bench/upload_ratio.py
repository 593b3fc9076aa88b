"""Time from first byte to reply of an upload ÷ time of the same ffmpeg alone on the file.

Pairs alternate in one run; the ratio is taken pair by pair, its median told, and the size of the
MP3 ÷ that of ffmpeg alone. For comparison, what one ffmpeg on each core reaches with its part of
the file and no network: the least that this machine can. Then the same upload paced at 5 MB/s: the
seconds from its last byte to the reply. `python -m bench.upload_ratio 100` takes ten times as long:
100 minutes of sound.
"""

import statistics
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.stack import Stack, ffmpeg_alone, ffmpegs_side_by_side, music, running

PAIRS = 5
PACE = 5_000_000


def compare(stack: Stack, name: str, base: str, wav: Path, seconds_of_sound: int) -> None:
    """Prints the figures of one kind of upload."""
    alone_mp3, pairs, sizes, least = stack.scratch / "alone.mp3", [], [], []
    for _ in range(PAIRS):
        alone = ffmpeg_alone(wav, alone_mp3)
        least.append(ffmpegs_side_by_side(wav, seconds_of_sound) / alone)
        status, seconds, receipt = stack.upload(base, wav)
        assert status == 201
        pairs.append((seconds, alone))
        sizes.append(int(str(receipt["size"])) / alone_mp3.stat().st_size)
    ratios = [upload / alone for upload, alone in pairs]
    print(
        f"{name}, {wav.stat().st_size / 1e6:.0f} MB: upload "
        f"{statistics.median(u for u, _ in pairs):.2f} s, ffmpeg alone "
        f"{statistics.median(a for _, a in pairs):.2f} s, ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), size ratio {max(sizes):.4f}; "
        f"the least that the machine can {statistics.median(least):.3f} "
        f"({min(least):.3f} to {max(least):.3f})",
        flush=True,
    )


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
        if "100" in sys.argv[1:]:
            compare(
                stack, "100 minutes", stack.nginx, music(stack.scratch / "long.wav", 6000), 6000
            )
            return
        ten = music(stack.scratch / "ten.wav", 600)
        compare(stack, "10 minutes, direct", stack.direct, ten, 600)
        compare(stack, "10 minutes, nginx", stack.nginx, ten, 600)
        fine = music(stack.scratch / "fine.wav", 600, rate=96_000, codec="pcm_s24le")
        compare(stack, "10 minutes of 96 kHz and 24 bit, nginx", stack.nginx, fine, 600)
        fine.unlink()
        short = music(stack.scratch / "short.wav", 8)
        compare(stack, "8 seconds, nginx", stack.nginx, short, 8)
        for name, base in (("direct", stack.direct), ("nginx", stack.nginx)):
            lags = [lag_when_paced(stack, base, ten) for _ in range(2)]
            told = " and ".join(f"{1000 * lag:.0f}" for lag in lags)
            print(f"{name}: reply {told} ms after the last byte at {PACE / 1e6:g} MB/s")


if __name__ == "__main__":
    main()
