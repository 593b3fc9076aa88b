"""A Postgres of a test's own, which can be stopped, killed and started again beside umusic; and
clusters that are made already."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from tests.pooler import around_pooler
from tests.process import pids
from tests.rows import connected
from umusic import embedded
from umusic.library import schema

#: Databases that nobody connects to make half of a cluster.
_SHRINK = (
    "UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'",
    "DROP DATABASE template0",
    "DROP DATABASE postgres",
)


def make_cluster(data_dir: Path) -> None:
    """Makes a small cluster to copy from, with a database as umusic leaves it. It waits for no
    disk: no test cuts the power."""

    async def shrink(url: str) -> None:
        async with connected(url) as connection:
            for statement in _SHRINK:
                await connection.execute(statement)

    options = {"fsync": "off"}
    # On another thread: this one's loop would be taken away.
    with embedded.postgres(data_dir, options=options) as url, ThreadPoolExecutor(1) as thread:
        thread.submit(schema.migrate, url).result()
        thread.submit(asyncio.run, shrink(url)).result()
    with (data_dir / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("fsync = off\n")


def copy_cluster(source: Path, data_dir: Path) -> None:
    """Copies one: to make it takes ten times as long."""
    data_dir.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=always", source / "postgres", data_dir], check=True)


class Postgres:
    """The embedded Postgres, run by the test. Only for the main thread: it dies with its thread."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        #: What a pooler in between has to reach again before a start is over.
        self.awaited = ""
        self._directory = directory
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Starts it; after a kill it recovers first."""
        url = self._running.enter_context(embedded.postgres(self._directory))
        self.url = self.url or url  # that of a pooler in between stays
        if self.awaited and around_pooler(self.awaited) != self.awaited:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _answered(self.awaited)).result()

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


async def _answered(url: str) -> None:
    """Waits for an answer from behind the pooler, which tries to reach Postgres now and then."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(url, statement_cache_size=0)
                try:
                    await connection.execute("SELECT 1")
                    return
                finally:
                    connection.terminate()
            await asyncio.sleep(0.02)


def _signal_all(processes: list[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
