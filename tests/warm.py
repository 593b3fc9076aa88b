"""Commands of umusic in processes of their own, forked from one that has imported it already.

To start Python and to import all that umusic needs takes a second of the processor, and the tests
run a hundred commands. Forked, each has its own arguments, environment, directory, streams and
end, as if it had been started; only `python -m umusic` itself is not shown, which `Process` does.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from umusic import cli

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["umusic.cli"])


class Command:
    """A command that runs. `end` waits for it."""

    def __init__(
        self, args: Sequence[str], directory: Path, environment: Mapping[str, str], stdin: bytes
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="umusic-test-")
        self._streams = [Path(self._scratch.name) / str(number) for number in range(3)]
        for stream, data in zip(self._streams, (stdin, b"", b""), strict=True):
            stream.write_bytes(data)
        self._process: BaseProcess = _forks.Process(
            target=_run, args=(list(args), directory, dict(environment), self._streams)
        )
        self._process.start()

    def end(self) -> tuple[int, bytes, bytes]:
        """Its status, and what it wrote to standard output and standard error."""
        self._process.join()
        status = self._process.exitcode
        self._process.close()
        assert status is not None
        output, errors = (stream.read_bytes() for stream in self._streams[1:])
        self._scratch.cleanup()
        return status, output, errors


def _run(
    args: list[str], directory: Path, environment: dict[str, str], streams: list[Path]
) -> None:
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    # Whoever forks has others in their place.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["umusic", *args]
    cli.main()
