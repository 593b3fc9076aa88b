"""Files and rows against each other: the sweep of what crashes left, `umusic check`, its repair.

Both may run while uploads and removals do, here or in other processes: whoever changes something
holds a lock on a `.part` meanwhile, and what looks wrong is looked at twice.
"""

import asyncio
import enum
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from umusic.library.lost_and_found import LostAndFound
from umusic.library.media import Leftover, Media
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.library.strays import Strays

log = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 200
_FIRST = uuid.UUID(int=0)
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
        self._lost_and_found = LostAndFound(media.root)

    async def sweep(self, user_id: uuid.UUID | None = None) -> int:
        """Removes what crashes left, in one library or in all, of no live upload of this or another
        process. Returns how many records that were.

        Raises:
            MediaAway: the media directory is not the one of the start.
        """
        await asyncio.to_thread(self._media.check_mounted)
        swept = 0
        leftovers = self._media.leftovers(user_id)
        while file := await asyncio.to_thread(next, leftovers, None):
            try:
                swept += await self._sweep_file(file)
            except OSError:
                log.exception("a file that a crash had left could not be swept")
        await self._strays.sweep(user_id)
        await self.tidy(user_id)
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
        while batch := await _next(leftovers, _BATCH):
            free = await asyncio.to_thread(_free, batch)
            # Whoever has just made one had been about to lock it.
            await asyncio.sleep(_PAUSE if free else 0)
            for file in await asyncio.to_thread(_free, free):
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
            faults = await asyncio.to_thread(self._look, records, False)
            total += len(records)
            if any(fault is not Fault.FILE_MISSING for fault in faults):
                return True
        return total <= 1 and len(await _next(self._media.settled(), 2)) <= 1

    async def repair(self, finding: Finding) -> bool:
        """Makes both sides agree, by taking what cannot be served out of the library and into the
        lost-and-found. Returns whether that was possible."""
        user_id, record_id = finding.user_id, finding.record_id
        path = self._media.path_in_root(user_id, record_id)
        if finding.fault is Fault.UNREADABLE:
            return False  # a matter of rights, or of the disk; it may well be whole
        if finding.fault is Fault.UNFINISHED:
            return await self._finish_off(self._media.leftover(user_id, record_id))
        if finding.fault is Fault.STRAY:
            return await self._strays.remove(user_id, record_id)
        if finding.fault is not Fault.ROW_MISSING:
            row = await self._records.as_json(record_id)
            if row is None:
                return True  # its owner came first
            await asyncio.to_thread(self._lost_and_found.add_row, row)
            await self._records.remove(user_id, [record_id])
        await asyncio.to_thread(self._lost_and_found.add_file, path)
        await asyncio.to_thread(self._media.derived(user_id, record_id).discard_orphan)
        return True

    async def tidy(self, user_id: uuid.UUID | None = None) -> None:
        """Removes what was made of files that are gone, in one library or in all: it can be made
        again."""
        await asyncio.to_thread(self._media.drop_orphans, user_id)

    async def _check_rows(
        self, deep: bool, on_record: Callable[[], None]
    ) -> AsyncIterator[Finding]:
        # A deep look at one record may take a second.
        async for records in self._walk(1 if deep else _BATCH):
            faults = await asyncio.to_thread(self._look, records, deep)
            for record, fault in zip(records, faults, strict=True):
                # The file goes after the row, so a row that is still there should have one.
                if fault and await self._records.owners([record.id]):
                    yield Finding(fault, record.user_id, record.id)
                on_record()

    async def _check_files(self) -> AsyncIterator[Finding]:
        files = self._media.settled()
        while batch := await _next(files, _BATCH):
            # Only now: a file is settled once its row is committed. And then once more, because a
            # row may have been deleted since.
            owners = await self._records.owners([record_id for _, record_id in batch])
            for user_id, record_id in batch:
                if owners.get(record_id) == user_id:
                    continue
                if await asyncio.to_thread(self._media.is_settled, user_id, record_id):
                    yield Finding(Fault.ROW_MISSING, user_id, record_id)

    async def _walk(self, batch: int) -> AsyncIterator[Sequence[Record]]:
        after = _FIRST
        while records := await self._records.walk(after, batch):
            yield records
            after = records[-1].id

    def _look(self, records: Sequence[Record], deep: bool) -> list[Fault | None]:
        return [self._fault_of(record, deep) for record in records]

    def _fault_of(self, record: Record, deep: bool) -> Fault | None:
        try:
            size = self._media.size(record.user_id, record.id)
            if size is None:
                return Fault.FILE_MISSING
            if size != record.size:
                return Fault.WRONG_SIZE
            if deep:
                stored = self._media.measure(record.user_id, record.id)
                if stored is None or stored.sha256 != record.sha256:
                    return Fault.WRONG_SHA256
        except OSError:
            return Fault.UNREADABLE
        return None

    async def _finish_off(self, file: Leftover) -> bool:
        if await self._records.holds(file.user_id, file.record_id) is None:
            # What the sweep leaves alone: of another database, or of a user who is gone.
            try:
                if await asyncio.to_thread(file.claim):
                    path = self._media.path_in_root(file.user_id, file.record_id)
                    await asyncio.to_thread(self._lost_and_found.add_file, path)
                    await asyncio.to_thread(file.discard)
            finally:
                file.release()
        else:
            await self._sweep_file(file)
        return not await asyncio.to_thread(file.path.exists)

    async def _sweep_file(self, file: Leftover) -> bool:
        try:
            if not await asyncio.to_thread(file.claim):
                return False
            if await asyncio.to_thread(file.is_published):
                held = await self._records.holds(file.user_id, file.record_id)
                if held is None:
                    log.warning("left alone, as of another database: %s", file.record_id)
                    return False
                if held:
                    await asyncio.to_thread(file.settle)
                    return True
            await asyncio.to_thread(file.discard)
            return True
        finally:
            file.release()


async def _next(items: Iterator[T], count: int) -> list[T]:
    """The next `count` items of a walk through directories; fewer at its end."""
    return await asyncio.to_thread(lambda: list(itertools.islice(items, count)))


def _free(files: Sequence[Leftover]) -> list[Leftover]:
    """Those of the files that are there and that nobody has locked."""
    free = []
    for file in files:
        if file.claim():
            free.append(file)
        file.release()
    return free
