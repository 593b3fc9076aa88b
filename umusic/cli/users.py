"""`umusic user …`: who has a library here. For operators: it asks nobody for a token."""

import contextlib
import uuid
from typing import Annotated

import typer

from umusic.app import Library
from umusic.cli.running import run
from umusic.errors import UserUnknown
from umusic.library.models import User

app = typer.Typer(name="user", help="Users: add, list, show, delete, token.", no_args_is_help=True)

Who = Annotated[str, typer.Argument(metavar="NAME|ID", help="A user's name or id.")]

_PAGE = 500
_COLUMNS = "{:36}  {:>9}  {:>15}  {:>12}  {:20}  {}"


@app.command()
def add(name: Annotated[str, typer.Argument(help="The new user's name.")]) -> None:
    """Makes a user, and tells its token: only now. Also where registration is closed."""
    _tell_token(*run(lambda opened: opened.users.register(name), create=True))


@app.command("list")
def list_users() -> None:
    """Lists all users by name, with what is in their libraries."""

    async def print_all(opened: Library) -> None:
        typer.echo(_COLUMNS.format("id", "records", "bytes", "seconds", "created (UTC)", "name"))
        users = await opened.users.page("", _PAGE)
        while users:
            for user in users:
                size, duration = f"{user.size:,}", f"{user.duration:,.1f}"
                typer.echo(
                    _COLUMNS.format(
                        str(user.id), f"{user.records:,}", size, duration, _date(user), user.name
                    )
                )
            users = await opened.users.page(users[-1].name, _PAGE)

    run(print_all)


@app.command()
def show(who: Who) -> None:
    """Shows a user, and what is in the library."""
    user = run(lambda opened: _find(opened, who))
    _tell(user)
    typer.echo(f"records: {user.records:,}")
    typer.echo(f"bytes:   {user.size:,}")
    typer.echo(f"seconds: {user.duration:,.1f}")


@app.command()
def delete(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Deletes a user with all records and files."""

    user = run(lambda opened: _find(opened, who))
    # Not inside of `run`: there Ctrl-C would wait for the answer.
    if not yes:
        typer.confirm(f"Delete {user.name} with {user.records:,} records?", abort=True)

    async def remove(opened: Library) -> None:
        if user.records:
            await opened.media.check_present()
        await opened.removal.remove_user(user.id)

    run(remove)
    typer.echo(f"{user.name} is gone, with {user.records:,} records.")


@app.command()
def token(who: Who) -> None:
    """Gives a user a new token; the old one is dead at once."""

    async def renew(opened: Library) -> tuple[User, str]:
        user = await _find(opened, who)
        return user, await opened.users.renew_token(user)

    _tell_token(*run(renew))


async def _find(opened: Library, who: str) -> User:
    """The user of this name or id."""
    found = []
    with contextlib.suppress(UserUnknown, ValueError):
        found.append(await opened.users.find(uuid.UUID(who)))
    with contextlib.suppress(UserUnknown):
        found.append(await opened.users.by_name(who))
    if not found:
        raise UserUnknown(f"There is no user of the name or id {who}.")
    if len({user.id for user in found}) > 1:
        # Names are free, and somebody may have taken another's id for one.
        raise UserUnknown(f"{who} is the id of one user and the name of another: {found[1].id}.")
    return found[0]


def _tell(user: User) -> None:
    typer.echo(f"id:      {user.id}")
    typer.echo(f"name:    {user.name}")
    typer.echo(f"created: {_date(user)}")


def _tell_token(user: User, token: str) -> None:
    _tell(user)
    typer.echo(f"token:   {token}")


def _date(user: User) -> str:
    return f"{user.created_at:%Y-%m-%dT%H:%M:%SZ}"
