"""The media directory of this machine: what is in it, and whether it is the one it should be.

All methods block and belong on a thread.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from umusic.errors import MediaAway, StartError
from umusic.library.files import as_uuid, sync_directory
from umusic.library.wav_part import WavPart, upload_of

log = logging.getLogger(__name__)


class Directory:
    """A directory with one of its own for each user. `known_as` is the setting that names it."""

    def __init__(self, root: Path, known_as: str = "UMUSIC_MEDIA_DIR") -> None:
        self.root = root.absolute()
        self._known_as = known_as
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
                f"{self._known_as}: {self.root} cannot be written to ({exc.strerror}). Make it a "
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
                f"{self._known_as}: {self.root} {said}. If it is on a volume, mount that; if it is "
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

    def site(self) -> uuid.UUID | None:
        """The name of the directory among those of other processes, which it keeps. None if it is
        not there, or cannot be written to."""
        file = self.root / ".site"
        new = self.root / f".site-{uuid.uuid4()}"
        with contextlib.suppress(OSError, ValueError):
            if not file.exists():
                new.write_text(str(uuid.uuid4()))
                # Of several that try, one comes first.
                with contextlib.suppress(FileExistsError):
                    file.hardlink_to(new)
                new.unlink()
            return uuid.UUID(file.read_text())
        return None

    def wav_part(self, user_id: uuid.UUID, upload_id: uuid.UUID) -> WavPart:
        """The part-file of a resumable upload, which may or may not be there."""
        return WavPart(self.root, user_id, upload_id)

    def wav_parts(self, user_id: uuid.UUID | None = None) -> Iterator[WavPart]:
        """All of those that are there, of one user or of all, one at a time."""
        for user, entry in self.entries(user_id):
            if upload_id := upload_of(entry.name):
                yield self.wav_part(user, upload_id)

    def sync(self, user_id: uuid.UUID) -> None:
        """Makes durable which names there are in a user's directory."""
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self.root / str(user_id))

    def entries(
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


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
