"""What all that is done with files has in common. All that touches the disk blocks."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from umusic.errors import MediaAway, out_of_room


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turns what the system says into errors of ours: NoSpace, OutOfResources, MediaAway."""
    try:
        with out_of_room():
            yield
    except OSError as exc:
        raise MediaAway from exc


def sync_directory(directory: Path) -> None:
    """Makes durable which names there are in a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_directory(directory: Path) -> None:
    """Makes a directory, durably, if it is not there."""
    if not directory.exists():
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def as_uuid(text: str) -> uuid.UUID | None:
    """The UUID that `text` is; None if it is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def ids_of(path: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The user and the record whose MP3 is at `path` in a store; None if it is something else."""
    user, _, name = path.partition("/")
    user_id, record_id = as_uuid(user), as_uuid(name.removesuffix(".mp3"))
    if user_id and record_id and path == f"{user_id}/{record_id}.mp3":
        return user_id, record_id
    return None
