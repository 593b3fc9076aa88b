"""A file that is sent: read from anywhere, as often as needed, and hashed once.

Whoever sends it need not know how; it knows nothing of whom it is sent to.
"""

import hashlib
import os
from collections.abc import Iterator
from io import BufferedIOBase

from umusic.errors import UploadFailed

#: Small enough for the poorest lines to take one before they seem to be dead.
_BLOCK_BYTES = 64 * 1024


class FileChanged(UploadFailed):
    """The file is not what it was."""


class FileUnreadable(UploadFailed):
    """The file cannot be read at the moment."""


class File:
    """`size` bytes of a WAV that can be read again."""

    def __init__(self, wav: BufferedIOBase, size: int) -> None:
        self._wav = wav
        self._size = size
        self._version = self._look()
        self._sha256 = hashlib.sha256()
        self._hashed = 0

    def check(self) -> None:
        """Raises FileChanged if somebody has written to it."""
        if self._look() != self._version:
            raise FileChanged("the file has changed while it was sent.")

    def digest(self) -> str:
        """The SHA-256 of all of it."""
        self.hash_up_to(self._size)
        return self._sha256.hexdigest()

    def hash_up_to(self, offset: int) -> None:
        """Reads what has not been hashed of what goes before the offset."""
        if self._hashed < offset:
            for _ in self._read(self._hashed, offset):
                pass

    def blocks(self, offset: int) -> Iterator[bytes]:
        """All from the offset on."""
        return self._read(offset, self._size)

    def _read(self, at: int, end: int) -> Iterator[bytes]:
        try:
            self._wav.seek(at)
            while at < end:
                block = self._wav.read1(min(end - at, _BLOCK_BYTES))
                if not block:
                    raise FileChanged("the file became shorter while it was sent.")
                if at + len(block) > self._hashed:
                    self._sha256.update(block[self._hashed - at :])
                    self._hashed = at + len(block)
                at += len(block)
                yield block
        except OSError as exc:
            raise FileUnreadable(f"it cannot be read: {exc.strerror}.") from exc

    def _look(self) -> tuple[int, int] | None:
        """Its size and time; None if it is no file."""
        try:
            status = os.fstat(self._wav.fileno())
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns
