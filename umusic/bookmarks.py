"""Notes of uploads that are not at their end, so that a later call goes on with them.

One small file for each, which only its user can read: who knows an upload's id can go on with it.
No token is in it. Where no file can be written there are just no notes.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

#: After which a note is of no use, however long the server keeps uploads.
_KEPT_SECONDS = 30 * 86400.0


class _Note(BaseModel):
    upload: str
    size: int
    changed: int


class Bookmark:
    """The note of one file's upload; `size` and `changed` (in ns) are those of the file now."""

    def __init__(self, descriptor: int, path: Path, size: int, changed: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = size
        self._changed = changed
        #: The id of an upload of the file as it is.
        self.upload: str | None = None
        #: The id of one of the file as it was before it changed.
        self.stale: str | None = None
        with contextlib.suppress(ValidationError):
            note = _Note.model_validate_json(os.pread(descriptor, 4096, 0))
            if (note.size, note.changed) == (size, changed):
                self.upload = note.upload
            else:
                self.stale = note.upload

    def keep(self, upload: str) -> None:
        """Notes the id of an upload."""
        self.upload = upload
        note = _Note(upload=upload, size=self._size, changed=self._changed)
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, note.model_dump_json().encode(), 0)

    def drop(self) -> None:
        """Forgets it."""
        self.upload = None
        with contextlib.suppress(OSError):
            # Who has opened it already shall find nothing in it either.
            os.ftruncate(self._descriptor, 0)
            self._path.unlink()


@contextlib.contextmanager
def bookmark(
    directory: Path, server: str, token: str, file: Path, status: os.stat_result
) -> Iterator[Bookmark | None]:
    """The bookmark of a file's upload to a server; None if there can be none, or another process is
    sending the same file."""
    known_by = json.dumps([server, token, os.fsencode(file.resolve()).hex()])
    path = directory / f"{hashlib.sha256(known_by.encode()).hexdigest()}.json"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    found = None
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = Bookmark(descriptor, path, status.st_size, status.st_mtime_ns)
        yield found
    finally:
        # Nothing was noted: no empty files.
        if found is not None and found.upload is None:
            found.drop()
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    for path in directory.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()
