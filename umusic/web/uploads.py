"""POST and PUT /record: a WAV comes in, the link of its MP3 goes out."""

from typing import Any
from urllib.parse import unquote_to_bytes

from umusic.errors import (
    ContentEncoded,
    CredentialsAfterFile,
    InvalidField,
    LengthMissing,
    NoSound,
    TokenMissing,
)
from umusic.library.keeper import Keeper, Order, Upload
from umusic.library.models import Record, User
from umusic.library.names import record_name
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
    filename_of,
)
from umusic.web.credentials import authenticate
from umusic.web.schemas import Receipt

_EMPTY = "The body is empty: there is no WAV in it."


class UploadHandler(BaseHandler):
    """Streams the body into the keeper. What can be refused by the headers is, before the body."""

    def initialize(  # type: ignore[override]
        self, users: Users, keeper: Keeper, **common: Any
    ) -> None:
        """Takes what an upload needs, and what every handler does."""
        super().initialize(**common)
        self._users = users
        self._keeper = keeper
        self._fields: dict[str, str] = {}
        self._body: Body = RawBody()
        self._upload: Upload | None = None
        self._complete = False

    async def admit(self) -> None:
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ContentEncoded
        if not self.framing.told:
            raise LengthMissing
        self._body = body_of(self.request.headers.get("Content-Type", ""))
        raw = isinstance(self._body, RawBody)
        self._keeper.check_size((self.framing.length or 0) - (0 if raw else MAX_FORM_BYTES))
        self._keeper.check_open()
        if raw:
            user = await self._authenticate()
            if self.framing.length == 0:
                raise NoSound(_EMPTY)
            disposition = self.request.headers.get("Content-Disposition", "")
            await self._begin(user, filename_of(as_utf8(disposition)))
        elif self.bearer() is not None or self.query("token") is not None:
            await self._authenticate()

    async def receive(self, data: bytes) -> None:
        for event in self._body.feed(data):
            if isinstance(event, Field):
                self._fields[event.name] = event.value
            elif isinstance(event, FileStart):
                await self._begin(await self._authenticate_form(), event.filename)
            elif self._upload is not None:
                await self._upload.write(event)

    async def post(self) -> None:
        """Answers once the body has ended."""
        self._complete = True
        # Counted by itself: the client may leave before this ends.
        self.lifecycle.begin_request()
        try:
            record = await self._finish()
        finally:
            self.lifecycle.end_request()
        link = self.links.record(self.request, record.user_id, record.id)
        self.set_header("Location", link)
        self.reply(201, Receipt.of(record, link))

    async def put(self) -> None:
        """The same: `curl -T` sends PUT."""
        await self.post()

    async def clean_up(self) -> None:
        # A client that leaves after its last byte has sent all: then the record is kept.
        if not self._complete:
            await self._abort()

    async def _finish(self) -> Record:
        try:
            self._body.close()
            if self._upload is None:
                raise NoSound(_EMPTY)
            return await self._upload.finish()
        except BaseException:
            await self._abort()
            raise

    async def _abort(self) -> None:
        if self._upload is not None:
            await self._upload.abort()

    async def _begin(self, user: User, filename: str | None) -> None:
        name = record_name(self.query("name") or filename or self._filename_in_path())
        self._upload = await self._keeper.begin(Order(user.id, user.id, name))

    def _filename_in_path(self) -> str | None:
        """NAME of PUT /record/NAME, if there is one."""
        last = self.request.path.removeprefix("/record").removeprefix("/")
        try:
            return unquote_to_bytes(last).decode()
        except UnicodeDecodeError as exc:
            raise InvalidField("The name in the path is not UTF-8.", field="name") from exc

    async def _authenticate(self) -> User:
        return await authenticate(
            self._users,
            bearer=self.bearer(),
            user_id=self._fields.get("user_id", self.query("user_id")),
            token=self._fields.get("token", self.query("token")),
        )

    async def _authenticate_form(self) -> User:
        try:
            return await self._authenticate()
        except TokenMissing as exc:
            raise CredentialsAfterFile from exc
