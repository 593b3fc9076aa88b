"""Outlines of records' sounds: made when they are first asked for, and kept beside the MP3s.

Each is made once, however many ask for it at the same time, and goes on being made when those who
asked have left: so whoever asks again finds it.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from umusic.audio import waveform
from umusic.audio.waveform import Peaks
from umusic.errors import Draining
from umusic.library.media import Derived, Media
from umusic.library.models import Record
from umusic.metrics import Metrics
from umusic.waveform_errors import TooManyWaveforms, WaveformPending

log = logging.getLogger(__name__)

#: Pictures of one record that are kept: of so many sizes.
KEPT_SIZES = 8
#: How long somebody who asks is kept waiting, in seconds. A proxy waits for at least a minute.
PATIENCE = 20.0
#: Makings that may run or wait at once.
MAX_MAKINGS = 64

_PEAKS = "peaks.json"
_PICTURE = ".png"

#: A record, and what is made of it.
_Key = tuple[uuid.UUID, str]


class Waveforms:
    """Makes outlines, with at most `helpers` ffmpegs at once."""

    def __init__(self, media: Media, ffmpeg: Path, helpers: int, metrics: Metrics) -> None:
        self.ffmpeg = ffmpeg
        self.patience = PATIENCE
        self._media = media
        self._metrics = metrics
        self._helpers = asyncio.Semaphore(helpers)
        self._pens = asyncio.Semaphore(helpers)
        self._makings: dict[_Key, asyncio.Task[None]] = {}
        self._open = True

    @property
    def live(self) -> int:
        """How many are being made, or wait for it."""
        return len(self._makings)

    async def peaks(self, record: Record) -> str:
        """The file of a record's peaks (JSON), as a path in the store.

        Raises:
            RecordUnknown, RecordDamaged: the MP3 is not there, or is no MP3.
            WaveformPending: it takes long; it is still being made.
            TooManyWaveforms, WaveformFailed, Draining, NoSpace, MediaAway: not now.
        """
        await self._have(record, _PEAKS, lambda kept: self._make_peaks(record, kept))
        return self._derived(record).path(_PEAKS)

    async def picture(self, record: Record, width: int, height: int) -> str:
        """The file of a record's picture (PNG) of so many pixels, likewise. Raises the same."""
        name = f"{width}x{height}{_PICTURE}"

        async def make(kept: Derived) -> None:
            await self._make_picture(record, kept, name, (width, height))

        await self._have(record, name, make)
        return self._derived(record).path(name)

    def drain(self) -> None:
        """Makes no new ones any more."""
        self._open = False

    async def abort_all(self) -> None:
        """Gives up what is being made, and stops its processes."""
        self._open = False
        while makings := list(self._makings.values()):
            for making in makings:
                making.cancel()
            await asyncio.wait(makings)

    async def _have(
        self, record: Record, name: str, make: Callable[[Derived], Coroutine[Any, Any, None]]
    ) -> None:
        """Waits until it is there, but not for long."""
        kept = self._derived(record)
        if await kept.holds(name):
            return
        if (record.id, name) not in self._makings and len(self._makings) >= MAX_MAKINGS:
            raise TooManyWaveforms
        making = self._making((record.id, name), lambda: make(kept))
        await asyncio.wait([making], timeout=self.patience)
        if not making.done():
            raise WaveformPending
        _result(making)

    def _making(
        self, key: _Key, make: Callable[[], Coroutine[Any, Any, None]]
    ) -> "asyncio.Task[None]":
        """The task that makes it: the one that does so already, or a new one."""
        if key not in self._makings:
            if not self._open:
                raise Draining
            making = asyncio.create_task(make())
            making.add_done_callback(lambda done: self._end(key, done))
            self._makings[key] = making
        return self._makings[key]

    def _end(self, key: _Key, making: "asyncio.Task[None]") -> None:
        del self._makings[key]
        if not making.cancelled():
            making.exception()  # has been seen: nobody may be waiting for it any more

    async def _make_peaks(self, record: Record, kept: Derived) -> None:
        async with self._helpers:
            with self._metrics.outlining("peaks"):
                await asyncio.to_thread(self._media.directory.check_mounted)
                async with kept.source() as mp3:
                    peaks = await waveform.measure(
                        self.ffmpeg,
                        mp3.fileno(),
                        samples=record.samples,
                        sample_rate=record.sample_rate,
                    )
                await kept.keep(_PEAKS, await asyncio.to_thread(peaks.to_json))

    async def _make_picture(
        self, record: Record, kept: Derived, name: str, size: tuple[int, int]
    ) -> None:
        peaks = await _kept_peaks(kept)
        while peaks is None:
            making = self._making((record.id, _PEAKS), lambda: self._make_peaks(record, kept))
            await asyncio.wait([making])
            _result(making)
            peaks = await _kept_peaks(kept)
        async with self._pens:
            with self._metrics.outlining("picture"):
                png = await asyncio.to_thread(waveform.draw, peaks, *size)
                await kept.keep(name, png)
                await kept.trim(_PICTURE, KEPT_SIZES)

    def _derived(self, record: Record) -> Derived:
        return self._media.derived(record.user_id, record.id)


def _result(making: "asyncio.Task[None]") -> None:
    """Raises what a making that has ended came to, if that was nothing good."""
    if making.cancelled():
        raise Draining
    making.result()


async def _kept_peaks(kept: Derived) -> Peaks | None:
    text = await kept.read(_PEAKS)
    try:
        return None if text is None else await asyncio.to_thread(Peaks.from_json, text)
    except ValueError:
        log.warning("peaks that cannot be read are made again")
        return None
