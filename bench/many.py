"""200 uploads at once, each at 128 kB/s: whether all arrive, the most memory that umusic and all
its children had together, and the longest small download meanwhile.

The senders and what watches run in processes of their own, so that what is measured is umusic.
"""

import asyncio
import contextlib
import json
import re
import statistics
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from bench.stack import Stack, music, running
from tests.process import pids

UPLOADS = 200
SECONDS = 45
BYTES_PER_SECOND = 128_000
USERS = 20
#: Seconds between two pieces of an upload.
_TICK = 0.25
_MEMORY_EVERY = 0.5
_DOWNLOAD_EVERY = 0.1
MOST_MEMORY = 1_500_000_000
LONGEST_DOWNLOAD_SECONDS = 0.5


async def send(address: tuple[str, int], token: str, body: bytes, delay: float) -> str:
    """Uploads at the pace; returns the status line, or why there is none."""
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(
        f"PUT /record HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    piece = round(BYTES_PER_SECOND * _TICK)
    began = time.monotonic()
    try:
        for number, start in enumerate(range(0, len(body), piece)):
            await asyncio.sleep(began + number * _TICK - time.monotonic())
            writer.write(body[start : start + piece])
            await writer.drain()
        return (await reader.readline()).decode().strip() or "connection closed"
    except OSError as exc:
        return repr(exc)
    finally:
        writer.close()


def send_all(address: tuple[str, int], tokens: list[str], wav: Path) -> Counter[str]:
    """Sends all at once; returns how often each status came."""

    body = wav.read_bytes()

    async def gather() -> list[str]:
        senders = (
            send(address, tokens[number % len(tokens)], body, number * _TICK / UPLOADS)
            for number in range(UPLOADS)
        )
        return await asyncio.gather(*senders)

    return Counter(asyncio.run(gather()))


def tree(pid: int) -> Iterator[int]:
    """A process with all that descend from it."""
    yield pid
    for child in pids(parent=pid):
        yield from tree(child)


def memory(pid: int) -> tuple[int, int]:
    """Bytes that a process and its descendants have: what is mapped, shared pages divided by who
    shares them (PSS), and what is in anonymous files (memfd), which nobody maps."""
    mapped, files = 0, {}
    for process in tree(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            mapped += 1024 * int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(entry.readlink()).startswith("/memfd:"):
                        found = entry.stat()
                        files[found.st_ino] = found.st_blocks * 512
    return mapped, sum(files.values())


def download_small(url: str, enough: threading.Event) -> list[float]:
    """Seconds that each download took, one after the other until there were enough."""
    took = []
    while not enough.wait(_DOWNLOAD_EVERY):
        began = time.perf_counter()
        with urllib.request.urlopen(url, timeout=60) as reply:
            reply.read()
        took.append(time.perf_counter() - began)
    return took


def register(base: str, number: int) -> str:
    """A user's token."""
    body = json.dumps({"name": f"sender {number}"}).encode()
    with urllib.request.urlopen(f"{base}/user", data=body) as reply:
        return str(json.load(reply)["token"])


def measure(stack: Stack) -> tuple[Counter[str], int, list[float]]:
    """How often each status came, the most bytes, the seconds of the downloads."""
    _, _, receipt = stack.upload(stack.direct, music(stack.scratch / "small.wav", 5))
    wav = music(stack.scratch / "take.wav", SECONDS)
    tokens = [register(stack.direct, number) for number in range(USERS)]
    address = urlsplit(stack.direct)
    most, enough, began = (0, 0), threading.Event(), time.monotonic()
    with ProcessPoolExecutor(1, get_context("spawn")) as apart, ThreadPoolExecutor(1) as beside:
        downloads = beside.submit(download_small, str(receipt["link"]), enough)
        sending = apart.submit(send_all, (address.hostname, address.port), tokens, wav)
        while not sending.done():
            most = max(most, memory(stack.pid), key=sum)
            time.sleep(_MEMORY_EVERY)
        enough.set()
        statuses = sending.result()
        size = wav.stat().st_size
        print(
            f"{UPLOADS} uploads of {size / 1e6:.1f} MB at {BYTES_PER_SECOND / 1000:g} kB/s: "
            f"{dict(statuses)} in {time.monotonic() - began:.1f} s, of which "
            f"{size / BYTES_PER_SECOND:.1f} s on the way"
        )
        print(f"most memory of all: {most[0] / 1e6:.0f} MB mapped, {most[1] / 1e6:.0f} MB in files")
        return statuses, sum(most), downloads.result()


def main() -> None:
    """Prints the figures; exits with 1 if they are not as they should be."""
    with running(max_uploads="256") as stack:
        statuses, most, downloads = measure(stack)
    longest = max(downloads)
    print(
        f"{len(downloads)} small downloads, longest {longest:.3f} s, "
        f"median {statistics.median(downloads):.3f} s"
    )
    well = (
        statuses == {"HTTP/1.1 201 Created": UPLOADS}
        and most < MOST_MEMORY
        and longest < LONGEST_DOWNLOAD_SECONDS
    )
    print("as it should be" if well else "not as it should be")
    sys.exit(not well)


if __name__ == "__main__":
    main()
