"""POST and PUT /record, and what the older services call it: a WAV comes in, its link goes out."""

import time
import uuid
from typing import Any

from tornado.httputil import HTTPHeaders

from umusic.errors import (
    ContentEncoded,
    CredentialsAfterFile,
    LengthMissing,
    NoSound,
    TokenMissing,
    UmusicError,
)
from umusic.library.keeper import Keeper, Upload
from umusic.library.models import Record, User
from umusic.library.names import record_name
from umusic.library.orders import Order
from umusic.library.users import Users
from umusic.web.base import BaseHandler
from umusic.web.bodies import (
    MAX_FORM_BYTES,
    Body,
    Field,
    FileStart,
    RawBody,
    as_utf8,
    body_of,
    filename_in,
    filename_of,
)
from umusic.web.credentials import Credentials, credentials_of, uuid_field
from umusic.web.dialects import PAIRS, Uploading
from umusic.web.digests import AnnouncedDigests
from umusic.web.headers import idempotency_key
from umusic.web.schemas import Metadata
from umusic.web.trace import CLIENT_GONE

_EMPTY = "The body is empty: there is no WAV in it."
#: Form fields that say in whose library the upload is filed.
_OWNER_FIELDS = {pair.user_id for pair in PAIRS if pair.place == "form"}
#: Bytes of a file that are read on to see whether its credentials come after it.
_MAX_PASSED_OVER = 2**20


class UploadHandler(BaseHandler):
    """Streams the body into the keeper. What can be refused by the headers is, before the body."""

    def initialize(  # type: ignore[override]
        self, users: Users, keeper: Keeper, dialect: Uploading, **common: Any
    ) -> None:
        """Takes what an upload needs, and what every handler does."""
        super().initialize(**common)
        self._dialect = dialect
        self._users = users
        self._keeper = keeper
        self._key: str | None = None
        self._digests = AnnouncedDigests(HTTPHeaders())
        self._fields: dict[str, str] = {}
        self._body: Body = RawBody()
        self._upload: Upload | None = None
        self._size = 0
        self._owner_id: uuid.UUID | None = None
        self._passed_over: int | None = None
        self._complete = False
        self._counted = False
        self._arrived_at = 0.0

    async def admit(self) -> None:
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ContentEncoded
        if not self.framing.told:
            raise LengthMissing
        self._key = idempotency_key(self.request.headers)
        self._digests = AnnouncedDigests(self.request.headers)
        self._body = body_of(self.request.headers.get("Content-Type", ""))
        raw = isinstance(self._body, RawBody)
        # What the WAV in a form has at least.
        self._size = max((self.framing.length or 0) - (0 if raw else MAX_FORM_BYTES), 0)
        self._keeper.check_size(self._size)
        self._keeper.check_open()
        credentials = self._credentials()
        if raw:
            sender = await credentials.authenticate(self._users)
            if self.framing.length == 0:
                raise NoSound(_EMPTY)
            disposition = self.request.headers.get("Content-Disposition", "")
            await self._begin(*sender, filename_of(as_utf8(disposition)))
        elif credentials.complete:
            user, _ = await credentials.authenticate(self._users)
            if self._key is None:  # else it may be one that is only asked for again
                self._keeper.check_share(user.id)

    async def receive(self, data: bytes) -> None:
        self._arrived_at = time.monotonic()
        await self._digests.update(data)
        for event in self._body.feed(data):
            if self._answered:
                return
            if isinstance(event, Field):
                self._take_field(event)
            elif isinstance(event, FileStart):
                await self._begin_file(event)
            elif self._upload is not None:
                await self._upload.write(event)
            else:
                self._pass_over(len(event))

    async def post(self) -> None:
        """Answers once the body has ended."""
        self._complete = True
        # Of chunks the end may come long after the last piece.
        ended_at = self._arrived_at if self.framing.length else time.monotonic()
        # Counted by itself: the client may leave before this ends.
        self.lifecycle.begin_request()
        try:
            record = await self._finish()
        finally:
            self.lifecycle.end_request()
        self._count("accepted")
        self.metrics.upload_kept(
            size=record.source_size,
            mp3_size=record.size,
            audio_seconds=record.duration,
            seconds=self.request.request_time(),
            lag=time.monotonic() - ended_at,
        )
        self._tell(record)

    put = post  # `curl -T` sends PUT

    async def clean_up(self) -> None:
        # A client that leaves after its last byte has sent all: then the record is kept.
        if not self._complete:
            await self._abort()

    def write_problem(self, error: UmusicError) -> None:
        super().write_problem(error)
        self._count("refused", error.code)

    def measure(self) -> None:
        # How a complete one ends is not known yet: it may still be kept.
        if self.get_status() == CLIENT_GONE and not self._complete:
            self._count("gone")

    def _count(self, outcome: str, reason: str = "") -> None:
        """Counts the upload, by what it came to first."""
        if not self._counted:
            self._counted = True
            self.metrics.upload_ended(outcome, reason)

    def _tell(self, record: Record) -> None:
        link = self.link_of(record)
        self.set_header("Location", link)
        members = self._dialect.link_members
        receipt = Metadata.of(record, link).model_dump(mode="json")
        self.reply(201, link if members is None else {**receipt, **dict.fromkeys(members, link)})

    async def _finish(self) -> Record:
        try:
            await self._digests.check()
            self._body.close()
            if self._passed_over is not None:
                await self._credentials().authenticate(self._users)  # which says what is missing
            if self._upload is None:
                raise NoSound(_EMPTY)
            return await self._upload.finish()
        except BaseException:
            await self._abort()
            raise

    async def _abort(self) -> None:
        if self._upload is not None:
            await self._upload.abort()

    def _take_field(self, field: Field) -> None:
        self._fields[field.name] = field.value
        late = self._passed_over is not None and self._credentials().complete
        if late or self._names_another_library(field):
            raise CredentialsAfterFile

    def _names_another_library(self, field: Field) -> bool:
        """Whether a field that comes after the file would have filed it elsewhere."""
        if self._owner_id is None or field.name not in _OWNER_FIELDS:
            return False
        return uuid_field(field.name, field.value) != self._owner_id

    async def _begin_file(self, file: FileStart) -> None:
        credentials = self._credentials()
        if credentials.complete:
            await self._begin(*await credentials.authenticate(self._users), file.filename)
        else:
            self._passed_over = 0

    def _pass_over(self, size: int) -> None:
        """Whether a file's credentials are missing or late is told at its end, if that is near."""
        self._passed_over = (self._passed_over or 0) + size
        if self._passed_over > _MAX_PASSED_OVER:
            raise TokenMissing if self._credentials().told else CredentialsAfterFile

    async def _begin(self, sender: User, owner_id: uuid.UUID, filename: str | None) -> None:
        in_path = filename_in(self.request.path, self._dialect.path)
        name = record_name(self.query("name") or filename or in_path)
        self._owner_id = owner_id
        order = Order(owner_id, sender.id, name, self._key, self.framing.length)
        total = self.framing.length if isinstance(self._body, RawBody) else None
        begun = await self._keeper.begin(order, size=self._size, total=total)
        if isinstance(begun, Upload):
            self._upload = begun
        else:
            self._count("repeated")
            self._tell(begun)
            await self.answer_early()

    def _credentials(self) -> Credentials:
        return credentials_of(self.bearer(), self.query, self._fields)
