"""Copying all MP3s from one store to another, while umusic runs.

Each file is read in pieces and compared with its row, by size and SHA-256; only then is it
published, read back and compared once more, and settled in a transaction that sees that its record
is still there. So what is settled in the target with the right size has been verified: the next
run goes on where one was cut short, however that was. Nothing is ever removed from the source.
What has been made of MP3s is not copied: it can be made again.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import BinaryIO, TypeVar
from uuid import UUID

from umusic.errors import RecordBusy, UmusicError, Unavailable
from umusic.library.audit import Fault
from umusic.library.claims import LEASE
from umusic.library.files import writing
from umusic.library.media import Media, Part, Stored
from umusic.library.models import Record
from umusic.library.records import Records

T = TypeVar("T")

_BATCH = 200
#: Files of the target that are looked at at once, and files that are copied at once.
_LOOKS = 16
_COPIES = 4
#: How long to wait for whoever has a file of the target in hand, in seconds: a run that was killed
#: has it until its lease ends. And before asking again.
_PATIENCE = LEASE.total_seconds() + 10
_PAUSE = 0.5


class _NotCopied(Exception):
    """One file could not be copied. The message says why; the others can be."""


class Move:
    """Copies what is missing in `target`. `on_bytes` is told how many bytes of MP3 need no further
    thought, `on_fault` which record was not copied, and why."""

    def __init__(
        self,
        records: Records,
        source: Media,
        target: Media,
        *,
        on_bytes: Callable[[int], None],
        on_fault: Callable[[Record, str], None],
    ) -> None:
        self._records = records
        self._source = source
        self._target = target
        self._on_bytes = on_bytes
        self._on_fault = on_fault
        self._looking = asyncio.Semaphore(_LOOKS)
        #: Records that have been copied, and their bytes; that were there already; that could not
        #: be copied.
        self.copied = 0
        self.copied_bytes = 0
        self.present = 0
        self.faults = 0

    async def run(self) -> None:
        """Copies all.

        Raises:
            StartError: one of the stores is not there.
            NoSpace, Unavailable: the target, or the database, takes no more.
        """
        copying = asyncio.Semaphore(_COPIES)
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as copies:
                async for record in self._missing():
                    await copying.acquire()
                    copy = copies.create_task(self._take(record))
                    copy.add_done_callback(lambda _: copying.release())
        except ExceptionGroup as group:
            failure = _first(group)
        if failure is not None:
            raise failure

    async def _missing(self) -> AsyncIterator[Record]:
        """The records whose files are not in the target."""
        after = UUID(int=0)
        while records := await self._records.walk(after, _BATCH):
            after = records[-1].id
            for record, present in zip(records, await self._look(records), strict=True):
                if present:
                    self.present += 1
                    self._on_bytes(record.size)
                else:
                    yield record

    async def _look(self, records: Sequence[Record]) -> list[bool]:
        async with asyncio.TaskGroup() as looks:
            tasks = [looks.create_task(self._is_present(record)) for record in records]
        return [task.result() for task in tasks]

    async def _is_present(self, record: Record) -> bool:
        async with self._looking:
            if await self._target.size(record.user_id, record.id) != record.size:
                return False
            return await self._target.is_settled(record.user_id, record.id)

    async def _take(self, record: Record) -> None:
        """Copies one file, and counts it."""
        told = 0

        def tell(count: int) -> None:
            nonlocal told
            told += count
            self._on_bytes(count)

        try:
            await self._clear(record)
            if await self._is_present(record):  # by now, maybe by somebody else
                self.present += 1
            else:
                await self._copy(record, tell)
        except (_NotCopied, Unavailable) as exc:
            # Its owner may have deleted it meanwhile, and with it what was on its way.
            if not await self._records.owners([record.id]):
                return
            if not isinstance(exc, _NotCopied | RecordBusy):
                raise
            self.faults += 1
            self._on_fault(record, str(exc))
            await self._source.check_present()
        finally:
            self._on_bytes(record.size - told)

    async def _clear(self, record: Record) -> None:
        """Decides what becomes of what a run that was cut short left of it in the target."""
        left = self._target.leftover(record.user_id, record.id)
        deadline = time.monotonic() + _PATIENCE
        while await left.exists():
            try:
                if await left.claim():
                    await left.settle(_expected(record))
                    return
            finally:
                await left.release()
            if time.monotonic() > deadline:
                raise _NotCopied("somebody else has it in hand")
            await asyncio.sleep(_PAUSE)

    async def _copy(self, record: Record, tell: Callable[[int], None]) -> None:
        await self._check_source(record)
        creating = asyncio.create_task(self._target.create(record.user_id, record.id))
        try:
            part = await _whole(creating)
            if await self._fill(part, record, tell) != record.sha256:
                raise _NotCopied(Fault.WRONG_SHA256)
            await self._make_room(record)
            publishing = asyncio.create_task(part.publish(int(record.created_at.timestamp())))
            # To send it may take long, and can be broken off.
            await (publishing if self._target.is_remote else _whole(publishing))
            if await self._target.measure(record.user_id, record.id) != _expected(record):
                raise _NotCopied("the target gives back something else than it was given")
        except BaseException:
            # As a whole: where several fail at once, those that come after the first are cancelled.
            await _whole(asyncio.create_task(_discard(creating)))
            raise
        await _whole(asyncio.create_task(self._settle(part, record)))

    async def _check_source(self, record: Record) -> None:
        try:
            size = await self._source.size(record.user_id, record.id)
        except (OSError, Unavailable) as exc:
            raise _NotCopied(Fault.UNREADABLE) from exc
        if size is None:
            raise _NotCopied(Fault.FILE_MISSING)
        if size != record.size:
            raise _NotCopied(Fault.WRONG_SIZE)

    async def _fill(self, part: Part, record: Record, tell: Callable[[int], None]) -> bytes:
        """Writes the file of the source; returns its SHA-256."""
        digest = hashlib.sha256()

        def write(data: bytes) -> None:
            digest.update(data)
            with writing():
                file.write(data)
                file.flush()

        # Not on a thread: who is cancelled meanwhile would leave it open, or make it again.
        with _opened(part) as file:
            async with contextlib.aclosing(self._pieces(record)) as pieces:
                async for data in pieces:
                    await asyncio.to_thread(write, data)
                    tell(len(data))
        return digest.digest()

    async def _pieces(self, record: Record) -> AsyncGenerator[bytes, None]:
        path = self._source.path(record.user_id, record.id)
        try:
            async for data in self._source.read(path, 0, record.size):
                yield data
        except UmusicError as exc:
            raise _NotCopied(Fault.UNREADABLE) from exc

    async def _make_room(self, record: Record) -> None:
        """Takes what is settled in the target and has a wrong size out of the way."""
        if await self._target.size(record.user_id, record.id) not in (None, record.size):
            await self._target.lost_and_found.add_file(record.user_id, record.id)

    async def _settle(self, part: Part, record: Record) -> None:
        """Has a published file stay, and counts it, unless its record is gone."""
        try:
            there = await self._records.confirm(record.user_id, record.id, part.settle_in)
        except BaseException:
            # Nobody knows whether it has been, or who has taken it over: a sweep will look.
            await part.release()
            raise
        if not there:
            await part.discard()
            return
        await part.settle()
        self.copied += 1
        self.copied_bytes += record.size


async def _whole(step: "asyncio.Task[T]") -> T:
    """Lets a step come to its end even if this is cancelled: else nobody knows what there is to be
    removed."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


async def _discard(creating: "asyncio.Task[Part]") -> None:
    """Removes what has been begun, once it has been."""
    await (await creating).discard()


def _expected(record: Record) -> Stored:
    return Stored(record.size, record.sha256)


def _opened(part: Part) -> BinaryIO:
    with writing():
        return part.path.open("r+b")


def _first(exc: Exception) -> Exception:
    """What came first, if it is several exceptions."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return exc
