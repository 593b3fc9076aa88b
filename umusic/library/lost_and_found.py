"""`lost-and-found/` (see `media.LostAndFound`): in a directory rows become lines of one file,
`records.jsonl`, in a bucket an object each."""

import asyncio
import contextlib
import os
import uuid
from pathlib import Path

from umusic.library.derived_files import DerivedFiles
from umusic.library.files import sync_directory
from umusic.library.media import LostAndFound
from umusic.library.objects import Objects

DIRECTORY = "lost-and-found"


class LostDirectory(LostAndFound):
    """The directory below the media directory `root`. It is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / DIRECTORY

    async def add_row(self, record_id: uuid.UUID, row: str) -> None:
        await asyncio.to_thread(self._add_row, row)

    async def add_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        await asyncio.to_thread(self._add_file, f"{user_id}/{record_id}.mp3")
        await asyncio.to_thread(DerivedFiles(self._root, user_id, record_id).discard_orphan)

    def _add_row(self, row: str) -> None:
        self._make(self._directory)
        with (self._directory / "records.jsonl").open("a", encoding="utf-8") as file:
            file.write(row + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._directory)

    def _add_file(self, path: str) -> None:
        source, target = self._root / path, self._directory / path
        if not os.path.lexists(source):
            return
        self._make(self._directory)
        self._make(target.parent)
        if os.path.lexists(target):
            target = target.with_stem(f"{target.stem}-{uuid.uuid4()}")
        with contextlib.suppress(FileNotFoundError):  # its owner came first
            source.rename(target)
        sync_directory(target.parent)
        with contextlib.suppress(OSError):
            source.parent.rmdir()

    def _make(self, directory: Path) -> None:
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)


class LostObjects(LostAndFound):
    """`lost-and-found/` below the prefix. Each row is an object, `<record>.json`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def add_row(self, record_id: uuid.UUID, row: str) -> None:
        await self._objects.put(f"{DIRECTORY}/{record_id}.json", row.encode(), "application/json")

    async def add_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        key = f"{user_id}/{record_id}"
        target = f"{DIRECTORY}/{key}"
        if await self._objects.head(target + ".mp3"):
            target += f"-{uuid.uuid4()}"
        with contextlib.suppress(FileNotFoundError):
            await self._objects.move(key + ".mp3", target + ".mp3")
