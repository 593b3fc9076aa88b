"""umusic that kills itself at a moment, and is impatient otherwise: `python -m tests.mortal serve`.

The moment is one of MOMENTS, in the file `die-at` of the directory where it runs. As it dies it
removes that, so whoever is started next lives.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.impatient import hasten
from umusic import cli
from umusic.library import bucket, derived_files, derived_objects, disk, record_file
from umusic.library.objects import Objects

DIE_AT = "die-at"
#: Of an upload, and of a deletion.
UPLOADING = ("while it is published", "before the commit", "after the commit")
DELETING = ("before the row goes", "before the file goes", "while the file goes")


def die(moment: str) -> None:
    """kill -9, if it is time."""
    file = Path(DIE_AT)
    if file.exists() and file.read_text() == moment:
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, moment: str) -> None:
    """Has a moment be before each call of a function."""
    called: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **named: Any) -> Any:
        die(moment)
        return called(*args, **named)

    setattr(owner, name, dying)


def after(owner: Any, name: str, moment: str) -> None:
    """Has a moment be after each call of a coroutine."""
    called: Callable[..., Any] = getattr(owner, name)

    async def dying(*args: Any, **named: Any) -> Any:
        result = await called(*args, **named)
        die(moment)
        return result

    setattr(owner, name, dying)


async def put_half(objects: Objects, put: Callable[..., Any], key: str, *args: Any) -> None:
    """Dies with a multipart upload begun."""
    if key.endswith(".mp3") and Path(DIE_AT).exists():
        client = objects._multiparts()._client
        client.create_multipart_upload(Bucket=objects._bucket, Key=objects._below + key)
        die("while it is published")
    await put(objects, key, *args)


def arrange() -> None:
    """Puts all moments in place."""
    put = Objects.put
    Objects.put = lambda objects, *args: put_half(objects, put, *args)  # type: ignore[method-assign]
    # In a directory both names are there then.
    before(record_file, "sync_directory", "while it is published")
    for store in (disk, bucket):
        after(store.Part, "settle_in", "before the commit")
        before(store.Part, "settle", "after the commit")
        after(store.Doomed, "mark_in", "before the row goes")
        before(store.Doomed, "discard", "before the file goes")
    for made in (derived_files.DerivedFiles, derived_objects.DerivedObjects):
        before(made, "discard", "while the file goes")


if __name__ == "__main__":
    hasten()
    arrange()
    cli.main()
