"""Alembic's environment: runs the migrations over asyncpg, one process at a time.

`umusic.library.schema` calls it with the URL of the database; the `alembic` command line takes it
from umusic's settings.
"""

import asyncio
import logging

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from umusic import settings
from umusic.errors import StartError
from umusic.library.connecting import single_engine
from umusic.library.models import Base

log = logging.getLogger("umusic.migrations")

#: An arbitrary number that means "umusic migrates" among the advisory locks of the database.
_LOCK = 7_105_102_019
_LOCK_MINUTES = 10


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        _lock(connection)
        context.run_migrations()


def _lock(connection: Connection) -> None:
    """Lets nobody else migrate, in either direction, until this transaction ends."""
    if connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")):
        return
    log.warning("another umusic migrates the database: waiting for its end")
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_MINUTES}min'"))
    try:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    except DBAPIError as exc:
        raise StartError(
            f"Another umusic has been migrating the database for {_LOCK_MINUTES} minutes. Let it "
            "come to its end, or end it, and start this one again."
        ) from exc
    connection.execute(text("SET LOCAL lock_timeout = DEFAULT"))


async def _migrate(url: str) -> None:
    engine = single_engine(url, NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _url() -> str:
    url = context.config.attributes.get("database_url") or settings.load().database_url
    if url is None:
        raise StartError("Set UMUSIC_DATABASE_URL, or use `python -m umusic migrate`.")
    return str(url)


asyncio.run(_migrate(_url()))
