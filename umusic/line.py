"""One request to a umusic and its answer, heard also while the request is still being sent.

It tries nothing twice: that is for those who know what they send.
"""

import http.client
import select
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from umusic.errors import UploadFailed

M = TypeVar("M", bound=BaseModel)

_MAX_ANSWER_BYTES = 2**20
_INTERIM = b"HTTP/1.1 1"
_CONNECT_SECONDS = 20.0


class Unreachable(UploadFailed):
    """There is no answer. `passing`: there may be one the next time."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class Refused(UploadFailed):
    """The server says no. `kind` is the type of its problem, if it tells one."""

    def __init__(
        self, message: str, *, status: int, kind: str = "", retry_after: float = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


class Problem(BaseModel):
    """Why something was refused, as umusic tells it."""

    type: str = ""
    status: int = 0
    detail: str
    link: str | None = None

    def refusal(self, status: int, retry_after: float = 0) -> Refused:
        """The error that says so."""
        message = f"{self.detail} ({self.link})" if self.link else self.detail
        return Refused(message, status=status, kind=self.type, retry_after=retry_after)


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def read(self, model: type[M]) -> M:
        """The body.

        Raises:
            UploadFailed: it is something else.
        """
        try:
            return model.model_validate_json(self.body)
        except ValidationError as exc:
            raise UploadFailed("the server answers, but not as umusic does.") from exc

    def refusal(self) -> Refused:
        """The error that a status which is none of success stands for."""
        after = self.headers.get("Retry-After", "")
        retry_after = float(after) if after.isdecimal() else 0.0
        try:
            problem = Problem.model_validate_json(self.body)
        except ValidationError:
            return Refused(
                f"the server answers {self.status}, and not as umusic does.",
                status=self.status,
                retry_after=retry_after,
            )
        return problem.refusal(self.status, retry_after)


class Line:
    """The way to the umusic at the URL `server`; each request has a connection of its own."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._url = urlsplit(server)
        #: Whether it has ever answered.
        self.answered = False

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        blocks: Iterable[bytes] | None = None,
        *,
        patience: float,
    ) -> Answer:
        """Sends a request, whose body may come in blocks, and returns what is answered; if that
        comes before the last block the others are not sent. `patience` are the seconds without any
        sign of life.

        Raises:
            Unreachable: there is no answer.
        """
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._url.netloc, timeout=_CONNECT_SECONDS)
        connected = False
        try:
            connection.connect()
            connected = True
            connection.sock.settimeout(patience)
            _send(connection, method, f"{self._url.path.rstrip('/')}{path}", headers, blocks)
            reply = connection.getresponse()
            body = reply.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            hint = " Does it speak https?" if secure else ""
            # Where nothing has ever answered, the address may be wrong.
            broke = connected and isinstance(exc, ConnectionError | TimeoutError)
            raise Unreachable(
                f"{self._server} cannot be reached: {why}.{hint}", passing=self.answered or broke
            ) from exc
        finally:
            connection.close()
        self.answered = True
        return Answer(reply.status, reply.headers, body)


class _Answered(Exception):
    """The server has answered before it got all."""


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    blocks: Iterable[bytes] | None,
) -> None:
    begun = False

    def unanswered(blocks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal begun
        for block in blocks:
            # Not by an end of the iteration: chunks would be closed as if that were all.
            if _is_answered(connection.sock):
                raise _Answered
            begun = True
            yield block

    try:
        connection.request(
            method,
            path,
            None if blocks is None else unanswered(blocks),
            dict(headers),
            encode_chunked="Transfer-Encoding" in headers,
        )
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        if not begun:
            raise
        # Whoever hangs up half way has said why before; `getresponse` reads it.
    except _Answered:
        pass


def _is_answered(connection: socket.socket) -> bool:
    # TLS has things of its own to say, so there a refusal is heard only when all is sent or the
    # server hangs up.
    if isinstance(connection, ssl.SSLSocket):
        return False
    if not select.select([connection], [], [], 0)[0]:
        return False
    # Nobody asked for a 100, but it may come.
    return not connection.recv(len(_INTERIM), socket.MSG_PEEK).startswith(_INTERIM)


class Source(BaseModel):
    """What has arrived."""

    sha256: str


class Receipt(BaseModel):
    """What the server says of a record."""

    link: str
    source: Source

    def check(self, sha256: str | None) -> str:
        """The link, if all that was sent has this hash.

        Raises:
            UploadFailed: it is the record of something else.
        """
        if self.source.sha256 != sha256:
            raise UploadFailed(f"what arrived is not what was sent: {self.link}")
        return self.link


def is_server_error(status: int) -> bool:
    """Whether it is the server's fault, and may pass."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR
