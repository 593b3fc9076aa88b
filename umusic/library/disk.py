"""The store that is a directory: `<root>/<user>/<record>.mp3`.

The contract is that of `media`. A mark is the `.part` name of a file (`record_file`), its lock
is one of the system's.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import MediaAway, RecordUnknown
from umusic.library import media
from umusic.library.derived_files import SUFFIX, DerivedFiles, record_of
from umusic.library.directory import Directory
from umusic.library.files import as_uuid, writing
from umusic.library.lost_and_found import LostDirectory
from umusic.library.media import Found, Stored
from umusic.library.record_file import DoomedFile, LeftoverFile, PartFile, RecordFile, measure

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Entries of directories that are looked at, one after the other, on a thread.
_BATCH = 200
_READ_BYTES = 256 * 1024


class Disk(media.Media):
    """The store below a directory of this machine."""

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self.name = str(directory.root)
        self._root = directory.root
        self.lost_and_found = LostDirectory(self._root)

    async def prepare(self) -> None:
        await asyncio.to_thread(self.directory.prepare)

    async def check_present(self) -> None:
        await asyncio.to_thread(self.directory.check_present)

    async def check_ready(self) -> None:
        try:
            await asyncio.to_thread(self.directory.check_writable)
        except OSError as exc:
            raise MediaAway("The media directory cannot be written to.") from exc

    async def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Part":
        return Part(await self.part_file(user_id, record_id))

    async def part_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> PartFile:
        """The empty, locked `.part` of a new record. Raises what `create` does."""
        return await asyncio.to_thread(self._part_file, user_id, record_id)

    def doomed(self, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]) -> "Doomed":
        return Doomed(self.directory, user_id, record_ids)

    async def size(self, user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
        found = await asyncio.to_thread(_found, self._root / self.path(user_id, record_id))
        return found.size if found else None

    async def measure(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Stored | None:
        return await asyncio.to_thread(_measured, self._root / self.path(user_id, record_id))

    async def settled(self) -> AsyncIterator[tuple[uuid.UUID, uuid.UUID]]:
        async for user, record in _on_thread(self._settled()):
            yield user, record

    async def is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        return await asyncio.to_thread(self._is_settled, user_id, record_id)

    async def leftovers(self, user_id: uuid.UUID | None = None) -> AsyncIterator["Leftover"]:
        async for user, record in _on_thread(self._leftovers(user_id)):
            yield self.leftover(user, record)

    def leftover(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Leftover":
        return Leftover(self._root, user_id, record_id)

    def derived(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Derived":
        return Derived(self._root, user_id, record_id)

    async def drop_orphans(self, user_id: uuid.UUID | None = None, *, thorough: bool) -> None:
        await asyncio.to_thread(self._drop_orphans, user_id)

    async def find(self, path: str) -> Found | None:
        try:
            return await asyncio.to_thread(_found, self._root / path)
        except OSError as exc:
            raise MediaAway from exc

    async def read(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread((self._root / path).open, "rb")
            try:
                while start < end:
                    count = min(end - start, _READ_BYTES)
                    data = await asyncio.to_thread(os.pread, file.fileno(), count, start)
                    if not data:
                        raise MediaAway from EOFError(f"a file ends at {start}")
                    start += len(data)
                    yield data
            finally:
                file.close()
        except FileNotFoundError as exc:
            raise RecordUnknown from exc
        except OSError as exc:
            raise MediaAway from exc

    async def internal_path(self, path: str) -> str:
        return quote(path)

    def _part_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> PartFile:
        self.directory.check_mounted()
        with writing():
            return PartFile(self._root, user_id, record_id)

    def _settled(self) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
        for user, entry in self.directory.entries():
            record = as_uuid(entry.name.removesuffix(".mp3"))
            if record and entry.name == f"{record}.mp3" and self._is_settled(user, record):
                yield user, record

    def _is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        file = RecordFile(self._root, user_id, record_id)
        # In this order: who removes a file takes its `.part` away last.
        return not file.path.exists() and os.path.lexists(file.final)

    def _leftovers(self, user_id: uuid.UUID | None) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
        for user, entry in self.directory.entries(user_id):
            record = as_uuid(entry.name.removeprefix(".").removesuffix(".part"))
            named = record and entry.name == f".{record}.part"
            if record and named and entry.is_file(follow_symlinks=False):
                yield user, record

    def _drop_orphans(self, user_id: uuid.UUID | None) -> None:
        for user, entry in self.directory.entries(user_id):
            if record := record_of(entry.name):
                DerivedFiles(self._root, user, record).drop_orphan(entry.name)


class Part(media.Part):
    """An MP3 on its way, in the directory of the store."""

    def __init__(self, file: PartFile) -> None:
        self.path = file.path
        self._file = file

    async def publish(self, modified: int) -> Stored:
        return await asyncio.to_thread(self._file.publish, modified)

    async def settle_in(self, session: AsyncSession) -> None:
        """The mark goes afterwards: it is no row."""

    async def settle(self) -> None:
        try:
            await asyncio.to_thread(self._file.settle)
        except OSError:
            log.exception("a .part could not be removed; the next sweep will")

    async def discard(self) -> None:
        await asyncio.to_thread(self._file.discard)

    async def release(self) -> None:
        self._file.release()


class Doomed(media.Doomed):
    """Files of one user that are to be removed."""

    def __init__(
        self, directory: Directory, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]
    ) -> None:
        self._directory = directory
        self._user_id = user_id
        self._files = [DoomedFile(directory.root, user_id, record) for record in record_ids]

    async def mark(self) -> bool:
        try:
            return await asyncio.to_thread(self._mark)
        except OSError as exc:
            raise MediaAway("The media directory cannot be written to.") from exc

    async def mark_in(self, session: AsyncSession, record_ids: Collection[uuid.UUID]) -> None:
        """The marks are there already: they are no rows."""

    async def unmark(self) -> None:
        await asyncio.to_thread(self._each, DoomedFile.unmark)

    async def discard(self) -> None:
        await asyncio.to_thread(self._each, DoomedFile.discard)

    async def release(self) -> None:
        self._each(DoomedFile.release)

    def _mark(self) -> bool:
        self._directory.check_mounted()
        for file in self._files:
            if not file.mark():
                self._each(DoomedFile.unmark)
                return False
        self._directory.sync(self._user_id)
        return True

    def _each(self, act: Callable[[DoomedFile], None]) -> None:
        for file in self._files:
            try:
                act(file)
            except OSError:
                log.exception("a file's name could not be removed; the next sweep will")


class Leftover(media.Leftover):
    """A `.part`. The directory may have been another database's before."""

    may_be_foreign = True

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self.user_id = user_id
        self.record_id = record_id
        self._root = root
        self._file = LeftoverFile(root, user_id, record_id)

    async def claim(self) -> bool:
        return await asyncio.to_thread(self._file.claim)

    async def exists(self) -> bool:
        return await asyncio.to_thread(self._file.path.exists)

    async def is_published(self) -> bool:
        return await asyncio.to_thread(self._file.is_published)

    async def settle(self, expected: Stored) -> None:
        found = await asyncio.to_thread(_measured, self._file.final)
        if found == expected:
            await asyncio.to_thread(self._file.settle)
            return
        if found is not None:
            log.error("not what its row says, to the lost-and-found: %s", self._file.final.name)
            await LostDirectory(self._root).add_file(self.user_id, self.record_id)
        await asyncio.to_thread(self._file.discard)

    async def discard(self) -> None:
        await asyncio.to_thread(self._file.discard)

    async def release(self) -> None:
        self._file.release()


class Derived(media.Derived):
    """What is made of an MP3, in a directory beside it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self._directory = f"{user_id}/{record_id}{SUFFIX}"
        self._files = DerivedFiles(root, user_id, record_id)

    def path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    async def holds(self, name: str) -> bool:
        return await asyncio.to_thread(self._files.holds, name)

    async def read(self, name: str) -> bytes | None:
        return await asyncio.to_thread(self._files.read, name)

    @contextlib.asynccontextmanager
    async def source(self) -> AsyncIterator[BinaryIO]:
        with await asyncio.to_thread(self._files.source) as mp3:
            yield mp3

    async def keep(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._files.keep, name, data)

    async def trim(self, suffix: str, count: int) -> None:
        await asyncio.to_thread(self._files.trim, suffix, count)


async def _on_thread(items: Iterator[T]) -> AsyncIterator[T]:
    """Walks through directories on a thread."""
    while batch := await asyncio.to_thread(lambda: list(itertools.islice(items, _BATCH))):
        for item in batch:
            yield item


def _found(path: Path) -> Found | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Found(status.st_size, int(status.st_mtime))


def _measured(path: Path) -> Stored | None:
    try:
        with path.open("rb") as file:
            return measure(file.fileno())
    except FileNotFoundError:
        return None
