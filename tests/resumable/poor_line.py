"""A line to the server that breaks where it is told to, and counts what is sent twice for that."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.browser.line import Line

#: So fast is the line, in bytes per second. What is on its way when it breaks is lost, and how much
#: that is goes by the speed: a server that does not read for a fifth of a second has a megabyte.
PACE = 5e6
_PIECE = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Break:
    """The line breaks, or something else happens to who is sending: `strike` is called when the
    client has come as far as `position` in its file for the first time."""

    position: int
    strike: Callable[[], object]


class Requests:
    """Follows the requests on one connection, as far as the bodies of PATCH go: `at` is where in
    its file the client is, None outside of such a body."""

    def __init__(self, on_patch: Callable[[int], None]) -> None:
        self._on_patch = on_patch
        self._head = b""
        self._body = 0
        self.at: int | None = None

    def pass_by(self, data: bytes) -> int:
        """Takes the next bytes that the client has sent; returns how many are of such bodies."""
        count = 0
        while data:
            taken = min(self._body, len(data))
            self._body -= taken
            if self.at is not None:
                self.at += taken
                count += taken
            data = data[taken:]
            if data:
                head, end, data = (self._head + data).partition(_END_OF_HEAD)
                self._head = b"" if end else head
                if end:
                    self._begin(head)
        return count

    def _begin(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        told = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        assert "transfer-encoding" not in told, "its body cannot be followed"
        self._body = int(told.get("content-length", "0"))
        self.at = None
        if first.startswith("PATCH "):
            self.at = int(told["upload-offset"])
            self._on_patch(self.at)


class PoorLine(Line):
    """Passes TCP on to the server at `site`. Afterwards `starts` tells where the client has gone
    on, and `repeated` how many bytes it sent that it had sent before: before the first of the
    breaks, and after each."""

    def __init__(self, site: str) -> None:
        super().__init__(site)
        #: What is to come.
        self.breaks: list[Break] = []
        self.starts: list[int] = []
        self.repeated = [0]
        self._turn = threading.Lock()
        self._reached = 0

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            if sink.getpeername() != self._target:
                super()._pass_on(source, sink)
                return
            self._pass_requests_on(source, sink)
        except OSError:
            # The server has closed it: so it is for the client, although it is still sending.
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
            source.close()

    def _pass_requests_on(self, source: socket.socket, sink: socket.socket) -> None:
        # What it has not passed on it has hardly taken.
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
        requests = Requests(self.starts.append)
        due = time.monotonic()
        while piece := source.recv(_PIECE):
            self._count(requests, requests.pass_by(piece))
            sink.sendall(piece)
            due = max(due, time.monotonic()) + len(piece) / PACE
            time.sleep(max(0.0, due - time.monotonic()))
        sink.shutdown(socket.SHUT_WR)

    def _count(self, requests: Requests, count: int) -> None:
        if requests.at is None or not count:
            return
        with self._turn:
            before = requests.at - count
            self.repeated[-1] += max(0, min(requests.at, self._reached) - before)
            self._reached = max(requests.at, self._reached)
            due = [each for each in self.breaks if each.position <= self._reached]
            self.breaks = [each for each in self.breaks if each not in due]
            self.repeated += [0] * len(due)
        for each in due:
            each.strike()
