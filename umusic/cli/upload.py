"""`umusic upload`: sends WAVs to a server, with a bar for each on a terminal."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
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
from umusic.cli.running import bar, console, errors_told
from umusic.client import Client
from umusic.errors import StartError, UploadFailed

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
    """Uploads WAVs and prints their links. Exits with 0 only if all arrived."""
    with errors_told():
        knobs = settings.load_client(server=server, token=token)
        if knobs.token is None:
            raise StartError(
                'A token is needed: give --token, or set UMUSIC_TOKEN, or write token = "…" '
                f"into {settings.config_file()}."
            )
        batch = _Batch(Client(str(knobs.server), knobs.token))
        with batch.progress:
            for file in files:
                batch.send(file)
        batch.summarize()
    raise typer.Exit(0 if batch.arrived == len(files) else 1)


class _Batch:
    """The files of one call, one after the other."""

    def __init__(self, client: Client) -> None:
        self.arrived = 0
        self._client = client
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
            with _opened(file) as (wav, size):
                task = self.progress.add_task(_shown(name or "(pipe)"), total=size)
                try:
                    link = self._client.upload(
                        wav, size=size, name=name, on_sent=self._advancing(task)
                    )
                finally:
                    self.progress.remove_task(task)
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

    def _advancing(self, task: TaskID) -> Callable[[int], None]:
        def advance(count: int) -> None:
            self._bytes += count
            self.progress.advance(task, count)

        return advance


def _shown(text: str) -> str:
    """The text with all that would be a command to a terminal spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BufferedIOBase, int | None]]:
    """The file and its size; None for a pipe, which has none."""
    if file == _STDIN:
        if sys.stdin is None:
            raise UploadFailed("there is no standard input.")
        yield cast(BufferedIOBase, sys.stdin.buffer), None
        return
    with Path(file).open("rb") as opened:
        status = os.fstat(opened.fileno())
        yield opened, status.st_size if stat.S_ISREG(status.st_mode) else None
