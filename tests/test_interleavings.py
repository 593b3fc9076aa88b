"""Whatever order requests and kills come in: no offset that was told goes back, and what comes of
an upload is what comes of a plain one."""

import base64
import contextlib
import hashlib
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import database_of, scratch_directory
from tests.process import Process
from tests.test_resumption import Line, kill
from tests.wavs import take

WAV = take(1.0)
#: What may happen, and how often each is in a deck. Not by hypothesis: what another run of the same
#: steps meets is another moment of the server, which it takes for a fault of the test.
DECK = {
    "head": 3,
    "patch": 4,
    "patch_checked": 3,
    "hang": 4,
    "hang_checked": 2,
    "leave": 2,
    "patch_elsewhere": 1,
    "kill": 3,
    "delete": 1,
    "finish": 1,
}


class Interleavings:
    """One upload after the other, through two servers on one volume."""

    def __init__(self, directory: Path, database: str, seed: int) -> None:
        self.directory = directory
        self.database = database
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.servers = [self.started(), self.started()]
        self.token = self.servers[0].register("Ann")
        _, receipt = self.servers[0].put(self.token, WAV)
        self.sha256 = self.mp3_sha256(receipt["link"])
        self.hanging: list[socket.socket] = []

    def started(self) -> Process:
        return Process(
            self.directory,
            program="tests.impatient",
            database_url=self.database,
            body_timeout="5",
        )

    def run(self, count: int) -> None:
        """So many steps, and the end."""
        self.line = Line(self.servers[0], self.token, len(WAV))
        deck: list[str] = []
        for _ in range(count):
            if not deck:
                deck = [kind for kind, times in DECK.items() for _ in range(times)]
                self.random.shuffle(deck)
            kind = deck.pop()
            self.done[kind] += 1
            self.line.server = self.random.choice(self.servers)
            getattr(self, kind)()
        self.finish()
        self.end()

    def head(self) -> None:
        self.line.offset()

    def patch(self) -> None:
        self.send(self.size())

    def patch_checked(self) -> None:
        self.send(self.size(), checked=self.random.random() < 0.5)

    def hang(self, **more: str) -> None:
        offset = self.line.offset()
        end = min(offset + self.size(), len(WAV) - 1)
        if end > offset:
            self.hanging.append(self.line.hang(WAV, end, **more))

    def hang_checked(self) -> None:
        digest = hashlib.sha1(WAV[self.line.offset() :]).digest()
        self.hang(Upload_Checksum=f"sha1 {base64.b64encode(digest).decode()}")

    def leave(self) -> None:
        if self.hanging:
            self.hanging.pop(self.random.randrange(len(self.hanging))).close()

    def patch_elsewhere(self) -> None:
        # What hangs may have come further meanwhile, but not as far as this.
        assert self.line.patch(len(WAV), b"").status == 409

    def kill(self) -> None:
        which = self.servers.index(self.line.server)
        kill(self.line.server)
        self.line.server.close()
        self.servers[which] = self.line.server = self.started()

    def delete(self) -> None:
        assert self.line.ask("DELETE", self.line.path, {}).status == 204
        assert self.line.ask("HEAD", self.line.path, {}).status == 410
        self.line = Line(self.line.server, self.token, len(WAV))

    def finish(self) -> None:
        self.send(len(WAV))

    def size(self) -> int:
        return self.random.randrange(1, len(WAV) // 8)

    def send(self, size: int, checked: bool | None = None) -> None:
        """Goes on as a client does: it asks, sends, and asks again if that came too early."""
        for _ in range(50):
            offset = self.line.offset()
            data = WAV[offset : offset + size]
            more = {}
            if checked is not None:
                digest = hashlib.sha1(data if checked else b"other").digest()
                more = {"Upload-Checksum": f"sha1 {base64.b64encode(digest).decode()}"}
            reply = self.line.patch(offset, data, **more)
            if reply.status in (204, 460):
                break
            assert reply.status in (409, 423), reply.status
            time.sleep(0.05)
        else:
            raise AssertionError("it never is its turn")
        if reply.status == 460:
            assert checked is False
            assert self.line.offset() == offset
        elif link := reply.headers.get("Content-Location"):
            assert self.mp3_sha256(link) == self.sha256
            self.line = Line(self.line.server, self.token, len(WAV))
        else:
            assert checked is not False
            self.line.told = max(self.line.told, int(reply.headers["Upload-Offset"]))

    def mp3_sha256(self, link: str) -> str:
        connection = self.servers[0].connect()
        connection.request("GET", "/" + link.split("/", 3)[3])
        return hashlib.sha256(connection.getresponse().read()).hexdigest()

    def end(self) -> None:
        for line in self.hanging:
            line.close()
        assert ", 0 faults" in self.servers[0].check()
        for server in self.servers:
            status, log = server.stop()
            assert (status, "Traceback" in log) == (0, False), log

    def close(self) -> None:
        for line in self.hanging:
            line.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def make(cluster: str, template: str) -> Iterator[Callable[[int], Interleavings]]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        url = stack.enter_context(database_of(cluster, template))

        def made(seed: int) -> Interleavings:
            machine = Interleavings(directory, url, seed)
            stack.callback(machine.close)
            return machine

        yield made


def test_a_few(make: Callable[[int], Interleavings]) -> None:
    make(1).run(sum(DECK.values()) // 2)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_many(make: Callable[[int], Interleavings], seed: int) -> None:
    machine = make(seed)
    machine.run(200)
    print(dict(machine.done))
