"""One upload from its first byte to its committed record, and the sweep of what crashes left.

The order is: temporary file, fsync, final name, fsync of the directory, INSERT, COMMIT. Whatever
fails in between, `abort` removes what was made. The WAV itself is never on disk.
"""

import asyncio
import contextlib
import datetime
import hashlib
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path

from umusic.audio.encoder import Encoder
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.mp3 import InfoTag
from umusic.audio.wav import WavReader
from umusic.errors import (
    CommitUncertain,
    DatabaseUnavailable,
    Draining,
    EncoderFailed,
    TooLarge,
    TooManyUploads,
)
from umusic.library.media import Leftover, Media, PartFile, Stored
from umusic.library.models import Record
from umusic.library.records import Records

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """Who files what, under which name, in whose library."""

    user_id: uuid.UUID
    uploader_id: uuid.UUID
    name: str | None


class Keeper:
    """Takes uploads into the library."""

    def __init__(
        self,
        records: Records,
        media: Media,
        ffmpeg: Path,
        mp3: Mp3Settings,
        *,
        max_bytes: int,
        max_uploads: int,
    ) -> None:
        self.max_bytes = max_bytes
        self.ffmpeg = ffmpeg
        self.mp3 = mp3
        self.records = records
        self.media = media
        self._max_uploads = max_uploads
        self._live: set[Upload] = set()
        self._draining = False

    @property
    def live(self) -> int:
        """How many uploads are running."""
        return len(self._live)

    def check_size(self, size: int) -> None:
        """Raises TooLarge for a WAV of more bytes than one upload may have."""
        if size > self.max_bytes:
            raise TooLarge(
                f"The upload is larger than the {self.max_bytes} bytes that are taken here.",
                limit=self.max_bytes,
            )

    def check_open(self) -> None:
        """Looks whether a further upload is taken now.

        Raises:
            Draining: umusic is about to stop.
            TooManyUploads: as many as may run do.
        """
        if self._draining:
            raise Draining
        if len(self._live) >= self._max_uploads:
            raise TooManyUploads

    async def begin(self, order: Order) -> "Upload":
        """Opens an upload, which makes nothing yet. It must be ended by `finish` or `abort`.

        Raises:
            RecordNameTaken, and what `check_open` raises.
        """
        self.check_open()
        upload = Upload(self, order)
        self._live.add(upload)
        try:
            await self.records.check_name_free(order.user_id, order.name)
        except BaseException:
            self.forget(upload)
            raise
        return upload

    def forget(self, upload: "Upload") -> None:
        """Takes a finished or aborted upload off the list of the live ones."""
        self._live.discard(upload)

    def drain(self) -> None:
        """Lets no new upload begin from here on."""
        self._draining = True

    async def abort_all(self) -> None:
        """Aborts what still runs; whoever writes or finishes such an upload gets `Draining`."""
        aborts = (upload.abort() for upload in list(self._live))
        for outcome in await asyncio.gather(*aborts, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("an upload could not be aborted", exc_info=outcome)

    async def sweep(self) -> int:
        """Removes what crashes left, of no live upload of this or another process. Returns how
        many uploads that were."""
        swept = 0
        leftovers = self.media.leftovers()
        while file := await asyncio.to_thread(next, leftovers, None):
            swept += await self._sweep_file(file)
        if swept:
            log.warning("swept the files of %d uploads that an earlier crash had left", swept)
        return swept

    async def _sweep_file(self, file: Leftover) -> bool:
        try:
            if not await asyncio.to_thread(file.claim):
                return False
            if file.is_published():
                if await self.records.existing([file.record_id]):
                    await asyncio.to_thread(file.settle)
                    return True
                if not await self.records.knows_user(file.user_id):
                    log.warning("left alone, as of another database: %s", file.record_id)
                    return False
            await asyncio.to_thread(file.discard)
            return True
        finally:
            file.release()


class Upload:
    """One WAV on its way to a record. Three verbs: `write`, `finish`, `abort`.

    `write` and `finish` are called one after the other, `abort` at any time. After an error of
    `write` or `finish` only `abort` may follow, and must.
    """

    def __init__(self, keeper: Keeper, order: Order) -> None:
        self._keeper = keeper
        self._order = order
        self._record_id = uuid.uuid4()
        self._wav = WavReader()
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._part: PartFile | None = None
        self._encoder: Encoder | None = None
        self._aborted = False
        self._kept = False
        #: Held while things are made, and from publishing to the commit: no abort comes between.
        self._settling = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Takes the next bytes of the WAV, and waits until the encoder has taken them.

        Raises:
            TooLarge, Draining; what `WavReader`, `Media.create` and `Encoder` raise.
        """
        self._check_alive()
        self._size += len(data)
        self._keeper.check_size(self._size)
        hashing = asyncio.get_running_loop().run_in_executor(None, self._sha256.update, data)
        try:
            frames = self._wav.feed(data)
            if frames:
                encoder = self._encoder or await self._start()
                await encoder.write(frames)
        except EncoderFailed:
            self._check_alive()
            raise
        finally:
            await hashing

    async def finish(self) -> Record:
        """Says that the WAV is complete; returns the committed record.

        Raises:
            BrokenWav, NoSound: it is not complete, or empty.
            RecordNameTaken: another upload of this name came first.
            What `Encoder.finish`, `PartFile.publish` and `Records.add` raise.
        """
        self._check_alive()
        self._wav.finish()
        assert self._encoder is not None and self._part is not None
        try:
            tag = await self._encoder.finish()
        except EncoderFailed:
            self._check_alive()
            raise
        async with self._settling:
            self._check_alive()
            created_at = datetime.datetime.now(datetime.UTC)
            stored = await asyncio.to_thread(self._part.publish, int(created_at.timestamp()))
            record = self._record(created_at, tag, stored)
            await self._commit(record)
            self._keep()
            try:
                await asyncio.to_thread(self._part.settle)
            except OSError:
                log.exception("a .part could not be removed; the next start's sweep will")
        return record

    async def abort(self) -> None:
        """Ends the upload and removes all that it made. Does nothing after `finish`."""
        self._aborted = True
        async with self._settling:
            if self._kept:
                return
            try:
                if self._encoder is not None:
                    await self._encoder.abort()
            finally:
                self._keeper.forget(self)
                if self._part is not None:
                    await asyncio.to_thread(self._part.discard)

    async def _start(self) -> Encoder:
        wav, keeper = self._wav.format, self._keeper
        assert wav is not None
        async with self._settling:
            self._check_alive()
            user_id = self._order.user_id
            self._part = await asyncio.to_thread(keeper.media.create, user_id, self._record_id)
            self._encoder = await Encoder.start(
                keeper.ffmpeg,
                wav,
                keeper.mp3,
                self._part.path,
                max_frames=keeper.max_bytes // wav.frame_bytes,
            )
        return self._encoder

    async def _commit(self, record: Record) -> None:
        try:
            await self._keeper.records.add(record)
        except (CommitUncertain, asyncio.CancelledError):
            # The row may be there, or still on its way there, and then the file must stay. It
            # stays in any case: without a row it is swept at the next start.
            self._keep()
            with contextlib.suppress(DatabaseUnavailable):
                if await self._keeper.records.existing([record.id]):
                    return
            assert self._part is not None
            self._part.release()
            raise

    def _keep(self) -> None:
        self._kept = True
        self._keeper.forget(self)

    def _check_alive(self) -> None:
        if self._aborted:
            raise Draining

    def _record(self, created_at: datetime.datetime, tag: InfoTag, stored: Stored) -> Record:
        source = self._wav.format
        assert source is not None
        duration = tag.samples / tag.sample_rate
        return Record(
            id=self._record_id,
            user_id=self._order.user_id,
            uploader_id=self._order.uploader_id,
            name=self._order.name,
            created_at=created_at,
            duration=duration,
            sample_rate=tag.sample_rate,
            channels=tag.channels,
            bitrate=round(stored.size * 8 / duration),
            samples=tag.samples,
            size=stored.size,
            sha256=stored.sha256,
            source_format=source.sample_format,
            source_sample_rate=source.sample_rate,
            source_channels=source.channels,
            source_samples=self._wav.frames,
            source_size=self._size,
            source_sha256=self._sha256.digest(),
        )
