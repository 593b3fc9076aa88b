"""What has arrived of a resumable upload: its part-file, claimed, and how much of that counts.

Bytes that have to have a checksum are suspected in the row before the first of them is written, and
trusted when they have it. Who finds the row suspecting after a crash cuts them off.
"""

import asyncio
import logging
import time

from umusic.errors import UmusicError
from umusic.library.models import ResumableUpload
from umusic.library.turns import Turn
from umusic.library.uploads import Uploads
from umusic.library.wav_part import WavPart

log = logging.getLogger(__name__)

#: Bytes after which what has been written is made durable meanwhile, so that the end is near.
_SYNC_BYTES = 16 * 2**20


class Arrival:
    """The part-file of one upload, and the row that goes with it."""

    def __init__(self, row: ResumableUpload, part: WavPart, uploads: Uploads) -> None:
        self.row = row
        #: Bytes in all; None while that is open.
        self.length = row.length
        #: Bytes that count.
        self.offset = part.size
        #: When the last bytes came, by the monotonic clock.
        self.last = time.monotonic()
        self._part = part
        self._uploads = uploads
        self._suspects = False
        self._synced = part.size
        self._sync: asyncio.Task[None] | None = None
        self._touched = self.last

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there, and count."""
        return self.offset == self.length

    @property
    def size(self) -> int:
        """Bytes that are there, whether they count or not."""
        return self._part.size

    async def take(self, turn: Turn, data: bytes) -> None:
        """Writes the next bytes of a turn."""
        await asyncio.to_thread(turn.take, self._part, data)
        self.last = time.monotonic()
        if not turn.checked:
            self._count()

    async def read(self, start: int, most: int) -> bytes:
        """Bytes that count, from `start` on."""
        count = min(most, self.offset - start)
        return await asyncio.to_thread(self._part.read, start, count)

    async def set_length(self, length: int) -> None:
        """Says how many bytes there will be in all."""
        await self._uploads.set_length(self.row.id, length)
        self.length = length

    async def suspect(self) -> None:
        """Says that what is written from here on does not count yet."""
        self._suspects = True
        await self._uploads.suspect(self.row.id, self.offset)

    async def trust(self) -> None:
        """Says that all counts, and makes it durable before."""
        await self.sync()
        self.row.expires_at = await self._uploads.trust(self.row.id, self._part.size)
        self._suspects = False
        self._count()

    async def forget(self) -> None:
        """Cuts off what does not count, if there may be something."""
        if self._suspects:
            await asyncio.to_thread(self._part.cut, self.offset)
            self.row.expires_at = await self._uploads.trust(self.row.id, self.offset)
            self._suspects = False

    async def touch(self) -> None:
        """Says in the row that there was progress."""
        self._touched = time.monotonic()
        offset = self.offset
        self.row.expires_at = await self._uploads.touch(self.row.id, offset)
        self.row.received = offset

    async def keep_alive(self, seconds: float) -> None:
        """Says so, if there was any; not more often than every `seconds`, but of the first bytes,
        with which it expires later, at once."""
        first = self.offset > 0 and not self.row.received
        if self.last > self._touched and (first or time.monotonic() - self._touched >= seconds):
            await self.touch()

    async def sync(self) -> None:
        """Makes durable what is there."""
        await asyncio.to_thread(self._part.sync)

    async def durable_offset(self) -> int:
        """The bytes that count, and stay whatever happens; also while it is being given up."""
        offset = self.offset
        await asyncio.to_thread(self._part.durable_size)
        return offset

    async def end(self, *, discard: bool) -> None:
        """Lets go of the part-file, or removes it."""
        if self._sync:
            await asyncio.wait([self._sync])
        await asyncio.to_thread(self._part.discard if discard else self._part.release)

    def _count(self) -> None:
        self.offset = self._part.size
        if self.offset - self._synced >= _SYNC_BYTES and self._sync is None:
            self._synced = self.offset
            self._sync = asyncio.create_task(self._sync_now())

    async def _sync_now(self) -> None:
        try:
            await self.sync()
        except UmusicError as exc:
            log.warning("a part-file could not be synced: %r", exc.__cause__)
        finally:
            self._sync = None
