"""Eight ten-minute uploads at once ÷ what the cores need for them at best (8 × alone ÷ cores)."""

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from bench.stack import ffmpeg_alone, music, running

UPLOADS = 8
ROUNDS = 5


def main() -> None:
    """Prints the figures."""
    cores = len(os.sched_getaffinity(0))
    with running() as stack:
        wav, ratios = music(stack.scratch / "ten.wav", 600), []
        for _ in range(ROUNDS):
            alone = ffmpeg_alone(wav, stack.scratch / "alone.mp3")
            began = time.perf_counter()
            with ThreadPoolExecutor(UPLOADS) as senders:
                done = list(senders.map(lambda _: stack.upload(stack.nginx, wav), range(UPLOADS)))
            together = time.perf_counter() - began
            assert {status for status, _, _ in done} == {201}
            ratios.append(together / (UPLOADS * alone / cores))
            print(f"{UPLOADS} uploads {together:.2f} s, one ffmpeg alone {alone:.2f} s", flush=True)
        print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
