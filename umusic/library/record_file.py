"""The two names of a record's file in a directory: `<user>/<record>.mp3`, and `.<record>.part`
while it grows, and what comes of them.

All of it blocks and belongs on a thread. A file is only ever published whole: written as a `.part`,
synced, linked to its final name, its directory synced. The `.part` name goes only after the row is
committed, and comes back before the row is deleted. So a `.part` marks all that a crash may have
left, and an `.mp3` alone is never swept. Whoever makes one holds a lock on it meanwhile. What has
been made of an MP3 (`derived_files`) goes with it.
"""

import contextlib
import fcntl
import hashlib
import os
import uuid
from pathlib import Path

from umusic.errors import NoSpace
from umusic.library.derived_files import DerivedFiles
from umusic.library.files import ensure_directory, sync_directory, writing
from umusic.library.media import Stored

_READ_BYTES = 2**20


class RecordFile:
    """The two names of a record's file, and the lock on it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self._directory = root / str(user_id)
        self.path = self._directory / f".{record_id}.part"
        self.final = self._directory / f"{record_id}.mp3"
        self._derived = DerivedFiles(root, user_id, record_id)
        self._file = -1

    def settle(self) -> None:
        """Says that the row is committed: the file stays, under its final name alone."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.release()

    def discard(self) -> None:
        """Removes the file, under whichever name, and its directory if that is empty now."""
        try:
            # The .part last: it is what marks the other for the sweep, should this be cut short.
            if self._owns_final():
                self.final.unlink(missing_ok=True)
                self._derived.discard()
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._directory.rmdir()
        finally:
            self.release()

    def _owns_final(self) -> bool:
        return True

    def release(self) -> None:
        """Lets go of the file, which stays under the names it has until a sweep decides."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class PartFile(RecordFile):
    """A record's file on its way: `path` is to be written by whoever encodes it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        super().__init__(root, user_id, record_id)
        try:
            self._file = self._open_locked()
        except BaseException:
            # What was made for it, unless others have files there.
            with contextlib.suppress(OSError):
                self._directory.rmdir()
            raise

    def measure(self) -> Stored:
        """Reads what has been written to its end. Raises what `publish` does."""
        with writing():
            return measure(self._file)

    def publish(self, modified: int) -> Stored:
        """Makes the file durable under its final name, with `modified` (s since the epoch) as its
        modification time, because ETag and Last-Modified are made from it.

        Raises:
            NoSpace, OutOfResources, MediaAway: it cannot be. Call `discard`.
        """
        with writing():
            os.utime(self._file, (modified, modified))
            stored = measure(self._file)
            os.fsync(self._file)
            self.final.hardlink_to(self.path)
            sync_directory(self._directory)
        return stored

    def _owns_final(self) -> bool:
        """Whether what has the final name is this file, and not another one. Not once it was let go
        of."""
        return self._file >= 0 and os.fstat(self._file).st_nlink > 1

    def _open_locked(self) -> int:
        while True:
            ensure_directory(self._directory)
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


class DoomedFile(RecordFile):
    """The file of a record whose row is about to be deleted. `mark`; then `discard`, `unmark` if
    the row stays, or `release` if nobody knows."""

    def mark(self) -> bool:
        """Locks the file and gives it its `.part` name back, so that the sweep looks at it should
        this be cut short. False if somebody else has the lock. A missing file is no trouble."""
        try:
            self._file = os.open(self.final, os.O_RDWR | os.O_CLOEXEC)  # as in `Leftover.claim`
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.hardlink_to(self.final)
        except BlockingIOError:
            self.release()
            return False
        except (FileNotFoundError, FileExistsError):
            pass
        except OSError as exc:
            # On a full volume room is made without: at worst a crash leaves a file too many.
            if exc.errno not in NoSpace.ERRNOS:
                self.release()
                raise
        return True

    def unmark(self) -> None:
        """Takes the mark off again, if there is one."""
        if self._file >= 0:
            self.settle()


class LeftoverFile(RecordFile):
    """A `.part` that a crash may have left, of a record that may have been published or not."""

    def claim(self) -> bool:
        """Locks the file; False if a live upload owns it, or it is gone. Call `release`."""
        try:
            # For writing: over NFS nobody else gets an exclusive lock.
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        return self.path.exists()

    def is_published(self) -> bool:
        """Whether it has its final name already."""
        return self.final.exists()


def measure(file: int) -> Stored:
    """Reads an open file to its end."""
    digest = hashlib.sha256()
    size = 0
    while block := os.pread(file, _READ_BYTES, size):
        digest.update(block)
        size += len(block)
    return Stored(size, digest.digest())
