"""Postgres stopped, killed and held for real, at every stage of an upload: 503 with nothing kept,
and all is well again as soon as it is back."""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy.engine import make_url
from tornado.httpclient import HTTPResponse

from tests.client import Account, Client, as_json
from tests.conftest import (
    Before,
    call_apart,
    execute,
    run_apart,
    scratch_directory,
    stopped_ffmpeg,
    wait_for,
)
from tests.postgres import Postgres
from tests.stores import Kept, files_in
from tests.test_keeper import EAGER, LONG
from tests.test_uploads import files, rows
from tests.tus import Tus, problem
from tests.wavs import take
from umusic.app import Services
from umusic.library import database, schema

pytestmark = pytest.mark.expects_log("database-unavailable")
#: How it goes away.
GOING = {"stopped": Postgres.stop, "killed": Postgres.kill}


@pytest.fixture(scope="module")
def postgres(before_postgres: Before) -> Iterator[Postgres]:
    with scratch_directory() as directory:
        made = Postgres(directory)
        made.start()
        call_apart(schema.migrate, made.url)
        with before_postgres(made.url) as made.url:
            yield made
        made.stop()


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    name = f"test_{uuid.uuid4().hex}"
    run_apart(execute(postgres.url, f"CREATE DATABASE {name} TEMPLATE umusic"))
    postgres.awaited = make_url(postgres.url).set(database=name).render_as_string(False)
    return postgres.awaited


@pytest.fixture(params=GOING.values(), ids=GOING.keys())
def go(request: pytest.FixtureRequest) -> Callable[[Postgres], None]:
    away: Callable[[Postgres], None] = request.param
    return away


async def assert_away_and_back(
    response: HTTPResponse,
    client: Client,
    account: Account,
    services: Services,
    postgres: Postgres,
    kept: Kept,
) -> None:
    """The upload was refused and left nothing; then Postgres comes back."""
    assert response.code == 503
    assert "Retry-After" in response.headers
    assert as_json(response)["type"] == "/problems/database-unavailable"
    assert kept.is_empty
    assert services.keeper.live == 0
    unready = await client.fetch("/readyz")
    assert (unready.code, as_json(unready)["type"]) == (503, "/problems/database-unavailable")
    assert (await client.fetch("/healthz")).code == 200
    postgres.start()
    assert (await client.fetch("/readyz")).code == 200
    assert await rows(services) == []
    assert (await client.upload(account, take(0.1))).code == 201
    assert len(await rows(services)) == len(files(kept)) == 1


@pytest.mark.gen_test
async def test_before_the_body(
    client: Client,
    services: Services,
    postgres: Postgres,
    go: Callable[[Postgres], None],
    kept: Kept,
) -> None:
    account = await client.register()
    go(postgres)
    response = await client.upload(account, take(0.1), name="x")
    await assert_away_and_back(response, client, account, services, postgres, kept)


@pytest.mark.gen_test
async def test_in_the_middle_of_the_body(
    client: Client,
    services: Services,
    postgres: Postgres,
    go: Callable[[Postgres], None],
    kept: Kept,
) -> None:
    account = await client.register()

    async def pieces() -> AsyncIterator[bytes]:
        yield LONG[:3_000_000]
        await wait_for(lambda: bool(files_in(services.media.directory.root, ".part")))
        go(postgres)
        yield LONG[3_000_000:]

    response = await client.upload_chunked(account, pieces(), "/record?name=x")
    await assert_away_and_back(response, client, account, services, postgres, kept)


@pytest.mark.gen_test
async def test_after_the_body(
    client: Client,
    services: Services,
    postgres: Postgres,
    go: Callable[[Postgres], None],
    kept: Kept,
) -> None:
    account = await client.register()
    services.keeper.pool.lengths = EAGER
    uploading = asyncio.ensure_future(client.upload(account, take(10.0), name="x"))
    pid = await stopped_ffmpeg()  # the only one: the whole body is there
    go(postgres)
    os.kill(pid, signal.SIGCONT)
    await assert_away_and_back(await uploading, client, account, services, postgres, kept)


@pytest.mark.gen_test
async def test_how_far_an_upload_is_can_be_asked_again(
    client: Client, postgres: Postgres, go: Callable[[Postgres], None]
) -> None:
    tus = Tus(client, await client.register())
    wav = take(0.1)
    url = await tus.begin(len(wav))
    assert (await tus.patch(url, 0, wav[:99])).code == 204
    go(postgres)
    # A client of tus that is told 503 may begin anew; who asks in words is told the reason.
    asked = await tus.ask("HEAD", url)
    assert (asked.code, asked.headers["Retry-After"]) == (423, "5")
    assert problem(await tus.ask("GET", url)) == (503, "database-unavailable")
    postgres.start()
    assert await tus.offset(url) == 99


@pytest.mark.gen_test
async def test_a_postgres_that_only_hangs_is_told_and_waited_for(
    client: Client, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await client.register()
    monkeypatch.setattr(database, "_PING_SECONDS", 0.3)
    with postgres.held():
        uploading = asyncio.ensure_future(client.upload(account, take(0.1), name="x"))
        assert (await client.fetch("/readyz")).code == 503
        assert not uploading.done()
    assert (await uploading).code == 201
    assert (await client.fetch("/readyz")).code == 200


@pytest.mark.gen_test
async def test_connections_that_were_cut_are_replaced_for_all_at_once(
    client: Client, services: Services, postgres: Postgres
) -> None:
    account = await client.register()
    await asyncio.gather(*(client.fetch("/readyz") for _ in range(10)))
    postgres.kill()
    assert (await client.fetch("/readyz")).code == 503
    postgres.start()
    uploads = (client.upload(account, take(0.1)) for _ in range(10))
    assert {response.code for response in await asyncio.gather(*uploads)} == {201}
    assert len(await rows(services)) == 10


@pytest.mark.gen_test
async def test_metrics_are_told_meanwhile(client: Client, postgres: Postgres) -> None:
    postgres.stop()
    assert (await client.fetch("/readyz")).code == 503
    metrics = await client.fetch("/metrics")
    postgres.start()
    assert metrics.code == 200
    counted = 'umusic_problems_total{problem="database-unavailable"} 1.0'
    assert counted in metrics.body.decode()
