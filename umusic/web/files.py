"""Sending files of the library: umusic itself, by Tornado's StaticFileHandler, or nginx, told so by
X-Accel-Redirect. Which file it is is for the subclasses to say."""

import contextlib
import datetime
import email.utils
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote

from tornado.httputil import format_timestamp
from tornado.iostream import StreamClosedError
from tornado.web import StaticFileHandler

from umusic.errors import PreconditionFailed, RangeUnsatisfiable, RecordUnknown
from umusic.library.media import Found, Media
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.web.base import BaseHandler
from umusic.web.errors import status_of
from umusic.web.links import record_named


class FileHandler(BaseHandler, StaticFileHandler):
    """GET and HEAD of what is kept of a record. Subclasses override `locate`, and what else
    matters."""

    #: What the file is.
    media_type = "application/octet-stream"
    #: Whether nginx may fetch it from a store that is elsewhere.
    relayed = False

    def initialize(  # type: ignore[override]
        self, records: Records, media: Media, x_accel_prefix: str | None, **common: Any
    ) -> None:
        """Takes what sending files needs, and what every handler does."""
        BaseHandler.initialize(self, **common)
        StaticFileHandler.initialize(self, "")
        self.media = media
        self._records = records
        self._x_accel_prefix = x_accel_prefix
        self._found = Found(0, 0)
        self._span: tuple[int, int] | None = None
        self._whole = False

    async def locate(self, record: Record) -> str:
        """Where the file is, as the library tells it; may set headers."""
        raise NotImplementedError

    async def look(self, path: str) -> Found | None:
        """Looks at the file; None if there is none."""
        return await self.media.find(path)

    async def tell_missing(self) -> NoReturn:
        """The file is not there: raises what is to be told."""
        raise RecordUnknown

    @property
    def sent_by_nginx(self) -> bool:
        """Whether nginx sends it. Where the store is elsewhere it is told an address that nobody
        else is to know."""
        if self._x_accel_prefix is None or not self.media.by_nginx:
            return False
        if not self.media.is_remote:
            return True
        return self.relayed and self.from_proxy

    async def find_record(self) -> Record:
        """The record that the query names. Raises RecordUnknown."""
        return await self._records.find(*record_named(self.query))

    async def admit(self) -> None:
        path = await self.locate(await self.find_record())
        self.set_header("Content-Type", self.media_type)
        self.set_header("Cache-Control", "private, no-cache")
        # StaticFileHandler's verbs take it from here.
        self.path_args = [path]

    async def get(self, path: str, include_body: bool = True) -> None:
        """Sends the file, or the range of it that was asked for."""
        self.media = await self.media.holding(path)
        # Looked at before nginx is sent there: its own 404 would keep our Content-Disposition.
        found = await self.look(path)
        if found is None:
            await self.tell_missing()
        self._found = found
        if self.sent_by_nginx:
            await self._redirect(path)
            return
        await super().get(path, include_body)
        if self.get_status() == status_of(RangeUnsatisfiable):
            self.clear_header("Content-Disposition")
            self.write_problem(RangeUnsatisfiable())
        elif self._span is not None:
            with contextlib.suppress(StreamClosedError):
                async for data in self.media.read(path, *self._span):
                    self.write(data)
                    await self.flush()

    async def _redirect(self, path: str) -> None:
        """Has nginx send it. Of a file that is here nginx sees itself what is asked of it."""
        assert self._x_accel_prefix is not None
        if self.media.is_remote:
            self.path, self.modified = path, self.get_modified_time()
            self.set_headers()
            if self.should_return_304():
                self.set_status(304)
                return
            if not self._whole:
                # What a range that lies outside is told; without it nginx asks for no range.
                self.set_header("Content-Range", f"bytes */{self._found.size}")
            # nginx would take them over, and they would stay on a problem that it tells instead.
            for name in ("Accept-Ranges", "Content-Disposition", "Content-Type"):
                self.clear_header(name)
        internal = await self.media.internal_path(path)
        self.set_header("X-Accel-Redirect", quote(self._x_accel_prefix) + internal)

    def set_headers(self) -> None:
        """Called once the file has been looked at and before its ranges are."""
        super().set_headers()
        self._check_preconditions()
        condition = self.request.headers.get("If-Range")
        known = (self.compute_etag(), format_timestamp(self._found.modified))
        if condition is not None and condition not in known:
            self.request.headers.pop("Range", None)
            self._whole = True

    def _check_preconditions(self) -> None:
        """If-Match and If-Unmodified-Since (RFC 9110, 13.1), which StaticFileHandler leaves out."""
        match = self.request.headers.get("If-Match")
        if match is not None:
            known = [tag.strip() for tag in match.split(",")]
            if "*" not in known and self.compute_etag() not in known:
                raise PreconditionFailed
            return
        since = self.request.headers.get("If-Unmodified-Since")
        if since is not None:
            date = email.utils.parsedate_tz(since)
            if date and email.utils.mktime_tz(date) < self._found.modified:
                raise PreconditionFailed

    def compute_etag(self) -> str | None:
        """As nginx makes it, of modification time and size, so that both ways agree."""
        if self.sent_by_nginx and not self.media.is_remote:
            return None
        return f'"{self._found.modified:x}-{self._found.size:x}"'

    # What StaticFileHandler asks of the file system.

    def parse_url_path(self, url_path: str) -> str:
        return url_path

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        return path

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        return absolute_path

    def get_modified_time(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._found.modified, datetime.UTC)

    def get_content_size(self) -> int:
        return self._found.size

    def get_content(  # type: ignore[override]
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Iterable[bytes]:
        """Nothing yet: what is to be sent is read without holding up the others."""
        self._span = (start or 0, self._found.size if end is None else end)
        return ()

    def get_cache_time(self, path: str, modified: object, mime_type: str) -> int:
        """Nothing that a parameter `v` of the query could change."""
        return 0

    def get_content_type(self) -> str:
        return self.media_type
