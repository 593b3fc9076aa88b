"""A client of umusic: sends a WAV to a server and brings the link back.

What has a known size is sent by `umusic.resuming`; what comes through a pipe is streamed by the
client itself, and cannot be sent twice. It shows nothing and knows no command line.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus
from io import BufferedIOBase
from urllib.parse import urlencode

from umusic.bookmarks import Bookmark
from umusic.errors import UploadFailed
from umusic.line import Line, Receipt, Refused, Unreachable, is_server_error
from umusic.resuming import Sending, Watch
from umusic.upload_errors import KeyInUse

_BLOCK_BYTES = 256 * 1024
#: Without a sign of life of the server, which reads nothing while its encoder is busy.
_PATIENCE_SECONDS = 600.0
#: After which pauses a server is asked again that may have the record.
PAUSES = (0.5, 1.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0)
_STILL_RUNNING = f"/problems/{KeyInUse.code}"


class Client:
    """Uploads to the umusic at the URL `server`, with a user's token."""

    def __init__(self, server: str, token: str) -> None:
        self._line = Line(server)
        self._token = token

    def upload(
        self,
        wav: BufferedIOBase,
        *,
        size: int | None,
        name: str | None,
        watch: Watch | None = None,
        bookmark: Bookmark | None = None,
    ) -> str:
        """Sends `size` bytes of the file, and goes on where the line breaks; or else (None) all
        there are, in chunks, of which only the answer is asked for again if it is lost. Returns
        the link. An upload in the `bookmark` is gone on with.

        Raises:
            UploadFailed: the server refused it, cannot be reached, or got something else.
        """
        watch = watch or Watch()
        if size is not None:
            return Sending(self._line, self._token, wav, size, name, watch, bookmark).run()
        key = str(uuid.uuid4())
        body = _Body(wav, watch.on_sent)
        try:
            return self._attempt(name, key, body, body)
        except _AnswerLost as lost:
            return self._ask_again(name, key, body, lost)

    def _ask_again(self, name: str | None, key: str, sent: "_Body", lost: "_AnswerLost") -> str:
        """Asks with the same key, which the server answers at once if it has the record. Of what
        came through a pipe nothing is left to be sent."""
        for pause in PAUSES:
            time.sleep(pause)
            try:
                return self._attempt(name, key, None, sent)
            except _AnswerLost as exc:
                lost = exc
            except _Away:
                pass
            except UploadFailed as exc:
                raise lost from exc
        raise lost

    def _attempt(self, name: str | None, key: str, body: "_Body | None", sent: "_Body") -> str:
        """One request. The answer may be to what an earlier one has `sent`."""
        # As bytes: what is no UTF-8 is for the server to refuse.
        query = f"?{urlencode({'name': os.fsencode(name)})}" if name else ""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "audio/wav",
            "Idempotency-Key": f'"{key}"',
            "Transfer-Encoding": "chunked",
        }
        blocks = body.blocks() if body else iter(())
        try:
            answer = self._line.ask(
                "PUT", f"/record{query}", headers, blocks, patience=_PATIENCE_SECONDS
            )
        except Unreachable as exc:
            lost = body is not None and body.ended
            raise (_AnswerLost if lost else _Away)(str(exc)) from exc
        if answer.status != HTTPStatus.CREATED:
            raise _named(answer.refusal())
        return answer.read(Receipt).check(sent.sha256.hexdigest() if sent.ended else None)


class _AnswerLost(UploadFailed):
    """All was sent, and there is no answer, or none yet."""


class _Away(UploadFailed):
    """There is no server, or none that can answer at the moment."""


class _Body:
    """What comes through a pipe, in blocks."""

    def __init__(self, wav: BufferedIOBase, on_sent: Callable[[int], None]) -> None:
        self.sha256 = hashlib.sha256()
        self.ended = False
        self._wav = wav
        self._on_sent = on_sent

    def blocks(self) -> Iterator[bytes]:
        """The blocks as they are sent."""
        while block := self._read():
            self.sha256.update(block)
            yield block
            self._on_sent(len(block))
        self.ended = True

    def _read(self) -> bytes:
        try:
            # What there is: who records live should not wait for a whole block.
            return self._wav.read1(_BLOCK_BYTES)
        except OSError as exc:
            raise UploadFailed(f"it cannot be read: {exc.strerror}.") from exc


def _named(refused: Refused) -> UploadFailed:
    """A refusal, as what it means for a record that may be there."""
    if refused.kind == _STILL_RUNNING:
        return _AnswerLost(str(refused))
    return _Away(str(refused)) if is_server_error(refused.status) else refused
