"""A client of umusic: streams a WAV to a server and brings the link back.

It shows nothing and knows no command line.
"""

import hashlib
import http.client
import os
import select
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus
from io import BufferedIOBase
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from umusic.errors import UploadFailed
from umusic.upload_errors import KeyInUse

_BLOCK_BYTES = 256 * 1024
_MAX_ANSWER_BYTES = 2**20
_INTERIM = b"HTTP/1.1 1"
#: Without a sign of life of the server, which reads nothing while its encoder is busy.
_PATIENCE_SECONDS = 600.0
_CONNECT_SECONDS = 20.0
#: After which pauses a server is asked again that may have the record.
PAUSES = (0.5, 1.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0)
_STILL_RUNNING = f"/problems/{KeyInUse.code}"


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
        `on_sent` is called with the number of bytes of each block. If the answer to all of it is
        lost, the server is asked again.

        Raises:
            UploadFailed: the server refused it, cannot be reached, or got something else.
        """
        key = str(uuid.uuid4())
        body = _Body(wav, size, on_sent)
        try:
            return self._attempt(name, key, body)
        except _AnswerLost as lost:
            return self._ask_again(name, key, body, lost)

    def _ask_again(self, name: str | None, key: str, sent: "_Body", lost: "_AnswerLost") -> str:
        """Sends the same upload with the same key, which the server answers at once if it has the
        record. Of what came through a pipe nothing is left to be sent: it is only asked for."""
        for pause in PAUSES:
            time.sleep(pause)
            again = sent.again()
            try:
                return self._attempt(name, key, again, sent)
            except _AnswerLost as exc:
                lost = exc
            except _Away:
                pass
            except UploadFailed as exc:
                if sent.size is None:
                    raise lost from exc
                raise
        raise lost

    def _attempt(
        self, name: str | None, key: str, body: "_Body", sent: "_Body | None" = None
    ) -> str:
        """One request. The answer may be to what an earlier one has `sent`."""
        url = urlsplit(self._server)
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=_CONNECT_SECONDS)
        try:
            self._send(connection, url.path, name, key, body)
            reply = connection.getresponse()
            status, answer = reply.status, reply.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            hint = " Does it speak https?" if secure else ""
            failure = _AnswerLost if body.ended else _Away
            raise failure(f"{self._server} cannot be reached: {why}.{hint}") from exc
        finally:
            connection.close()
        if status != HTTPStatus.CREATED:
            raise _refusal(status, answer)
        try:
            receipt = _Receipt.model_validate_json(answer)
        except ValidationError as exc:
            raise UploadFailed("the server answers, but not as umusic does.") from exc
        whole = body if body.ended or sent is None else sent
        if not whole.ended or receipt.source.sha256 != whole.sha256.hexdigest():
            raise UploadFailed(f"what arrived is not what was sent: {receipt.link}")
        return receipt.link

    def _send(
        self,
        connection: http.client.HTTPConnection,
        base: str,
        name: str | None,
        key: str,
        body: "_Body",
    ) -> None:
        connection.connect()
        connection.sock.settimeout(_PATIENCE_SECONDS)
        # As bytes: what is no UTF-8 is for the server to refuse.
        query = f"?{urlencode({'name': os.fsencode(name)})}" if name else ""
        length = {"Transfer-Encoding": "chunked"}
        if body.size is not None:
            length = {"Content-Length": str(body.size)}
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "audio/wav",
            "Idempotency-Key": f'"{key}"',
            **length,
        }
        path = f"{base.rstrip('/')}/record{query}"
        try:
            blocks = body.blocks(connection)
            connection.request("PUT", path, blocks, headers, encode_chunked=body.size is None)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            if not body.begun:
                raise
            # Whoever hangs up half way has said why before; `getresponse` reads it.
        except _Answered:
            pass


class _Answered(Exception):
    """The server has answered before it got all."""


class _AnswerLost(UploadFailed):
    """All was sent, and there is no answer, or none yet."""


class _Away(UploadFailed):
    """There is no server, or none that can answer at the moment."""


class _Source(BaseModel):
    sha256: str


class _Receipt(BaseModel):
    link: str
    source: _Source


class _Problem(BaseModel):
    type: str = ""
    detail: str
    link: str | None = None


class _Body:
    """The file in blocks; raises `_Answered` if there is an answer before its end."""

    def __init__(
        self, wav: BufferedIOBase | None, size: int | None, on_sent: Callable[[int], None]
    ) -> None:
        self.size = size
        self.sha256 = hashlib.sha256()
        self.begun = False
        self.ended = False
        self._wav = wav
        self._on_sent = on_sent

    def again(self) -> "_Body":
        """The same to be sent once more; nothing, if it came through a pipe."""
        if self.size is None or self._wav is None:
            return _Body(None, None, _ignore)
        try:
            self._wav.seek(0)
        except OSError as exc:
            raise UploadFailed(f"it cannot be read: {exc.strerror}.") from exc
        return _Body(self._wav, self.size, _ignore)

    def blocks(self, connection: http.client.HTTPConnection) -> Iterator[bytes]:
        """The blocks as they are sent over the connection."""
        if self._wav is None:
            return
        left = self.size
        while left != 0:
            block = self._read(self._wav, min(left or _BLOCK_BYTES, _BLOCK_BYTES))
            if not block and left is None:
                break
            if not block:
                raise UploadFailed("the file became shorter while it was sent.")
            # Not by an end of the iteration: chunks would be closed as if that were all.
            if _is_answered(connection.sock):
                raise _Answered
            self.begun = True
            self.sha256.update(block)
            yield block
            self._on_sent(len(block))
            left = None if left is None else left - len(block)
        self.ended = True

    def _read(self, wav: BufferedIOBase, count: int) -> bytes:
        try:
            # What there is: who records live should not wait for a whole block.
            return wav.read1(count)
        except OSError as exc:
            raise UploadFailed(f"it cannot be read: {exc.strerror}.") from exc


def _is_answered(connection: socket.socket) -> bool:
    # TLS has things of its own to say, so there a refusal is heard only when all is sent or the
    # server hangs up.
    if isinstance(connection, ssl.SSLSocket):
        return False
    if not select.select([connection], [], [], 0)[0]:
        return False
    # Nobody asked for a 100, but it may come.
    return not connection.recv(len(_INTERIM), socket.MSG_PEEK).startswith(_INTERIM)


def _ignore(count: int) -> None:
    """Tells nobody."""


def _refusal(status: int, answer: bytes) -> UploadFailed:
    kind = _Away if status >= HTTPStatus.INTERNAL_SERVER_ERROR else UploadFailed
    try:
        problem = _Problem.model_validate_json(answer)
    except ValidationError:
        return kind(f"the server answers {status}, and not as umusic does.")
    if problem.type == _STILL_RUNNING:
        kind = _AnswerLost
    return kind(f"{problem.detail} ({problem.link})" if problem.link else problem.detail)
