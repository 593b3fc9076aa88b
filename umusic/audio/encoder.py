"""Sample frames in, an MP3 file out, through several ffmpegs at once. Knows nothing of uploads.

Three verbs: `write` with back-pressure, `finish`, `abort`. Whatever happens, no ffmpeg is left.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from umusic.audio import ffmpeg
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.info_tag import InfoTag
from umusic.audio.joiner import Joiner
from umusic.audio.mp3 import BrokenMp3
from umusic.audio.pool import Pool, Slot
from umusic.audio.process import run
from umusic.audio.segments import Grid, Memory, Segment
from umusic.audio.wav_format import WavFormat
from umusic.errors import EncoderFailed, NoSound, UmusicError, out_of_room

log = logging.getLogger(__name__)

#: Seconds that ffmpeg may take for a segment besides those that the segment would play.
GRACE_SECONDS = 60.0
#: ffmpeg's resampler gives nothing back for less than about a dozen samples of the lower rate.
_RESAMPLER_FRAMES = 1024
#: How many samples it may be off at the end.
_RESAMPLER_SLACK = 2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the MP3 is: rate in Hz, channels, and samples per channel that a decoder gives back."""

    sample_rate: int
    channels: int
    samples: int


class Encoder:
    """One recording on its way to one MP3, cut into segments that are encoded side by side.

    A segment ends when it has its full length and the pool has a slot for it; or earlier, when it
    is at least `Lengths.shortest` and an encoder has been idle for a moment. So on a fast link
    segments are long and every core is busy, and on a slow one little is left to be encoded when
    the last byte comes. If the length of the recording is known, no segment ends so that less than
    the shortest would be left for the next: a short recording is encoded in one piece.
    """

    def __init__(
        self,
        pool: Pool,
        wav: WavFormat,
        mp3: Mp3Settings,
        output: Path,
        *,
        expected: int | None = None,
        room: int = 0,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Starts no ffmpeg yet, but has to be ended by `finish` or `abort`. `output` is an empty
        file, `expected` the sample frames to come, if that is known; the MP3 begins with `room`
        bytes that are not its own.

        Raises:
            EncoderFailed: there is no memory.
        """
        self._pool = pool
        self._wav = wav
        self._mp3 = mp3
        self._output = output
        self._lead = bytes(room)
        self._grace_seconds = grace_seconds
        self._grid = Grid(wav.sample_rate)
        self._expected = None if expected is None else self._grid.complete(expected)
        self._frames = 0
        self._joiner = Joiner(None if mp3.bitrate else mp3.quality)
        with _out_of_memory():
            self._segment = Segment(self._grid, wav)
        #: How many segments were cut off, and when the last one was.
        self._cut = 0
        self._cut_at = time.monotonic()
        self._aborted = False
        self._finishing = False
        #: Memory of a segment that has been encoded: it is filled again in less time than the
        #: system needs to give it back and find new.
        self._spare: Memory | None = None
        #: The segments that are not joined yet, in their order.
        self._encoding: deque[asyncio.Task[None]] = deque()
        #: Why it cannot go on, once a segment failed or `abort` was called.
        self._broken: asyncio.Future[UmusicError] = asyncio.get_running_loop().create_future()
        #: Held while a segment is cut: it is not closed meanwhile.
        self._cutting = asyncio.Lock()
        self._encoded: Encoded | None = None
        pool.join(self)

    async def write(self, blocks: bytes) -> None:
        """Takes whole blocks of samples, and waits while as much is being encoded as may.

        Raises:
            EncoderFailed, NoSpace: they cannot be encoded; call `abort`.
        """
        self._check()
        self._append(blocks)
        if self._is_due():
            await self._cut_off(await self._slot(), self._segment.complete)

    async def finish(
        self, last: bytes = b"", *, frames: int | None = None, lead: bytes = b""
    ) -> Encoded:
        """Ends the sound, waits for the MP3 and checks that all of the sound is in it. `last` is
        the last block, which may be short, `frames` the length of the sound if that block holds
        more than belongs to it, `lead` what goes into the room before the MP3.

        Raises:
            EncoderFailed, NoSpace: it is not; call `abort`.
            NoSound: it is too short to be resampled.
        """
        self._check()
        assert len(lead) == len(self._lead)
        self._lead = lead
        # Not by `write`: a segment might be cut beyond the end of the sound.
        self._append(last)
        if frames is not None:
            self._frames = frames
            self._segment.end(frames)
        slot = await self._slot()
        self._start(self._segment, None, slot)
        self._finishing = True
        await self._close_spare()
        await self._settled(self._encoding[-1])
        assert self._encoded is not None
        self._pool.leave(self)
        return self._encoded

    async def abort(self) -> None:
        """Kills what runs and waits until it is gone. May be called at any time, more than once."""
        self._pool.leave(self)
        if not self._aborted:
            self._aborted = True
            self._break(EncoderFailed())
            for task in self._encoding:
                task.cancel()
        if self._encoding:
            await asyncio.wait(self._encoding)
        async with self._cutting:
            self._segment.close()
        await self._close_spare()

    def _append(self, blocks: bytes) -> None:
        with _out_of_memory():
            self._segment.samples.append(blocks)
        self._frames += self._wav.frames_in(len(blocks))

    def _is_due(self) -> bool:
        """Whether the segment is to be cut now."""
        pool, complete = self._pool, self._segment.complete
        frame_bytes = self._grid.frame_bytes(self._wav)
        lengths = pool.lengths.capped(frame_bytes, pool.members + pool.size)
        left = None if self._expected is None else self._expected - self._segment.first
        if complete < lengths.shortest or (left is not None and left - complete < lengths.shortest):
            return False
        if complete >= lengths.full(left, cut=self._cut, share=pool.share(self)):
            return True
        return pool.is_idle and time.monotonic() - self._cut_at >= lengths.patience

    async def _slot(self) -> Slot:
        """Waits for a slot of the pool; before that, if too many segments are not joined yet, for
        the oldest of them."""
        while len(self._encoding) > self._pool.size + 1:
            await self._settled(self._encoding[0])
        turn = asyncio.ensure_future(self._pool.acquire(self))
        try:
            await self._settled(turn)
        except BaseException:
            turn.cancel()
            if turn.done() and not turn.cancelled():
                turn.result().close()
            raise
        return turn.result()

    async def _cut_off(self, slot: Slot, count: int) -> None:
        """Lets `count` MP3 frames of the segment be encoded; the next one has what is left."""
        segment = self._segment
        try:
            async with self._cutting:
                self._check()
                spare, self._spare = self._spare, None
                with _out_of_memory():
                    await _uninterrupted(self._divide, count, spare)
                self._check()
                self._start(segment, count, slot)
        except BaseException:
            slot.close()
            segment.close()
            raise

    def _divide(self, count: int, spare: Memory | None) -> None:
        self._segment = self._segment.cut(count, spare)

    async def _dispose(self, segment: Segment) -> None:
        """Keeps the memory of an encoded segment for the next one, or gives it back."""
        wanted = not self._finishing and self._pool.members <= self._pool.size
        if wanted and self._spare is None:
            self._spare = segment.samples.emptied()
        await _uninterrupted(segment.close)

    async def _close_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await _uninterrupted(spare.close)

    def _start(self, segment: Segment, count: int | None, slot: Slot) -> None:
        """Lets a segment be encoded: `count` MP3 frames, or all to the end."""
        before = self._encoding[-1] if self._encoding else None
        task = asyncio.create_task(self._encode(segment, count, slot, before))

        # Not left to the task: it may be cancelled before it begins.
        def end(_: object) -> None:
            slot.close()
            segment.close()

        task.add_done_callback(end)
        self._encoding.append(task)
        self._cut += 1
        self._cut_at = time.monotonic()

    async def _encode(
        self, segment: Segment, count: int | None, slot: Slot, before: asyncio.Task[None] | None
    ) -> None:
        """Encodes a segment, and joins it once those before it are."""
        try:
            with _out_of_memory():
                mp3 = Memory("umusic-mp3")
            with contextlib.closing(mp3):
                await self._run(segment, mp3)
                slot.close()
                await self._dispose(segment)
                if before is not None:
                    await asyncio.wait({before})
                if not self._broken.done():
                    await _uninterrupted(self._join, mp3, segment.pre_roll, count)
        except UmusicError as exc:
            self._break(exc)
        except Exception:
            log.exception("a segment could not be encoded or joined")
            self._break(EncoderFailed())

    async def _run(self, segment: Segment, mp3: Memory) -> None:
        with self._pool.metrics.encoding():
            await run(
                ffmpeg.encode_args(
                    self._pool.ffmpeg,
                    self._wav,
                    self._mp3,
                    skip=segment.skip,
                    keep=segment.keep,
                    drop=segment.drop,
                ),
                stdin=segment.rewind(),
                stdout=mp3.fd,
                limits=ffmpeg.limits(segment.seconds),
                seconds=self._grace_seconds + segment.seconds,
            )

    def _join(self, mp3: Memory, skip: int, count: int | None) -> None:
        """Writes the frames of the next segment; after the last one the end and the first frame."""
        with out_of_room(), mp3.mapped() as frames, self._output.open("r+b") as file:
            file.seek(max(file.seek(0, os.SEEK_END), len(self._lead)))
            file.writelines(self._joiner.join(frames, skip=skip, count=count))
            if count is None:
                file.write(self._joiner.flush())
                self._encoded, tag = self._summary()
                file.seek(0)
                file.write(self._lead + tag.frame())

    def _summary(self) -> tuple[Encoded, InfoTag]:
        samples = self._grid.length(self._frames)
        resampled = self._grid.rate != self._wav.sample_rate
        try:
            tag = self._joiner.tag(samples, slack=_RESAMPLER_SLACK if resampled else 0)
        except BrokenMp3 as exc:
            if resampled and self._frames < _RESAMPLER_FRAMES:
                raise NoSound("The WAV holds too little sound to be resampled.") from exc
            raise
        return Encoded(tag.stream.sample_rate, tag.stream.channels, samples), tag

    def _break(self, reason: UmusicError) -> None:
        if not self._broken.done():
            self._broken.set_result(reason)

    def _check(self) -> None:
        if self._broken.done():
            raise self._broken.result()

    async def _settled(self, what: "asyncio.Future[Any]") -> None:
        """Waits for it, or raises why there is nothing to wait for any more."""
        await asyncio.wait({what, self._broken}, return_when=asyncio.FIRST_COMPLETED)
        self._check()
        while self._encoding and self._encoding[0].done():
            self._encoding.popleft()


async def _uninterrupted(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Does it on a thread. Who is cancelled meanwhile still waits for its end: it uses files that
    are closed or removed then."""
    done = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    cancelled = None
    while not done.done():
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled:
        done.exception()  # nobody else will look at it
        raise cancelled
    return done.result()


@contextlib.contextmanager
def _out_of_memory() -> Iterator[None]:
    """Turns what the system says of memory and descriptors that it has not into EncoderFailed."""
    try:
        yield
    except OSError as exc:
        raise EncoderFailed from exc
