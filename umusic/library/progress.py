"""How far a resumable upload is, as can be seen without having it in hand."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from umusic.errors import NoSpace, RecordUnknown, Unavailable
from umusic.library.media import Media
from umusic.library.models import Record, ResumableUpload
from umusic.library.records import Records
from umusic.library.uploads import Uploads, end_of
from umusic.resumable_errors import OffsetUnknown, ResumptionGone

log = logging.getLogger(__name__)

#: How long whoever asks waits for a record, in seconds, and between looks.
_RECORD_SECONDS = 20.0
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is: its row, how many bytes count and stay; its record if it has one, or
    else why nothing comes of it any more, if so."""

    row: ResumableUpload
    offset: int
    record: Record | None = None
    end: ResumptionGone | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        return self.offset == self.row.length


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Lets no reason for which an upload cannot be looked at, and which passes, be taken for its
    end: OffsetUnknown is raised then."""
    try:
        yield
    except (Unavailable, NoSpace) as exc:
        log.warning("%s: %r", exc.code, exc.__cause__ or exc)
        raise OffsetUnknown from exc


async def look(upload_id: uuid.UUID, uploads: Uploads, records: Records, media: Media) -> Progress:
    """Looks at an upload, whoever is writing to it.

    Raises:
        ResumptionUnknown: there is none.
        MediaAway, OutOfResources, NoSpace: its part-file cannot be looked at.
    """
    while True:
        row = await uploads.find(upload_id)
        if end := end_of(row):
            return Progress(row, row.received, end=end)
        if row.record_id is not None:
            return await _done(row, row.record_id, records)
        await asyncio.to_thread(media.directory.check_mounted)
        part = media.directory.wav_part(row.user_id, row.id)
        elsewhere = uploads.is_elsewhere(row)
        size = 0 if elsewhere else await asyncio.to_thread(part.durable_size)
        again = await uploads.find(upload_id)
        # Bytes that were cut off in between have never counted, and the file of one that has ended
        # in between may be gone.
        if again.is_open and again.revision == row.revision:
            return Progress(row, size if row.pending_from is None else min(size, row.pending_from))


async def assured(
    look: Callable[[], Awaitable[Progress]], is_ending: Callable[[], bool]
) -> Progress:
    """What `look` tells, but that all of it is there only once there is a record: who hears of that
    does not come again, and the part-file may go with its machine. That is waited for, unless this
    process is about to end.

    Raises:
        OffsetUnknown: there is no record yet.
    """
    deadline = time.monotonic() + _RECORD_SECONDS
    while True:
        progress = await look()
        if progress.record or progress.end or not progress.is_whole:
            return progress
        if is_ending() or time.monotonic() > deadline:
            raise OffsetUnknown
        await asyncio.sleep(_PAUSE)


async def _done(row: ResumableUpload, record_id: uuid.UUID, records: Records) -> Progress:
    try:
        return Progress(row, row.length or 0, await records.find(record_id, row.user_id))
    except RecordUnknown:
        deleted = ResumptionGone("The record that came of this upload has been deleted.")
        return Progress(row, row.length or 0, end=deleted)
