"""The migrations."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conftest import execute, run_apart
from umusic.errors import StartError
from umusic.library import schema
from umusic.library.models import Base


def look(url: str, question: Callable[[Connection], Any]) -> Any:
    async def ask() -> Any:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(question)

    return asyncio.run(ask())


def tables(url: str) -> set[str]:
    return set(look(url, lambda connection: inspect(connection).get_table_names()))


def test_they_make_what_the_models_say(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    assert look(database_url, differences) == []


def test_they_go_back_and_forth_again(new_database: Callable[[str | None], str]) -> None:
    url = new_database(None)
    schema.upgrade(url)
    assert tables(url) == {"alembic_version", "users", "records", "idempotency_keys"}
    schema.downgrade(url, "base")
    assert tables(url) == {"alembic_version"}
    schema.upgrade(url)
    schema.upgrade(url)
    assert tables(url) == {"alembic_version", "users", "records", "idempotency_keys"}


def test_a_schema_of_a_newer_umusic_stops_the_start(
    new_database: Callable[[str | None], str],
) -> None:
    url = new_database(None)
    schema.upgrade(url)
    run_apart(execute(url, "UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartError, match="newer"):
        schema.upgrade(url)


def test_a_database_that_is_not_there_stops_the_start(cluster: str) -> None:
    with pytest.raises(StartError, match="UMUSIC_DATABASE_URL"):
        schema.upgrade(cluster.replace("/umusic?", "/missing?"))


def test_records_of_an_earlier_version_are_counted_and_survive_both_ways(
    new_database: Callable[[str | None], str],
) -> None:
    url = new_database(None)
    schema.upgrade(url, "0001")
    user, other = (
        f"INSERT INTO users VALUES (gen_random_uuid(), '{name}', sha256('{name}'), now())"
        for name in ("Ann", "Ben")
    )
    record = (
        "INSERT INTO records SELECT gen_random_uuid(), id, id, NULL, now(), 1.1, 44100, 2, 1, 1, "
        "100, sha256('x'), 's16le', 44100, 2, 1, 1, sha256('y') FROM users WHERE name = 'Ann'"
    )
    run_apart(execute(url, user, other, record, record))
    schema.upgrade(url)

    def counted(connection: Connection) -> list[tuple[Any, ...]]:
        query = "SELECT name, records, size, duration::text FROM users ORDER BY name"
        return [tuple(row) for row in connection.execute(text(query))]

    assert look(url, counted) == [("Ann", 2, 200, "2.2"), ("Ben", 0, 0, "0")]
    run_apart(
        execute(
            url, "UPDATE records SET uploader_id = NULL", "DELETE FROM users WHERE name = 'Ben'"
        )
    )
    schema.downgrade(url, "0001")
    schema.upgrade(url)
    assert look(url, counted) == [("Ann", 2, 200, "2.2")]
