"""pgbouncer in transaction mode before Postgres. (`make pooler-test` runs all tests so.)"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import run_apart, scratch_directory
from tests.pooler import needs_pgbouncer, pooler
from tests.postgres import copy_cluster
from tests.process import umusic
from tests.test_safe_start import IMPATIENT, refused
from umusic import embedded
from umusic.library.database import Database

pytestmark = needs_pgbouncer
PREPARED = text("SELECT count(*) FROM pg_prepared_statements")
BACKEND = text("SELECT pg_backend_pid()")
SLOWLY = text("SELECT CAST(:word AS text), pg_sleep(0.001)")


@pytest.fixture(scope="module")
def postgres(made_cluster: Path) -> Iterator[str]:
    with scratch_directory() as directory:
        copy_cluster(made_cluster, directory)
        with embedded.postgres(directory) as url:
            yield url


@pytest.fixture(scope="module")
def pooled(postgres: str) -> Iterator[str]:
    """The URL that leads through one with two connections."""
    with pooler(postgres, pool=2) as url:
        yield url


async def prepared(url: str) -> int:
    """How many statements are prepared after a few on each of ten connections, opened at once."""
    database = Database(url)

    async def ask() -> int:
        async with database.transaction() as session:
            for _ in range(3):
                count = await session.scalar(PREPARED)
        return int(count or 0)

    try:
        return max(await asyncio.gather(*(ask() for _ in range(10))))
    finally:
        await database.close()


def test_statements_are_prepared_only_where_there_is_none(postgres: str, pooled: str) -> None:
    assert run_apart(prepared(postgres)) > 0
    assert run_apart(prepared(pooled)) == 0


def test_connections_are_shared_and_nobody_gets_what_is_anothers(pooled: str) -> None:
    async def ask(database: Database, word: str) -> int:
        async with database.reading() as session:
            assert (await session.scalar(SLOWLY, {"word": word})) == word
        async with database.transaction() as session:
            backend = await session.scalar(BACKEND)
            assert (await session.scalar(SLOWLY, {"word": word})) == word
            assert await session.scalar(BACKEND) == backend
            return int(backend or 0)

    async def ask_all() -> set[int]:
        databases = [Database(pooled) for _ in range(3)]
        words = [f"{number}" for number in range(300)]
        try:
            asked = (ask(databases[int(word) % 3], word) for word in words)
            return set(await asyncio.gather(*asked))
        finally:
            for database in databases:
                await database.close()

    assert 1 <= len(run_apart(ask_all())) <= 2


def test_what_the_pooler_refuses_is_told_at_the_start(directory: Path, pooled: str) -> None:
    words = ["UMUSIC_DATABASE_URL", "unsupported startup parameter: speed", "pooler"]
    run_apart(refused(directory, "migrate", words=words, database_url=f"{pooled}&speed=1"))


def test_a_pooler_without_its_database(directory: Path, postgres: str) -> None:
    port = 6433
    with pooler(postgres, port=port, backend=f"host={directory} user=umusic") as url:
        words = ["UMUSIC_DATABASE_URL", "pooler"]
        run_apart(refused(directory, "migrate", words=words, program=IMPATIENT, database_url=url))


def test_two_that_migrate_through_one_connection_take_turns(
    directory: Path, made_cluster: Path
) -> None:
    copy_cluster(made_cluster, directory / "cluster")

    async def migrate(url: str, *to: str) -> int:
        return (await umusic("migrate", *to, directory=directory, UMUSIC_DATABASE_URL=url)).status

    async def back_and_forth(url: str) -> list[int]:
        assert await migrate(url, "--to", "0001") == 0
        return list(await asyncio.gather(*(migrate(url) for _ in range(3))))

    with embedded.postgres(directory / "cluster") as direct, pooler(direct, pool=1) as url:
        assert run_apart(back_and_forth(url)) == [0, 0, 0]
