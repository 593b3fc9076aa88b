"""The part-file of an upload that comes in several requests: `<root>/<user>/.<upload>.upload`.

It holds the WAV as far as it has come, and its size is the offset. Whoever changes it holds a lock
on it, which dies with the process. All of it blocks and belongs on a thread.
"""

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

from umusic.library.files import as_uuid, ensure_directory, sync_directory, writing

_SUFFIX = ".upload"


def upload_of(name: str) -> uuid.UUID | None:
    """The upload to which a name in a user's directory belongs, if it is that of a part-file."""
    upload_id = as_uuid(name.removeprefix(".").removesuffix(_SUFFIX))
    return upload_id if name == f".{upload_id}{_SUFFIX}" else None


class WavPart:
    """The part-file of one upload. It need not be there."""

    def __init__(self, root: Path, user_id: uuid.UUID, upload_id: uuid.UUID) -> None:
        self._directory = root / str(user_id)
        self.user_id = user_id
        self.upload_id = upload_id
        self.path = self._directory / f".{upload_id}{_SUFFIX}"
        #: Bytes, while it is claimed.
        self.size = 0
        self._file = -1

    def claim(self) -> bool:
        """Locks the file, which is made if there is none. False if somebody else has it.

        Raises:
            NoSpace, OutOfResources, MediaAway: that is not possible.
        """
        with writing():
            while self._file < 0:
                file = self._opened()
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(file).st_nlink:
                        self._file, file = file, -1
                    # else it was removed between the two calls
                except BlockingIOError:
                    return False
                finally:
                    if file >= 0:
                        os.close(file)
            self.size = os.fstat(self._file).st_size
        return True

    def append(self, data: bytes) -> None:
        """Writes the next bytes: all of them, or none.

        Raises:
            NoSpace, OutOfResources, MediaAway: none.
        """
        rest = memoryview(data)
        end = self.size
        with writing():
            try:
                while rest:
                    count = os.pwrite(self._file, rest, end)
                    rest, end = rest[count:], end + count
            except OSError:
                os.ftruncate(self._file, self.size)
                raise
        self.size = end

    def read(self, start: int, count: int) -> bytes:
        """So many bytes that are there."""
        with writing():
            data = os.pread(self._file, count, start)
            if not data:
                raise OSError(f"a part-file ends at {start} of {self.size} bytes")
        return data

    def sync(self) -> None:
        """Makes durable what has been written."""
        with writing():
            os.fdatasync(self._file)

    def cut(self, size: int) -> None:
        """Throws away what comes after so many bytes, durably."""
        with writing():
            if size < self.size:
                os.ftruncate(self._file, size)
                os.fdatasync(self._file)
                self.size = size

    def present_size(self) -> int:
        """How many bytes are there now; the lock is not needed."""
        with writing():
            try:
                return self.path.stat().st_size
            except FileNotFoundError:
                return 0

    def durable_size(self) -> int:
        """How many bytes are there, and stay there whatever happens; the lock is not needed."""
        with writing():
            try:
                file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return 0
            try:
                size = os.fstat(file).st_size
                os.fdatasync(file)
            finally:
                os.close(file)
        return size

    def remove(self) -> bool:
        """Removes the file, unless somebody else has it: then False."""
        if not self.path.exists():
            return True
        if not self.claim():
            return False
        self.discard()
        return True

    def discard(self) -> None:
        """Removes the file that has been claimed, and its directory if that is empty now."""
        try:
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._directory.rmdir()
        finally:
            self.release()

    def release(self) -> None:
        """Lets go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        while True:
            ensure_directory(self._directory)
            is_new = not self.path.exists()
            try:
                file = os.open(self.path, flags, 0o644)
            except FileNotFoundError:
                continue  # somebody else took the empty directory along
            if is_new:
                sync_directory(self._directory)
            return file
