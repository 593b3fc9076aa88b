"""What is made of an MP3, in a directory: `<user>/<record>.waveform/<name>`, and
`<user>/.<record>.<number>.new` while it is being written.

All of it blocks and belongs on a thread. When it is removed is said in `media.Derived`.
"""

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from umusic.errors import MediaAway, RecordUnknown, out_of_room
from umusic.library.files import as_uuid, writing

log = logging.getLogger(__name__)

#: What the directory of a record has after its id.
SUFFIX = ".waveform"
_NEW = ".new"


def record_of(name: str) -> uuid.UUID | None:
    """The record to which a name in a user's directory belongs, if it is one of these."""
    if name.endswith(_NEW):
        return as_uuid(name.removeprefix(".").partition(".")[0])
    return as_uuid(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None


class DerivedFiles:
    """What has been made of one record's MP3, by name. `root` is the media directory."""

    def __init__(self, root: Path, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        self._record_id = record_id
        self._library = root / str(user_id)
        self._mp3 = self._library / f"{record_id}.mp3"
        self._directory = self._library / f"{record_id}{SUFFIX}"

    def holds(self, name: str) -> bool:
        """Whether it has been made."""
        return (self._directory / name).is_file()

    def read(self, name: str) -> bytes | None:
        """All of it; None if it has not been made. Raises MediaAway if it cannot be read."""
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise MediaAway from exc

    def source(self) -> BinaryIO:
        """The MP3, to be read.

        Raises:
            RecordUnknown: it is not there; OutOfResources, MediaAway: it cannot be opened.
        """
        try:
            with out_of_room():
                return self._mp3.open("rb")
        except FileNotFoundError as exc:
            raise RecordUnknown from exc
        except OSError as exc:
            raise MediaAway from exc

    def keep(self, name: str, data: bytes) -> None:
        """Publishes it whole, in the place of what had the name before.

        Raises:
            RecordUnknown: the record has been removed meanwhile, and so has this.
            NoSpace, OutOfResources, MediaAway: it cannot be written.
        """
        try:
            with writing():
                self._publish(name, data)
        finally:
            removed = self.discard_orphan()
        if removed:
            raise RecordUnknown

    def trim(self, suffix: str, count: int) -> None:
        """Removes the oldest of those whose names end with `suffix`; `count` of them may stay."""
        with contextlib.suppress(FileNotFoundError):
            found = [path for path in self._directory.iterdir() if path.name.endswith(suffix)]
            found.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in found[:-count]:
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes all of it, where there is any. Where there is none it needs no descriptor: failed
        uploads come here as well."""
        if not self._directory.exists():
            return
        try:
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)
            # Somebody may just be publishing something more, who then looks for the MP3.
            with contextlib.suppress(OSError):
                self._directory.rmdir()
        except FileNotFoundError:
            pass

    def discard_orphan(self) -> bool:
        """Removes all of it if the MP3 is not there, and the user's directory if that is empty
        then. Returns whether the MP3 was missing."""
        if self._mp3.exists():
            return False
        self.discard()
        with contextlib.suppress(OSError):
            self._library.rmdir()
        return True

    def drop_orphan(self, name: str) -> None:
        """Removes what has this name in the user's directory, if no MP3 has need of it, or if it
        is of a making that was cut short."""
        try:
            if name.endswith(_NEW):
                _unlink_abandoned(self._library / name)
            self.discard_orphan()
        except OSError:
            log.exception("what was made of an MP3 that is gone cannot be removed")

    def _publish(self, name: str, data: bytes) -> None:
        new = self._library / f".{self._record_id}.{uuid.uuid4().hex}{_NEW}"
        try:
            with _locked(new) as file:
                file.write(data)
                file.flush()
                # Else a crash might leave the name, and nothing of what it stands for.
                os.fsync(file.fileno())
                self._directory.mkdir(exist_ok=True)
                new.rename(self._directory / name)
        except FileNotFoundError as exc:
            # A directory is gone, so the record is.
            raise RecordUnknown from exc
        finally:
            new.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """A new file, locked as long as it is open: a sweep leaves it alone."""
    while True:
        with path.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                yield file
                return
        # A sweep took it between the two calls.


def _unlink_abandoned(path: Path) -> None:
    """Removes a file, unless somebody holds a lock on it."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
