"""When the system has no descriptors or no memory left: 503, a line in the log, nothing is left.

An own process is starved of descriptors by a limit that is the real one.
"""

import contextlib
import errno
import itertools
import json
import os
import resource
import signal
import socket
import time
import uuid
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.storm import await_true
from tests.client import Client, as_json
from tests.process import Process
from tests.stores import Kept, files_in, kept_beside
from tests.wavs import take
from umusic.app import Services

MOST_STEPS = 16


@pytest.fixture
def process(start: Any, directory: Path) -> Process:
    """One whose first sweep is over, so that it lacks nothing."""
    (directory / "media").mkdir()
    kept_beside(directory / "media").abandon(uuid.uuid4())
    running: Process = start()
    await_true(lambda: "swept the files of 1 records" in running.log.read_text())
    return running


def descriptors(process: Process) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{process.popen.pid}/fd")}


def allow(process: Process, spare: int | None) -> None:
    """Lets the process open so many descriptors more; None: as many as it ever may."""
    pid = process.popen.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = descriptors(process)
    free = (number for number in itertools.count() if number not in used)
    limit = hard if spare is None else next(itertools.islice(free, spare, None))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))


def end_database_sessions(process: Process) -> None:
    """Ends the sessions in its PostgreSQL, also that of the sweep at its start, and waits until it
    has noticed."""
    [postmaster] = children_of(process.popen.pid)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 1:
        for pid in children_of(postmaster):
            with contextlib.suppress(OSError):
                if b"[local]" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGTERM)
                    quiet_since = time.monotonic()
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(connection: HTTPConnection, *request: object) -> tuple[int, str | None, dict[str, str]]:
    """The status, Retry-After and the body of the answer."""
    connection.request(*request)  # type: ignore[arg-type]
    response = connection.getresponse()
    return response.status, response.headers["Retry-After"], json.load(response)


def test_without_descriptors_an_upload_is_503_at_every_step_and_leaves_nothing(
    process: Process,
) -> None:
    bearer = {"Authorization": f"Bearer {process.register('Ann')}"}
    kinds = []
    for spare in range(MOST_STEPS):
        connection = process.connect()
        ask(connection, "GET", "/readyz")
        allow(process, spare)
        status, retry_after, answer = ask(connection, "PUT", "/record", take(0.05), bearer)
        allow(process, None)
        connection.close()
        assert (status, retry_after) in ((201, None), (503, "5")), answer
        kinds.append(answer.get("type", ""))
    assert kinds[0] == "/problems/out-of-resources"
    assert "/problems/encoder-failed" in kinds
    assert kinds[-1] == ""
    assert len(process.kept.names()) == len(process.kept.mp3s()) == kinds.count("")
    assert not files_in(process.media, ".part")
    assert not [line for line in process.family() if "ffmpeg" in line]
    _, log = process.stop()
    assert "Too many open files" in log
    assert "Traceback" not in log


def test_without_a_descriptor_for_the_database_it_is_503(process: Process) -> None:
    connection = process.connect()
    assert ask(connection, "GET", "/readyz")[0] == 200
    end_database_sessions(process)
    allow(process, 0)
    for _ in range(2):
        status, retry_after, answer = ask(connection, "GET", "/readyz")
        assert (status, retry_after) == (503, "5")
        assert answer["type"] == "/problems/database-unavailable"
    allow(process, None)
    assert ask(connection, "GET", "/readyz")[0] == 200
    assert "Too many open files" in process.stop()[1]


def test_without_a_descriptor_for_a_caller_it_is_hung_up_on_and_nothing_else_suffers(
    process: Process,
) -> None:
    connection = process.connect()
    assert ask(connection, "GET", "/readyz")[0] == 200
    allow(process, 0)
    callers = [socket.create_connection(("127.0.0.1", process.port), 10) for _ in range(200)]
    for caller in callers:
        with caller:
            assert caller.recv(100) == b""
    assert ask(connection, "GET", "/readyz")[0] in (200, 503)
    allow(process, None)
    assert ask(process.connect(), "GET", "/readyz")[0] == 200
    log = process.stop()[1]
    assert log.count("connections cannot be taken") == 1
    assert "Traceback" not in log


@pytest.mark.expects_log("out-of-resources")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.gen_test
async def test_whatever_the_system_lacks_while_the_part_is_made_is_503(
    client: Client,
    services: Services,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    user = await client.register()

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("umusic.library.record_file.fcntl.flock", fail)
        response = await client.upload(user, take(0.1))
    assert (response.code, response.headers["Retry-After"]) == (503, "5")
    assert as_json(response)["type"] == "/problems/out-of-resources"
    assert kept.is_empty
    assert services.keeper.live == 0
    assert (await client.upload(user, take(0.1))).code == 201
