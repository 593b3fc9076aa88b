"""umusic in processes of its own, forked from one that has imported it already.

To start Python and to import all that umusic needs takes a second of the processor, and the tests
start some hundreds. Forked, each has its own arguments, environment, directory, streams and end, as
if it had been started; only `python -m umusic` itself is not shown, which a cold `Process` does.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["umusic.cli", "umusic.server", "sqlalchemy.dialects.postgresql.asyncpg", "asyncpg"]
)
#: Of two that ask for the end of one process, only one is told it; and a start asks for all ends.
_lock = threading.Lock()


class Forked:
    """`python -m PROGRAM ARGS`, forked: what the tests use of a `subprocess.Popen`."""

    def __init__(
        self,
        args: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        program: str = "umusic",
    ) -> None:
        self._process: BaseProcess = _forks.Process(
            target=_run,
            args=(program, list(args), directory, dict(environment), _Streams(streams)),
            daemon=True,
        )
        with _lock:
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As it was when somebody last looked."""
        return self._process.exitcode if self.poll() is not None else None

    def poll(self) -> int | None:
        """Its status, if it has ended."""
        with _lock:
            self._process.join(0)
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its status, once it has ended."""
        if not wait([self._process.sentinel], timeout):
            raise TimeoutError(f"{self.pid} does not end")
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it."""
        self.send_signal(signal.SIGKILL)


class Command:
    """A command that runs. `end` waits for it."""

    def __init__(
        self,
        args: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        stdin: bytes,
        *,
        program: str = "umusic",
    ) -> None:
        self._streams = tuple(tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        self._streams[0].write(stdin)
        self._streams[0].seek(0)
        numbers = tuple(stream.fileno() for stream in self._streams)
        self._forked = Forked(args, directory, environment, numbers, program=program)

    def end(self) -> tuple[int, bytes, bytes]:
        """Its status, and what it wrote to standard output and standard error."""
        status = self._forked.wait()
        for stream in self._streams:
            stream.seek(0)
        _, output, errors = (stream.read() for stream in self._streams)
        for stream in self._streams:
            stream.close()
        return status, output, errors


class _Streams:
    """Descriptors on their way into another process."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = descriptors

    def __reduce__(self) -> tuple[object, ...]:
        return _Streams, (list(map(reduction.DupFd, self._descriptors)),)

    def take_place(self) -> None:
        """Makes them standard input, output and error of this process."""
        for number, descriptor in enumerate(each.detach() for each in self._descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _run(
    program: str, args: list[str], directory: Path, environment: dict[str, str], streams: _Streams
) -> None:
    streams.take_place()
    # Whoever forks has others in their place.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["umusic", *args]
    runpy.run_module(program, run_name="__main__")
