"""A client of umusic: streams a WAV to a server and brings the link back.

It shows nothing and knows no command line.
"""

import hashlib
import http.client
import os
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from io import BufferedIOBase
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from umusic.errors import UploadFailed

_BLOCK_BYTES = 256 * 1024
_MAX_ANSWER_BYTES = 2**20
_INTERIM = b"HTTP/1.1 1"
#: Without a sign of life of the server, which reads nothing while its encoder is busy.
_PATIENCE_SECONDS = 600.0
_CONNECT_SECONDS = 20.0


class Client:
    """Uploads to the umusic at the URL `server`, with a user's token."""

    def __init__(self, server: str, token: str) -> None:
        self._server = server
        self._token = token

    def upload(
        self,
        wav: BufferedIOBase,
        *,
        size: int | None,
        name: str | None,
        on_sent: Callable[[int], None] = lambda count: None,
    ) -> str:
        """Sends `size` bytes of the file (None: all there are, in chunks) and returns the link.
        `on_sent` is called with the number of bytes of each block.

        Raises:
            UploadFailed: the server refused it, cannot be reached, or got something else.
        """
        url = urlsplit(self._server)
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=_CONNECT_SECONDS)
        body = _Body(connection, wav, size, on_sent)
        try:
            self._send(connection, url.path, name, body)
            reply = connection.getresponse()
            status, answer = reply.status, reply.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            hint = " Does it speak https?" if secure else ""
            raise UploadFailed(f"{self._server} cannot be reached: {why}.{hint}") from exc
        finally:
            connection.close()
        if status != HTTPStatus.CREATED:
            raise UploadFailed(_refusal(status, answer))
        try:
            receipt = _Receipt.model_validate_json(answer)
        except ValidationError as exc:
            raise UploadFailed("the server answers, but not as umusic does.") from exc
        if not body.ended or receipt.source.sha256 != body.sha256.hexdigest():
            raise UploadFailed(f"what arrived is not what was sent: {receipt.link}")
        return receipt.link

    def _send(
        self, connection: http.client.HTTPConnection, base: str, name: str | None, body: "_Body"
    ) -> None:
        connection.connect()
        connection.sock.settimeout(_PATIENCE_SECONDS)
        # As bytes: what is no UTF-8 is for the server to refuse.
        query = f"?{urlencode({'name': os.fsencode(name)})}" if name else ""
        length = {"Transfer-Encoding": "chunked"}
        if body.size is not None:
            length = {"Content-Length": str(body.size)}
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "audio/wav", **length}
        path = f"{base.rstrip('/')}/record{query}"
        try:
            connection.request("PUT", path, iter(body), headers, encode_chunked=body.size is None)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            if not body.begun:
                raise
            # Whoever hangs up half way has said why before; `getresponse` reads it.
        except _Answered:
            pass


class _Answered(Exception):
    """The server has answered before it got all."""


class _Source(BaseModel):
    sha256: str


class _Receipt(BaseModel):
    link: str
    source: _Source


class _Problem(BaseModel):
    detail: str
    link: str | None = None


class _Body:
    """The file in blocks; raises `_Answered` if there is an answer before its end."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        wav: BufferedIOBase,
        size: int | None,
        on_sent: Callable[[int], None],
    ) -> None:
        self.size = size
        self.sha256 = hashlib.sha256()
        self.begun = False
        self.ended = False
        self._connection = connection
        self._wav = wav
        self._on_sent = on_sent

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        while left != 0:
            block = self._read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
            if not block and left is None:
                break
            if not block:
                raise UploadFailed("the file became shorter while it was sent.")
            # Not by an end of the iteration: chunks would be closed as if that were all.
            if self._is_answered():
                raise _Answered
            self.begun = True
            self.sha256.update(block)
            yield block
            self._on_sent(len(block))
            left = None if left is None else left - len(block)
        self.ended = True

    def _read(self, count: int) -> bytes:
        try:
            # What there is: who records live should not wait for a whole block.
            return self._wav.read1(count)
        except OSError as exc:
            raise UploadFailed(f"it cannot be read: {exc.strerror}.") from exc

    def _is_answered(self) -> bool:
        connection = self._connection.sock
        # TLS has things of its own to say, so there a refusal is heard only when all is sent or
        # the server hangs up.
        if isinstance(connection, ssl.SSLSocket):
            return False
        if not select.select([connection], [], [], 0)[0]:
            return False
        # Nobody asked for a 100, but it may come.
        return not connection.recv(len(_INTERIM), socket.MSG_PEEK).startswith(_INTERIM)


def _refusal(status: int, answer: bytes) -> str:
    try:
        problem = _Problem.model_validate_json(answer)
    except ValidationError:
        return f"the server answers {status}, and not as umusic does."
    return f"{problem.detail} ({problem.link})" if problem.link else problem.detail
