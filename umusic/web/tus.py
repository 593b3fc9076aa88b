"""/uploads and /uploads/ID: uploads that survive a broken line, by tus 1.0.0.

An upload's URL is all that it takes to go on with it: no token is asked for there.
"""

import uuid
from email.utils import format_datetime
from typing import Any

from tornado.web import RequestHandler

from umusic.errors import ContentEncoded, MethodUnknown, NoSound, TokenMissing, UmusicError
from umusic.library.models import Record, ResumableUpload
from umusic.library.names import record_name
from umusic.library.orders import Order
from umusic.library.progress import patience
from umusic.library.users import Users
from umusic.resumable_errors import NotOffsetStream, ResumptionFailed, VersionUnsupported
from umusic.upload_errors import MalformedHeader
from umusic.web import tus_headers as tus
from umusic.web.appending import AppendingHandler
from umusic.web.credentials import uuid_field
from umusic.web.curt import CurtHandler

_MAX_METADATA = 4096
_WITHOUT_VERSION = ("OPTIONS", "GET")
#: What a POST may stand for; not HEAD, whose answers announce a body that is not there.
_OVERRIDABLE = ("PATCH", "DELETE")


class TusHandler(AppendingHandler):
    """What all requests of the protocol have in common ("Core Protocol", "Headers")."""

    def initialize(self, **needs: Any) -> None:  # type: ignore[override]
        """Takes what appending needs."""
        super().initialize(**needs)
        override = self.request.headers.get(tus.OVERRIDE, "").strip().upper()
        sent = self.request.method
        known = sent in self.METHODS and override in ("", sent, *_OVERRIDABLE)
        # Where POST may only stand for another it has no verb of its own.
        nothing = RequestHandler._unimplemented_method
        verb = getattr(self, (override or sent or "").lower(), nothing)
        self._is_meant = known and getattr(verb, "__func__", nothing) is not nothing
        if override and self._is_meant:
            self.request.method = override

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header(tus.RESUMABLE, tus.VERSION)

    def write_problem(self, error: UmusicError) -> None:
        super().write_problem(error)
        if isinstance(error, MethodUnknown):
            self.set_header("Allow", ", ".join(self.METHODS))

    async def admit(self) -> None:
        method = self.request.method
        if not self._is_meant:
            raise MethodUnknown(f"This path takes {', '.join(self.METHODS)}.")
        version = self.request.headers.get(tus.RESUMABLE)
        if method not in _WITHOUT_VERSION and version != tus.VERSION:
            raise VersionUnsupported
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ContentEncoded

    def options(self, *_: str) -> None:
        """Tells what there is of the protocol."""
        self.set_header("Allow", ", ".join(self.METHODS))
        self.set_header("Tus-Version", tus.VERSION)
        self.set_header("Tus-Extension", ",".join(tus.EXTENSIONS))
        self.set_header("Tus-Max-Size", str(self.keeper.limits.upload_bytes))
        self.set_header("Tus-Checksum-Algorithm", ",".join(tus.ALGORITHMS))
        self.set_status(204)

    def header_number(self, name: str) -> int | None:
        """A header that is a number of bytes, if it is there."""
        told = self.request.headers.get(name)
        return None if told is None else tus.number(name, told)

    def tell_expiry(self, row: ResumableUpload) -> None:
        """Says until when the upload waits ("Expiration")."""
        self.set_header(tus.EXPIRES, format_datetime(row.expires_at, usegmt=True))

    async def take_turn(self, upload_id: uuid.UUID, offset: int) -> Record | None:
        """Takes the turn to append, under the checksum if there is one."""
        told = self.request.headers.get(tus.CHECKSUM)
        return await self.begin_turn(
            upload_id,
            offset,
            length=self.header_number(tus.LENGTH) if self.request.method == "PATCH" else None,
            check=None if told is None else tus.checksum(told),
        )

    def tell(self, status: int, offset: int, record: Record | None) -> None:
        """Answers with the offset, and with the record if it is there."""
        self.set_header(tus.OFFSET, str(offset))
        self.set_status(status)
        # Nothing is in the answer, unless `reply` puts it there.
        self.clear_header("Content-Type")
        if record is None:
            return
        self.set_header("Content-Location", self.link_of(record))
        headers = self.request.headers
        if tus.wants_record(headers.get("Prefer", ""), headers.get("Accept", "")):
            self.set_header("Preference-Applied", "return=representation")
            self.reply(200 if status == 204 else status, self.receipt_of(record))

    def check_content_type(self) -> None:
        """Raises NotOffsetStream for a body of another type."""
        if not tus.is_offset_stream(self.request.headers.get("Content-Type", "")):
            raise NotOffsetStream


class CreationHandler(TusHandler):
    """POST /uploads: an upload begins ("Creation", "Creation With Upload")."""

    METHODS = ("POST", "OPTIONS")

    def initialize(self, users: Users, **common: Any) -> None:  # type: ignore[override]
        """Takes who can tell whose a token is, and what every handler of tus does."""
        super().initialize(**common)
        self._users = users
        self._row: ResumableUpload | None = None

    async def admit(self) -> None:
        await super().admit()
        if self.request.method != "POST":
            return
        bearer = self.bearer()
        if bearer is None:
            raise TokenMissing("A token is needed: send Authorization: Bearer TOKEN.")
        user = await self._users.by_token(bearer)
        length = self._length()
        if self.framing.has_body:
            self.check_content_type()
        raw = self.request.headers.get(tus.METADATA, "")
        told = tus.metadata(raw)
        if len(raw) > _MAX_METADATA:
            raise MalformedHeader(
                f"At most {_MAX_METADATA} bytes of {tus.METADATA} are taken.", header=tus.METADATA
            )
        owner = uuid_field("user_id", told["user_id"]) if "user_id" in told else user.id
        name = record_name(told.get("filename") or told.get("name"))
        self._row = await self.resumptions.create(Order(owner, user.id, name), length, raw)
        if self.framing.has_body:
            await self.take_turn(self._row.id, 0)

    async def post(self) -> None:
        """Answers with the upload's URL, once the body has ended if there is one."""
        assert self._row is not None
        record = await self.end_turn() if self._turn else None
        self.set_header("Location", self.links.to(self.request, f"/uploads/{self._row.id}"))
        self.tell_expiry(self._resumption.row if self._resumption else self._row)
        self.tell(201, self._resumption.offset if self._resumption else 0, record)

    async def clean_up(self) -> None:
        await super().clean_up()
        # Its URL has not been told, so nobody can go on with it.
        if self._row is not None and self.framing.has_body and not self._finished_turn:
            row, self._row = self._row, None
            await self.resumptions.abandon(row.id)

    def _length(self) -> int | None:
        """The length that is announced; None if that is to come later."""
        length = self.header_number(tus.LENGTH)
        deferred = self.request.headers.get(tus.DEFER_LENGTH)
        if self.request.headers.get(tus.CONCAT) is not None:
            raise MalformedHeader("Uploads are not concatenated here.", header=tus.CONCAT)
        if deferred not in (None, "1") or (length is None) != (deferred == "1"):
            raise MalformedHeader(
                f"Either {tus.LENGTH} is needed, or {tus.DEFER_LENGTH}: 1.", header=tus.LENGTH
            )
        if length == 0:
            raise NoSound("The upload is empty: there is no WAV in it.")
        return length


class ResumableHandler(CurtHandler, TusHandler):
    """/uploads/ID: what there is of an upload, more of it, or its end."""

    #: POST with a method that it stands for.
    METHODS = ("HEAD", "GET", "PATCH", "DELETE", "OPTIONS", "POST")
    _record: Record | None = None
    _offset = 0

    async def admit(self) -> None:
        await super().admit()
        if self.request.method != "PATCH":
            return
        self.check_content_type()
        offset = self.header_number(tus.OFFSET)
        if offset is None:
            raise MalformedHeader(f"{tus.OFFSET} is needed.", header=tus.OFFSET)
        self._offset = offset
        self._record = await self.take_turn(self.upload_id(), offset)

    async def head(self, _: str) -> None:
        """Tells how many bytes there are."""
        # After 423 all ask again; after 503 tus-js-client begins anew.
        with patience():
            progress = await self.resumptions.assure(self.upload_id())
        if progress.end:
            raise progress.end
        row = progress.row
        self.set_header(tus.OFFSET, str(progress.offset))
        if row.length is None:
            self.set_header(tus.DEFER_LENGTH, "1")
        else:
            self.set_header(tus.LENGTH, str(row.length))
        if row.told:
            self.set_header(tus.METADATA, row.told)
        if progress.record:
            self.set_header("Content-Location", self.link_of(progress.record))
        else:
            self.tell_expiry(row)

    async def get(self, _: str) -> None:
        """Tells how far it is, and what has come of it."""
        progress = await self.resumptions.look(self.upload_id())
        if progress.end and not isinstance(progress.end, ResumptionFailed):
            raise progress.end
        self.reply(200, self.state_of(progress))

    async def patch(self, _: str) -> None:
        """Answers once the body has ended, and is durable or has become a record."""
        record = self._record or await self.end_turn()
        offset = self._resumption.offset if self._resumption else self._offset
        if record is None and self._resumption:
            self.tell_expiry(self._resumption.row)
        self.tell(204, offset, record)

    async def delete(self, _: str) -> None:
        """Ends it ("Termination")."""
        await self.resumptions.terminate(self.upload_id())
        self.set_status(204)
