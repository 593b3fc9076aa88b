"""A Postgres of a test's own, which can be stopped, killed and started again beside umusic."""

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.process import pids
from umusic import embedded


class Postgres:
    """The embedded Postgres, run by the test. Only for the main thread: it dies with its thread."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self._directory = directory
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Starts it; after a kill it recovers first."""
        self.url = self._running.enter_context(embedded.postgres(self._directory))

    def stop(self) -> None:
        """Shuts it down: whoever is connected is thrown out."""
        self._running.close()

    def kill(self) -> None:
        """Kills the main process, which all others notice; nothing is shut down."""
        os.kill(self._main, signal.SIGKILL)
        self._running.close()

    def kill_one(self, choice: random.Random) -> None:
        """Kills any of its processes but the main one, which then starts all of them anew."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(choice.choice(pids(parent=self._main)), signal.SIGKILL)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stops all of its processes where they are, meanwhile: it neither answers nor hangs up."""
        stopped = [self._main, *pids(parent=self._main)]
        _signal_all(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(stopped, signal.SIGCONT)

    @property
    def _main(self) -> int:
        return int((self._directory / "postgres" / "postmaster.pid").read_text().split()[0])


def _signal_all(processes: list[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
