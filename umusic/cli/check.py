"""`umusic check`: are the media directory and the database as they should be?"""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from umusic.app import Library
from umusic.cli.running import bar, console, run
from umusic.errors import StartError


def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Take what cannot be served out of the library, into media/lost-and-found.",
        ),
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file and compare its SHA-256.")
    ] = False,
) -> None:
    """Compares the media directory with the database: rows without files, files without rows,
    wrong sizes. Exits with 1 if anything is wrong, and was not repaired."""
    wrong = run(lambda opened: _check(opened, repair=repair, deep=deep))
    raise typer.Exit(1 if wrong else 0)


async def _check(opened: Library, *, repair: bool, deep: bool) -> int:
    """Tells what is wrong; returns how much of it remains."""
    await opened.media.check_present()
    if repair and not await opened.audit.is_plausible():
        raise StartError(
            f"No record at all has its file in {opened.media.name}, so nothing is repaired. Are "
            "UMUSIC_MEDIA_DIR, UMUSIC_MEDIA_URL and UMUSIC_DATABASE_URL right, and is the volume "
            "mounted?"
        )
    out = console()
    found = repaired = 0
    with _progress(out) as progress:
        task = progress.add_task("checking", total=await opened.records.count())
        findings = opened.audit.check(deep=deep, on_record=lambda: progress.advance(task))
        async for finding in findings:
            found += 1
            done = repair and await opened.audit.repair(finding)
            repaired += done
            outcome = (" - repaired" if done else " - not repaired") if repair else ""
            out.print(f"{finding.user_id}/{finding.record_id}: {finding.fault}{outcome}")
        if repair:
            await opened.audit.tidy()
        checked = int(progress.tasks[task].completed)
    end = f", {repaired:,} repaired" if repair else ""
    out.print(f"{checked:,} records checked, {found:,} faults found{end}.")
    return found - repaired


def _progress(out: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        bar(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
