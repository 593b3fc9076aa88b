"""A resumable upload that is live here: what comes of it is written down, and encoded from there.

Requests only append to the part-file. One feeder, for as long as the upload is live, follows the
offset and hands the bytes to the keeper, which knows nothing of requests: so an upload that goes on
after a break, a restart or a crash takes the same way as one without. It knows no HTTP.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from umusic.errors import NoSpace, UmusicError, Unavailable
from umusic.library.arrival import Arrival
from umusic.library.keeper import Upload
from umusic.library.models import Record, ResumableUpload
from umusic.library.turns import Checksum, Turn
from umusic.library.uploads import Uploads
from umusic.resumable_errors import (
    ChecksumMismatch,
    LengthExceeded,
    ResumptionGone,
    ResumptionLocked,
    WrongOffset,
)
from umusic.upload_errors import TooManyRequests

log = logging.getLogger(__name__)

#: Bytes that are handed on to the encoder at once.
_PIECE = 256 * 1024
#: What may go well the next time; after anything else there is no next time.
_PASSING = (Unavailable, NoSpace, TooManyRequests, ResumptionLocked)
_ANOTHER = "Another request goes on with this upload."


def is_final(error: BaseException) -> bool:
    """Whether an upload has failed for good by this."""
    ours = isinstance(error, UmusicError) and type(error) is not UmusicError
    return ours and not isinstance(error, _PASSING)


class Resumption:
    """One live upload: what has arrived of it, its feeder, and whose turn it is. `idle` seconds
    after the last turn it is let go."""

    def __init__(
        self,
        arrival: Arrival,
        upload: Upload,
        uploads: Uploads,
        *,
        idle: float,
        on_end: Callable[["Resumption"], None],
    ) -> None:
        self.arrival = arrival
        self.id = arrival.row.id
        #: Whether a turn was broken off since the last one.
        self.broken = arrival.size > 0
        self._upload = upload
        self._uploads = uploads
        self._idle = idle
        self._on_end = on_end
        self._turn: Turn | None = None
        #: Held while bytes are being written, and while turns change.
        self._busy = asyncio.Lock()
        self._more = asyncio.Event()
        self._leaving: UmusicError | None = None
        self._ended = False
        self._idle_timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        #: What comes of it.
        self.outcome: asyncio.Future[Record] = loop.create_future()
        self.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._life = loop.create_task(self._live())
        self._wait_for_next()

    @property
    def row(self) -> ResumableUpload:
        """Its row, as far as it is known here."""
        return self.arrival.row

    @property
    def length(self) -> int | None:
        """Bytes in all, if that is known."""
        return self.arrival.length

    @property
    def offset(self) -> int:
        """Bytes that count."""
        return self.arrival.offset

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        return self.arrival.is_whole

    @property
    def is_idle(self) -> bool:
        """Whether nobody is writing to it, nor is a record being made."""
        return self._turn is None and not self.is_whole

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be done with it here."""
        return self._ended or self._leaving is not None

    async def begin_turn(
        self, offset: int, check: Checksum | None, on_cut: Callable[[Exception], None]
    ) -> Turn:
        """Takes the turn from whoever has it.

        Raises:
            WrongOffset: there is another number of bytes.
            ResumptionLocked: it has just been let go: open it anew.
        """
        self._cut(ResumptionLocked(_ANOTHER))
        async with self._busy:
            self._check_live()
            await self._forget()
            if offset != self.offset:
                self._wait_for_next()
                raise WrongOffset(offset=self.offset)
            if check:
                await self._suspect()
            self._check_live()
            self._stop_waiting()
            self._turn = Turn(self, on_cut, check)
            return self._turn

    async def interrupt(self) -> None:
        """Takes the turn from whoever has it, and waits until nothing more is written."""
        self._cut(ResumptionLocked(_ANOTHER))
        async with self._busy:
            if not self.has_ended and self._turn is None:
                await self._forget()
                self._wait_for_next()

    async def set_length(self, length: int) -> None:
        """Says how many bytes it will have in all, where that was open.

        Raises:
            LengthExceeded: it has more, or another number was told before.
        """
        if self.length == length:
            return
        if self.length is not None or length < self.offset:
            raise LengthExceeded("The upload has another length, or more bytes already.")
        self._upload.check_size(length)
        await self.arrival.set_length(length)
        self._more.set()

    async def append(self, turn: Turn, data: bytes) -> None:
        """See `Turn.write`."""
        async with self._busy:
            self._check_turn(turn)
            end = self.arrival.size + len(data)
            if self.length is not None and end > self.length:
                raise LengthExceeded(limit=self.length)
            self._upload.check_size(end)
            await self.arrival.take(turn, data)
            self._more.set()

    async def end_turn(self, turn: Turn, *, last: bool) -> None:
        """See `Turn.finish`."""
        async with self._busy:
            self._check_turn(turn)
            self._turn = None
            try:
                if turn.checked and not turn.fits:
                    await self._forget()
                    raise ChecksumMismatch
                if last:
                    await self.set_length(self.arrival.size)
                self.broken = False
                if turn.checked:
                    await self._trust()
                elif not self.is_whole:
                    await self.arrival.sync()
                    await self.arrival.touch()
            finally:
                self._wait_for_next()

    async def break_off(self, turn: Turn) -> None:
        """See `Turn.abort`."""
        if self._turn is not turn:
            return
        self._turn = None
        self.broken = True
        async with self._busy:
            if self._turn is not None or self.has_ended:
                return
            try:
                await self._forget()
                await self.arrival.touch()
            except Unavailable:
                pass  # its progress is told the next time
            finally:
                self._wait_for_next()

    async def let_go(self, error: UmusicError) -> None:
        """Ends it here, with what those are told who wait for it. The part-file stays, unless the
        upload is gone. Does nothing if it has just become a record."""
        self._leave(error)
        self._cut(error)
        try:
            await self._upload.abort()
        finally:
            await self.ended()

    async def ended(self) -> None:
        """Waits until it has let go of all that it holds."""
        await asyncio.wait([self._life])

    async def _live(self) -> None:
        """Its life, from the first byte to the record or to whatever ends it before."""
        gone = True
        try:
            record = await self._feed()
        except Exception as exc:
            error = self._leaving or exc
            gone = await self._fail(error)
            self._end(error)
        else:
            self.outcome.set_result(record)
            self._end(ResumptionGone())
        try:
            # Whoever is writing to it comes to an end first.
            async with self._busy:
                await self.arrival.end(discard=gone)
        except OSError:
            log.exception("a part-file could not be removed; a sweep will")
        finally:
            self._on_end(self)

    async def _feed(self) -> Record:
        fed = 0
        while True:
            self._more.clear()
            while fed < self.offset:
                data = await self.arrival.read(fed, _PIECE)
                await self._upload.write(data)
                fed += len(data)
            if self.is_whole:
                return await self._upload.finish()
            if self._leaving:
                raise self._leaving
            await self._more.wait()

    async def _fail(self, error: Exception) -> bool:
        """Ends what is being encoded. Returns whether the upload is gone for good."""
        if not isinstance(error, UmusicError):
            log.error("a resumable upload failed", exc_info=error)
        try:
            await self._upload.abort()
            if isinstance(error, ResumptionGone):
                return True
            if is_final(error) and isinstance(error, UmusicError):
                await self._uploads.end(self.id, error)
                return True
        except Unavailable:
            pass  # it will fail again
        except Exception:
            log.exception("a resumable upload could not be ended")
        return False

    def _end(self, error: Exception) -> None:
        self._ended = True
        self._stop_waiting()
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self._cut(error)

    def _cut(self, error: Exception) -> None:
        """Takes the turn from whoever has it."""
        turn, self._turn = self._turn, None
        if turn is not None:
            self.broken = True
            turn.on_cut(error)

    def _check_live(self) -> None:
        if self.has_ended:
            raise ResumptionLocked

    def _check_turn(self, turn: Turn) -> None:
        if self._turn is turn:
            return
        if self._ended and (error := self.outcome.exception()):
            raise error
        raise ResumptionLocked(_ANOTHER)

    # If one of these fails nobody knows what the row says: then it is let go, and whoever opens it
    # next goes by the row.

    async def _suspect(self) -> None:
        await self._surely(self.arrival.suspect)

    async def _trust(self) -> None:
        await self._surely(self.arrival.trust)
        self._more.set()

    async def _forget(self) -> None:
        if not self._ended:
            await self._surely(self.arrival.forget)

    async def _surely(self, change: Callable[[], Awaitable[None]]) -> None:
        try:
            await change()
        except BaseException:
            self._leave(ResumptionLocked())
            raise

    def _leave(self, error: UmusicError) -> None:
        self._leaving = self._leaving or error
        self._more.set()

    def _wait_for_next(self) -> None:
        self._stop_waiting()
        if not self.has_ended and not self.is_whole:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._idle, self._leave, ResumptionLocked())

    def _stop_waiting(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
