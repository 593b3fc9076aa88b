"""A resumable upload that is live here: what comes of it is written down, and encoded from there.

Requests only append to the part-file. One feeder, for as long as the upload is live, follows the
offset and hands the bytes to the keeper, which knows nothing of requests: so an upload that goes on
after a break, a restart or a crash takes the same way as one without. It knows no HTTP.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from umusic.errors import NoSpace, UmusicError, Unavailable
from umusic.library.keeper import Upload
from umusic.library.models import Record, ResumableUpload
from umusic.library.uploads import Uploads
from umusic.library.wav_part import WavPart
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
#: Bytes after which what has been written is made durable meanwhile, so that the end is near.
_SYNC_BYTES = 16 * 2**20
#: What may go well the next time; after anything else there is no next time.
_PASSING = (Unavailable, NoSpace, TooManyRequests)


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece has to have: an `algorithm` as hashlib calls it, and its digest."""

    algorithm: str
    digest: bytes


def is_final(error: BaseException) -> bool:
    """Whether an upload has failed for good by this."""
    return (
        isinstance(error, UmusicError)
        and type(error) is not UmusicError
        and not isinstance(error, (*_PASSING, ResumptionLocked))
    )


class Turn:
    """One request's turn to append. Three verbs: `write`, `finish`, `abort`; at any time it may be
    told by `on_cut` that it is no more. Bytes under a checksum count once they have it."""

    def __init__(
        self, resumption: "Resumption", on_cut: Callable[[Exception], None], check: Checksum | None
    ) -> None:
        self._resumption = resumption
        self._check = check
        self._hash = hashlib.new(check.algorithm) if check else None
        self.on_cut = on_cut

    @property
    def checked(self) -> bool:
        """Whether its bytes have to have a checksum."""
        return self._check is not None

    @property
    def fits(self) -> bool:
        """Whether they have it."""
        assert self._check is not None and self._hash is not None
        return hmac.compare_digest(self._hash.digest(), self._check.digest)

    def take(self, part: WavPart, data: bytes) -> None:
        """Writes the next bytes to the part-file. Blocks."""
        part.append(data)
        if self._hash:
            self._hash.update(data)

    async def write(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            LengthExceeded, TooLarge, QuotaExceeded: they are too many.
            ResumptionLocked: somebody else goes on with the upload.
            NoSpace, OutOfResources, MediaAway; or what the WAV was refused for meanwhile.
        """
        await self._resumption.append(self, data)

    async def finish(self) -> None:
        """Says that all has come; it is durable when this returns, or has become a record.

        Raises:
            ChecksumMismatch; ResumptionLocked, MediaAway, DatabaseUnavailable.
        """
        await self._resumption.end_turn(self)

    async def abort(self) -> None:
        """Says that no more will come. What has come counts, but not if it has a checksum."""
        await self._resumption.break_off(self)


class Resumption:
    """One live upload: its part-file, claimed; its feeder; and whose turn it is. `idle` seconds
    after the last turn it is let go."""

    def __init__(
        self,
        row: ResumableUpload,
        part: WavPart,
        upload: Upload,
        uploads: Uploads,
        *,
        idle: float,
        on_end: Callable[["Resumption"], None],
    ) -> None:
        self.id = row.id
        self.row = row
        self.length = row.length
        #: Bytes that count.
        self.offset = part.size
        #: Whether a turn was broken off since the last one.
        self.broken = part.size > 0
        self.began = time.monotonic()
        #: When the last bytes came, by the monotonic clock.
        self.arrived = self.began
        self._part = part
        self._upload = upload
        self._uploads = uploads
        self._idle = idle
        self._on_end = on_end
        self._turn: Turn | None = None
        #: Held while bytes are being written, and while turns change.
        self._busy = asyncio.Lock()
        self._more = asyncio.Event()
        #: Whether the row says that bytes from the offset on do not count.
        self._suspected = False
        self._leaving: UmusicError | None = None
        self._ended = False
        self._synced = part.size
        self._touched = self.began
        self._sync: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        #: What comes of it.
        self.outcome: asyncio.Future[Record] = loop.create_future()
        self.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._life = loop.create_task(self._live())
        self._wait_for_next()

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        return self.offset == self.length

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
        self._cut(ResumptionLocked("Another request goes on with this upload."))
        async with self._busy:
            await self._check_offset(offset)
            turn = Turn(self, on_cut, check)
            if check:
                await self._suspect()
            self._stop_waiting()
            self._turn = turn
            return turn

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
        await self._uploads.set_length(self.id, length)
        self.length = length
        self._more.set()

    async def append(self, turn: Turn, data: bytes) -> None:
        """See `Turn.write`."""
        async with self._busy:
            self._check_turn(turn)
            end = self._part.size + len(data)
            if self.length is not None and end > self.length:
                raise LengthExceeded(limit=self.length)
            self._upload.check_size(end)
            await asyncio.to_thread(turn.take, self._part, data)
            self.arrived = time.monotonic()
            if not turn.checked:
                self._count()

    async def end_turn(self, turn: Turn) -> None:
        """See `Turn.finish`."""
        async with self._busy:
            self._check_turn(turn)
            self._turn = None
            try:
                if turn.checked and not turn.fits:
                    await self._forget_unchecked()
                    raise ChecksumMismatch
                self.broken = False
                if turn.checked:
                    await self._trust()
                elif not self.is_whole:
                    await asyncio.to_thread(self._part.sync)
                    await self._touch()
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
                await self._forget_unchecked()
                await self._touch()
            except Unavailable:
                pass  # its progress is told the next time
            finally:
                self._wait_for_next()

    async def durable_offset(self) -> int:
        """The bytes that count and stay, whatever happens."""
        offset = self.offset
        if self._ended:
            return offset
        await asyncio.to_thread(self._part.durable_size)
        return offset

    async def keep_alive(self, seconds: float) -> None:
        """Has it expire later, if it makes progress; not more often than every `seconds`."""
        if self.arrived > self._touched and time.monotonic() - self._touched >= seconds:
            await self._touch()

    async def let_go(self, error: UmusicError) -> None:
        """Ends it here, with what those are told who wait for it. The part-file stays, unless the
        upload is gone. Does nothing if it has just become a record."""
        self._leaving = self._leaving or error
        self._cut(error)
        self._more.set()
        try:
            await self._upload.abort()
        finally:
            await asyncio.wait([self._life])

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
                if self._sync:
                    await asyncio.wait([self._sync])
                await asyncio.to_thread(self._part.discard if gone else self._part.release)
        except OSError:
            log.exception("a part-file could not be removed; a sweep will")
        finally:
            self._on_end(self)

    async def _feed(self) -> Record:
        fed = 0
        while True:
            self._more.clear()
            while fed < self.offset:
                count = min(_PIECE, self.offset - fed)
                data = await asyncio.to_thread(self._part.read, fed, count)
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

    def _check_turn(self, turn: Turn) -> None:
        if self._turn is turn:
            return
        if self._ended and (error := self.outcome.exception()):
            raise error
        raise ResumptionLocked("Another request goes on with this upload.")

    async def _check_offset(self, offset: int) -> None:
        """Before a turn: cuts off what does not count of the last one."""
        if self.has_ended:
            raise ResumptionLocked
        await self._forget_unchecked()
        if offset != self.offset:
            self._wait_for_next()
            raise WrongOffset(offset=self.offset)

    async def _forget_unchecked(self) -> None:
        """Cuts off bytes without the checksum that they should have had. If that is not possible
        it is let go: whoever opens it next does so first."""
        if self._ended or not self._suspected:
            return
        try:
            await asyncio.to_thread(self._part.cut, self.offset)
            await self._uploads.trust(self.id, self.offset)
            self._suspected = False
        except Exception:
            self._leave(ResumptionLocked())
            raise

    async def _suspect(self) -> None:
        self._suspected = True
        try:
            await self._uploads.suspect(self.id, self.offset)
        except BaseException:
            # The row may say so: then nothing may be added here that would count.
            self._leave(ResumptionLocked())
            raise
        if self.has_ended:
            raise ResumptionLocked

    async def _trust(self) -> None:
        try:
            await asyncio.to_thread(self._part.sync)
            self.row.expires_at = await self._uploads.trust(self.id, self._part.size)
            self._suspected = False
        except BaseException:
            # Nobody knows whether they count. The next one to open it asks the row.
            self._leave(ResumptionLocked())
            raise
        self._count()

    async def _touch(self) -> None:
        self._touched = time.monotonic()
        self.row.expires_at = await self._uploads.touch(self.id, self.offset)

    def _count(self) -> None:
        """Counts what has been written."""
        self.offset = self._part.size
        self._more.set()
        if self.offset - self._synced >= _SYNC_BYTES and self._sync is None:
            self._synced = self.offset
            self._sync = asyncio.create_task(self._sync_now())

    async def _sync_now(self) -> None:
        try:
            await asyncio.to_thread(self._part.sync)
        except UmusicError as exc:
            log.warning("a part-file could not be synced: %r", exc.__cause__)
        finally:
            self._sync = None

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
