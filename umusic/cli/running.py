"""What the commands share: the database they use, the library in it, and how errors are told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import typer

from umusic import embedded, settings
from umusic.app import Library, library
from umusic.errors import StartError, UmusicError
from umusic.library import schema
from umusic.settings import Settings

T = TypeVar("T")


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Ends the program with status 1 and a sentence if one of our errors comes up, or a file or a
    connection makes trouble."""
    try:
        yield
    except (StartError, UmusicError, OSError) as exc:
        typer.echo(f"umusic: {exc}", err=True)
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextlib.contextmanager
def database_url(knobs: Settings, *, share: bool = False, create: bool = True) -> Iterator[str]:
    """The database of the settings; the embedded one runs meanwhile. `share`: it may be that of a
    umusic that runs already; `create`: it may be a new one."""
    if knobs.database_url is not None:
        yield knobs.database_url
        return
    with embedded.postgres(knobs.data_dir, share=share, create=create) as url:
        yield url


def run(work: Callable[[Library], Awaitable[T]], *, create: bool = False) -> T:
    """Does some work on the library of the settings, beside a umusic that may be running. `create`:
    there need not be one yet."""

    async def open_and_work(url: str) -> T:
        async with library(knobs, database_url=url) as opened:
            return await work(opened)

    with errors_told():
        knobs = settings.load()
        with database_url(knobs, share=True, create=create) as url:
            schema.upgrade(url)
            return asyncio.run(open_and_work(url))
