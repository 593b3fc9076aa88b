"""What is wrong at the start is told in a sentence that says what to do, and the status is 1."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.conftest import execute, run_apart
from tests.process import ROOT, Done, umusic
from tests.rows import connected
from tests.test_full_disk import apart
from umusic.embedded import ffmpeg_binary

SECRET = "s3cret-word"
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


async def refused(
    directory: Path,
    *commands: str,
    words: list[str],
    program: str = "umusic",
    within: tuple[str, ...] = (),
    **settings: str,
) -> None:
    """Runs the commands, all of which have to end with a sentence that has the words in it."""
    environment = {f"UMUSIC_{name.upper()}": value for name, value in settings.items()}
    done = await asyncio.gather(
        *(
            umusic(
                each,
                directory=directory,
                program=program,
                within=within,
                **{"UMUSIC_PORT": "0", "UMUSIC_MEDIA_DIR": directory, **environment},
            )
            for each in commands
        )
    )
    for each in done:
        assert_refused(each, words)


def assert_refused(done: Done, words: list[str]) -> None:
    assert (done.status, done.output) == (1, "")
    *before, sentence = done.errors.splitlines()
    assert sentence.startswith("umusic: UMUSIC_") or "set UMUSIC_" in sentence
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith((".", "?"))
    # What is waited for is told at once, in the log.
    assert all("warning" in line.lower() for line in before), before
    assert "Traceback" not in done.errors
    assert SECRET not in done.errors


#: Two that tell alike what is wrong with the database: where there are many faults, one tells them.
BOTH = ("serve", "migrate")
IMPATIENT = "tests.impatient"


# --- the media directory ----------------------------------------------------------------------


def test_a_media_directory_that_is_not_there_is_not_made(
    directory: Path, database_url: str
) -> None:
    media = directory / "volume" / "media"
    words = ["UMUSIC_MEDIA_DIR", str(media), "is not there", "mount", "mkdir"]
    run_apart(
        refused(directory, "serve", words=words, media_dir=str(media), database_url=database_url)
    )
    assert not media.parent.exists()


def test_a_file_is_no_media_directory(directory: Path, database_url: str) -> None:
    media = directory / "media"
    media.touch()
    words = ["UMUSIC_MEDIA_DIR", str(media), "is no directory"]
    run_apart(
        refused(directory, "serve", words=words, media_dir=str(media), database_url=database_url)
    )


def test_a_media_directory_on_a_read_only_volume(directory: Path, database_url: str) -> None:
    if not apart():
        pytest.skip("nobody here may mount anything")
    media = directory / "media"
    media.mkdir()
    words = ["UMUSIC_MEDIA_DIR", str(media), "Read-only file system"]
    within = (*apart(), "sh", "-c", READ_ONLY, str(media))
    run_apart(
        refused(
            directory,
            "serve",
            words=words,
            within=within,
            media_dir=str(media),
            database_url=database_url,
        )
    )
    assert list(media.iterdir()) == []


# --- ffmpeg -----------------------------------------------------------------------------------

FFMPEGS = {
    "missing": (None, "No such file"),
    "not executable": ("#!/bin/sh\n", "Permission denied"),
    "without libmp3lame": (
        f'#!/bin/sh\nexec {ffmpeg_binary()} $(echo "$@" | sed s/libmp3lame/libmp3lame_not/)\n',
        "Unknown encoder 'libmp3lame_not'",
    ),
    "silent": ("#!/bin/sh\nexit 0\n", "writes nothing"),
    "hanging": ("#!/bin/sh\nsleep 15\n", "does not end within 5 s"),
}


def test_an_ffmpeg_that_cannot_encode_mp3(directory: Path) -> None:
    async def try_all() -> None:
        trials = []
        for kind, (script, words) in FFMPEGS.items():
            path = directory / kind.replace(" ", "-")
            if script is not None:
                path.write_text(script)
                path.chmod(0o644 if kind == "not executable" else 0o755)
            said = ["set UMUSIC_FFMPEG", "libmp3lame", str(path), words]
            trials.append(
                refused(directory, "serve", words=said, program=IMPATIENT, ffmpeg=str(path))
            )
        await asyncio.gather(*trials)

    run_apart(try_all())


# --- the database -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://ann:{SECRET}@127.0.0.1/umusic", ["postgresql://user:password@host"]),
        (f"postgresql://ann:{SECRET}@127.0.0.1:{SECRET}/umusic", ["%40"]),
        (f"postgresql://ann:{SECRET}@{SECRET}@127.0.0.1/umusic", ["@ in the password as %40"]),
    ],
)
def test_a_database_url_that_cannot_be_right(directory: Path, url: str, words: list[str]) -> None:
    run_apart(refused(directory, "serve", words=["UMUSIC_DATABASE_URL", *words], database_url=url))


def test_a_database_that_is_not_there_is_waited_for_and_told(directory: Path) -> None:
    async def try_all() -> None:
        # Listens, and says nothing.
        with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            places = {
                f"127.0.0.1:{silent.getsockname()[1]}/umusic": "says nothing",
                f"127.0.0.1:{closed.getsockname()[1]}/umusic": "Does it run",
                "nowhere.invalid/umusic": "There is no host nowhere.invalid",
                "/umusic?host=/no/socket": "at /no/socket:5432 ([Errno 2] No such file",
            }
            await asyncio.gather(
                *(
                    refused(
                        directory,
                        "serve",
                        words=["UMUSIC_DATABASE_URL", words],
                        program=IMPATIENT,
                        database_url=f"postgresql://ann:{SECRET}@{place}",
                    )
                    for place, words in places.items()
                )
            )

    run_apart(try_all())


@pytest.fixture(scope="module")
def stranger(cluster: str) -> Iterator[str]:
    """A role with a password, that may do nothing; its URL without database."""
    role = f"CREATE ROLE stranger LOGIN PASSWORD '{SECRET}'"
    rules = Path(run_apart(_ask(cluster, "SHOW hba_file")))
    former = rules.read_text()
    rules.write_text(f"local all stranger scram-sha-256\n{former}")
    run_apart(execute(cluster, role, "SELECT pg_reload_conf()"))
    yield f"postgresql://stranger:{SECRET}@/{{}}?host={make_url(cluster).query['host']}"
    rules.write_text(former)


async def _ask(url: str, question: str) -> str:
    async with connected(url) as connection:
        return str(await connection.fetchval(question))


def test_a_database_that_does_not_let_it_in_or_do_its_work(
    directory: Path, stranger: str, new_database: Callable[[str | None], str]
) -> None:
    name = str(make_url(new_database(None)).database)
    right = stranger.format(name)
    trials = {
        right.replace(SECRET, f"{SECRET}-2"): ["password authentication failed", "See its user"],
        stranger.format("missing"): ['"missing" does not exist', "createdb"],
        right: ["permission denied for schema public", "CREATE"],
        f"{right}&speed={SECRET}": ['parameter "speed"', "Leave away"],
    }

    async def try_all() -> None:
        await asyncio.gather(
            *(
                refused(
                    directory, "migrate", words=["UMUSIC_DATABASE_URL", *words], database_url=url
                )
                for url, words in trials.items()
            )
        )

    run_apart(try_all())


def test_a_schema_that_is_newer_than_the_code(
    directory: Path, new_database: Callable[[str | None], str], template: str
) -> None:
    url = new_database(template)
    run_apart(execute(url, "UPDATE alembic_version SET version_num = '9999'"))

    async def run(command: str) -> Done:
        return await umusic(
            command,
            directory=directory,
            UMUSIC_MEDIA_DIR=directory,
            UMUSIC_PORT="0",
            UMUSIC_DATABASE_URL=url,
        )

    for command in BOTH:
        done = run_apart(run(command))
        assert (done.status, done.output) == (1, "")
        [sentence] = done.errors.splitlines()
        assert "(9999) is newer than this umusic" in sentence
        assert f"migrate --to {newest()}" in sentence


def newest() -> str:
    return max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("0*.py"))


@contextlib.asynccontextmanager
async def starting(socket_file: str, port: int) -> AsyncIterator[None]:
    """A Postgres that first says that it is starting, and then is the one behind the socket."""
    said = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                writer.write(piece)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not tasks:
            tasks.add(asyncio.create_task(asyncio.sleep(0)))
            await reader.read(8)
            writer.write(b"E" + struct.pack(">I", len(said) + 4) + said)
            writer.close()
            return
        there, back = await asyncio.open_unix_connection(socket_file)
        tasks.update(map(asyncio.create_task, (pump(reader, back), pump(there, writer))))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield
        await asyncio.gather(*tasks)


def test_a_database_that_is_about_to_start_is_waited_for(
    directory: Path, new_database: Callable[[str | None], str]
) -> None:
    url = make_url(new_database(None))

    async def start_late() -> Done:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        database = f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}?sslmode=disable"
        migrating = asyncio.create_task(
            umusic("migrate", directory=directory, UMUSIC_DATABASE_URL=database)
        )
        await asyncio.sleep(3)
        async with starting(f"{url.query['host']}/.s.PGSQL.5432", port):
            return await migrating

    done = run_apart(start_late())
    assert done.status == 0, done.errors
    assert done.output == f"The schema is at {newest()}.\n"
    first, *_ = done.errors.splitlines()
    assert "warning" in first
    assert "It may be starting, and gets 10 s." in first
