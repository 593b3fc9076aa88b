"""The migrations."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
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
    assert tables(url) == {"alembic_version", "users", "records"}
    schema.downgrade(url, "base")
    assert tables(url) == {"alembic_version"}
    schema.upgrade(url)
    schema.upgrade(url)
    assert tables(url) == {"alembic_version", "users", "records"}


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
