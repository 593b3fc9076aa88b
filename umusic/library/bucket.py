"""The store that is an S3 bucket: `s3://bucket/prefix/<user>/<record>.mp3`.

The contract is that of `media`. A mark is a claim in the database (`claims`), which a lease goes
with. MP3s are encoded into a directory of this machine, as with `disk`, and published from there.
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import MediaAway, RecordBusy, RecordUnknown, StartError, Unavailable
from umusic.library import media
from umusic.library.claims import Claims, Held
from umusic.library.derived_files import SUFFIX
from umusic.library.derived_objects import DerivedObjects
from umusic.library.directory import Directory
from umusic.library.disk import Disk
from umusic.library.files import as_uuid, ids_of
from umusic.library.lost_and_found import LostObjects
from umusic.library.media import Found, Stored
from umusic.library.objects import Objects
from umusic.library.record_file import PartFile

log = logging.getLogger(__name__)

#: How long a store may take to say that it is there, and to remove what somebody waits for, in
#: seconds.
_PATIENCE = 3.0
_REMOVAL_SECONDS = 20.0


class Bucket(media.Media):
    """The store of the objects, whose unpublished files are in a directory of this machine."""

    is_remote = True

    def __init__(
        self,
        directory: Directory,
        objects: Objects,
        claims: Claims,
        known_as: str = "UMUSIC_MEDIA_URL",
    ) -> None:
        super().__init__(directory)
        self._known_as = known_as
        self.name = objects.url
        self.site = directory.site()
        self.objects = objects
        self.claims = claims
        self.lost_and_found = LostObjects(objects)
        self._local = Disk(directory)

    async def prepare(self) -> None:
        await self._local.prepare()
        await self.check_present()
        probe = f".probe-{uuid.uuid4()}"
        try:
            await self.objects.put(probe, b"?", "text/plain")
            async for _ in self.objects.read(probe, 0, 1):
                pass
            await self.objects.delete(probe)
            async for _ in self.objects.unfinished(probe):
                pass
            await self.objects.abort(probe, probe)
        except MediaAway as exc:
            raise StartError(
                f"{self._known_as}: {self.name} cannot be worked on: {exc.__cause__}. Grant the "
                "key PutObject, GetObject, DeleteObject, ListBucket, AbortMultipartUpload and "
                "ListBucketMultipartUploads."
            ) from exc

    async def check_present(self) -> None:
        try:
            await self._look()
        except MediaAway as exc:
            raise StartError(
                f"{self._known_as}: {self.name} cannot be reached: {exc.__cause__}. See that there "
                "is such a bucket, and that UMUSIC_S3_ENDPOINT, UMUSIC_S3_REGION and the keys are "
                "right."
            ) from exc

    async def check_ready(self) -> None:
        await self._local.check_ready()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._look()
        except TimeoutError as exc:
            raise MediaAway from exc

    async def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Part":
        return Part(self, user_id, record_id, await self._local.part_file(user_id, record_id))

    def doomed(self, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]) -> "Doomed":
        return Doomed(self, user_id)

    async def size(self, user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
        found = await self.objects.head(self.path(user_id, record_id))
        return found.size if found else None

    async def measure(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Stored | None:
        key = self.path(user_id, record_id)
        found = await self.objects.head(key)
        if found is None:
            return None
        digest = hashlib.sha256()
        try:
            async for data in self.objects.read(key, 0, found.size):
                await asyncio.to_thread(digest.update, data)
        except FileNotFoundError:
            return None
        return Stored(found.size, digest.digest())

    async def settled(self) -> AsyncIterator[tuple[uuid.UUID, uuid.UUID]]:
        async for page in self.objects.pages():
            named = [found for meta in page if (found := ids_of(meta.key))]
            claimed = await self.claims.among([record_id for _, record_id in named])
            for user_id, record_id in named:
                if record_id not in claimed:
                    yield user_id, record_id

    async def is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        if await self.claims.among([record_id]):
            return False
        return await self.objects.head(self.path(user_id, record_id)) is not None

    async def leftovers(self, user_id: uuid.UUID | None = None) -> AsyncIterator[media.Leftover]:
        async for local in self._local.leftovers(user_id):
            yield local
        async for user, record in self.claims.run_out(user_id):
            yield self.leftover(user, record)
        seen = set()
        async for key, _ in self.objects.unfinished(f"{user_id}/" if user_id else ""):
            named = ids_of(key)
            if named and named not in seen:
                seen.add(named)
                if await self.is_abandoned(*named):
                    yield self.leftover(*named)

    def leftover(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Leftover":
        return Leftover(self, user_id, record_id)

    def derived(self, user_id: uuid.UUID, record_id: uuid.UUID) -> DerivedObjects:
        return DerivedObjects(self.objects, self.directory, user_id, record_id)

    async def drop_orphans(self, user_id: uuid.UUID | None = None, *, thorough: bool) -> None:
        if user_id is None and not thorough:
            return  # it lists all objects
        async for found in self.objects.list(str(user_id) if user_id else ""):
            user, _, rest = found.key.partition("/")
            record = as_uuid(rest.partition(SUFFIX)[0])
            if record and as_uuid(user) and rest.startswith(f"{record}{SUFFIX}/"):
                mp3 = await self.objects.head(f"{user}/{record}.mp3")
                if mp3 is None:
                    await self.objects.delete(found.key)

    async def find(self, path: str) -> Found | None:
        found = await self.objects.head(path)
        return Found(found.size, int(found.modified.timestamp())) if found else None

    async def read(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            async for data in self.objects.read(path, start, end):
                yield data
        except FileNotFoundError as exc:
            raise RecordUnknown from exc

    async def internal_path(self, path: str) -> str:
        """`<scheme>/<host>/<path>?<query>` of a presigned URL, as nginx/s3/ takes it apart."""
        parts = urlsplit(await self.objects.signed_url(path))
        return f"{parts.scheme}/{parts.netloc}{parts.path}?{parts.query}"

    async def remove(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        """Removes all that there is of a record, or is about to be."""
        await self.abort_unfinished(user_id, record_id)
        await self.objects.delete(self.path(user_id, record_id))
        await self.derived(user_id, record_id).discard()

    async def is_abandoned(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        """Whether there is a multipart upload that nobody has a claim on: who makes one has a claim
        before, and until it is complete."""
        before = await self.unfinished(user_id, record_id)
        if not before or await self.claims.among([record_id]):
            return False
        # One that is there now as well was there when nobody had a claim.
        return not before.isdisjoint(await self.unfinished(user_id, record_id))

    async def abort_unfinished(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        """Ends multipart uploads of a record's file."""
        async for unfinished, upload in self.objects.unfinished(self.path(user_id, record_id)):
            await self.objects.abort(unfinished, upload)

    async def unfinished(self, user_id: uuid.UUID, record_id: uuid.UUID) -> set[str]:
        """The multipart uploads of a record's file, by their ids."""
        uploads = self.objects.unfinished(self.path(user_id, record_id))
        return {upload async for _, upload in uploads}

    async def _look(self) -> None:
        """Asks for what is not there."""
        async for _ in self.objects.list(str(uuid.UUID(int=0))):
            return


class Part(media.Part):
    """An MP3 on its way: a `.part` in the directory of this machine, then an object."""

    def __init__(
        self, bucket: Bucket, user_id: uuid.UUID, record_id: uuid.UUID, file: PartFile
    ) -> None:
        self.path = file.path
        self._bucket = bucket
        self._user_id = user_id
        self._record_id = record_id
        self._file = file
        self._held: Held | None = None
        self._is_published = False

    async def publish(self, modified: int) -> Stored:
        stored = await asyncio.to_thread(self._file.measure)
        self._held = await self._bucket.claims.seize(self._user_id, self._record_id)
        if self._held is None:
            raise RecordBusy
        key = self._bucket.path(self._user_id, self._record_id)
        await self._bucket.objects.put(key, self.path, "audio/mpeg")
        self._is_published = True
        return stored

    async def settle_in(self, session: AsyncSession) -> None:
        assert self._held is not None
        await self._held.end_in(session)

    async def settle(self) -> None:
        await self.release()

    async def discard(self) -> None:
        held, self._held = self._held, None
        try:
            await asyncio.to_thread(self._file.discard)
        finally:
            if held is not None:
                # S3 may still be at what it has not answered: then a sweep looks once more.
                await _remove(self._bucket, held, for_good=self._is_published)

    async def release(self) -> None:
        if self._held is not None:
            self._held.release()
        try:
            await asyncio.to_thread(self._file.discard)
        except OSError:
            log.exception("a .part could not be removed; the next sweep will")


class Doomed(media.Doomed):
    """Objects of one user that are to be removed. Their claims begin in the transaction in which
    the rows are deleted."""

    def __init__(self, bucket: Bucket, user_id: uuid.UUID) -> None:
        self._bucket = bucket
        self._user_id = user_id
        self._held: Held | None = None

    async def mark(self) -> bool:
        return True

    async def mark_in(self, session: AsyncSession, record_ids: Collection[uuid.UUID]) -> None:
        self._held = self._bucket.claims.on(self._user_id, record_ids)
        await self._held.take(session)

    async def unmark(self) -> None:
        """There are no claims."""

    async def discard(self) -> None:
        if self._held is not None:
            self._held.renew()
            await _remove(self._bucket, self._held)

    async def release(self) -> None:
        """If there are claims they run out."""


class Leftover(media.Leftover):
    """A claim that has run out, or a multipart upload without one."""

    def __init__(self, bucket: Bucket, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self.user_id = user_id
        self.record_id = record_id
        self._bucket = bucket
        self._held: Held | None = None
        self._is_new = False

    async def claim(self) -> bool:
        claims = self._bucket.claims
        self._held = await claims.take_over(self.user_id, self.record_id)
        if self._held is None and await self._bucket.is_abandoned(self.user_id, self.record_id):
            self._held = await claims.seize(self.user_id, self.record_id)
            self._is_new = True
        return self._held is not None

    async def exists(self) -> bool:
        if await self._bucket.claims.among([self.record_id]):
            return True
        return await self._bucket.is_abandoned(self.user_id, self.record_id)

    async def is_empty(self) -> bool:
        if await self._bucket.size(self.user_id, self.record_id) is not None:
            return False
        return not await self._bucket.unfinished(self.user_id, self.record_id)

    async def is_published(self) -> bool:
        return True

    async def settle(self, expected: Stored) -> None:
        assert self._held is not None
        await self._bucket.abort_unfinished(self.user_id, self.record_id)
        found = await self._bucket.measure(self.user_id, self.record_id)
        if found is not None and found != expected:
            log.error("not what its row says, to the lost-and-found: %s.mp3", self.record_id)
            await self._bucket.lost_and_found.add_file(self.user_id, self.record_id)
        await self._held.drop()

    async def discard(self) -> None:
        assert self._held is not None
        held, self._held = self._held, None
        await _remove(self._bucket, held)

    async def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await (held.drop() if self._is_new else held.give_back())


async def _remove(bucket: Bucket, held: Held, *, for_good: bool = True) -> None:
    """Removes all that is claimed, and the claims with it if that is `for_good`. What cannot be
    removed in time a sweep will, once the claim has run out."""
    try:
        async with asyncio.timeout(_REMOVAL_SECONDS):
            removals = (bucket.remove(held.user_id, record_id) for record_id in held.record_ids)
            for outcome in await asyncio.gather(*removals, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        if for_good:
            await held.drop()
    except (Unavailable, TimeoutError) as exc:
        log.warning("a file could not be removed; a sweep will: %r", exc.__cause__ or exc)
    finally:
        held.release()
