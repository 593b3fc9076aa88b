"""Four uploads of 100 MB at once while a small record is downloaded every 100 ms."""

import statistics
import threading
import time
import urllib.request

from bench.stack import Stack, music, running

UPLOADS = 4
EVERY = 0.1


def downloads(link: str, stop: threading.Event) -> list[float]:
    """Fetches the link every 100 ms until told to stop; the seconds that each took."""
    waits = []
    while not stop.is_set():
        began = time.perf_counter()
        with urllib.request.urlopen(link) as reply:
            reply.read()
        waits.append(time.perf_counter() - began)
        stop.wait(max(0.0, EVERY - waits[-1]))
    return waits


def measure(stack: Stack, base: str) -> None:
    """Prints the figures for one way in."""
    wav = music(stack.scratch / "ten.wav", 600)
    small = music(stack.scratch / "small.wav", 5)
    link = str(stack.upload(base, small)[2]["link"])
    stop, waits = threading.Event(), list[float]()
    watcher = threading.Thread(target=lambda: waits.extend(downloads(link, stop)))
    watcher.start()
    statuses = list[int]()
    senders = [
        threading.Thread(target=lambda: statuses.append(stack.upload(base, wav)[0]))
        for _ in range(UPLOADS)
    ]
    began = time.perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    stop.set()
    watcher.join()
    print(
        f"uploads {statuses} in {time.perf_counter() - began:.1f} s; {len(waits)} downloads, "
        f"median {1000 * statistics.median(waits):.1f} ms, longest {1000 * max(waits):.1f} ms"
    )


def main() -> None:
    """Measures direct and through nginx."""
    for front in ("direct", "nginx"):
        prefix = {"x_accel_prefix": "/_media/"} if front == "nginx" else {}
        with running(**prefix) as stack:
            print(front, end=": ", flush=True)
            measure(stack, getattr(stack, front))


if __name__ == "__main__":
    main()
