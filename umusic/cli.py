"""The command line: serve and migrate."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import typer

from umusic import embedded, server, settings
from umusic.audio import ffmpeg
from umusic.errors import StartError
from umusic.library import schema
from umusic.settings import Settings

app = typer.Typer(
    name="umusic",
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _common() -> None:
    """Send a WAV of any size, get back a link to an MP3."""


@app.command()
def serve() -> None:
    """Serves until Ctrl-C or SIGTERM; first brings the database's schema up to date."""
    with _start_errors():
        knobs = settings.load()
        binary = knobs.ffmpeg or embedded.ffmpeg_binary()
        ffmpeg.probe(binary)
        sockets = server.bind(knobs)
        with _database_url(knobs) as url:
            schema.upgrade(url)
            asyncio.run(server.serve(knobs, sockets, database_url=url, ffmpeg=binary))


@app.command()
def migrate() -> None:
    """Brings the database's schema up to date."""
    with _start_errors(), _database_url(settings.load(), share=True) as url:
        schema.upgrade(url)


def main() -> None:
    """Runs the command line."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Until the server takes over, SIGTERM unwinds like Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, _exit)
    app()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextlib.contextmanager
def _database_url(knobs: Settings, *, share: bool = False) -> Iterator[str]:
    if knobs.database_url is not None:
        yield knobs.database_url
        return
    with embedded.postgres(knobs.data_dir, share=share) as url:
        yield url


@contextlib.contextmanager
def _start_errors() -> Iterator[None]:
    try:
        yield
    except StartError as exc:
        typer.echo(f"umusic: {exc}", err=True)
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
