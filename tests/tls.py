"""A Postgres that listens on TCP and lets in over TLS alone, and the certificates for it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.front import unused_port
from umusic import embedded

ROLE, PASSWORD = "ann", "s3cret-word"
#: Who is let in by a certificate.
CERTIFIED = "bob"
_RULES = f"""
hostssl all {CERTIFIED} 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
"""
_SETTINGS = """
ssl = on
ssl_cert_file = '{server}'
ssl_key_file = '{server}'
ssl_ca_file = '{authority}'
"""


@dataclass(frozen=True)
class Secured:
    """How it is reached: the port, the URL of its socket, the files of certificates and keys."""

    port: int
    socket_url: str
    #: Of whoever signed the server's, and of somebody else.
    authority: Path
    stranger: Path
    #: The server's own, for localhost; and that of `CERTIFIED`. In each the key as well.
    server: Path
    client: Path

    def url(self, parameters: str, *, host: str = "localhost", port: int | None = None) -> str:
        """The URL for a role with a password."""
        place = f"{host}:{port or self.port}"
        return f"postgresql://{ROLE}:{PASSWORD}@{place}/umusic?{parameters}"


def postgres_with_tls() -> Path | None:
    """The binaries of one that can do it, other than the wheel's: Debian's, if it is there."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def secured_postgres(directory: Path) -> Iterator[Secured]:
    """Runs one in the directory."""
    binaries = postgres_with_tls()
    assert binaries, "there is no PostgreSQL of Debian's: apt-get install postgresql"
    user = embedded._unprivileged_user() if os.geteuid() == 0 else None
    place = embedded._Place(binaries, directory / "postgres", user)
    place.cluster.mkdir(mode=0o700)
    authority, port = trustme.CA(), unused_port()
    files = {
        "authority": authority.cert_pem,
        "stranger": trustme.CA().cert_pem,
        "server": authority.issue_cert("localhost").private_key_and_cert_chain_pem,
        "client": authority.issue_cert(
            "client.example", common_name=CERTIFIED
        ).private_key_and_cert_chain_pem,
    }
    paths = {name: directory / f"{name}.pem" for name in files}
    for name, pem in files.items():
        pem.write_to_path(str(paths[name]))
        paths[name].chmod(0o600)
    if user:
        for path in (place.cluster, *paths.values()):
            os.chown(path, user.pw_uid, user.pw_gid)
    place.run("initdb", "-D", place.cluster, "-U", "umusic", "--encoding=UTF8", "--no-locale")
    statements = f"""CREATE DATABASE umusic
        CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{PASSWORD}'
        CREATE ROLE {CERTIFIED} SUPERUSER LOGIN
    """
    place.run("postgres", "--single", "-D", place.cluster, "postgres", stdin=statements)
    embedded._write_access_rules(place)
    with (place.cluster / "pg_hba.conf").open("a") as rules:
        rules.write(_RULES)
    with (place.cluster / "postgresql.conf").open("a") as settings:
        settings.write(_SETTINGS.format(**paths))
    options = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with (
        (directory / "lock").open("w") as lock,
        embedded._running(place, place.cluster, options, lock),
    ):
        yield Secured(port, f"{embedded._url(place.cluster)}&port={port}", **paths)
