"""The migrations."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.pool import NullPool

from tests.conftest import execute, run_apart
from tests.process import Done, Process, umusic
from tests.rows import connected
from umusic.errors import StartError
from umusic.library import schema
from umusic.library.connecting import single_engine
from umusic.library.models import Base


def look(url: str, question: Callable[[Connection], Any]) -> Any:
    async def ask() -> Any:
        engine = single_engine(url, NullPool)
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
    schema.migrate(url)
    assert tables(url) == {
        "alembic_version",
        "users",
        "records",
        "idempotency_keys",
        "uploads",
        "claims",
    }
    command.downgrade(schema.config(url), "base")
    assert tables(url) == {"alembic_version"}
    schema.migrate(url)
    schema.migrate(url)
    assert tables(url) == {
        "alembic_version",
        "users",
        "records",
        "idempotency_keys",
        "uploads",
        "claims",
    }


def test_a_schema_of_a_newer_umusic_stops_the_start(
    new_database: Callable[[str | None], str],
) -> None:
    url = new_database(None)
    schema.migrate(url)
    run_apart(execute(url, "UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartError, match="newer"):
        schema.migrate(url)


async def migrated(directory: Path, url: str, *to: str) -> Done:
    return await umusic("migrate", *to, directory=directory, UMUSIC_DATABASE_URL=url)


def test_the_command_goes_down_and_up_to_a_revision(
    directory: Path, new_database: Callable[[str | None], str]
) -> None:
    url = new_database(None)
    for to, there in (((), "0005"), (("--to", "0001"), "0001"), (("--to", "0002"), "0002")):
        done = run_apart(migrated(directory, url, *to))
        assert (done.status, done.output) == (0, f"The schema is at {there}.\n"), done.errors
        assert look(url, revision) == there
    done = run_apart(migrated(directory, url, "--to", "base"))
    assert done.status == 1
    assert "no revision base of the schema. There are: 0001, 0002, 0003, 0004, 0005." in done.errors
    assert "Traceback" not in done.errors
    for unknown in ("base", "0099", "+1"):
        with pytest.raises(StartError, match=f"no revision {re.escape(unknown)} of the schema"):
            schema.migrate(url, unknown)
    assert look(url, revision) == "0002"


def revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def test_five_that_start_at_once_on_an_empty_database_all_succeed(
    directory: Path, new_database: Callable[[str | None], str]
) -> None:
    url = new_database(None)

    def serve_and_stop() -> Done:
        serving = Process(directory, database_url=url)
        status, errors = serving.stop()
        return Done(status, serving.greeting, errors)

    async def start_all() -> list[Done]:
        servers = (asyncio.to_thread(serve_and_stop) for _ in range(3))
        return await asyncio.gather(*servers, *(migrated(directory, url) for _ in range(2)))

    done = run_apart(start_all())
    assert [each.status for each in done] == 5 * [0], done
    assert ["Traceback" in each.errors for each in done] == 5 * [False]
    assert all("umusic listens" in each.output for each in done[:3])
    assert look(url, revision) == "0005"


@pytest.mark.parametrize("to", [(), ("--to", "0001")])
def test_whoever_has_to_wait_for_another_one_says_so(
    directory: Path,
    new_database: Callable[[str | None], str],
    template: str,
    to: tuple[str, ...],
) -> None:
    url = new_database(template)

    async def migrate_while_locked() -> Done:
        async with connected(url) as holder:
            async with holder.transaction():
                await holder.execute("SELECT pg_advisory_xact_lock(7105102019)")
                migrating = asyncio.create_task(migrated(directory, url, *to))
                query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                async with asyncio.timeout(20):
                    while not await holder.fetchval(query):
                        await asyncio.sleep(0.05)
                assert not migrating.done()
            return await migrating

    done = run_apart(migrate_while_locked())
    assert done.status == 0
    assert "another umusic migrates the database: waiting for its end" in done.errors
    assert look(url, revision) == (to[1] if to else "0005")


def test_a_database_that_is_not_there_stops_the_start(cluster: str) -> None:
    with pytest.raises(StartError, match="UMUSIC_DATABASE_URL"):
        schema.migrate(cluster.replace("/umusic?", "/missing?"))


def test_records_of_an_earlier_version_are_counted_and_survive_both_ways(
    new_database: Callable[[str | None], str],
) -> None:
    url = new_database(None)
    schema.migrate(url, "0001")
    user, other = (
        f"INSERT INTO users VALUES (gen_random_uuid(), '{name}', sha256('{name}'), now())"
        for name in ("Ann", "Ben")
    )
    record = (
        "INSERT INTO records SELECT gen_random_uuid(), id, id, NULL, now(), 1.1, 44100, 2, 1, 1, "
        "100, sha256('x'), 's16le', 44100, 2, 1, 1, sha256('y') FROM users WHERE name = 'Ann'"
    )
    run_apart(execute(url, user, other, record, record))
    schema.migrate(url)

    def counted(connection: Connection) -> list[tuple[Any, ...]]:
        query = "SELECT name, records, size, duration::text FROM users ORDER BY name"
        return [tuple(row) for row in connection.execute(text(query))]

    assert look(url, counted) == [("Ann", 2, 200, "2.2"), ("Ben", 0, 0, "0")]
    run_apart(
        execute(
            url, "UPDATE records SET uploader_id = NULL", "DELETE FROM users WHERE name = 'Ben'"
        )
    )
    schema.migrate(url, "0001")
    schema.migrate(url)
    assert look(url, counted) == [("Ann", 2, 200, "2.2")]
