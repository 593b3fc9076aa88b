"""`umusic move-media`: copies all MP3s into another store, while umusic runs."""

import asyncio
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from umusic.app import Library
from umusic.cli.running import bar, console, run
from umusic.errors import NoSpace, StartError, Unavailable
from umusic.library.directory import Directory
from umusic.library.media import Media
from umusic.library.models import Record
from umusic.library.move import Move
from umusic.library.scratch import scratch

_STORE = "s3://bucket/prefix, or a directory"


def move_media(
    to: Annotated[str, typer.Option("--to", metavar="URL", help=f"{_STORE}.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help=f"{_STORE}. Unless told, that of the settings."),
    ] = None,
) -> None:
    """Copies the MP3s of all records into another store, compares them by SHA-256, and removes
    nothing. Goes on where an earlier call was interrupted. Exits with 0 only if all are there."""
    complete = run(lambda opened: _move(opened, to, source))
    raise typer.Exit(0 if complete else 1)


async def _move(opened: Library, to: str, source: str | None) -> bool:
    """Tells what cannot be copied, and how much has been; returns whether all is there."""
    with scratch(opened.media.directory) as directory:
        before = _store(opened, source, directory, "--from") if source else opened.stores.first()
        after = _store(opened, to, directory, "--to")
        if before.name == after.name:
            raise StartError(f"{before.name} is where the MP3s are already.")
        await before.check_present()
        await after.prepare()
        return await _copy(opened, before, after)


def _store(opened: Library, url: str, directory: Directory, option: str) -> Media:
    return opened.stores.at(url, directory, known_as=option)


async def _copy(opened: Library, before: Media, after: Media) -> bool:
    out = console()
    began = time.monotonic()
    with _Bar(out, await opened.records.size()) as shown:

        def tell(record: Record, why: str) -> None:
            out.print(f"{record.user_id}/{record.id}: {why}")

        move = Move(opened.records, before, after, on_bytes=shown.advance, on_fault=tell)
        stopped: Exception | None = None
        try:
            await move.run()
        except (NoSpace, StartError, Unavailable, OSError) as exc:
            stopped = exc
        except asyncio.CancelledError:
            out.print(_figures(move, began))
            out.print("Interrupted; the next call goes on from here.")
            raise
    out.print(_figures(move, began))
    if stopped is not None:
        said = str(stopped.__cause__ or stopped).partition("\n")[0].rstrip(".")
        out.print(f"Stopped before the end: {said}. The next call goes on from here.")
    return stopped is None and not move.faults


def _figures(move: Move, began: float) -> str:
    seconds = time.monotonic() - began
    return (
        f"{move.copied:,} records copied, {decimal(move.copied_bytes)} in {seconds:.1f} s; "
        f"{move.present:,} were there already, {move.faults:,} could not be copied."
    )


class _Bar:
    """How far it is: a bar on a terminal, elsewhere a line for each tenth."""

    def __init__(self, out: Console, total: int) -> None:
        self._out = out
        self._total = total
        self._done = 0
        self._tenths = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            bar(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._task = self._progress.add_task("moving", total=total)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, count: int) -> None:
        """Counts bytes that need no further thought."""
        self._done += count
        self._progress.advance(self._task, count)
        # Records that have come meanwhile are not in the total.
        tenths = min(self._done * 10 // max(self._total, 1), 10)
        if tenths > self._tenths and not self._out.is_terminal:
            self._out.print(f"{tenths * 10} %: {decimal(self._done)} of {decimal(self._total)}")
        self._tenths = tenths
