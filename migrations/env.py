"""Alembic's environment: runs the migrations over asyncpg, one process at a time.

`umusic.library.schema` calls it with the URL of the database; the `alembic` command line takes it
from umusic's settings.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from umusic import settings
from umusic.errors import StartError
from umusic.library.models import Base

#: An arbitrary number that means "umusic migrates" among the advisory locks of the database.
_LOCK = 7_105_102_019


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        context.run_migrations()


async def _migrate(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
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
