"""Files and rows against each other: the sweep of what crashes left, `umusic check`, its repair.

Both may run while uploads and removals do, here or in other processes: whoever changes something
holds a lock on a `.part` meanwhile, and what looks wrong is looked at twice.
"""

import asyncio
import enum
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import MediaAway, RecordUnknown
from umusic.library.media import Leftover, Media, Stored
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.library.strays import Strays

log = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 200
_FIRST = uuid.UUID(int=0)
#: So many in a row are no matter of single files.
_FAILURES = 3
#: Seconds between making a `.part` and locking it, and many times more.
_PAUSE = 0.1


class Fault(enum.StrEnum):
    """What can be wrong with a record, or with what is there of one."""

    FILE_MISSING = "the file is missing"
    ROW_MISSING = "the file belongs to no record"
    WRONG_SIZE = "the file has a wrong size"
    WRONG_SHA256 = "the file has a wrong SHA-256"
    UNREADABLE = "the file cannot be read"
    UNFINISHED = "a crash left it unfinished"
    STRAY = "part of an upload that is not known any more"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, and where."""

    fault: Fault
    user_id: uuid.UUID
    record_id: uuid.UUID


class Audit:
    """Compares the media directory with the database."""

    def __init__(self, records: Records, media: Media, strays: Strays) -> None:
        self._records = records
        self._strays = strays
        self._media = media

    async def sweep(self, user_id: uuid.UUID | None = None) -> int:
        """Removes what crashes left, in one library or in all, of no live upload of this or another
        process. Returns how many records that were.

        Raises:
            MediaAway: the media directory is not the one of the start, or the store is away.
        """
        await asyncio.to_thread(self._media.directory.check_mounted)
        swept = failed = 0
        async for file in self._media.leftovers(user_id):
            try:
                swept += await self._sweep_file(file)
                failed = 0
            except OSError:
                log.exception("a file that a crash had left could not be swept")
            except MediaAway as exc:
                # One that cannot be read keeps nobody from the others; a store that is away does.
                failed += 1
                if failed == _FAILURES:
                    raise
                log.warning("what a crash had left could not be swept: %r", exc.__cause__ or exc)
        await self._strays.sweep(user_id)
        await self._media.drop_orphans(user_id, thorough=False)
        if swept:
            log.warning("swept the files of %d records that a crash had left", swept)
        return swept

    async def check(
        self, *, deep: bool = False, on_record: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Finding]:
        """Tells all that is wrong, as it is found. `deep` reads every file for its SHA-256;
        `on_record` is called after each record."""
        async for finding in self._check_rows(deep, on_record):
            yield finding
        async for finding in self._check_files():
            yield finding
        leftovers = self._media.leftovers()
        while batch := await _first(leftovers, _BATCH):
            free = [file for file in batch if await _is_free(file)]
            # Whoever has just made one had been about to lock it.
            await asyncio.sleep(_PAUSE if free else 0)
            for file in free:
                if not await file.is_empty() and await _is_free(file):
                    yield Finding(Fault.UNFINISHED, file.user_id, file.record_id)
        async for part in self._strays.find():
            # Whoever has just ended it had been about to remove it.
            await asyncio.sleep(_PAUSE)
            if await asyncio.to_thread(part.path.exists):
                yield Finding(Fault.STRAY, part.user_id, part.upload_id)

    async def is_plausible(self) -> bool:
        """Whether media directory and database seem to belong together: whether any record has its
        file. With no more than one record and one file nothing can be said, and it is true."""
        total = 0
        async for records in self._walk(_BATCH):
            faults = await self._look(records, deep=False)
            total += len(records)
            if any(fault is not Fault.FILE_MISSING for fault in faults):
                return True
        return total <= 1 and len(await _first(self._media.settled(), 2)) <= 1

    async def repair(self, finding: Finding) -> bool:
        """Makes both sides agree, by taking what cannot be served out of the library and into the
        lost-and-found. Returns whether that was possible."""
        user_id, record_id = finding.user_id, finding.record_id
        if finding.fault is Fault.UNREADABLE:
            return False  # a matter of rights, or of the disk; it may well be whole
        if finding.fault is Fault.UNFINISHED:
            return await self._finish_off(user_id, record_id)
        if finding.fault is Fault.STRAY:
            return await self._strays.remove(user_id, record_id)
        if finding.fault is not Fault.ROW_MISSING:
            row = await self._records.as_json(record_id)
            if row is None:
                return True  # its owner came first
            await self._media.lost_and_found.add_row(record_id, row)
            await self._records.remove(user_id, [record_id], _nothing)
        await self._media.lost_and_found.add_file(user_id, record_id)
        return True

    async def tidy(self) -> None:
        """Removes what was made of files that are gone: it can be made again."""
        await self._media.drop_orphans(thorough=True)

    async def _check_rows(
        self, deep: bool, on_record: Callable[[], None]
    ) -> AsyncIterator[Finding]:
        # A deep look at one record may take a second.
        async for records in self._walk(1 if deep else _BATCH):
            faults = await self._look(records, deep=deep)
            for record, fault in zip(records, faults, strict=True):
                # The file goes after the row, so a row that is still there should have one.
                if fault and await self._records.owners([record.id]):
                    yield Finding(fault, record.user_id, record.id)
                on_record()

    async def _check_files(self) -> AsyncIterator[Finding]:
        files = self._media.settled()
        while batch := await _first(files, _BATCH):
            # Only now: a file is settled once its row is committed. And then once more, because a
            # row may have been deleted since.
            owners = await self._records.owners([record_id for _, record_id in batch])
            for user_id, record_id in batch:
                if owners.get(record_id) == user_id:
                    continue
                if await self._media.is_settled(user_id, record_id):
                    yield Finding(Fault.ROW_MISSING, user_id, record_id)

    async def _walk(self, batch: int) -> AsyncIterator[Sequence[Record]]:
        after = _FIRST
        while records := await self._records.walk(after, batch):
            yield records
            after = records[-1].id

    async def _look(self, records: Sequence[Record], *, deep: bool) -> list[Fault | None]:
        return await asyncio.gather(*(self._fault_of(record, deep) for record in records))

    async def _fault_of(self, record: Record, deep: bool) -> Fault | None:
        try:
            size = await self._media.size(record.user_id, record.id)
            if size is None:
                return Fault.FILE_MISSING
            if size != record.size:
                return Fault.WRONG_SIZE
            if deep:
                stored = await self._media.measure(record.user_id, record.id)
                if stored is None or stored.sha256 != record.sha256:
                    return Fault.WRONG_SHA256
        except OSError:
            return Fault.UNREADABLE
        return None

    async def _finish_off(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        finished = True
        async for file in self._media.leftovers(user_id):
            if file.record_id == record_id:
                finished = await self._finish(file) and finished
        return finished

    async def _finish(self, file: Leftover) -> bool:
        held = await self._records.holds(file.user_id, file.record_id)
        if held is None and file.may_be_foreign:
            # What the sweep leaves alone: of another database, or of a user who is gone.
            try:
                if await file.claim():
                    await self._media.lost_and_found.add_file(file.user_id, file.record_id)
                    await file.discard()
            finally:
                await file.release()
        else:
            await self._sweep_file(file)
        return not await file.exists()

    async def _sweep_file(self, file: Leftover) -> bool:
        try:
            if not await file.claim():
                return False
            if await file.is_published():
                held = await self._records.holds(file.user_id, file.record_id)
                if held is None and file.may_be_foreign:
                    log.warning("left alone, as of another database: %s", file.record_id)
                    return False
                if held:
                    await self._settle(file)
                    return True
            await file.discard()
            return True
        finally:
            await file.release()

    async def _settle(self, file: Leftover) -> None:
        try:
            record = await self._records.find(file.record_id, file.user_id)
        except RecordUnknown:  # deleted since
            await file.discard()
        else:
            await file.settle(Stored(record.size, record.sha256))


async def _first(items: AsyncIterator[T], count: int) -> list[T]:
    """The next `count` items; fewer at the end."""
    found: list[T] = []
    while len(found) < count:
        try:
            found.append(await anext(items))
        except StopAsyncIteration:
            break
    return found


async def _is_free(file: Leftover) -> bool:
    """Whether a file is there that nobody has in hand."""
    try:
        return await file.claim()
    finally:
        await file.release()


async def _nothing(session: AsyncSession, record_ids: Collection[uuid.UUID]) -> None:
    """What goes to the lost-and-found has no mark."""
