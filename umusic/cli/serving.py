"""`umusic serve` and `umusic migrate`."""

import asyncio

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
            schema.upgrade(url)
            asyncio.run(server.serve(knobs, database_url=url, ffmpeg=binary))


def migrate() -> None:
    """Brings the database's schema up to date."""
    with errors_told(), database_url(settings.load(), share=True) as url:
        schema.upgrade(url)
