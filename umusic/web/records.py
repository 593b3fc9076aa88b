"""GET and HEAD /record and /audiotrack: the MP3 itself, or nginx's order to send it."""

import base64
import email.utils
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.httputil import format_timestamp
from tornado.web import HTTPError, StaticFileHandler

from umusic.errors import PreconditionFailed, RangeUnsatisfiable, RecordUnknown
from umusic.library.media import Media
from umusic.library.records import Records
from umusic.web.base import BaseHandler
from umusic.web.errors import status_of
from umusic.web.links import record_named
from umusic.web.trace import CLIENT_GONE

log = logging.getLogger(__name__)

#: What the metrics call the outcomes that are neither nginx's to send nor refused.
_DECISIONS = {
    200: "sent",
    206: "part",
    304: "unchanged",
    404: "missing",
    CLIENT_GONE: "gone",
}


class RecordHandler(BaseHandler, StaticFileHandler):
    """Sends a record's MP3. Tornado's StaticFileHandler does it, or nginx (X-Accel-Redirect)."""

    def initialize(  # type: ignore[override]
        self, records: Records, media: Media, x_accel_prefix: str | None, **common: Any
    ) -> None:
        """Takes what a download needs, and what every handler does."""
        BaseHandler.initialize(self, **common)
        StaticFileHandler.initialize(self, str(media.root))
        self._records = records
        self._media = media
        self._x_accel_prefix = x_accel_prefix

    async def admit(self) -> None:
        record = await self._records.find(*record_named(self.query))
        self.set_header("Content-Type", "audio/mpeg")
        self.set_header("Content-Disposition", f'attachment; filename="{record.id}.mp3"')
        self.set_header("Cache-Control", "private, no-cache")
        # RFC 9530, 3: the digest of the whole MP3, whichever range of it is sent.
        digest = base64.b64encode(record.sha256).decode()
        self.set_header("Repr-Digest", f"sha-256=:{digest}:")
        # StaticFileHandler's verbs take it from here.
        self.path_args = [self._media.path_in_root(record.user_id, record.id)]

    async def get(self, path: str, include_body: bool = True) -> None:
        """Sends the file, or the range of it that was asked for."""
        # Looked at before nginx is sent there: its own 404 would keep our Content-Disposition.
        if not (self._media.root / path).is_file():
            await self._tell_missing(path)
        if self._x_accel_prefix is not None:
            self.set_header("X-Accel-Redirect", quote(self._x_accel_prefix + path))
            return
        try:
            await super().get(path, include_body)
        except (FileNotFoundError, HTTPError):
            await self._tell_missing(path)
        if self.get_status() == status_of(RangeUnsatisfiable):
            self.clear_header("Content-Disposition")
            self.write_problem(RangeUnsatisfiable())

    def measure(self) -> None:
        status = self.get_status()
        if "X-Accel-Redirect" in self._headers:
            decision = "nginx"
        else:
            decision = _DECISIONS.get(status, "refused" if status < 500 else "failed")
        self.metrics.download_decided(decision)

    async def _tell_missing(self, path: str) -> None:
        """The file is not there: raises RecordUnknown, which is as it should be if its record has
        just been deleted."""
        await self._records.find(*record_named(self.query))
        log.error("the file of a record is missing: %s", Path(path).name)
        raise RecordUnknown

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
        return "audio/mpeg"

    def _last_modified(self) -> str:
        return format_timestamp(Path(self.absolute_path or "").stat().st_mtime)
