"""What is made of an MP3, as objects: `<user>/<record>.waveform/<name>`. When it is removed is said
in `media.Derived`."""

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator
from typing import BinaryIO

from umusic.errors import RecordUnknown
from umusic.library.derived_files import SUFFIX
from umusic.library.directory import Directory
from umusic.library.files import writing
from umusic.library.media import Derived
from umusic.library.objects import Objects

_TYPES = {"json": "application/json", "png": "image/png"}


class DerivedObjects(Derived):
    """What is made of an MP3, as objects beside it."""

    def __init__(
        self, objects: Objects, directory: Directory, user_id: uuid.UUID, record_id: uuid.UUID
    ) -> None:
        self._objects = objects
        self._scratch = directory.root
        self._mp3 = f"{user_id}/{record_id}.mp3"
        self._directory = f"{user_id}/{record_id}{SUFFIX}"

    def path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    async def holds(self, name: str) -> bool:
        return await self._objects.head(self.path(name)) is not None

    async def read(self, name: str) -> bytes | None:
        found = await self._objects.head(self.path(name))
        if found is None:
            return None
        try:
            pieces = self._objects.read(found.key, 0, found.size)
            return b"".join([data async for data in pieces])
        except FileNotFoundError:
            return None

    @contextlib.asynccontextmanager
    async def source(self) -> AsyncIterator[BinaryIO]:
        # Not on a thread: who is cancelled meanwhile would leave it open.
        with self._spool() as file:
            await self._fetch(file)
            yield file

    async def keep(self, name: str, data: bytes) -> None:
        await self._objects.put(self.path(name), data, _TYPES[name.rpartition(".")[2]])
        if await self._objects.head(self._mp3) is None:
            await self.discard()
            raise RecordUnknown

    async def trim(self, suffix: str, count: int) -> None:
        found = [meta async for meta in self._objects.list(self._directory)]
        pictures = [meta for meta in found if meta.key.endswith(suffix)]
        pictures.sort(key=lambda meta: meta.modified)
        if old := [meta.key for meta in pictures[:-count]]:
            await self._objects.delete(*old)

    async def discard(self) -> None:
        """Removes all of it."""
        if keys := [meta.key async for meta in self._objects.list(self._directory)]:
            await self._objects.delete(*keys)

    def _spool(self) -> BinaryIO:
        """A file without a name, which nobody has to remove."""
        with writing():
            return tempfile.TemporaryFile(dir=self._scratch)

    async def _fetch(self, file: BinaryIO) -> None:
        found = await self._objects.head(self._mp3)
        if found is None:
            raise RecordUnknown
        try:
            async for data in self._objects.read(self._mp3, 0, found.size):
                await asyncio.to_thread(_write, file, data)
        except FileNotFoundError as exc:
            raise RecordUnknown from exc
        file.seek(0)


def _write(file: BinaryIO, data: bytes) -> None:
    with writing():
        file.write(data)
        file.flush()
