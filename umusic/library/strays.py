"""Part-files of resumable uploads that no open upload has any more.

An upload gets its row before its part-file, so a part-file without an open row is one that somebody
was about to remove. So is one of which another directory has the part-file by now. What a user that
this database does not know has is left alone, as in the sweep of records; unless each umusic has a
directory of its own, where one who is deleted by another umusic leaves some behind. Then it goes
when it is so old that no upload goes on with it, whichever database knows of that.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Iterator

from umusic.errors import RecordBusy
from umusic.library.media import Media
from umusic.library.records import Records
from umusic.library.uploads import Uploads
from umusic.library.wav_part import WavPart

_BATCH = 200
#: How long to wait for whoever has one in hand, in seconds, and between looks.
_PATIENCE = 10.0
_PAUSE = 0.05
#: How long after its expiry what an unknown user has goes, in seconds.
_OUTDATED_SECONDS = 3600.0


class Strays:
    """Finds them, and removes them."""

    def __init__(self, uploads: Uploads, records: Records, media: Media) -> None:
        self._uploads = uploads
        self._records = records
        self._media = media

    async def sweep(self, user_id: uuid.UUID | None = None) -> None:
        """Removes them, in one library or in all, but not those that somebody has in hand."""
        async for part in self.find(user_id):
            known = await self._records.holds(part.user_id, part.upload_id) is not None
            if known or await asyncio.to_thread(self._is_outdated, part):
                await asyncio.to_thread(part.remove)

    async def find(self, user_id: uuid.UUID | None = None) -> AsyncIterator[WavPart]:
        """All of them, in one library or in all."""
        parts = self._media.directory.wav_parts(user_id)
        while batch := await asyncio.to_thread(_next, parts):
            rows = await self._uploads.among([part.upload_id for part in batch])
            for part in batch:
                row = rows.get(part.upload_id)
                if row is None or not row.is_open or self._uploads.is_elsewhere(row):
                    yield part

    async def remove(self, user_id: uuid.UUID, upload_id: uuid.UUID) -> bool:
        """Removes one; False if somebody has it in hand."""
        return await asyncio.to_thread(self._media.directory.wav_part(user_id, upload_id).remove)

    async def end_all(self, user_id: uuid.UUID) -> None:
        """Terminates the uploads into a library, and by its user, and removes what is in it.

        Raises:
            RecordBusy: somebody does not let go.
        """
        await self._uploads.end_all(user_id)
        await self.clear(user_id)

    async def clear(self, user_id: uuid.UUID) -> None:
        """Removes all part-files in a library in which no upload is open. Raises RecordBusy."""
        deadline = time.monotonic() + _PATIENCE
        while not await asyncio.to_thread(self._removed, user_id):
            if time.monotonic() > deadline:
                raise RecordBusy("An upload of this user does not come to an end.")
            await asyncio.sleep(_PAUSE)

    def _is_outdated(self, part: WavPart) -> bool:
        if self._uploads.site is None:
            return False
        oldest = time.time() - self._uploads.expiry.total_seconds() - _OUTDATED_SECONDS
        try:
            return part.path.stat().st_mtime < oldest
        except FileNotFoundError:
            return False

    def _removed(self, user_id: uuid.UUID) -> bool:
        in_hand = [part for part in self._media.directory.wav_parts(user_id) if not part.remove()]
        return not in_hand


def _next(parts: Iterator[WavPart]) -> list[WavPart]:
    return list(itertools.islice(parts, _BATCH))
