"""A file on its way by tus 1.0. The server says how much of it is there: after a break of the line,
a restart of the server or of the client it goes on from that.

The page has the same in static/page/resumable.js.
"""

import base64
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedIOBase

from pydantic import BaseModel

from umusic.bookmarks import Bookmark
from umusic.errors import UploadFailed
from umusic.files import File, FileChanged, FileUnreadable
from umusic.line import Answer, Line, Problem, Receipt, Refused, Unreachable, is_server_error
from umusic.resumable_errors import WrongOffset

#: Pauses between tries that come to nothing, in seconds; the last one again and again.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Without any progress, until it is given up.
PATIENCE_SECONDS = 300.0
#: While the server makes a record of what has all arrived.
ENCODING_SECONDS = 3600.0
#: Without a sign of life on a connection, which may be dead without a word.
_SILENCE_SECONDS = 60.0
#: An upload that vanishes is begun anew, so often in all.
_CREATIONS = 3
_TUS = {"Tus-Resumable": "1.0.0"}
#: What passes by itself, besides what is the server's fault. Of 409 only a wrong offset does.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.LOCKED, HTTPStatus.TOO_MANY_REQUESTS)
_WRONG_OFFSET = f"/problems/{WrongOffset.code}"
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_ID = re.compile(r"[0-9A-Za-z-]+")


def _now() -> float:
    return time.monotonic()


def _ignore(_: object) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What whoever watches an upload is told."""

    #: The number of bytes of each block that has gone.
    on_sent: Callable[[int], None] = _ignore
    #: The offset from which it goes on; what has gone beyond does not count.
    on_offset: Callable[[int], None] = _ignore
    #: Why it cannot go on for longer than a moment; it is tried again.
    on_wait: Callable[[UploadFailed], None] = _ignore


class _State(BaseModel):
    state: str
    offset: int
    record: Receipt | None = None
    problem: Problem | None = None


class Sending:
    """One upload of `size` bytes of a file, or the rest of the one in the `bookmark`."""

    def __init__(
        self,
        line: Line,
        token: str,
        wav: BufferedIOBase,
        size: int,
        name: str | None,
        watch: Watch,
        bookmark: Bookmark | None,
    ) -> None:
        self._line = line
        self._token = token
        self._file = File(wav, size)
        self._size = size
        self._name = name
        self._watch = watch
        self._bookmark = bookmark
        self._upload = bookmark.upload if bookmark else None
        self._creations = 0
        self._whole_since: float | None = None
        #: By what it could not go on the last time.
        self._broke: Refused | Unreachable | None = None
        self._patience = _Patience()

    def run(self) -> str:
        """Sends it, however often the line breaks, and returns the link.

        Raises:
            UploadFailed: the server refused it, cannot be reached, or got something else.
        """
        if self._bookmark and self._bookmark.stale:
            self._abandon(self._bookmark.stale)
        while True:
            try:
                link = self._attempt().check(self._file.digest())
            except (Refused, Unreachable) as exc:
                if not _passes(exc):
                    self._end(exc)
                    raise
                self._wait(exc)
            except FileChanged as exc:
                if self._upload:
                    self._abandon(self._upload)
                self._end(exc)
                raise
            except UploadFailed as exc:
                self._end(exc)
                raise
            else:
                self._drop()
                return link

    def _attempt(self) -> Receipt:
        """Goes on as far as the line holds."""
        while (state := self._look()) and state.state == "encoding":
            self._await_record()
        if state is None:
            self._create()
            return self._append(0)
        if state.problem:
            raise state.problem.refusal(HTTPStatus.GONE)
        if state.record:
            return state.record
        if self._broke and self._patience.left() < 0:
            # What has gone since has not come.
            raise self._broke
        return self._append(state.offset)

    def _await_record(self) -> None:
        self._patience.renew(self._size)
        self._whole_since = self._whole_since or _now()
        if _now() - self._whole_since > ENCODING_SECONDS:
            raise Unreachable("all has arrived, but there is no record of it yet.", passing=False)
        time.sleep(PAUSES[0])

    def _create(self) -> None:
        try:
            name = (self._name or "").encode()
        except UnicodeEncodeError as exc:
            raise UploadFailed("name is not UTF-8.") from exc
        told = f"filename {base64.b64encode(name).decode()}"
        answer = self._ask(
            "POST",
            "/uploads",
            {
                "Authorization": f"Bearer {self._token}",
                "Upload-Length": str(self._size),
                **({"Upload-Metadata": told} if name else {}),
            },
        )
        if answer.status != HTTPStatus.CREATED:
            raise answer.refusal()
        # Its id only: links may begin with another host than the server has here.
        upload = answer.headers.get("Location", "").rpartition("/")[2]
        if not _ID.fullmatch(upload):
            raise UploadFailed("the server answers, but not as umusic does.")
        self._creations += 1
        self._upload = upload
        if self._bookmark:
            self._bookmark.keep(upload)
        self._patience.renew()

    def _look(self) -> _State | None:
        """How far the upload is; None if there is none, or none any more."""
        if self._upload is None:
            return None
        answer = self._ask("GET", f"/uploads/{self._upload}", {"Accept": "application/json"})
        if answer.status in _GONE and self._creations < _CREATIONS:
            self._drop()
            return None
        if answer.status != HTTPStatus.OK:
            raise answer.refusal()
        state = answer.read(_State)
        if not 0 <= state.offset <= self._size:
            raise UploadFailed("the server answers, but not as umusic does.")
        self._patience.reached(state.offset)
        return state

    def _append(self, offset: int) -> Receipt:
        """Sends all from the offset on."""
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self._size - offset),
            "Upload-Offset": str(offset),
        }
        self._file.check()
        self._file.hash_up_to(offset)
        self._watch.on_offset(offset)
        answer = self._ask("PATCH", f"/uploads/{self._upload}", headers, self._blocks(offset))
        if answer.status != HTTPStatus.OK:
            raise answer.refusal()
        return answer.read(Receipt)

    def _blocks(self, offset: int) -> Iterator[bytes]:
        for block in self._file.blocks(offset):
            yield block
            self._watch.on_sent(len(block))
            self._patience.sent()

    def _ask(
        self, method: str, path: str, headers: dict[str, str], blocks: Iterator[bytes] | None = None
    ) -> Answer:
        return self._line.ask(method, path, _TUS | headers, blocks, patience=_SILENCE_SECONDS)

    def _wait(self, error: Refused | Unreachable) -> None:
        """Pauses before the next try; raises the error if there have been enough."""
        self._broke = error
        failures = self._patience.failed()
        pause = PAUSES[min(failures, len(PAUSES)) - 1]
        if isinstance(error, Refused):
            pause = max(pause, error.retry_after)
        if self._patience.left() < pause:
            raise error
        # Of a break that the next try mends nobody has to know.
        if failures == 2:
            self._watch.on_wait(error)
        time.sleep(pause)

    def _abandon(self, upload: str) -> None:
        """Tells the server that nobody will go on with it. If it does not hear, it expires."""
        with contextlib.suppress(Unreachable):
            self._ask("DELETE", f"/uploads/{upload}", {})

    def _end(self, error: UploadFailed) -> None:
        """After an error that does not pass: forgets the upload, if nothing can come of it."""
        no_space = isinstance(error, Refused) and error.status == HTTPStatus.INSUFFICIENT_STORAGE
        if not no_space and not isinstance(error, Unreachable | FileUnreadable):
            self._drop()

    def _drop(self) -> None:
        self._upload = None
        if self._bookmark:
            self._bookmark.drop()


class _Patience:
    """Counts tries that come to nothing, and for how long. Only what the server tells is progress:
    of what has been sent nobody knows yet."""

    def __init__(self) -> None:
        self._highest = 0
        self._failures = 0
        self._since: float | None = None
        #: When bytes went, as long as the server has not told whether they came.
        self._sent: float | None = None

    def renew(self, offset: int = 0) -> None:
        """There is progress: an upload has begun, or become whole, or got as far as this."""
        self._highest = offset
        self._failures = 0
        self._since = self._sent = None

    def reached(self, offset: int) -> None:
        """The server has so many bytes."""
        if offset > self._highest:
            self.renew(offset)
        self._sent = None

    def sent(self) -> None:
        """Bytes have gone."""
        self._sent = _now()

    def failed(self) -> int:
        """A try came to nothing. The number of those since the last progress."""
        self._failures += 1
        self._since = self._since or _now()
        return self._failures

    def left(self) -> float:
        """Seconds until it is at its end."""
        if self._since is None:
            return PATIENCE_SECONDS
        return max(self._since, self._sent or self._since) + PATIENCE_SECONDS - _now()


def _passes(error: Refused | Unreachable) -> bool:
    if isinstance(error, Unreachable):
        return error.passing
    if error.status == HTTPStatus.INSUFFICIENT_STORAGE:
        return False
    passing = error.status in _PASSING or error.kind == _WRONG_OFFSET
    return passing or is_server_error(error.status)
