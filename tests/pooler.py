"""pgbouncer as a child process, in transaction mode, before a Postgres behind a Unix socket.

Its own socket lies beside that of Postgres, with another port: a URL leads through it if it has the
port, and to Postgres itself without.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from umusic import embedded

#: The option of pytest's with which all of umusic goes through a pooler.
OPTION = "--pooler"
PORT = 6432
#: As few as may be for the ten connections of each umusic.
_POOL = 4
_CONFIG = """
[databases]
* = {backend}

[pgbouncer]
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 1000
listen_port = {port}
unix_socket_dir = {sockets}
unix_socket_mode = 0777
auth_type = any
logfile = {log}
; Postgres is stopped and started again by tests.
server_login_retry = 0.05
server_check_delay = 0
query_wait_timeout = 3
{more}
"""


def pgbouncer_binary() -> str | None:
    """Where Debian has it, if it is there."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


needs_pgbouncer = pytest.mark.skipif(pgbouncer_binary() is None, reason="there is no pgbouncer")


def around_pooler(url: str) -> str:
    """The URL of the same database without it: a pooler keeps connections, and to copy a database
    nobody may be connected to it."""
    parts = make_url(url)
    if parts.query.get("port") == str(PORT):
        parts = parts.difference_update_query(["port"])
    return parts.render_as_string(False)


@contextlib.contextmanager
def pooler(
    url: str, *, pool: int = _POOL, port: int = PORT, backend: str = "", more: str = ""
) -> Iterator[str]:
    """Runs one before the Postgres of `url`; yields the URL that leads through it. `backend` is how
    it reaches Postgres, other than by the socket of the URL; `more` is more of its settings."""
    binary = pgbouncer_binary()
    assert binary, "there is no pgbouncer: apt-get install pgbouncer"
    parts = make_url(url)
    sockets = Path(str(parts.query["host"]))
    owner = pwd.getpwuid(sockets.stat().st_uid)  # pgbouncer does not run as root
    config, log = sockets / "pgbouncer.ini", sockets / "pgbouncer.log"
    config.write_text(
        _CONFIG.format(
            backend=backend or f"host={sockets} user={parts.username}",
            pool=pool,
            port=port,
            sockets=sockets,
            log=log,
            more=more,
        )
    )
    os.chown(config, owner.pw_uid, owner.pw_gid)
    user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    process = subprocess.Popen(
        [binary, "--quiet", str(config)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        preexec_fn=embedded._die_with_parent,  # noqa: PLW1509 - one call, and no lock
        **(user if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
    )
    try:
        _await_socket(process, sockets / f".s.PGSQL.{port}", log)
        yield make_url(url).update_query_dict({"port": str(port)}).render_as_string(False)
    finally:
        process.send_signal(signal.SIGTERM)  # at once: SIGINT waits for clients
        process.wait(10)


def _await_socket(process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
    for _ in range(500):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.01)
    raise AssertionError("pgbouncer does not listen")
