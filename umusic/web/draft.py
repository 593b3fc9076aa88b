"""Uploads that survive a broken line, by draft-ietf-httpbis-resumable-upload.

An upload begins as any other one does, at POST or PUT /record; while it goes on, an interim answer
tells its URL below /uploads. Whoever loses the line asks there how far it is, and sends the rest;
no token is needed. What there is of it is kept as that of an upload by tus.
"""

import contextlib
import time
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from umusic.errors import ContentEncoded, LengthMissing, NoSound, TooLarge, UmusicError
from umusic.library.models import Record, ResumableUpload
from umusic.library.names import record_name
from umusic.library.orders import Order
from umusic.library.progress import Progress
from umusic.library.resumption import is_final
from umusic.library.users import Users
from umusic.resumable_errors import (
    ChecksumMismatch,
    InconsistentLength,
    LengthExceeded,
    MismatchingOffset,
    NotPartialUpload,
    ResumptionGone,
    WrongOffset,
)
from umusic.upload_errors import DigestMismatch, MalformedHeader
from umusic.web import draft_headers as draft
from umusic.web.appending import AppendingHandler
from umusic.web.bodies import as_utf8, filename_in, filename_of
from umusic.web.credentials import credentials_of
from umusic.web.dialects import RECORD


def speaks(request: HTTPServerRequest) -> bool:
    """Whether a request speaks the draft."""
    return draft.version_of(request.headers) is not None


def begins(request: HTTPServerRequest, *, relayed: bool) -> bool:
    """Whether one that takes a WAV begins an upload by the draft; `relayed` as in `Settings`."""
    heard = draft.hears_interim(request.version, request.headers, relayed=relayed)
    return draft.is_creation(request.headers, announced=heard)


class DraftHandler(AppendingHandler):
    """What all requests of the draft have in common; and, by OPTIONS, what there is of it."""

    _piece: draft.Piece
    _offset = 0

    def initialize(self, allow: str, **needs: Any) -> None:  # type: ignore[override]
        """`allow` lists the methods that the path takes."""
        super().initialize(**needs)
        self._allow = allow

    async def admit(self) -> None:
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ContentEncoded

    def options(self, *_: str) -> None:
        """Tells that uploads are resumable here, and their limits."""
        self.set_header("Allow", self._allow)
        self.set_header("Accept-Patch", draft.CONTENT_TYPE)
        self.set_header(draft.LIMIT, self.limits())
        self.set_status(204)

    async def receive(self, data: bytes) -> None:
        try:
            await super().receive(data)
        except LengthExceeded:
            # The draft wants nothing to come of it any more.
            if self._turn is not None and self._resumption is not None:
                await self._turn.abort()
                await self.resumptions.terminate(self._resumption.id)
            raise

    def write_problem(self, error: UmusicError) -> None:
        told = self._as_draft(error)
        super().write_problem(told)
        if isinstance(error, WrongOffset):
            self.set_header(draft.OFFSET, str(error.members["offset"]))
        if isinstance(told, TooLarge):
            self.set_header(draft.LIMIT, self.limits())
        # It is about the WAV, and to send more of it is in vain.
        if self._is_outcome(error):
            self.set_header(draft.COMPLETE, draft.boolean(True))

    def length_from(self, offset: int) -> int | None:
        """How many bytes the upload has, by this request, which begins there."""
        size = None if self.framing.chunked else self.framing.length or 0
        return self._piece.length_from(offset, size)

    def limits(self, row: ResumableUpload | None = None) -> str:
        """What an upload may have: any one, or this."""
        left = None if row is None else row.expires_at.timestamp() - time.time()
        return draft.limits(self.keeper.limits.upload_bytes, left)

    def tell_record(self, record: Record) -> None:
        """Answers as POST /record does."""
        self.set_header(draft.COMPLETE, draft.boolean(True))
        self.set_header("Location", self.link_of(record))
        self.reply(201, self.receipt_of(record))

    def tell_offset(self, status: int, offset: int, row: ResumableUpload) -> None:
        """Answers that there is so much, and more to come."""
        self.set_header(draft.COMPLETE, draft.boolean(False))
        self.set_header(draft.OFFSET, str(offset))
        self.set_header(draft.LIMIT, self.limits(row))
        self.set_status(status)
        self.clear_header("Content-Type")

    def _as_draft(self, error: UmusicError) -> UmusicError:
        """What the draft calls an error that tus calls otherwise."""
        if isinstance(error, WrongOffset):
            told = MismatchingOffset()
            told.members["expected-offset"] = error.members["offset"]
            told.members["provided-offset"] = self._offset
            return told
        if isinstance(error, LengthExceeded):
            return InconsistentLength()
        return DigestMismatch() if isinstance(error, ChecksumMismatch) else error

    def _is_outcome(self, error: UmusicError) -> bool:
        """Whether it is what the upload has failed by."""
        outcome = self._resumption.outcome if self._resumption else None
        failed = outcome is not None and outcome.done() and outcome.exception() is error
        return failed and is_final(error) and not isinstance(error, ResumptionGone)


class DraftCreationHandler(DraftHandler):
    """POST and PUT /record: an upload begins, and ends as well if the line holds."""

    def initialize(  # type: ignore[override]
        self, users: Users, relayed: bool, **needs: Any
    ) -> None:
        """Takes who can tell who sends it, and whether interim answers pass the proxies."""
        super().initialize(**needs)
        self._users = users
        self._relayed = relayed
        self._row: ResumableUpload | None = None
        self._announced = False

    async def admit(self) -> None:
        await super().admit()
        self._piece = draft.Piece.of(self.request.headers)
        if self._piece.last and not self.framing.told:
            raise LengthMissing
        length = self.length_from(0)
        credentials = credentials_of(self.bearer(), self.query, {})
        user, owner_id = await credentials.authenticate(self._users)
        if length == 0:
            raise NoSound("The upload is empty: there is no WAV in it.")
        order = Order(owner_id, user.id, self._name())
        self._row = await self.resumptions.create(order, length, "")
        if self.framing.has_body:
            await self.begin_turn(self._row.id, 0, length=None, check=self._piece.check)
            await self._announce(self._row)

    async def post(self) -> None:
        """Answers with the record if this was all, else with the upload's URL."""
        assert self._row is not None
        record = await self.end_turn(last=self._piece.last) if self._turn else None
        if record:
            self.tell_record(record)
        else:
            self.set_header("Location", self._url(self._row))
            row, offset = self._row, 0
            if self._resumption:
                row, offset = self._resumption.row, self._resumption.offset
            self.tell_offset(201, offset, row)

    put = post

    async def clean_up(self) -> None:
        await super().clean_up()
        told = self._announced or self._finished_turn or not self.framing.has_body
        # Nobody can go on with it.
        if self._row is not None and not told:
            row, self._row = self._row, None
            await self.resumptions.abandon(row.id)

    async def _announce(self, row: ResumableUpload) -> None:
        """Tells the upload's URL at once, to whom that reaches."""
        version = draft.version_of(self.request.headers)
        connection = self.request.connection
        heard = draft.hears_interim(
            self.request.version, self.request.headers, relayed=self._relayed
        )
        if version is None or not heard or not isinstance(connection, HTTP1Connection):
            return
        self._announced = True
        with contextlib.suppress(StreamClosedError):
            head = draft.interim(self._url(row), version, self.limits(row))
            await connection.stream.write(head)

    def _url(self, row: ResumableUpload) -> str:
        return self.links.to(self.request, f"/uploads/{row.id}")

    def _name(self) -> str | None:
        disposition = as_utf8(self.request.headers.get("Content-Disposition", ""))
        in_path = filename_in(self.request.path, RECORD.path)
        return record_name(self.query("name") or filename_of(disposition) or in_path)


class DraftResumableHandler(DraftHandler):
    """/uploads/ID: how far an upload is, more of it, or its end."""

    _record: Record | None = None

    async def admit(self) -> None:
        await super().admit()
        if self.request.method != "PATCH":
            return
        if not draft.is_partial(self.request.headers.get("Content-Type", "")):
            raise NotPartialUpload
        self._piece = draft.Piece.of(self.request.headers)
        if self._piece.offset is None:
            raise MalformedHeader(f"{draft.OFFSET} is needed.", header=draft.OFFSET)
        self._offset = self._piece.offset
        length, check = self.length_from(self._offset), self._piece.check
        self._record = await self.begin_turn(
            self.upload_id(), self._offset, length=length, check=check
        )

    async def head(self, _: str) -> None:
        """Tells how many bytes there are; who is still writing to it is cut off."""
        self._tell_progress(await self.resumptions.settle(self.upload_id()))
        self.set_status(204)
        self.clear_header("Content-Type")

    async def get(self, _: str) -> None:
        """As HEAD, and tells what has come of it."""
        progress = await self.resumptions.settle(self.upload_id())
        self._tell_progress(progress)
        self.reply(200, self.state_of(progress))

    async def patch(self, _: str) -> None:
        """Answers once the body has ended, and is durable or has become a record."""
        record = self._record or await self.end_turn(last=self._piece.last)
        if record:
            self.tell_record(record)
        else:
            assert self._resumption is not None
            self.tell_offset(204, self._resumption.offset, self._resumption.row)

    async def delete(self, _: str) -> None:
        """Ends it."""
        await self.resumptions.terminate(self.upload_id())
        self.set_status(204)

    def _tell_progress(self, progress: Progress) -> None:
        if progress.end:
            raise progress.end
        self.set_header(draft.OFFSET, str(progress.offset))
        self.set_header(draft.COMPLETE, draft.boolean(progress.record is not None))
        if progress.row.length is not None:
            self.set_header(draft.LENGTH, str(progress.row.length))
        if progress.record:
            self.set_header("Content-Location", self.link_of(progress.record))
        self.set_header(draft.LIMIT, self.limits(progress.row))
