"""The command line: serve, migrate, check, move-media, user, upload."""

import signal
import sys
from types import FrameType

import typer

from umusic import logs
from umusic.cli import check, moving, serving, upload, users

app = typer.Typer(
    name="umusic",
    help="Send a WAV of any size, get back a link to an MP3.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.command()(serving.migrate)
app.command()(check.check)
app.command()(moving.move_media)
app.command()(upload.upload)
app.add_typer(users.app)


def main() -> None:
    """Runs the command line."""
    # For people; what serves does as it is set, once the settings are read.
    logs.configure("text")
    # Until the server takes over, SIGTERM unwinds like Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, _exit)
    app()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
