"""`umusic serve` and `umusic migrate`."""

import asyncio
from typing import Annotated

import typer

from umusic import embedded, logs, server, settings
from umusic.audio import ffmpeg
from umusic.cli.running import database_url, errors_told
from umusic.library import schema


def serve() -> None:
    """Serves until Ctrl-C or SIGTERM; first brings the database's schema up to date."""
    with errors_told():
        knobs = settings.load()
        logs.configure(knobs.log_format)
        binary = knobs.ffmpeg or embedded.ffmpeg_binary()
        ffmpeg.probe(binary)
        with database_url(knobs) as url:
            schema.migrate(url)
            asyncio.run(server.serve(knobs, database_url=url, ffmpeg=binary))


def migrate(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="REVISION",
            help="Go up or down to this revision, like 0002, and not to the newest. On the way "
            "down all is lost that the older schema has no place for, and `serve` goes up again: "
            "stop it first, and start the umusic of that schema afterwards.",
        ),
    ] = schema.HEAD,
) -> None:
    """Brings the database's schema up to date, or to another revision."""
    with errors_told(), database_url(settings.load(), share=True) as url:
        typer.echo(f"The schema is at {schema.migrate(url, to)}.")
