"""`<media directory>/.move/`: where what `umusic move-media` copies is between two stores, as no
sweep looks there. All of it blocks and belongs on a thread."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from umusic.errors import StartError
from umusic.library.directory import Directory

_NAME = ".move"
_LOCK = "lock"


@contextlib.contextmanager
def scratch(media: Directory) -> Iterator[Directory]:
    """A directory that nobody else uses meanwhile, in the media directory. What somebody left there
    who was killed is removed.

    Raises:
        StartError: somebody uses it, or there is no media directory.
    """
    media.check_present()
    root = media.root / _NAME
    lock = _locked(root)
    try:
        for left in root.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != _LOCK:
                left.unlink()  # the name of the directory
        yield Directory(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        os.close(lock)


def _locked(root: Path) -> int:
    while True:
        root.mkdir(exist_ok=True)
        try:
            lock = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # whoever used it has just removed it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(lock)
            raise StartError(f"{root} is in use: another umusic move-media is running.") from exc
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)
