"""The MP3 files: `<root>/<user>/<record>.mp3`, and `.<record>.part` while they grow.

All functions block and belong on a thread. A file is only ever published whole: written as a
`.part`, synced, linked to its final name, its directory synced. The `.part` name goes only after
the row is committed, and comes back before the row is deleted. So a `.part` marks all that a crash
may have left, and an `.mp3` alone is never swept. Whoever makes one holds a lock on it meanwhile.
What has been made of an MP3 (`derived`) goes with it.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umusic.errors import MediaAway, NoSpace, StartError
from umusic.library.derived import Derived, record_of
from umusic.library.files import as_uuid, ensure_directory, sync_directory, writing
from umusic.library.wav_part import WavPart, upload_of

log = logging.getLogger(__name__)

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Stored:
    """What was published: its size in bytes and its SHA-256."""

    size: int
    sha256: bytes


class Media:
    """The directory of all files."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._identity: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Takes the directory for the one to work in, and tries what is done with files in it.

        Raises:
            StartError: that is not possible.
        """
        try:
            self.check_present()
            self._identity = _identity(self.root)
            self.check_writable()
        except OSError as exc:
            raise StartError(
                f"UMUSIC_MEDIA_DIR: {self.root} cannot be written to ({exc.strerror}). Make it a "
                "directory that this user may write to, on a file system that has hard links."
            ) from exc

    def check_mounted(self) -> None:
        """Raises MediaAway if the directory is not the one of the start, as when its volume has
        been unmounted: what was written then, or taken for missing, would be wrong later."""
        if self._identity is not None and _identity(self.root) != self._identity:
            raise MediaAway from FileNotFoundError(f"{self.root} is not that of the start")

    def check_present(self) -> None:
        """Raises StartError if the directory is not there. It is not made: where a volume is not
        mounted, files would be written that it hides later."""
        if not self.root.is_dir():
            said = "is no directory" if self.root.exists() else "is not there"
            raise StartError(
                f"UMUSIC_MEDIA_DIR: {self.root} {said}. If it is on a volume, mount that; if it is "
                "to be a new one, make it with mkdir."
            )

    def check_writable(self) -> None:
        """Writes, links and removes an empty file. Raises MediaAway, or OSError if that fails."""
        self.check_mounted()
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
        return str(_RecordFile(self.root, user_id, record_id).final.relative_to(self.root))

    def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "PartFile":
        """Makes the empty, locked `.part` of a new record.

        Raises:
            NoSpace: the volume is full; MediaAway: it is not there, or fails.
        """
        self.check_mounted()
        with writing():
            return PartFile(self.root, user_id, record_id)

    def wav_part(self, user_id: uuid.UUID, upload_id: uuid.UUID) -> WavPart:
        """The part-file of a resumable upload, which may or may not be there."""
        return WavPart(self.root, user_id, upload_id)

    def wav_parts(self, user_id: uuid.UUID | None = None) -> Iterator[WavPart]:
        """All of those that are there, of one user or of all, one at a time."""
        for user, entry in self._entries(user_id):
            if upload_id := upload_of(entry.name):
                yield self.wav_part(user, upload_id)

    def doomed(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "DoomedFile":
        """The published file of a record that is to be removed; nothing happens to it yet."""
        return DoomedFile(self.root, user_id, record_id)

    def sync(self, user_id: uuid.UUID) -> None:
        """Makes durable which names there are in a user's directory."""
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self.root / str(user_id))

    def size(self, user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
        """The bytes of a published file; None if there is none."""
        try:
            return _RecordFile(self.root, user_id, record_id).final.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def measure(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Stored | None:
        """Reads a published file to its end; None if there is none."""
        try:
            with _RecordFile(self.root, user_id, record_id).final.open("rb") as file:
                return _measure(file.fileno())
        except FileNotFoundError:
            return None

    def derived(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Derived:
        """What has been made of a record's file, and may be."""
        return Derived(self.root, user_id, record_id)

    def drop_orphans(self, user_id: uuid.UUID | None = None) -> None:
        """Removes what was made of files that are gone, of one user or of all, and what is left of
        makings that were cut short."""
        for user, entry in self._entries(user_id):
            if record := record_of(entry.name):
                self.derived(user, record).drop_orphan(entry.name)

    def settled(self) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
        """All settled files, one at a time, as user and record, in no order."""
        for user, entry in self._entries():
            record = as_uuid(entry.name.removesuffix(".mp3"))
            if record and entry.name == f"{record}.mp3" and self.is_settled(user, record):
                yield user, record

    def is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        """Whether a file is there that nobody is publishing or removing at the moment."""
        file = _RecordFile(self.root, user_id, record_id)
        # In this order: who removes a file takes its `.part` away last.
        return not file.path.exists() and os.path.lexists(file.final)

    def leftovers(self, user_id: uuid.UUID | None = None) -> Iterator["Leftover"]:
        """All `.part` files, of one user or of all, one at a time, also those of live uploads."""
        for user, entry in self._entries(user_id):
            record = as_uuid(entry.name.removeprefix(".").removesuffix(".part"))
            named = record and entry.name == f".{record}.part"
            if record and named and entry.is_file(follow_symlinks=False):
                yield self.leftover(user, record)

    def leftover(self, user_id: uuid.UUID, record_id: uuid.UUID) -> "Leftover":
        """The `.part` of a record, which may or may not be there."""
        return Leftover(self.root, user_id, record_id)

    def _entries(
        self, user_id: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, os.DirEntry[str]]]:
        """What is in a user's directory, or in those of all users."""
        for user in [user_id] if user_id else self._users():
            try:
                with os.scandir(self.root / str(user)) as found:
                    for entry in found:
                        yield user, entry
            except FileNotFoundError:
                pass  # a failed upload may take its empty directory along at any time
            except OSError:
                log.exception("a user's directory cannot be read")

    def _users(self) -> Iterator[uuid.UUID]:
        with os.scandir(self.root) as entries:
            for entry in entries:
                user = as_uuid(entry.name)
                if user and entry.name == str(user) and entry.is_dir(follow_symlinks=False):
                    yield user


class _RecordFile:
    """The two names of a record's file, and the lock on it."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self._directory = root / str(user_id)
        self.path = self._directory / f".{record_id}.part"
        self.final = self._directory / f"{record_id}.mp3"
        self._derived = Derived(root, user_id, record_id)
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
            self.final.unlink(missing_ok=True)
            self._derived.discard()
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
        try:
            self._file = self._open_locked()
        except BaseException:
            # What was made for it, unless others have files there.
            with contextlib.suppress(OSError):
                self._directory.rmdir()
            raise

    def publish(self, modified: int) -> Stored:
        """Makes the file durable under its final name, with `modified` (s since the epoch) as its
        modification time, because ETag and Last-Modified are made from it.

        Raises:
            NoSpace, OutOfResources, MediaAway: it cannot be. Call `discard`.
        """
        with writing():
            os.utime(self._file, (modified, modified))
            stored = _measure(self._file)
            os.fsync(self._file)
            self.final.hardlink_to(self.path)
            sync_directory(self._directory)
        return stored

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


class DoomedFile(_RecordFile):
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


class Leftover(_RecordFile):
    """A `.part` that a crash may have left, of a record that may have been published or not."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        super().__init__(root, user_id, record_id)
        self.user_id = user_id
        self.record_id = record_id

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


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _measure(file: int) -> Stored:
    digest = hashlib.sha256()
    size = 0
    while block := os.pread(file, _READ_BYTES, size):
        digest.update(block)
        size += len(block)
    return Stored(size, digest.digest())
