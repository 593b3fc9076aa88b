"""A client in the storm: it uploads, drops connections, tries again, and follows its links."""

import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse

from tests.chaos.ledger import Ledger
from tests.chaos.parcels import Parcel, Shelf

#: Seconds after which an answer counts as one that never comes.
PATIENCE = 60.0
_ATTEMPTS = 6
_DROPPED = 0.12
_GIVES_UP = 0.15


@dataclass(frozen=True)
class Answer:
    """A status with its body, or 0 and why there is none."""

    status: int
    body: bytes = b""
    end: str = ""

    @property
    def what(self) -> str:
        """The kind of problem, or why there is no answer."""
        if self.status < 400:
            return self.end
        return str(json.loads(self.body)["type"]).removeprefix("/problems/")


class Sender(threading.Thread):
    """One client with an account of its own."""

    def __init__(
        self, token: str, port: Callable[[], int], shelf: Shelf, ledger: Ledger, choice: str
    ) -> None:
        """`port` is asked each time: after a restart it is another; `choice` seeds the choices."""
        super().__init__(daemon=True)
        self.enough = threading.Event()
        self.token = token
        self._port = port
        self._shelf = shelf
        self._ledger = ledger
        self._random = random.Random(choice)

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self.upload()
        except Exception as exc:
            self._ledger.wonder(f"a client failed: {exc!r}")
            raise

    def upload(self) -> None:
        """Sends one parcel, again under the same name if it was not told how that ended."""
        parcel = self._shelf.take(f"take {self._ledger.begin()}.wav", self._random)
        for attempt in range(_ATTEMPTS):
            drops = not attempt and self._random.random() < _DROPPED
            answer = self._attempt(parcel, drops)
            self._ledger.note(answer.status, answer.what)
            if self._is_final(parcel, answer, attempt) or self._random.random() < _GIVES_UP:
                return
            time.sleep(self._random.uniform(0.1, 1.0))

    def _is_final(self, parcel: Parcel, answer: Answer, attempt: int) -> bool:
        if answer.status == 201:
            receipt = json.loads(answer.body)
            self._promised(receipt["link"], receipt["sha256"])
        elif answer.status == 409 and attempt:
            self._promised(json.loads(answer.body)["link"], None)
        elif 400 <= answer.status < 500 and answer.status != parcel.refusal:
            self._ledger.wonder(f"{parcel.name} got {answer.status}: {answer.body!r}")
        else:
            return answer.status == parcel.refusal
        if parcel.refusal:
            self._ledger.wonder(f"{parcel.name} was taken, {parcel.refusal} was due")
        return True

    def _promised(self, link: str, sha256: str | None) -> None:
        path = "/record" + link.partition("/record")[2]
        self._ledger.promise(path, sha256)
        if self._random.random() < 0.3:
            got = download(self._port(), path)
            wrong = sha256 is not None and hashlib.sha256(got.body).hexdigest() != sha256
            if got.status not in (0, 200, 503) or (got.status == 200 and wrong):
                self._ledger.wonder(f"a link gave {got.status} in the storm")

    def _attempt(self, parcel: Parcel, drops: bool) -> Answer:
        stream = parcel.stream(self.token)
        if drops:
            size = sum(map(len, parcel.stream(self.token)))
            stream = _until(stream, self._random.randrange(size))
        pause = self._random.uniform(0.01, 0.06) if parcel.manner == "paced" else 0
        return exchange(self._port(), stream, pause=pause, resets=self._random.random() < 0.5)


def exchange(
    port: int, stream: Iterator[bytes], *, pause: float = 0, resets: bool = False
) -> Answer:
    """Sends a request and reads the answer; a stream that ends in None is dropped there."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            try:
                for piece in stream:
                    connection.sendall(piece)
                    time.sleep(pause)
            except _Dropped:
                if resets:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return Answer(0, end="dropped by the client")
            except (BrokenPipeError, ConnectionResetError):
                pass  # there may be an answer all the same
            response = HTTPResponse(connection, method="PUT")
            response.begin()
            return Answer(response.status, response.read())
    except TimeoutError:
        return Answer(0, end="no answer in time")
    except ConnectionRefusedError:
        time.sleep(0.3)
        return Answer(0, end="no server")
    except (OSError, HTTPException):
        return Answer(0, end="broken connection")


def download(port: int, path: str) -> Answer:
    """Follows a link."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, HTTPException) as exc:
        return Answer(0, end=repr(exc))
    finally:
        connection.close()


class _Dropped(Exception):
    """The client goes here."""


def _until(stream: Iterator[bytes], end: int) -> Iterator[bytes]:
    """The first `end` bytes of a stream, and no more."""
    for piece in stream:
        if len(piece) >= end:
            yield piece[:end]
            raise _Dropped
        yield piece
        end -= len(piece)
