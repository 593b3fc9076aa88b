"""Real parts for the tests: Postgres (embedded), ffmpeg, umusic itself, nginx."""

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application

from tests import leaks, rows
from tests.client import Client
from tests.front import Nginx
from tests.gateway import Gateway
from tests.pooler import OPTION, around_pooler, pooler
from tests.postgres import copy_cluster, make_cluster
from tests.process import Process, pids
from tests.stores import S3, Kept, kept_beside, session_in
from tests.wavs import take
from umusic import app as composition
from umusic import embedded, server
from umusic.app import Services
from umusic.library import schema, users
from umusic.settings import PREFIX, Settings

#: Puts something before the Postgres of a URL.
Before = Callable[[str], contextlib.AbstractContextManager[str]]


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end on a loop and a thread of its own."""
    return call_apart(asyncio.run, work)


def call_apart(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function on another thread: asyncio.run() would take this one's loop away."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args).result()


async def execute(url: str, *statements: str) -> None:
    """Runs SQL outside of a transaction."""
    async with rows.connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@pytest.fixture(scope="session", autouse=True)
def former_loop() -> Iterator[None]:
    """The loop that pytest-tornado's io_loop finds current: without one, one is left unclosed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def issued_tokens() -> Iterator[None]:
    """Takes note of every token that is issued in this process (see `leaks`)."""
    with pytest.MonkeyPatch.context() as patch:
        new_token = users._new_token
        patch.setattr(users, "_new_token", lambda: leaks.issued(new_token()))
        yield


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that Postgres's own user can reach, other than pytest's."""
    with tempfile.TemporaryDirectory(prefix="umusic-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as made:
        yield made


@pytest.fixture(scope="session")
def made_cluster() -> Iterator[Path]:
    """The data directory of a cluster that others are copied from."""
    with scratch_directory() as made:
        make_cluster(made)
        yield made


@pytest.fixture
def data_dir(directory: Path, made_cluster: Path) -> Path:
    """A data directory as an earlier umusic left it."""
    copy_cluster(made_cluster, directory / "data")
    return directory / "data"


@pytest.fixture(scope="session")
def before_postgres(pytestconfig: pytest.Config) -> Before:
    """What stands before each Postgres: nothing, or with --pooler a pgbouncer."""
    return pooler if pytestconfig.getoption(OPTION) else contextlib.nullcontext


@pytest.fixture(scope="session")
def cluster(made_cluster: Path, before_postgres: Before) -> Iterator[str]:
    """The URL of a database in a Postgres of this session's own."""
    with scratch_directory() as made:
        copy_cluster(made_cluster, made)
        with (
            embedded.postgres(made, options={"max_connections": "40"}) as url,
            before_postgres(url) as url,
        ):
            yield url


@pytest.fixture(scope="session")
def template(cluster: str) -> str:
    """The name of a migrated database to copy from."""
    run_apart(execute(cluster, "CREATE DATABASE template_umusic"))
    url = make_url(around_pooler(cluster)).set(database="template_umusic")
    call_apart(schema.migrate, url.render_as_string(hide_password=False))
    return "template_umusic"


@contextlib.contextmanager
def database_of(cluster: str, template: str | None) -> Iterator[str]:
    """The URL of a database of its own, which is gone at the end."""
    name = f"test_{uuid.uuid4().hex}"
    copied = f" TEMPLATE {template}" if template else ""
    run_apart(execute(cluster, f"CREATE DATABASE {name}{copied}"))
    try:
        yield make_url(cluster).set(database=name).render_as_string(hide_password=False)
    finally:
        run_apart(execute(cluster, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def new_database(cluster: str) -> Iterator[Callable[[str | None], str]]:
    """Makes databases that are gone after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda template: stack.enter_context(database_of(cluster, template))


@pytest.fixture(scope="session")
def common_database(cluster: str, template: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of the database that goes from test to test, and what empties it. That keeps its
    connection: to connect takes longer than to empty it."""
    with (
        database_of(cluster, template) as url,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        connecting = rows.connected(url)
        connection = runner.run(connecting.__aenter__())
        shape = runner.run(rows.empty(connection))

        def empty() -> None:
            found = runner.run(rows.empty(connection))
            assert found == shape, "the test left another schema than it found"

        yield url, empty
        runner.run(connecting.__aexit__(None, None, None))


@pytest.fixture
def database_url(common_database: tuple[str, Callable[[], None]]) -> Iterator[str]:
    """A migrated, empty database. Who changes its schema takes a `new_database` instead: to make
    one takes longer than most tests."""
    url, empty = common_database
    yield url
    empty()


@pytest.fixture
def ffmpeg() -> Path:
    return embedded.ffmpeg_binary()


@pytest.fixture
def complaining_ffmpeg(tmp_path: Path) -> Path:
    """One that does nothing but complain."""
    path = tmp_path / "complaining_ffmpeg"
    path.write_text("#!/bin/sh\necho boom >&2\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def halting_ffmpeg(tmp_path: Path, ffmpeg: Path) -> Path:
    """One that stops itself before it begins (see `stopped_ffmpeg`): for what is so short that it
    may be over before anybody else has stopped it."""
    path = tmp_path / "halting_ffmpeg"
    path.write_text(f'#!/bin/sh\nkill -STOP $$\nexec {ffmpeg} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A short WAV in a file."""
    path = tmp_path / "take.wav"
    path.write_bytes(take(0.3))
    return path


@pytest.fixture
def start(directory: Path, data_dir: Path) -> Iterator[Any]:
    """Starts umusic in a process of its own, with these options and settings."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Process:
            process = Process(directory, **options)
            stack.callback(process.close)
            return process

        yield make


@pytest.fixture
def media_dir(tmp_path: Path) -> Path:
    path = tmp_path / "media"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> S3 | None:
    """The S3 that the tests' files are kept in, with `--store=s3`."""
    if request.config.getoption("--store") == "disk":
        return None
    found = S3.of_environment()
    found.make_bucket()
    return found


@pytest.fixture(scope="session", autouse=True)
def store_of_the_session(s3: S3 | None) -> Iterator[None]:
    with session_in(s3):
        yield


@pytest.fixture
def gateway(s3: S3, io_loop: IOLoop) -> Iterator[Gateway]:
    """What S3 is reached by if it is to fail; with `--store=s3`."""
    made = Gateway(s3.endpoint)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def kept(media_dir: Path) -> Iterator[Kept]:
    """What is kept in the store of the test. What is not finished is in `media_dir`."""
    found = kept_beside(media_dir)
    yield found
    if found.is_remote:
        found.clear()


@pytest.fixture
def via(request: pytest.FixtureRequest) -> str:
    """How the test reaches umusic: direct, or through nginx (see `both_ways`)."""
    return str(getattr(request, "param", "direct"))


@pytest.fixture
def knobs() -> dict[str, Any]:
    """Settings that a test overrides by its own fixture of this name."""
    return {}


@pytest.fixture
def settings(media_dir: Path, kept: Kept, via: str, knobs: dict[str, Any]) -> Settings:
    defaults = {
        "media_dir": media_dir,
        **kept.settings,
        "x_accel_prefix": "/_media/" if via == "nginx" else None,
        "body_timeout": 20,
    }
    return Settings(_env_file=None, **{**defaults, **knobs})  # type: ignore[call-arg]


@pytest.fixture
def services(
    settings: Settings,
    database_url: str,
    ffmpeg: Path,
    io_loop: IOLoop,
    kept: Kept,
    request: pytest.FixtureRequest,
) -> Iterator[Services]:
    made = composition.services(settings, database_url=database_url, ffmpeg=ffmpeg)
    running: Services = io_loop.run_sync(made.__aenter__)
    io_loop.run_sync(running.media.prepare)
    yield running
    io_loop.run_sync(lambda: no_token_in_the_database(running))
    claims = io_loop.run_sync(lambda: count_of(running, "claims"))
    paths = io_loop.run_sync(lambda: paths_of_rows(running))
    io_loop.run_sync(lambda: made.__aexit__(None, None, None))
    assert not running.keeper.live, "an upload was left running"
    assert not running.waveforms.live, "an outline was left in the making"
    assert not running.resumptions.live, "a resumable upload was left in hand"
    assert not children("ffmpeg"), "an ffmpeg was left running"
    for suffix in ("part", "new"):
        assert not list(running.media.directory.root.rglob(f"*.{suffix}")), (
            "a temporary file was left"
        )
    assert not claims, "a claim was left"
    assert not kept.unfinished(), "an MP3 was left half published"
    if not request.node.get_closest_marker("leaves_files"):
        assert {name for name in kept.mp3s() if not name.startswith("lost-")} <= paths, (
            "a file was left without a row"
        )


@pytest.fixture
def app(settings: Settings, services: Services) -> Application:
    return composition.make_app(settings, services)


@pytest.fixture
def http_server(
    io_loop: IOLoop, _unused_port: tuple[Any, int], app: Application
) -> Iterator[HTTPServer]:
    """pytest-tornado's, but made as umusic makes its own."""
    made = server.make_server(app)
    made.add_socket(_unused_port[0])
    yield made
    made.stop()
    io_loop.run_sync(made.close_all_connections)


@pytest.fixture
def registrations() -> str:
    """How many new users nginx lets one address have."""
    return "1000r/s"


@pytest.fixture
def nginx_of_wheel() -> bool:
    """Whether nginx is the one of the wheel, even if there is another."""
    return False


@pytest.fixture
def nginx_store(s3: S3 | None) -> str | None:
    """Where nginx finds S3."""
    return s3 and s3.endpoint.partition("://")[2]


@pytest.fixture
def site(
    via: str,
    http_server: HTTPServer,
    http_port: int,
    media_dir: Path,
    tmp_path: Path,
    registrations: str,
    nginx_store: str | None,
    nginx_of_wheel: bool,
) -> Iterator[str]:
    """The URL that the test's clients use."""
    with contextlib.ExitStack() as stack:
        if via == "direct":
            yield f"http://127.0.0.1:{http_port}"
        else:
            nginx = Nginx(
                tmp_path / "nginx",
                upstream=f"127.0.0.1:{http_port}",
                media=media_dir,
                store=nginx_store,
                registrations=registrations,
                of_wheel=nginx_of_wheel,
            )
            stack.enter_context(nginx.running())
            yield nginx.url


@pytest.fixture
def client(site: str, http_client: AsyncHTTPClient) -> Client:
    return Client(site, http_client)


async def paths_of_rows(running: Services) -> set[str]:
    """Where the files of all records are."""
    async with running.database.reading() as session:
        rows = await session.execute(text("SELECT user_id, id FROM records"))
        return {f"{row.user_id}/{row.id}.mp3" for row in rows}


async def count_of(running: Services, table: str) -> int:
    async with running.database.reading() as session:
        return int(await session.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0)


async def no_token_in_the_database(running: Services) -> None:
    """Reads all tables for every token that was issued; but no more of them than a test uploads."""
    tables = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    async with running.database.reading() as session:
        for table in (await session.scalars(tables)).all():
            for row in await session.scalars(text(f'SELECT t::text FROM "{table}" AS t LIMIT 500')):
                leaks.assert_none_in_row(row)


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A token or a link in what umusic logs, at the level at which it runs, fails the test."""
    caplog.set_level(logging.INFO)
    yield
    for phase in ("setup", "call", "teardown"):
        leaks.assert_none_in_records(caplog.get_records(phase))


@pytest.fixture(autouse=True)
def no_surprise_in_the_log(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """A warning or worse that the test does not expect (`expects_log`) fails it."""
    yield
    store = request.config.getoption("--store")
    marks = request.node.iter_markers("expects_log")
    expected = [mark.args[0] for mark in marks if mark.kwargs.get("store", store) == store]
    records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    messages = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    for message in messages:
        assert any(part in message for part in expected), f"unexpected in the log: {message}"
    for part in expected:
        assert any(part in message for message in messages), f"missing in the log: {part}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=("disk", "s3"), default="disk", help="where MP3s are kept")
    told = "umusic reaches Postgres through pgbouncer in transaction mode"
    parser.addoption(OPTION, action="store_true", help=told)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expects_log(part, store=both): a warning with this text is expected"
    )
    config.addinivalue_line("markers", "disk: about the directory itself; not with --store=s3")
    config.addinivalue_line("markers", "s3: about the S3 store; only with --store=s3")
    config.addinivalue_line("markers", "api: takes minutes; `make api-test` runs it")
    config.addinivalue_line("markers", "browser: needs Chromium; `make browser-test` runs it")
    config.addinivalue_line("markers", "chaos: takes minutes; `make chaos` runs it")
    config.addinivalue_line("markers", "compose: needs Docker; `make compose-test` runs it")
    config.addinivalue_line("markers", "kubernetes: needs kubectl; `make kubernetes-test` runs it")
    config.addinivalue_line("markers", "swarm: needs Docker; `make swarm-test` runs it")
    config.addinivalue_line("markers", "leaves_files: whose rows are none of this database's")
    config.addinivalue_line("markers", "tus: needs npm and Chromium; `make tus-test` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is about the other store."""
    other = "s3" if config.getoption("--store") == "disk" else "disk"
    left_out = [item for item in items if item.get_closest_marker(other)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def children(name: str) -> list[int]:
    """The process ids of this process's children whose program has `name` in its name."""
    found = []
    for pid in pids(parent=os.getpid()):
        with contextlib.suppress(OSError):
            if name in Path(f"/proc/{pid}/comm").read_text():
                found.append(pid)
    return found


async def stopped_ffmpeg() -> int:
    """Waits for an ffmpeg and stops it where it is, unless it does so itself."""
    async with asyncio.timeout(10):
        while True:
            for pid in children("ffmpeg"):
                with contextlib.suppress(OSError):
                    if pid not in children("halting"):
                        os.kill(pid, signal.SIGSTOP)
                    # One that is about to end does not stop any more.
                    while (state := _state(pid)) != "Z":
                        if state in "Tt":
                            return pid
                        await asyncio.sleep(0.001)
            await asyncio.sleep(0.002)


def halted_ffmpegs() -> list[int]:
    """Those that have stopped themselves."""
    return [pid for pid in children("halting") if _state(pid) in "Tt"]


def _state(pid: int) -> str:
    """R, S, D, T, Z…, as proc(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


async def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
