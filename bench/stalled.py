"""Senders that stop: uploads of which nothing more comes, and how much a sender gets rid of to
somebody who does not read."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.load import Request

#: What is announced, and never comes.
_LENGTH = 100_000_000
_PIECE = bytes(64 * 1024)
_SETTLE_SECONDS = 1.0


@contextlib.contextmanager
def stalled(request: Request, count: int) -> Iterator[None]:
    """Has so many uploads open that have sent the header of a WAV and a little sound."""
    parts = urlsplit(request.url)
    header = struct.pack("<4sI4s4sI", b"RIFF", _LENGTH - 8, b"WAVE", b"fmt ", 16)
    header += struct.pack("<HHIIHH", 1, 2, 44_100, 176_400, 4, 16)
    header += struct.pack("<4sI", b"data", _LENGTH - 44)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sender = socket.create_connection((parts.hostname, parts.port))
            stack.callback(sender.close)
            sender.sendall(request.head(_LENGTH) + header + _PIECE)
        time.sleep(_SETTLE_SECONDS)
        yield
        for _ in range(2):
            time.sleep(_SETTLE_SECONDS)


def buffered() -> int:
    """Bytes that the loopback takes from a sender at once, while nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        reader, _ = server.accept()
        with sender, reader:
            sender.settimeout(0.2)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    sent += sender.send(_PIECE)
            return sent
