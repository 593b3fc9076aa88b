"""Two stores as one, while MP3s are moved from one to the other (`umusic move-media`).

What is new goes into the first. What is asked for and is not there is looked for in the other; what
is removed is removed in both. So it does not matter which of them has a file, nor whether both do.
What is made of an MP3 is kept where that is.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncSession

from umusic.library import media
from umusic.library.media import Found, Leftover, Media, Part, Stored


class Fallback(Media):
    """The store `first`, and `second` for what is not there."""

    def __init__(self, first: Media, second: Media) -> None:
        super().__init__(first.directory)
        self.name = f"{first.name}, or else {second.name}"
        self.is_remote = first.is_remote
        self.site = first.site
        self.lost_and_found = LostAndFound(first, second)
        self._first = first
        self._second = second
        # nginx knows but one.
        second.by_nginx = False

    async def holding(self, path: str) -> Media:
        if await self._first.find(path) is None and await self._second.find(path) is not None:
            return self._second
        return self._first

    async def prepare(self) -> None:
        await self._first.prepare()
        await self._second.prepare()

    async def check_present(self) -> None:
        await self._first.check_present()
        await self._second.check_present()

    async def check_ready(self) -> None:
        await self._first.check_ready()

    async def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Part:
        return await self._first.create(user_id, record_id)

    def doomed(self, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]) -> "Doomed":
        return Doomed([store.doomed(user_id, record_ids) for store in (self._first, self._second)])

    async def size(self, user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
        size = await self._first.size(user_id, record_id)
        return await self._second.size(user_id, record_id) if size is None else size

    async def measure(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Stored | None:
        stored = await self._first.measure(user_id, record_id)
        return await self._second.measure(user_id, record_id) if stored is None else stored

    async def settled(self) -> AsyncIterator[tuple[uuid.UUID, uuid.UUID]]:
        async for found in self._first.settled():
            yield found
        async for found in self._second.settled():
            if not await self._first.is_settled(*found):
                yield found

    async def is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        if await self._first.is_settled(user_id, record_id):
            return True
        return await self._second.is_settled(user_id, record_id)

    async def leftovers(self, user_id: uuid.UUID | None = None) -> AsyncIterator[Leftover]:
        # A directory before a bucket, whose unpublished files may be in the same directory.
        for store in sorted((self._first, self._second), key=lambda store: store.is_remote):
            async for left in store.leftovers(user_id):
                yield left

    def leftover(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Leftover:
        return self._first.leftover(user_id, record_id)

    def derived(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Derived":
        return Derived(self, self._first.derived(user_id, record_id), user_id, record_id)

    async def drop_orphans(self, user_id: uuid.UUID | None = None, *, thorough: bool) -> None:
        await self._first.drop_orphans(user_id, thorough=thorough)
        await self._second.drop_orphans(user_id, thorough=thorough)

    async def find(self, path: str) -> Found | None:
        return await (await self.holding(path)).find(path)

    async def read(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        async for data in (await self.holding(path)).read(path, start, end):
            yield data

    async def internal_path(self, path: str) -> str:
        return await self._first.internal_path(path)


class Doomed(media.Doomed):
    """Files that are to be removed in both stores."""

    def __init__(self, both: Sequence[media.Doomed]) -> None:
        self._both = both

    async def mark(self) -> bool:
        for files in self._both:
            if not await files.mark():
                await self.unmark()
                return False
        return True

    async def mark_in(self, session: AsyncSession, record_ids: Collection[uuid.UUID]) -> None:
        for files in self._both:
            await files.mark_in(session, record_ids)

    async def unmark(self) -> None:
        for files in self._both:
            await files.unmark()

    async def discard(self) -> None:
        for files in self._both:
            await files.discard()

    async def release(self) -> None:
        for files in self._both:
            await files.release()


class Derived(media.Derived):
    """What is made of an MP3, in the store that has that."""

    def __init__(
        self, store: Fallback, first: media.Derived, user_id: uuid.UUID, record_id: uuid.UUID
    ) -> None:
        self._store = store
        self._first = first
        self._ids = user_id, record_id

    def path(self, name: str) -> str:
        return self._first.path(name)

    async def holds(self, name: str) -> bool:
        return await (await self._kept()).holds(name)

    async def read(self, name: str) -> bytes | None:
        return await (await self._kept()).read(name)

    @contextlib.asynccontextmanager
    async def source(self) -> AsyncIterator[BinaryIO]:
        async with (await self._kept()).source() as mp3:
            yield mp3

    async def keep(self, name: str, data: bytes) -> None:
        await (await self._kept()).keep(name, data)

    async def trim(self, suffix: str, count: int) -> None:
        await (await self._kept()).trim(suffix, count)

    async def _kept(self) -> media.Derived:
        holding = await self._store.holding(self._store.path(*self._ids))
        return holding.derived(*self._ids)


class LostAndFound(media.LostAndFound):
    """Rows go to that of the first store, files to that of theirs."""

    def __init__(self, first: Media, second: Media) -> None:
        self._both = first.lost_and_found, second.lost_and_found

    async def add_row(self, record_id: uuid.UUID, row: str) -> None:
        await self._both[0].add_row(record_id, row)

    async def add_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        for lost in self._both:
            await lost.add_file(user_id, record_id)
