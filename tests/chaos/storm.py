"""The storm: a umusic and a Postgres that are killed, stopped and started again under load."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.postgres import Postgres
from tests.process import Process
from tests.stores import files_in
from umusic import embedded

#: What may happen, and how often each is in a deck.
DECK = {
    "kill_server": 4,
    "drain_server": 3,
    "kill_ffmpeg": 6,
    "stop_ffmpeg": 4,
    "kill_postgres": 2,
    "kill_one_of_postgres": 2,
    "hold_postgres": 2,
    "cut_the_power": 2,
}
#: What may happen besides to the gateway of an S3 that is the storm's own (tests/ceph).
GATEWAY_DECK = {"kill_gateway": 5, "hold_gateway": 3}
_DRAIN_SECONDS = ("0.3", "5")
_DRAINED_WITHIN = 25.0


class Storm:
    """Faults in an order that a seed decides. Only for the main thread, because of Postgres."""

    def __init__(self, directory: Path, postgres: Postgres, choice: random.Random) -> None:
        self.faults: Counter[str] = Counter()
        #: What was left half-way by those that were killed.
        self.parts_left = 0
        self.logs: list[Path] = []
        self._directory = directory
        self._postgres = postgres
        self._random = choice
        self._deck: list[str] = []
        self._gateway = os.environ.get("TEST_S3_GATEWAY")
        # A path of its own, by which an ffmpeg is known whoever its parent is now.
        self._ffmpeg = directory / "ffmpeg"
        self._ffmpeg.symlink_to(embedded.ffmpeg_binary())
        self.server = self._started()

    def strike(self, kind: str | None = None) -> None:
        """Lets the next fault happen: each of the deck comes before any comes again too often."""
        if kind is None:
            if not self._deck:
                deck = DECK | GATEWAY_DECK if self._gateway else DECK
                self._deck = [kind for kind, count in deck.items() for _ in range(count)]
                self._random.shuffle(self._deck)
            kind = self._deck.pop()
        if getattr(self, kind)() is not False:
            self.faults[kind.replace("_", " ")] += 1

    def kill_server(self) -> None:
        """kill -9, and a start somewhat later."""
        self._kill_server()
        self._pause(0.5)
        self.server = self._started()

    def drain_server(self) -> None:
        """SIGTERM: it ends by itself, and cleanly."""
        self.restart()

    def kill_ffmpeg(self) -> bool:
        """kill -9 of any of them."""
        return self._signal_ffmpeg(signal.SIGKILL)

    def stop_ffmpeg(self) -> bool:
        """SIGSTOP of any of them. Some go on after a moment; the others umusic has to end, which
        only an impatient one does soon."""
        done = self._signal_ffmpeg(signal.SIGSTOP)
        if done and (self._program == "umusic" or self._random.random() < 0.5):
            self._pause(1.0)
            self._continue_ffmpegs()
        return done

    def kill_postgres(self) -> None:
        """kill -9 of the main process; it is away for a while."""
        self._postgres.kill()
        self._pause(1.5)
        self._postgres.start()

    def kill_one_of_postgres(self) -> None:
        """kill -9 of a process of Postgres's."""
        self._postgres.kill_one(self._random)

    def hold_postgres(self) -> None:
        """It does not answer for a while."""
        with self._postgres.held():
            self._pause(1.5)

    def kill_gateway(self) -> None:
        """kill -9 of S3's gateway; it is away for a while."""
        self._ask_gateway("kill")
        self._pause(3.0)
        self._ask_gateway("gateway")

    def hold_gateway(self) -> None:
        """It does not answer for a while."""
        self._ask_gateway("hold")
        self._pause(3.0)
        self._ask_gateway("release")

    def cut_the_power(self) -> None:
        """kill -9 of all at once."""
        self._kill_server()
        for pid in self.ffmpegs():
            _signal(pid, signal.SIGKILL, self._ffmpeg)
        self._postgres.kill()
        self._postgres.start()
        self.server = self._started()

    def restart(self) -> None:
        """Drains the server and starts it again."""
        began = time.monotonic()
        status, log = self.server.stop()
        assert status == 0, f"a drained umusic ended with {status}: {log[-2000:]}"
        assert time.monotonic() - began < _DRAINED_WITHIN, "the drain took too long"
        assert not self.ffmpegs(), "an ffmpeg outlived a drained umusic"
        self.server.close()
        self.server = self._started()

    def calm(self) -> None:
        """Lets go on what was stopped."""
        self._continue_ffmpegs()

    def ffmpegs(self) -> list[int]:
        """All that umusic started, also those whose parent was killed."""
        return [pid for pid in _all_pids() if _is(pid, self._ffmpeg)]

    def close(self) -> None:
        """Leaves nothing running."""
        self.server.close()
        for pid in self.ffmpegs():
            _signal(pid, signal.SIGKILL, self._ffmpeg)

    def _started(self) -> Process:
        self._program = self._random.choice(["umusic", "tests.impatient", "tests.impatient"])
        started = Process(
            self._directory,
            program=self._program,
            cold=True,  # what Python says at its own end is looked at as well
            database_url=self._postgres.url,
            ffmpeg=str(self._ffmpeg),
            encoders="2",
            drain_seconds=self._random.choice(_DRAIN_SECONDS),
        )
        self.logs.append(started.log)
        return started

    def _ask_gateway(self, what: str) -> None:
        assert self._gateway is not None
        subprocess.run([self._gateway, what], check=True, timeout=60)

    def _kill_server(self) -> None:
        self.server.popen.kill()
        self.server.close()
        self.parts_left += len(files_in(self.server.media, ".part"))
        # Nobody is there any more who would end those that were stopped.
        self._continue_ffmpegs()

    def _signal_ffmpeg(self, number: int) -> bool:
        """Whether there was one."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            found = self.ffmpegs()
            if found and _signal(self._random.choice(found), number, self._ffmpeg):
                return True
        return False

    def _continue_ffmpegs(self) -> None:
        for pid in self.ffmpegs():
            _signal(pid, signal.SIGCONT, self._ffmpeg)

    def _pause(self, most: float) -> None:
        time.sleep(self._random.uniform(0, most))


def _all_pids() -> Iterator[int]:
    yield from (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _is(pid: int, program: Path) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(program) + b"\0")
    return False


def _signal(pid: int, number: int, program: Path) -> bool:
    """Sends a signal to a process, if it is still the program that it was taken for."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is(pid, program):
            return False
        signal.pidfd_send_signal(process, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(process)


def await_true(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
