"""`umusic upload`: sends WAVs to a server, with a bar for each on a terminal."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.filesize import decimal
from rich.progress import (
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from umusic import settings
from umusic.bookmarks import bookmark
from umusic.cli.running import bar, console, errors_told
from umusic.client import Client
from umusic.errors import StartError, UploadFailed
from umusic.resuming import Watch

_STDIN = "-"


def upload(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="WAVs; - is what comes from a pipe.")
    ],
    server: Annotated[
        str | None, typer.Option(help="URL of the umusic; else UMUSIC_SERVER, or the config file.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Your token; else UMUSIC_TOKEN, or the config file.")
    ] = None,
) -> None:
    """Uploads WAVs and prints their links. Goes on by itself where the line breaks, and where an
    earlier call was interrupted. Exits with 0 only if all arrived."""
    with errors_told():
        knobs = settings.load_client(server=server, token=token)
        if knobs.token is None:
            raise StartError(
                'A token is needed: give --token, or set UMUSIC_TOKEN, or write token = "…" '
                f"into {settings.config_file()}."
            )
        batch = _Batch(str(knobs.server), knobs.token)
        with batch.progress:
            for file in files:
                batch.send(file)
        batch.summarize()
    raise typer.Exit(0 if batch.arrived == len(files) else 1)


class _Batch:
    """The files of one call, one after the other."""

    def __init__(self, server: str, token: str) -> None:
        self.arrived = 0
        self._server = server
        self._token = token
        self._client = Client(server, token)
        self._failed = 0
        self._bytes = 0
        self._began = time.monotonic()
        self._out = console()
        self._err = console(stderr=True)
        if self._out.is_terminal and self._err.is_terminal:
            self._err = self._out  # which knows how to print above a bar
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            bar(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._out,
            disable=not self._out.is_terminal,
        )

    def send(self, file: str) -> None:
        """Sends one file and tells how it went."""
        name = None if file == _STDIN else Path(file).name
        try:
            with _opened(file) as (wav, status):
                link = self._upload(file, name, wav, status)
        except (OSError, UploadFailed) as exc:
            self._failed += 1
            why = exc.strerror if isinstance(exc, OSError) else exc
            self._err.print(_shown(f"{file}: {why}"))
        else:
            self.arrived += 1
            self._out.print(_shown(f"{file}: {link}"))

    def summarize(self) -> None:
        """Tells how many arrived, and how fast."""
        seconds = time.monotonic() - self._began
        total = self.arrived + self._failed
        speed = decimal(round(self._bytes / seconds)) if seconds else "0 bytes"
        failed = f", {self._failed} did not" if self._failed else ""
        self._err.print(
            f"{self.arrived} of {total} arrived{failed}: "
            f"{decimal(self._bytes)} sent in {seconds:.1f} s, {speed}/s."
        )

    def _upload(
        self, file: str, name: str | None, wav: BufferedIOBase, status: os.stat_result | None
    ) -> str:
        size = status and status.st_size
        task = self.progress.add_task(_shown(name or "(pipe)"), total=size)
        way = _Way(self.progress, task)

        def tell(error: UploadFailed) -> None:
            self._err.print(_shown(f"{file}: {error} Trying again."))

        watch = Watch(on_sent=way.advance, on_offset=way.go_on_from, on_wait=tell)
        try:
            if status is None:
                return self._client.upload(wav, size=size, name=name, watch=watch)
            directory = settings.bookmarks_directory()
            with bookmark(directory, self._server, self._token, Path(file), status) as mark:
                return self._client.upload(wav, size=size, name=name, watch=watch, bookmark=mark)
        finally:
            self._bytes += way.sent
            self.progress.remove_task(task)


class _Way:
    """How far a file is, on its bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._first: int | None = None
        self._at = 0

    @property
    def sent(self) -> int:
        """How many bytes have gone in this call; those that went twice count once."""
        return max(self._at - (self._first or 0), 0)

    def advance(self, count: int) -> None:
        """Counts bytes that have gone."""
        self._at += count
        self._progress.advance(self._task, count)

    def go_on_from(self, offset: int) -> None:
        """Counts from here: what has gone beyond did not arrive."""
        self._first = offset if self._first is None else min(self._first, offset)
        self._at = offset
        # Without a sample of what went before, of which the speed would be made.
        self._progress.reset(self._task, completed=offset)


def _shown(text: str) -> str:
    """The text with all that would be a command to a terminal spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BufferedIOBase, os.stat_result | None]]:
    """The file and what it is; None for a pipe, whose size nobody knows."""
    if file == _STDIN:
        if sys.stdin is None:
            raise UploadFailed("there is no standard input.")
        yield cast(BufferedIOBase, sys.stdin.buffer), None
        return
    with Path(file).open("rb") as opened:
        status = os.fstat(opened.fileno())
        yield opened, status if stat.S_ISREG(status.st_mode) else None
