"""One upload from its first byte to its committed record.

The order is: part-file, publish it in the store, INSERT, COMMIT. Whatever fails in between, `abort`
removes what was made. Nothing of the WAV is written here; what a
resumable upload has of it is somebody else's (`resumption`).
"""

import asyncio
import contextlib
import datetime
import logging
import uuid

from umusic.audio.encoder import Encoded, Encoder
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.pool import Pool
from umusic.audio.wav import WavReader
from umusic.errors import (
    CommitUncertain,
    DatabaseUnavailable,
    Draining,
    EncoderFailed,
    FilingForOthersOff,
    TooLarge,
)
from umusic.library.digest import RunningDigest
from umusic.library.idempotency import IdempotencyKeys, key_row
from umusic.library.live import LiveUploads
from umusic.library.media import Media, Part, Stored
from umusic.library.models import Record
from umusic.library.orders import Limits, Order
from umusic.library.records import Records
from umusic.library.uploads import Uploads, check_room
from umusic.library.users import Users
from umusic.upload_errors import KeyInUse

log = logging.getLogger(__name__)


class Keeper:
    """Takes uploads into the library."""

    def __init__(
        self,
        users: Users,
        records: Records,
        keys: IdempotencyKeys,
        uploads: Uploads,
        media: Media,
        pool: Pool,
        mp3: Mp3Settings,
        limits: Limits,
    ) -> None:
        self.pool = pool
        self.mp3 = mp3
        self.records = records
        self.keys = keys
        self.uploads = uploads
        self.media = media
        self.limits = limits
        self.users = users
        self._live: LiveUploads[Upload] = LiveUploads(limits)

    @property
    def live(self) -> int:
        """How many uploads are running."""
        return len(self._live)

    def check_size(self, size: int) -> None:
        """Raises TooLarge for a WAV of more bytes than one upload may have."""
        limit = self.limits.upload_bytes
        if size > limit:
            raise TooLarge(
                f"The upload is larger than the {limit} bytes that are taken here.", limit=limit
            )

    def check_open(self) -> None:
        """Looks whether a further upload is taken now. Raises Draining or TooManyUploads."""
        self._live.check_open()

    def check_share(self, uploader_id: uuid.UUID) -> None:
        """Looks whether this user may send a further one. Raises TooManyOfOneUser."""
        self._live.check_share(uploader_id)

    async def check_library(self, order: Order, size: int) -> None:
        """Looks whether a WAV of at least `size` bytes may be filed as ordered, and begins nothing.
        Raises what `check_size` and `Upload.check_library` do."""
        self.check_size(size)
        await Upload(self, order, None).check_library(size)

    async def begin(
        self, order: Order, *, size: int = 0, total: int | None = None
    ) -> "Upload | Record":
        """Opens an upload of at least `size` bytes, or of `total` if that is known, which makes
        nothing yet. It must be ended by `finish` or `abort`. If the order's key has been used for
        it before, there is nothing to open, and the record is returned that came of it.

        Raises:
            KeyInUse, KeyReused: the key is that of a live upload, or was that of a different one.
            FilingForOthersOff, UserUnknown: it may not, or cannot, be filed in that library.
            QuotaExceeded, RecordNameTaken, TooManyOfOneUser, and what `check_open` raises.
        """
        upload = Upload(self, order, total)
        claimed = self._live.claim_key(upload, order)
        try:
            if order.key is not None and (record := await self.keys.record_of(order)):
                self.forget(upload)
                return record
            if not claimed:
                raise KeyInUse
            self._live.add(upload, order)
            await upload.check_library(size)
        except BaseException:
            self.forget(upload)
            raise
        return upload

    def forget(self, upload: "Upload") -> None:
        """Takes a finished or aborted upload off the list of the live ones."""
        self._live.remove(upload)

    def drain(self) -> None:
        """Lets no new upload begin from here on."""
        self._live.close()

    async def abort_all(self) -> None:
        """Aborts what still runs; whoever writes or finishes such an upload gets `Draining`."""
        aborts = (upload.abort() for upload in list(self._live))
        for outcome in await asyncio.gather(*aborts, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("an upload could not be aborted", exc_info=outcome)


class Upload:
    """One WAV on its way to a record. Three verbs: `write`, `finish`, `abort`.

    `write` and `finish` are called one after the other, `abort` at any time. After an error of
    `write` or `finish` only `abort` may follow, and must.
    """

    def __init__(self, keeper: Keeper, order: Order, total: int | None) -> None:
        self._keeper = keeper
        self._order = order
        self._record_id = uuid.uuid4()
        self._wav = WavReader(total=total)
        #: What the MP3 begins with: its ID3 tag.
        self._lead_bytes = 0
        #: Bytes that the library has left for it, once they are known and if there is a quota.
        self._room: int | None = None
        self._size = 0
        self._digest = RunningDigest()
        self._part: Part | None = None
        self._encoder: Encoder | None = None
        self._aborted = False
        self._kept = False
        #: Held while things are made, and from publishing to the commit: no abort comes between.
        self._settling = asyncio.Lock()

    async def check_library(self, size: int) -> None:
        """Looks whether the library takes a WAV of at least `size` bytes, of this name.

        Raises:
            FilingForOthersOff, UserUnknown, QuotaExceeded, RecordNameTaken.
        """
        order, quota = self._order, self._keeper.limits.quota_bytes
        if order.is_foreign and not self._keeper.limits.file_for_others:
            raise FilingForOthersOff
        with order.discretion():
            if order.is_foreign or quota is not None:
                user = await self._keeper.users.find(order.user_id)
            if quota is not None:
                coming = await self._keeper.uploads.reserved(order.user_id, but=order.upload_id)
                self._room = max(quota - user.size - coming, 0)
            self._check_room(size)
            await self._keeper.records.check_name_free(order.user_id, order.name)

    def check_size(self, size: int) -> None:
        """Looks whether the WAV may have `size` bytes. Raises TooLarge or QuotaExceeded."""
        self._keeper.check_size(size)
        with self._order.discretion():
            self._check_room(size)

    async def write(self, data: bytes) -> None:
        """Takes the next bytes of the WAV, and waits until the encoder has taken them.

        Raises:
            TooLarge, QuotaExceeded, Draining; what `WavReader`, `Media.create` and `Encoder` raise.
        """
        self._check_alive()
        self.check_size(self._size + len(data))
        self._size += len(data)
        await self._digest.update(data)
        try:
            frames = self._wav.feed(data)
            if frames:
                encoder = self._encoder or await self._start()
                await encoder.write(frames)
        except EncoderFailed:
            self._check_alive()
            raise

    async def finish(self) -> Record:
        """Says that the WAV is complete; returns the committed record.

        Raises:
            BrokenWav, NoSound: it is not complete, or empty.
            RecordNameTaken: another upload of this name came first.
            What `Encoder.finish`, `Part.publish` and `Records.add` raise.
        """
        self._check_alive()
        last = self._wav.finish()
        encoder = self._encoder or await self._start()
        assert self._part is not None
        try:
            lead = self._wav.tags.encoded(self._lead_bytes)
            encoded = await encoder.finish(last, frames=self._wav.frames, lead=lead)
        except EncoderFailed:
            self._check_alive()
            raise
        async with self._settling:
            self._check_alive()
            created_at = datetime.datetime.now(datetime.UTC)
            stored = await self._part.publish(int(created_at.timestamp()))
            record = self._record(created_at, encoded, stored, await self._digest.digest())
            await self._commit(record)
            self._keep()
            await self._part.settle()
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
                    await self._part.discard()

    async def _start(self) -> Encoder:
        wav, keeper = self._wav.format, self._keeper
        assert wav is not None
        async with self._settling:
            self._check_alive()
            user_id = self._order.user_id
            self._part = await keeper.media.create(user_id, self._record_id)
            self._lead_bytes = self._wav.tags.room(self._wav.trailer_bytes)
            self._encoder = Encoder(
                keeper.pool,
                wav,
                keeper.mp3,
                self._part.path,
                expected=self._wav.declared_frames,
                room=self._lead_bytes,
            )
        return self._encoder

    async def _commit(self, record: Record) -> None:
        assert self._part is not None
        try:
            with self._order.discretion():
                await self._keeper.records.add(
                    record,
                    quota=self._keeper.limits.quota_bytes,
                    key=key_row(self._order, record),
                    upload_id=self._order.upload_id,
                    also=self._part.settle_in,
                )
        except (CommitUncertain, asyncio.CancelledError):
            # The row may be there, or still on its way there, and then the file must stay. It
            # stays in any case: without a row it is swept some day.
            self._keep()
            with contextlib.suppress(DatabaseUnavailable):
                if await self._keeper.records.owners([record.id]):
                    return
            await self._part.release()
            raise

    def _keep(self) -> None:
        self._kept = True
        self._keeper.forget(self)

    def _check_room(self, size: int) -> None:
        # How much smaller the MP3 will be is known only at the end, and nobody should send much in
        # vain: so the WAV itself has to fit.
        if self._room is not None:
            check_room(size, self._room, self._keeper.limits.quota_bytes or 0)

    def _check_alive(self) -> None:
        if self._aborted:
            raise Draining

    def _record(
        self, created_at: datetime.datetime, mp3: Encoded, stored: Stored, sha256: bytes
    ) -> Record:
        source = self._wav.format
        assert source is not None
        duration = mp3.samples / mp3.sample_rate
        return Record(
            id=self._record_id,
            user_id=self._order.user_id,
            uploader_id=self._order.uploader_id,
            name=self._order.name,
            created_at=created_at,
            duration=duration,
            sample_rate=mp3.sample_rate,
            channels=mp3.channels,
            bitrate=round((stored.size - self._lead_bytes) * 8 / duration),
            samples=mp3.samples,
            size=stored.size,
            sha256=stored.sha256,
            source_format=source.sample_format,
            source_sample_rate=source.sample_rate,
            source_channels=source.channels,
            source_samples=self._wav.frames,
            source_size=self._size,
            source_sha256=sha256,
        )
