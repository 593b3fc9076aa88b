"""All resumable uploads: their rows, those live here, and how one goes from process to process.

A lock on the part-file says who has an upload in hand; it dies with its process. Who wants one that
another process has says so in the row, which that one looks at every second while it has any.
"""

import asyncio
import logging
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from umusic.errors import Draining, UmusicError, Unavailable
from umusic.library.arrival import Arrival
from umusic.library.completion import Completion
from umusic.library.handover import PATIENCE, PAUSE, claim
from umusic.library.keeper import Keeper, Upload
from umusic.library.media import Media
from umusic.library.models import Record, ResumableUpload
from umusic.library.orders import Order
from umusic.library.progress import Progress, assured, look
from umusic.library.records import Records
from umusic.library.resumption import Resumption, is_final
from umusic.library.turns import Checksum, Turn
from umusic.library.uploads import Uploads, check_open, end_of
from umusic.library.wav_part import WavPart
from umusic.metrics import Metrics
from umusic.resumable_errors import (
    ResumptionGone,
    ResumptionLocked,
    ResumptionTerminated,
    ResumptionUnknown,
    WrongOffset,
)

log = logging.getLogger(__name__)

#: Between looks at whether somebody wants what is held here.
_WATCH_SECONDS = 1.0
#: Progress is written down so often while a request goes on, or more often if uploads expire soon.
_TOUCH_SECONDS = 60.0


class Resumptions:
    """The resumable uploads, as one process sees them. One without a turn is let go after `idle`
    seconds."""

    def __init__(
        self,
        keeper: Keeper,
        uploads: Uploads,
        records: Records,
        media: Media,
        metrics: Metrics,
        *,
        idle: float,
    ) -> None:
        self._keeper = keeper
        self._uploads = uploads
        self._records = records
        self._media = media
        self._metrics = metrics
        self._idle = idle
        self._live: dict[uuid.UUID, Resumption] = {}
        #: Held while one is opened.
        self._doors: weakref.WeakValueDictionary[uuid.UUID, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        self._completion = Completion(uploads, media, self._complete)
        self._watching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def live(self) -> int:
        """How many are live here."""
        return len(self._live)

    async def create(self, order: Order, length: int | None, told: str) -> ResumableUpload:
        """Makes a new upload, of `length` bytes if that is known; `told` is what its client says of
        it.

        Raises:
            Draining; what `Keeper.check_library` and `Uploads.add` do.
        """
        if self._closed:
            raise Draining
        await self._keeper.check_library(order, length or 0)
        quota = self._keeper.limits.quota_bytes
        row = await self._uploads.add(order, length, told, quota=quota)
        self._metrics.resumable("created")
        return row

    async def look(self, upload_id: uuid.UUID) -> Progress:
        """How far an upload is. If all of it has come and no record was made of it yet, as after a
        crash, that is begun.

        Raises:
            ResumptionUnknown: there is none.
            MediaAway, OutOfResources, NoSpace: its part-file cannot be looked at.
        """
        if (live := self._live.get(upload_id)) and not live.has_ended:
            row = await self._uploads.find(upload_id)
            if self._uploads.is_elsewhere(row) and not live.is_whole:
                await live.let_go(ResumptionLocked())  # before `_watch` gets there
            # Let go of meanwhile, it may have come further elsewhere.
            if row.is_open and not live.has_ended:
                row.length = live.length
                return Progress(row, await live.arrival.durable_offset())
        progress = await look(upload_id, self._uploads, self._records, self._media)
        if progress.row.is_open and progress.is_whole:
            self._spawn(self._completion.attempt(progress.row))
        return progress

    async def assure(self, upload_id: uuid.UUID) -> Progress:
        """The same as a promise (`assured`), where no other machine has its part-file."""
        if self._uploads.site is None:
            return await self.look(upload_id)
        return await assured(lambda: self.look(upload_id), lambda: self._closed)

    async def settle(self, upload_id: uuid.UUID) -> Progress:
        """How far an upload is, once nobody writes to it: who does is cut off, here or in another
        process. Raises what `look` does, and ResumptionLocked."""
        progress = await self.look(upload_id)
        if progress.end or progress.record or progress.is_whole:
            return progress
        live = self._live.get(upload_id)
        if live and not live.has_ended:
            await live.interrupt()
        else:
            part = self._media.directory.wav_part(progress.row.user_id, upload_id)
            if await asyncio.to_thread(part.path.exists):
                await self._claim(part, PATIENCE)
                await asyncio.to_thread(part.release)
        return await self.look(upload_id)

    async def begin_turn(
        self,
        upload_id: uuid.UUID,
        offset: int,
        *,
        length: int | None = None,
        check: Checksum | None = None,
        on_cut: Callable[[Exception], None],
    ) -> tuple[Resumption, Turn] | Record:
        """Takes the turn to append from whoever has it, here or in another process; if the upload
        has become a record, that is returned. `length` is told of one whose length was open.

        Raises:
            WrongOffset: it has another number of bytes.
            ResumptionLocked: another process does not let go.
            ResumptionUnknown, ResumptionGone; what `Keeper.begin` raises.
        """
        for _ in range(3):
            # First, so that a request that is wrong cuts off nobody.
            progress = await self.look(upload_id)
            if progress.end:
                raise progress.end
            if offset != progress.offset:
                raise WrongOffset(offset=progress.offset)
            if progress.record:
                return progress.record
            try:
                resumption = await self.open(upload_id)
            except ResumptionGone:
                continue  # it came to its end meanwhile: maybe as a record
            try:
                if length is not None:
                    await resumption.set_length(length)
                turn = await resumption.begin_turn(offset, check, on_cut)
            except ResumptionLocked:
                if not resumption.has_ended:
                    raise
                continue
            if resumption.broken:
                resumption.broken = False
                self._metrics.resumable("resumed")
            return resumption, turn
        raise ResumptionLocked

    async def open(self, upload_id: uuid.UUID, *, patience: float = PATIENCE) -> Resumption:
        """The upload, live here; another process that has it gets so many seconds to let go.
        Raises what `begin_turn` does."""
        door = self._doors.setdefault(upload_id, asyncio.Lock())
        async with door:
            if live := self._live.get(upload_id):
                if not live.has_ended:
                    return live
                await live.ended()
            if self._closed:
                raise Draining
            return await self._start(upload_id, patience)

    async def terminate(self, upload_id: uuid.UUID) -> None:
        """Ends an upload, whoever has it in hand, and removes what there is of it. A record that
        has come of it stays.

        Raises:
            ResumptionUnknown, ResumptionGone: there is none, or no more.
        """
        row = await self._uploads.find(upload_id)
        if row.problem is not None:
            raise end_of(row) or ResumptionGone
        await self._uploads.end(upload_id, ResumptionTerminated())
        self._metrics.resumable("terminated")
        if live := self._live.get(upload_id):
            await live.let_go(ResumptionTerminated())
        # Who has it in another process sees that it is gone, and removes it.
        part = self._media.directory.wav_part(row.user_id, row.id)
        deadline = time.monotonic() + PATIENCE
        while not await asyncio.to_thread(part.remove):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE)

    async def abandon(self, upload_id: uuid.UUID) -> None:
        """Ends one of which nobody knows, as it was just begun; else it expires some day."""
        progress = await self.look(upload_id)
        if not progress.end and not progress.record:
            await self.terminate(upload_id)

    async def tend(self) -> None:
        """Ends what has expired, and completes what all has come of and nobody else completes. To
        be called every half a minute."""
        await asyncio.to_thread(self._media.directory.check_mounted)
        for row in await self._uploads.expire():
            self._metrics.resumable("expired")
            if live := self._live.get(row.id):
                await live.let_go(end_of(row) or ResumptionGone())
            # If another process has it, that one removes it.
            await asyncio.to_thread(self._media.directory.wav_part(row.user_id, row.id).remove)
        # By itself: whoever is interrupted while it opens one would leave a lock behind.
        await asyncio.shield(self._spawn(self._completion.attempt_all()))

    def drain(self) -> None:
        """Opens no more, and lets those go that nobody is writing to."""
        self._closed = True
        for live in list(self._live.values()):
            if live.is_idle:
                self._spawn(live.let_go(Draining()))

    async def close(self) -> None:
        """Lets all go; their part-files stay, for whoever goes on."""
        self._closed = True
        leaving = (live.let_go(Draining()) for live in list(self._live.values()))
        await asyncio.gather(*leaving, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _start(self, upload_id: uuid.UUID, patience: float) -> Resumption:
        row = await self._uploads.find(upload_id)
        check_open(row)
        await asyncio.to_thread(self._media.directory.check_mounted)
        part = self._media.directory.wav_part(row.user_id, row.id)
        await self._claim(part, patience)
        try:
            # What was so before need not be so any more.
            row = await self._uploads.find(upload_id)
            check_open(row)
            counting = 0 if self._uploads.is_elsewhere(row) else row.pending_from
            if counting is not None:
                await asyncio.to_thread(part.cut, counting)
            if counting is not None or row.wanted or row.site != self._uploads.site:
                await self._uploads.take(upload_id)
            order = Order(row.user_id, row.uploader_id, row.name, upload_id=row.id)
            size = max(row.length or 0, part.size)
            upload = await self._keeper.begin(order, size=size, total=row.length)
            assert isinstance(upload, Upload)
        except BaseException as exc:
            gone = isinstance(exc, ResumptionGone | ResumptionUnknown)
            try:
                if isinstance(exc, UmusicError) and is_final(exc) and not gone:
                    gone = await self._uploads.end(upload_id, exc)
            finally:
                await asyncio.to_thread(part.discard if gone else part.release)
            raise
        arrival = Arrival(row, part, self._uploads)
        live = Resumption(arrival, upload, self._uploads, idle=self._idle, on_end=self._forget)
        self._live[upload_id] = live
        live.outcome.add_done_callback(lambda outcome: self._measure(live, outcome))
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        return live

    async def _claim(self, part: WavPart, patience: float) -> None:
        if await claim(part, patience, self._uploads):
            self._metrics.resumable("taken")

    async def _complete(self, upload_id: uuid.UUID) -> None:
        """Opens one of which all has come, unless another process has it in hand."""
        if upload_id not in self._live:
            await self.open(upload_id, patience=0)

    async def _watch(self) -> None:
        """Lets go what another process wants, and what is gone."""
        touch = min(_TOUCH_SECONDS, self._uploads.expiry.total_seconds() / 4)
        while self._live:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                held = list(self._live.values())
                rows = await self._uploads.among([live.id for live in held])
                # Not those that were opened meanwhile: nothing was asked about them.
                for live in held:
                    row = rows.get(live.id)
                    if row is None or row.problem is not None:
                        self._spawn(live.let_go((row and end_of(row)) or ResumptionGone()))
                        continue
                    elsewhere = self._uploads.is_elsewhere(row)
                    # What is whole needs nobody else: to encode it anew would only take longer.
                    if (row.wanted or elsewhere) and not live.is_whole:
                        self._spawn(live.let_go(ResumptionLocked()))
                    elif not elsewhere:
                        await live.arrival.keep_alive(touch)
            except (ResumptionLocked, Unavailable):
                pass  # it has just come to its end; those who need the database say so
            except Exception:
                log.exception("what is held here could not be looked at")

    def _forget(self, live: Resumption) -> None:
        if self._live.get(live.id) is live:
            del self._live[live.id]

    def _measure(self, live: Resumption, outcome: "asyncio.Future[Record]") -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if error is None:
            record = outcome.result()
            self._metrics.upload_ended("accepted")
            self._metrics.upload_kept(
                size=record.source_size,
                mp3_size=record.size,
                audio_seconds=record.duration,
                seconds=(record.created_at - live.row.created_at).total_seconds(),
                lag=time.monotonic() - live.arrival.last,
            )
        elif is_final(error) and not isinstance(error, ResumptionGone):
            assert isinstance(error, UmusicError)
            self._metrics.upload_ended("refused", error.code)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
