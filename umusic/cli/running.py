"""What the commands share: how they print, how errors are told, and the library they work on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn

from umusic import embedded, settings
from umusic.app import Library, library
from umusic.errors import StartError, UmusicError
from umusic.library import schema
from umusic.settings import Settings

T = TypeVar("T")


def console(*, stderr: bool = False) -> Console:
    """Prints text as it is: names may look like markup."""
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def bar() -> BarColumn:
    """In green, as the default's colours are all one where there are but sixteen."""
    return BarColumn(complete_style="green", finished_style="green")


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
            schema.migrate(url)
            return asyncio.run(open_and_work(url))
