"""POST and PUT /record: a WAV comes in, the link of its MP3 goes out."""

from tornado.ioloop import IOLoop

from umusic.errors import (
    BodyStalled,
    ContentEncoded,
    CredentialsAfterFile,
    LengthMissing,
    NoSound,
    TokenMissing,
)
from umusic.library.keeper import Keeper, Order, Upload
from umusic.library.models import User
from umusic.library.names import record_name
from umusic.library.users import Users
from umusic.web.base import BaseHandler
from umusic.web.bodies import MAX_FORM_BYTES, Body, Field, FileStart, RawBody, body_of, filename_of
from umusic.web.credentials import authenticate
from umusic.web.lifecycle import Lifecycle
from umusic.web.links import Links
from umusic.web.schemas import Receipt

_EMPTY = "The body is empty: there is no WAV in it."


class UploadHandler(BaseHandler):
    """Streams the body into the keeper. What can be refused by the headers is, before the body."""

    def initialize(  # type: ignore[override]
        self,
        lifecycle: Lifecycle,
        links: Links,
        users: Users,
        keeper: Keeper,
        body_timeout: float,
    ) -> None:
        """Takes what an upload needs; `body_timeout` in seconds."""
        super().initialize(lifecycle, links)
        self._users = users
        self._keeper = keeper
        self._body_timeout = body_timeout
        self._stall_timer: object | None = None
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
            await self._begin(user, filename_of(disposition))
        elif self.bearer() is not None or self.query("token") is not None:
            await self._authenticate()
        self._watch()

    async def receive(self, data: bytes) -> None:
        self._unwatch()
        for event in self._body.feed(data):
            if isinstance(event, Field):
                self._fields[event.name] = event.value
            elif isinstance(event, FileStart):
                await self._begin(await self._authenticate_form(), event.filename)
            elif self._upload is not None:
                await self._upload.write(event)
        self._watch()

    async def post(self, filename: str | None = None) -> None:
        """Answers once the body has ended."""
        self._unwatch()
        self._complete = True
        try:
            self._body.close()
            if self._upload is None:
                raise NoSound(_EMPTY)
            record = await self._upload.finish()
        except BaseException:
            await self._abort()
            raise
        link = self.links.record(self.request, record.user_id, record.id)
        self.set_header("Location", link)
        self.reply(201, Receipt.of(record, link))

    async def put(self, filename: str | None = None) -> None:
        """The same: `curl -T` sends PUT."""
        await self.post(filename)

    async def clean_up(self) -> None:
        self._unwatch()
        # A client that leaves after its last byte has sent all: then the record is kept.
        if not self._complete:
            await self._abort()

    async def _abort(self) -> None:
        if self._upload is not None:
            await self._upload.abort()

    async def _begin(self, user: User, filename: str | None) -> None:
        name = record_name(self.query("name") or filename or self.path_kwargs.get("filename"))
        self._upload = await self._keeper.begin(Order(user.id, user.id, name))

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

    # --- stalls -------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._stall_timer = IOLoop.current().call_later(self._body_timeout, self._on_stall)

    def _unwatch(self) -> None:
        if self._stall_timer is not None:
            IOLoop.current().remove_timeout(self._stall_timer)
            self._stall_timer = None

    def _on_stall(self) -> None:
        self._stall_timer = None
        self.lifecycle.spawn(self.refuse(BodyStalled()))
