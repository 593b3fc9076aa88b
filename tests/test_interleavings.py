"""Whatever order requests and kills come in: no offset that was told goes back, and what comes of
an upload is what comes of a plain one."""

import base64
import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from tests.conftest import database_of, scratch_directory
from tests.process import Process
from tests.test_resumption import Line, kill
from tests.wavs import take

WAV = take(2.0)
#: What a piece may have; a hanging one may also send all but what is missing at the end.
SIZES = st.integers(1, len(WAV) // 6)
#: Which of the two servers.
WHICH = st.integers(0, 1)


class Interleavings(RuleBasedStateMachine):
    """One upload after the other, through two servers on one volume."""

    directory: Path
    database: str

    def __init__(self) -> None:
        super().__init__()
        self.servers = [self.started(), self.started()]
        self.token = self.servers[0].register("Ann")
        _, receipt = self.servers[0].put(self.token, WAV)
        self.sha256 = self.mp3_sha256(receipt["link"])
        self.hanging: list[socket.socket] = []
        self.finished = 0

    def started(self) -> Process:
        return Process(
            self.directory,
            program="tests.impatient",
            database_url=self.database,
            body_timeout="5",
        )

    @initialize()
    def begin(self) -> None:
        self.line = Line(self.servers[0], self.token, len(WAV))

    @rule(which=WHICH)
    def head(self, which: int) -> None:
        self.line.server = self.servers[which]
        self.line.offset()

    @rule(which=WHICH, size=SIZES)
    def patch(self, which: int, size: int) -> None:
        self.line.server = self.servers[which]
        self.send(size, {})

    @rule(which=WHICH, size=SIZES, right=st.booleans())
    def patch_with_checksum(self, which: int, size: int, right: bool) -> None:
        self.line.server = self.servers[which]
        self.send(size, {}, checked=right)

    @rule(which=WHICH, size=SIZES, checked=st.booleans())
    def hang(self, which: int, size: int, checked: bool) -> None:
        self.line.server = self.servers[which]
        offset = self.line.offset()
        more = {}
        if checked:
            digest = base64.b64encode(hashlib.sha1(WAV[offset:]).digest()).decode()
            more = {"Upload_Checksum": f"sha1 {digest}"}
        end = min(offset + size, len(WAV) - 1)
        if end > offset:
            self.hanging.append(self.line.hang(WAV, end, **more))

    @precondition(lambda self: self.hanging)
    @rule()
    def leave(self) -> None:
        self.hanging.pop().close()

    @rule(which=WHICH)
    def patch_elsewhere(self, which: int) -> None:
        self.line.server = self.servers[which]
        offset = self.line.offset()
        # What hangs may have come further meanwhile, but not as far as this.
        assert self.line.patch(len(WAV), b"").status == 409 or offset == len(WAV)

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        kill(self.servers[which])
        self.servers[which].close()
        self.servers[which] = self.started()

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        self.line.server = self.servers[which]
        assert self.line.ask("DELETE", self.line.path, {}).status == 204
        assert self.line.ask("HEAD", self.line.path, {}).status == 410
        self.line = Line(self.servers[which], self.token, len(WAV))

    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        self.line.server = self.servers[which]
        self.send(len(WAV), {})

    def send(self, size: int, headers: dict[str, str], checked: bool | None = None) -> None:
        """Goes on as a client does: it asks, sends, and asks again if it was too early."""
        for _ in range(20):
            offset = self.line.offset()
            data = WAV[offset : offset + size]
            if checked is not None:
                digest = hashlib.sha1(data if checked else b"other").digest()
                headers = {"Upload-Checksum": f"sha1 {base64.b64encode(digest).decode()}"}
            reply = self.line.patch(offset, data, **headers)
            if reply.status in (204, 460):
                break
            assert reply.status in (409, 423), reply.status
            time.sleep(0.05)
        else:
            raise AssertionError("it never is its turn")
        if reply.status == 460:
            assert checked is False
            assert self.line.offset() == offset
        elif reply.headers.get("Content-Location"):
            assert self.mp3_sha256(reply.headers["Content-Location"]) == self.sha256
            self.finished += 1
            self.line = Line(self.line.server, self.token, len(WAV))
        else:
            assert checked in (None, True)
            self.line.told = max(self.line.told, int(reply.headers["Upload-Offset"]))

    def mp3_sha256(self, link: str) -> str:
        connection = self.servers[0].connect()
        connection.request("GET", "/" + link.split("/", 3)[3])
        return hashlib.sha256(connection.getresponse().read()).hexdigest()

    def teardown(self) -> None:
        self.send(len(WAV), {})
        assert self.finished
        for line in self.hanging:
            line.close()
        assert ", 0 faults" in self.servers[0].check()
        for server in self.servers:
            status, log = server.stop()
            assert (status, "Traceback" in log) == (0, False), log
            server.close()


@pytest.fixture
def machine(cluster: str, template: str) -> Iterator[type[Interleavings]]:
    with scratch_directory() as directory, database_of(cluster, template) as url:
        yield type("Machine", (Interleavings,), {"directory": directory, "database": url})


def steps(machine: type[Interleavings], count: int, *, derandomize: bool) -> None:
    run(
        machine,
        settings=settings(
            max_examples=1,
            stateful_step_count=count,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_few(machine: type[Interleavings]) -> None:
    steps(machine, 25, derandomize=True)


@pytest.mark.chaos
def test_many(machine: type[Interleavings]) -> None:
    steps(machine, 200, derandomize=False)
