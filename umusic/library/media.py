"""The MP3 files: `<root>/<user>/<record>.mp3`, and `.<record>.part` while they grow.

All functions block and belong on a thread. A file is only ever published whole: written as a
`.part`, synced, linked to its final name, its directory synced. The `.part` name goes only after
the row is committed, so a `.part` marks all that a crash may have left, and an `.mp3` alone is
never touched. Whoever makes one holds a lock on it as long as the upload lives.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umusic.errors import NoSpace, StartError

_READ_BYTES = 2**20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Stored:
    """What was published: its size in bytes and its SHA-256."""

    size: int
    sha256: bytes


class Media:
    """The directory of all files."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def prepare(self) -> None:
        """Makes the directory if need be and tries what is done with files in it.

        Raises:
            StartError: that is not possible.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.check_writable()
        except OSError as exc:
            raise StartError(
                f"UMUSIC_MEDIA_DIR: {self.root} cannot be written to ({exc.strerror}). Make it a "
                "directory that this user may write to, on a file system that has hard links."
            ) from exc

    def check_writable(self) -> None:
        """Writes, links and removes an empty file. Raises OSError if that fails."""
        probe = self.root / f".probe-{uuid.uuid4()}"
        link = probe.with_suffix(".link")
        probe.touch()
        try:
            link.hardlink_to(probe)
        finally:
            link.unlink(missing_ok=True)
            probe.unlink()

    def path_in_root(self, user_id: uuid.UUID, record_id: uuid.UUID) -> str:
        """Where a published file lies, as a path relative to the root."""
        return f"{user_id}/{record_id}.mp3"

    def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "PartFile":
        """Makes the empty, locked `.part` of a new record.

        Raises:
            NoSpace: the volume is full.
        """
        with _out_of_room():
            return PartFile(self.root, user_id, record_id)

    def leftovers(self) -> Iterator["Leftover"]:
        """All `.part` files, one at a time, also those of live uploads."""
        for directory in _directories(self.root):
            # A failed upload may take its empty directory along at any time.
            with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
                for entry in entries:
                    if leftover := _leftover(Path(entry.path)):
                        yield leftover


class _RecordFile:
    """The two names of a record's file, and the lock on it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self._directory = root / str(user_id)
        self.path = self._directory / f".{record_id}.part"
        self._final = self._directory / f"{record_id}.mp3"
        self._file = -1

    def settle(self) -> None:
        """Says that the row is committed: the file stays, under its final name alone."""
        try:
            self.path.unlink()
        finally:
            self.release()

    def discard(self) -> None:
        """Removes the file, under whichever name, and its directory if that is empty now."""
        try:
            # The .part last: it is what marks the other for the sweep, should this be cut short.
            self._final.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._directory.rmdir()
        finally:
            self.release()

    def release(self) -> None:
        """Lets go of the file, which stays under the names it has until a sweep decides."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class PartFile(_RecordFile):
    """A record's file on its way: `path` is to be written by whoever encodes it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        super().__init__(root, user_id, record_id)
        self._file = self._open_locked()

    def publish(self, modified: int) -> Stored:
        """Makes the file durable under its final name, with `modified` (s since the epoch) as its
        modification time, because ETag and Last-Modified are made from it.

        Raises:
            NoSpace: there is no room; OSError: any other trouble. Call `discard`.
        """
        with _out_of_room():
            os.utime(self._file, (modified, modified))
            stored = _measure(self._file)
            os.fsync(self._file)
            self._final.hardlink_to(self.path)
            _sync_directory(self._directory)
        return stored

    def _open_locked(self) -> int:
        while True:
            if not self._directory.exists():
                self._directory.mkdir(exist_ok=True)
                _sync_directory(self._directory.parent)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # another upload of this user failed and took the empty directory along
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_nlink:
                    return file
            except OSError:
                os.close(file)
                self.path.unlink(missing_ok=True)
                raise
            os.close(file)  # a sweep took it between the two calls


class Leftover(_RecordFile):
    """A `.part` that a crash may have left, of a record that may have been published or not."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        super().__init__(root, user_id, record_id)
        self.user_id = user_id
        self.record_id = record_id

    def claim(self) -> bool:
        """Locks the file; False if a live upload owns it, or it is gone. Call `release`."""
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        return self.path.exists()

    def is_published(self) -> bool:
        """Whether it has its final name already."""
        return self._final.exists()


def _directories(root: Path) -> Iterator[str]:
    with os.scandir(root) as entries:
        for entry in entries:
            if _uuid(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry.path


def _leftover(path: Path) -> Leftover | None:
    if not path.name.startswith(".") or path.suffix != ".part":
        return None
    user_id, record_id = _uuid(path.parent.name), _uuid(path.stem.removeprefix("."))
    return Leftover(path.parents[1], user_id, record_id) if user_id and record_id else None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _measure(file: int) -> Stored:
    digest = hashlib.sha256()
    size = 0
    while block := os.pread(file, _READ_BYTES, size):
        digest.update(block)
        size += len(block)
    return Stored(size, digest.digest())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _out_of_room() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_ROOM:
            raise NoSpace from exc
        raise
