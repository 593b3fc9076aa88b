"""A Postgres over TLS, as libpq's parameters ask for it, direct and through pgbouncer."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import execute, run_apart, scratch_directory
from tests.front import unused_port
from tests.pooler import needs_pgbouncer, pooler
from tests.process import Process, umusic
from tests.test_safe_start import refused
from tests.tls import CERTIFIED, PASSWORD, ROLE, Secured, postgres_with_tls, secured_postgres
from umusic.library.database import Database

pytestmark = pytest.mark.skipif(not postgres_with_tls(), reason="there is no Postgres with TLS")


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    with scratch_directory() as directory, secured_postgres(directory) as made:
        yield made


async def protocol(url: str) -> str | None:
    """The version of TLS by which Postgres says that a connection came."""
    database = Database(url)
    query = text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    try:
        async with database.reading() as session:
            return await session.scalar(query)
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("host", "parameters"),
    [
        ("localhost", ""),
        ("localhost", "sslmode=require"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={0.authority}"),
        ("localhost", "sslmode=verify-full&sslrootcert={0.authority}"),
    ],
)
def test_connections_are_encrypted(secured: Secured, host: str, parameters: str) -> None:
    url = secured.url(parameters.format(secured), host=host)
    assert run_apart(protocol(url)) == "TLSv1.3"


def test_a_certificate_takes_the_place_of_a_password(secured: Secured) -> None:
    place = f"postgresql://{CERTIFIED}@localhost:{secured.port}/umusic"
    certified = f"sslcert={secured.client}&sslkey={secured.client}"
    url = f"{place}?sslmode=verify-full&sslrootcert={secured.authority}&{certified}"
    assert run_apart(protocol(url)) == "TLSv1.3"


def test_of_several_hosts_the_one_that_can_be_written_to_is_taken(secured: Secured) -> None:
    hosts = f"localhost:{unused_port()},localhost:{secured.port}"
    url = (
        f"postgresql://{ROLE}:{PASSWORD}@{hosts}/umusic"
        f"?sslmode=verify-full&sslrootcert={secured.authority}&target_session_attrs=read-write"
    )
    assert run_apart(protocol(url)) == "TLSv1.3"


def test_umusic_serves_with_it(directory: Path, secured: Secured) -> None:
    url = secured.url(f"sslmode=verify-full&sslrootcert={secured.authority}")
    process = Process(directory, database_url=url)
    try:
        assert process.upload(process.register("Ann"))
        status, log = process.stop()
    finally:
        process.close()
    assert status == 0
    assert PASSWORD not in log


def test_what_is_wrong_is_told_at_the_start(directory: Path, secured: Secured) -> None:
    empty = directory / "empty.pem"
    empty.touch()
    full = "sslmode=verify-full"
    trials = [
        (f"{full}&sslrootcert={secured.stranger}", ["cannot be trusted", "sslrootcert"]),
        (f"{full}&sslrootcert=/no/such.pem", ["/no/such.pem", "sslrootcert", "No such file"]),
        (f"{full}&sslrootcert={empty}", ["TLS with localhost", "files"]),
        (full, ["root certificate file", "does not exist"]),
        ("sslmode=very", ["sslmode", "must be one of", "verify-full"]),
        ("sslmode=disable", ["no encryption", "sslmode"]),
        (f"sslmode=require&sslcert={empty}", ["TLS with localhost", "files"]),
    ]

    async def try_all() -> None:
        for_another = f"{full}&sslrootcert={secured.authority}"
        urls = {secured.url(parameters): words for parameters, words in trials}
        urls[secured.url(for_another, host="127.0.0.1")] = ["cannot be trusted", "127.0.0.1"]
        await asyncio.gather(
            *(
                refused(directory, "migrate", words=words, database_url=url)
                for url, words in urls.items()
            )
        )

    run_apart(try_all())


def test_a_server_without_tls_is_not_spoken_to_in_the_open(
    directory: Path, secured: Secured
) -> None:
    reload = "SELECT pg_reload_conf()"
    run_apart(execute(secured.socket_url, "ALTER SYSTEM SET ssl = off", reload))
    try:
        url = secured.url("sslmode=require")
        words = ["UMUSIC_DATABASE_URL", "There is no TLS at localhost"]
        run_apart(refused(directory, "migrate", words=words, database_url=url))
    finally:
        run_apart(execute(secured.socket_url, "ALTER SYSTEM RESET ssl", reload))


@needs_pgbouncer
def test_a_pooler_with_tls_on_both_sides(directory: Path, secured: Secured) -> None:
    port = unused_port()
    more = f"""
        listen_addr = 127.0.0.1
        client_tls_sslmode = require
        client_tls_cert_file = {secured.server}
        client_tls_key_file = {secured.server}
        server_tls_sslmode = verify-full
        server_tls_ca_file = {secured.authority}
    """
    backend = f"host=localhost port={secured.port} user={ROLE} password={PASSWORD}"
    with pooler(secured.socket_url, port=port, backend=backend, more=more):
        url = secured.url(f"sslmode=verify-full&sslrootcert={secured.authority}", port=port)
        assert run_apart(protocol(url)) == "TLSv1.3"
        strange = secured.url(f"sslmode=verify-full&sslrootcert={secured.stranger}", port=port)
        run_apart(refused(directory, "migrate", words=["cannot be trusted"], database_url=strange))
        open_url = secured.url("sslmode=disable", port=port)
        run_apart(refused(directory, "migrate", words=["SSL required"], database_url=open_url))
        done = run_apart(umusic("migrate", directory=directory, UMUSIC_DATABASE_URL=url))
        assert done.status == 0, done.errors
