"""Records of uploads of which all has come, and whose clients need not come again.

So it is after a crash between the last byte and the record, after a stop, or after an encoder that
failed.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable

from umusic.errors import NoSpace, UmusicError, Unavailable
from umusic.library.media import Media
from umusic.library.models import ResumableUpload
from umusic.library.uploads import Uploads
from umusic.resumable_errors import ResumptionGone, ResumptionLocked, ResumptionUnknown
from umusic.upload_errors import TooManyRequests

log = logging.getLogger(__name__)

#: Before one is tried again that went wrong in a way that may pass: the first time, and at most.
_RETRY_SECONDS = (5.0, 3600.0)
_FIRST = uuid.UUID(int=0)
_LATER = (Unavailable, NoSpace, TooManyRequests)
_DONE = (ResumptionLocked, ResumptionGone, ResumptionUnknown)


class Completion:
    """Sees which uploads are whole, and opens them by `begin`, which has their records made."""

    def __init__(
        self, uploads: Uploads, media: Media, begin: Callable[[uuid.UUID], Awaitable[object]]
    ) -> None:
        self._uploads = uploads
        self._media = media
        self._begin = begin
        #: When to try again, and after how many seconds then.
        self._retries: dict[uuid.UUID, tuple[float, float]] = {}

    async def attempt_all(self) -> None:
        """Attempts all that there are."""
        now = time.monotonic()
        # What nobody has asked for in so long has come to an end.
        known = self._retries.items()
        self._retries = {id: retry for id, retry in known if retry[0] + retry[1] > now}
        after = _FIRST
        while rows := await self._uploads.whole(after):
            for row in rows:
                await self.attempt(row)
            after = rows[-1].id

    async def attempt(self, row: ResumableUpload) -> None:
        """Has the record of an upload made if all of it has come, nobody has it in hand, and it did
        not go wrong a moment ago."""
        due, wait = self._retries.get(row.id, (0.0, _RETRY_SECONDS[0]))
        if time.monotonic() < due or row.pending_from is not None:
            return
        if self._uploads.is_elsewhere(row):
            return
        part = self._media.directory.wav_part(row.user_id, row.id)
        try:
            if await asyncio.to_thread(part.present_size) != row.length:
                return
            await self._begin(row.id)
            later = min(2 * wait, _RETRY_SECONDS[1])
            self._retries[row.id] = (time.monotonic() + wait, later)
        except (*_LATER, *_DONE):
            pass  # later, or by somebody else
        except UmusicError as exc:
            log.warning("an upload of which all has come cannot be completed: %s", exc.code)
