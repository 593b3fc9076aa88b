"""Load: uploads at once at a pace, and a small download again and again meanwhile.

For what curl and wrk do not do. In processes of their own, so that what is measured is the server;
on the loopback only, and bounded in number and time.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

#: No plan is larger than this.
_MOST_UPLOADS = 256
_MOST_SECONDS = 600
_BLOCK = 256 * 1024
#: Between two pieces of an upload that has a pace, in seconds.
_TICK = 0.05
#: Between two downloads.
_PAUSE = 0.02


@dataclass(frozen=True)
class Request:
    """An HTTP request: what goes before the file, and what after it."""

    url: str
    method: str
    headers: dict[str, str]
    before: bytes = b""
    after: bytes = b""

    def head(self, length: int) -> bytes:
        """Its head, for a body of so many bytes."""
        parts = urlsplit(self.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


@dataclass(frozen=True)
class Sent:
    """One upload: `seconds` from its first byte to its whole answer, `lag` from its last byte."""

    status: int
    seconds: float
    lag: float
    body: bytes


def upload(request: Request, wav: Path, pace: float | None = None, count: int = 1) -> list[Sent]:
    """Sends a file `count` times at once, each at `pace` bytes per second."""
    _check(request.url, count)

    async def send_all() -> list[Sent]:
        spread = _TICK if pace else 0.0
        async with asyncio.timeout(_MOST_SECONDS):
            return await asyncio.gather(
                *(_send(request, wav, pace, spread * n / count) for n in range(count))
            )

    return asyncio.run(send_all())


@dataclass(frozen=True)
class Planned:
    """An upload that begins `at` so many seconds, at `pace` bytes per second."""

    at: float
    wav: Path
    pace: float | None = None


def follow(request: Request, plan: Sequence[Planned]) -> tuple[list[Sent], float]:
    """Sends what is planned; also tells the seconds of processor that the sending took."""
    _check(request.url, len(plan))

    async def send_all() -> list[Sent]:
        async with asyncio.timeout(_MOST_SECONDS):
            return await asyncio.gather(
                *(_send(request, one.wav, one.pace, one.at) for one in plan)
            )

    began = time.process_time()
    return asyncio.run(send_all()), time.process_time() - began


class Load:
    """Processes that send: one the uploads, one the downloads."""

    def __init__(self, executor: Executor, enough: Event) -> None:
        self._executor = executor
        self._enough = enough

    def upload(
        self, request: Request, wav: Path, *, pace: float | None = None, count: int = 1
    ) -> list[Sent]:
        """See `upload`. Raises AssertionError if not each was a success."""
        sent = self._executor.submit(upload, request, wav, pace, count).result()
        _assert_success(sent)
        return sent

    def follow(self, request: Request, plan: Sequence[Planned]) -> tuple[list[Sent], float]:
        """See `follow`. Raises AssertionError if not each was a success."""
        sent, spent = self._executor.submit(follow, request, plan).result()
        _assert_success(sent)
        return sent, spent

    def upload_beside(
        self, link: str, request: Request, wav: Path, *, pace: float | None = None, count: int = 1
    ) -> tuple[list[Sent], list[float]]:
        """The same, and the seconds of each small download meanwhile."""
        self._enough.clear()
        downloads = self._executor.submit(_download, link)
        try:
            sent = self._executor.submit(upload, request, wav, pace, count).result()
        finally:
            self._enough.set()
        _assert_success(sent)
        return sent, downloads.result()


@contextlib.contextmanager
def loading() -> Iterator[Load]:
    """Has the processes ready."""
    spawning = get_context("spawn")
    enough = spawning.Event()
    with ProcessPoolExecutor(2, spawning, _remember, (enough,)) as executor:
        list(executor.map(time.sleep, [0.2, 0.2]))  # both have started
        yield Load(executor, enough)


_enough: Event | None = None


def _remember(enough: Event) -> None:
    global _enough  # noqa: PLW0603 - an Event reaches a process only when it starts
    _enough = enough


def _download(url: str) -> list[float]:
    """Fetches the URL again and again until it is enough; the seconds of each time."""
    _check(url)
    assert _enough
    return asyncio.run(_fetch_until(Request(url, "GET", {}), _enough))


def _check(url: str, count: int = 1) -> None:
    assert ip_address(urlsplit(url).hostname or "").is_loopback, "only the loopback"
    assert 0 < count <= _MOST_UPLOADS, f"at most {_MOST_UPLOADS} at once"


def _assert_success(sent: list[Sent]) -> None:
    assert all(one.status in (200, 201) for one in sent), {
        one.status: one.body[:500] for one in sent
    }


async def _send(request: Request, wav: Path, pace: float | None, delay: float) -> Sent:
    await asyncio.sleep(delay)
    parts = urlsplit(request.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
    length = len(request.before) + wav.stat().st_size + len(request.after)
    block = _BLOCK if pace is None else max(1, round(pace * _TICK))
    try:
        writer.write(request.head(length) + request.before)
        began, sent = time.perf_counter(), 0
        with wav.open("rb") as file:
            while data := file.read(block):
                if pace:
                    await asyncio.sleep(began + sent / pace - time.perf_counter())
                writer.write(data)
                await writer.drain()
                sent += len(data)
        writer.write(request.after)
        await writer.drain()
        last = time.perf_counter()
        status, body = await _answer(reader)
        ended = time.perf_counter()
        return Sent(status, ended - began, ended - last, body)
    finally:
        writer.close()


async def _fetch_until(request: Request, enough: Event) -> list[float]:
    parts = urlsplit(request.url)
    took: list[float] = []
    deadline = time.monotonic() + _MOST_SECONDS
    while not enough.is_set() and time.monotonic() < deadline:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        writer.write(request.head(0))
        status, _ = await _answer(reader)
        took.append(time.perf_counter() - began)
        writer.close()
        assert status == 200, status
        await asyncio.sleep(_PAUSE)
    return took


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of an answer after which the connection ends."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(None, 2)[1])
    return status, await reader.read(-1)
