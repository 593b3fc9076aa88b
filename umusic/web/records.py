"""GET and HEAD /record and /audiotrack: the MP3 itself, or nginx's order to send it."""

import base64
import dataclasses
import logging
from typing import NoReturn

from umusic.errors import RecordUnknown
from umusic.library.media import Found
from umusic.library.models import Record
from umusic.web.files import FileHandler
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


class RecordHandler(FileHandler):
    """Sends a record's MP3."""

    media_type = "audio/mpeg"
    relayed = True

    async def locate(self, record: Record) -> str:
        self.set_header("Content-Disposition", f'attachment; filename="{record.id}.mp3"')
        # RFC 9530, 3: the digest of the whole MP3, whichever range of it is sent.
        digest = base64.b64encode(record.sha256).decode()
        self.set_header("Repr-Digest", f"sha-256=:{digest}:")
        self._record = record
        return self.media.path(record.user_id, record.id)

    async def look(self, path: str) -> Found | None:
        # The time is the file's as well, where files have the one they are given.
        told = Found(self._record.size, int(self._record.created_at.timestamp()))
        if self.sent_by_nginx and self.media.is_remote:
            return told  # nginx finds out whether it is there
        found = await super().look(path)
        return found and dataclasses.replace(found, modified=told.modified)

    async def tell_missing(self) -> NoReturn:
        # As it should be if its record has just been deleted: then this raises.
        record = await self.find_record()
        log.error("the file of a record is missing: %s.mp3", record.id)
        raise RecordUnknown

    def measure(self) -> None:
        status = self.get_status()
        if "X-Accel-Redirect" in self._headers:
            decision = "nginx"
        else:
            decision = _DECISIONS.get(status, "refused" if status < 500 else "failed")
        self.metrics.download_decided(decision)
