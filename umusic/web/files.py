"""Sending files of the library: umusic itself, by Tornado's StaticFileHandler, or nginx, told so by
X-Accel-Redirect. Which file it is is for the subclasses to say."""

import email.utils
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from tornado.httputil import format_timestamp
from tornado.web import HTTPError, StaticFileHandler

from umusic.errors import PreconditionFailed, RangeUnsatisfiable, RecordUnknown
from umusic.library.media import Media
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.web.base import BaseHandler
from umusic.web.errors import status_of
from umusic.web.links import record_named


class FileHandler(BaseHandler, StaticFileHandler):
    """GET and HEAD of what is kept of a record. Subclasses override `locate`, and `tell_missing` if
    it matters."""

    #: What the file is.
    media_type = "application/octet-stream"

    def initialize(  # type: ignore[override]
        self, records: Records, media: Media, x_accel_prefix: str | None, **common: Any
    ) -> None:
        """Takes what sending files needs, and what every handler does."""
        BaseHandler.initialize(self, **common)
        StaticFileHandler.initialize(self, str(media.root))
        self.media = media
        self._records = records
        self._x_accel_prefix = x_accel_prefix

    async def locate(self, record: Record) -> str:
        """Where the file is, as the library tells it; may set headers."""
        raise NotImplementedError

    async def tell_missing(self) -> NoReturn:
        """The file is not there: raises what is to be told."""
        raise RecordUnknown

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
        # Looked at before nginx is sent there: its own 404 would keep our Content-Disposition.
        if not (self.media.root / path).is_file():
            await self.tell_missing()
        if self._x_accel_prefix is not None:
            self.set_header("X-Accel-Redirect", quote(self._x_accel_prefix + path))
            return
        try:
            await super().get(path, include_body)
        except (FileNotFoundError, HTTPError):
            await self.tell_missing()
        if self.get_status() == status_of(RangeUnsatisfiable):
            self.clear_header("Content-Disposition")
            self.write_problem(RangeUnsatisfiable())

    def set_headers(self) -> None:
        """Called once the file has been looked at and before its ranges are."""
        super().set_headers()
        self._check_preconditions()
        condition = self.request.headers.get("If-Range")
        if condition is not None and condition not in (self.compute_etag(), self._last_modified()):
            self.request.headers.pop("Range", None)

    def _check_preconditions(self) -> None:
        """If-Match and If-Unmodified-Since (RFC 9110, 13.1), which StaticFileHandler leaves out."""
        match = self.request.headers.get("If-Match")
        if match is not None:
            known = [tag.strip() for tag in match.split(",")]
            if "*" not in known and self.compute_etag() not in known:
                raise PreconditionFailed
            return
        since = self.request.headers.get("If-Unmodified-Since")
        if since is not None and self.modified is not None:
            date = email.utils.parsedate_tz(since)
            if date and email.utils.mktime_tz(date) < self.modified.timestamp():
                raise PreconditionFailed

    def compute_etag(self) -> str | None:
        """As nginx makes it, of modification time and size, so that both ways agree."""
        if self._x_accel_prefix is not None:
            return None
        found = Path(self.absolute_path or "").stat()
        return f'"{int(found.st_mtime):x}-{found.st_size:x}"'

    def get_cache_time(self, path: str, modified: object, mime_type: str) -> int:
        """Nothing that a parameter `v` of the query could change."""
        return 0

    def get_content_type(self) -> str:
        return self.media_type

    def _last_modified(self) -> str:
        return format_timestamp(Path(self.absolute_path or "").stat().st_mtime)
