"""Brings the database's schema up to date: Alembic's migrations, run from here."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from umusic.errors import StartError

_MIGRATIONS = Path(__file__).parents[2] / "migrations"


def config(database_url: str) -> Config:
    """Alembic's configuration for the database at SQLAlchemy's `database_url`."""
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["database_url"] = database_url
    return made


def upgrade(database_url: str, revision: str = "head") -> None:
    """Runs the migrations up to `revision`. Blocks, with an event loop of its own.

    Raises:
        StartError: the database cannot be reached, or its schema is not one of ours.
    """
    try:
        command.upgrade(config(database_url), revision)
    except (OSError, TimeoutError, SQLAlchemyError, TypeError, ValueError) as exc:
        # asyncpg answers parameters of the URL that it does not know with a TypeError.
        raise StartError(
            f"The database cannot be used ({type(exc).__name__}: {exc}): see UMUSIC_DATABASE_URL."
        ) from exc
    except CommandError as exc:
        raise StartError(
            f"The database's schema is not known to this version of umusic ({exc}). Is it newer?"
        ) from exc


def downgrade(database_url: str, revision: str) -> None:
    """Runs the migrations back to `revision`."""
    command.downgrade(config(database_url), revision)
