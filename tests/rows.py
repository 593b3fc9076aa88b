"""Rows by SQL: records made in bulk, without files; and all of them thrown out."""

import contextlib
import uuid
from collections.abc import AsyncIterator

import asyncpg
from sqlalchemy import text

from tests.pooler import around_pooler
from umusic.library.database import Database

_INSERT = text(
    """
    INSERT INTO records (
        id, user_id, uploader_id, name, created_at, duration, sample_rate, channels, bitrate,
        samples, size, sha256, source_format, source_sample_rate, source_channels, source_samples,
        source_size, source_sha256
    )
    SELECT gen_random_uuid(), :user, :user, 'take ' || n || '.wav',
        timestamptz '2026-01-01' + n / 10 * interval '1 second', 1, 44100, 2, 128000,
        44100, 16000, sha256('x'), 's16le', 44100, 2, 44100, 176444, sha256('y')
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
    """
)


async def add_rows(database: Database, user_id: str, count: int, *, after: int = 0) -> None:
    """Adds so many rows, from `take 1.wav` on or after those that are there; ten in each second."""
    numbers = {"first": after + 1, "last": after + count}
    async with database.transaction() as session:
        await session.execute(_INSERT, {"user": uuid.UUID(user_id), **numbers})
    async with database.reading() as session:
        await session.execute(text("VACUUM ANALYZE records"))


#: Whoever still sits in a transaction is thrown out; then the tables are emptied, whatever refers
#: to what, and without triggers. DELETE is ten times as fast here as TRUNCATE.
_EMPTY = """
    SET session_replication_role = replica;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend' AND state <> 'idle';
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
    END $$
"""
#: What changes with the schema.
_SHAPE = """
    SELECT (SELECT string_agg(version_num, ' ') FROM alembic_version),
        (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_trigger)
"""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database, to itself where there is a pooler before it."""
    connection = await asyncpg.connect(around_pooler(url))
    try:
        yield connection
    finally:
        await connection.close()


async def empty(connection: asyncpg.Connection) -> tuple[object, ...]:
    """Throws all rows out of the database; returns what its schema is known by."""
    await connection.execute(_EMPTY)
    return tuple(await connection.fetchrow(_SHAPE))
