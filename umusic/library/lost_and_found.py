"""`<media>/lost-and-found/`: where a repair puts what it takes out of the library, so that nothing
is lost for good. Files keep their `<user>/<record>.mp3`, rows become lines of `records.jsonl`.

All functions block and belong on a thread.
"""

import contextlib
import os
import uuid
from pathlib import Path

from umusic.library.files import sync_directory

DIRECTORY = "lost-and-found"


class LostAndFound:
    """The directory below the media directory `root`. It is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / DIRECTORY

    def add_row(self, row: str) -> None:
        """Keeps a row, one line of JSON; it is on disk when this returns."""
        self._make(self._directory)
        with (self._directory / "records.jsonl").open("a", encoding="utf-8") as file:
            file.write(row + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._directory)

    def add_file(self, path_in_root: str) -> None:
        """Takes a file over, if it is there; one of the same name that came earlier stays."""
        source, target = self._root / path_in_root, self._directory / path_in_root
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
