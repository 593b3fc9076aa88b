"""umusic as a process: `serve` with directories of its own, and the other commands."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from tests import leaks
from tests.stores import kept_beside
from tests.warm import Command, Forked
from tests.wavs import take

ROOT = Path(__file__).parents[1]
WAV = take(3.0)


class Process:
    """A running umusic with directories of its own. `program` is what `python -m` runs, `within` a
    command that goes before all that and becomes it. It is forked (see `warm`) unless there is such
    a command, or `cold` asks for a Python of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        program: str = "umusic",
        within: Sequence[str] = (),
        cold: bool = False,
        **settings: str,
    ) -> None:
        self.directory = directory
        self.log = directory / f"umusic-{uuid.uuid4()}.log"
        self.media = directory / "media"
        self.media.mkdir(exist_ok=True)
        self.kept = kept_beside(self.media)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "UMUSIC_PORT": "0",
            "UMUSIC_DATA_DIR": str(directory / "data"),
            "UMUSIC_MEDIA_DIR": str(self.media),
            **self.kept.environment,
            **{f"UMUSIC_{name.upper()}": value for name, value in settings.items()},
        }
        # In a directory where no .env is.
        with self.log.open("a") as log, _pipe() as (told, telling):
            if within or cold:
                self.popen: subprocess.Popen[bytes] | Forked = subprocess.Popen(
                    [*within, sys.executable, "-m", program, "serve"],
                    cwd=directory,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=telling,
                    stderr=log,
                )
            else:
                with Path(os.devnull).open() as nothing:
                    streams = (nothing.fileno(), telling.fileno(), log.fileno())
                    self.popen = Forked(
                        ["serve"], directory, self.environment, streams, program=program
                    )
            telling.close()
            self.greeting = told.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.greeting)
        assert found, self.wait()[1]
        self.port = int(found[1])
        self.connections: list[HTTPConnection] = []

    def connect(self) -> HTTPConnection:
        """A connection that is closed after the test."""
        self.connections.append(HTTPConnection("127.0.0.1", self.port))
        return self.connections[-1]

    def register(self, name: str) -> str:
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", "/user", json.dumps({"name": name}))
            return leaks.issued(str(json.load(connection.getresponse())["token"]))

    def upload(self, token: str) -> str:
        """Uploads a short WAV; returns its link without scheme and host."""
        return str(self.put(token, take(0.05))[1]["link"]).partition(str(self.port))[2]

    def put(self, token: str, wav: bytes) -> tuple[int, dict[str, Any]]:
        """Uploads a WAV; returns the status and the reply."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("PUT", "/record", wav, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, json.load(response)

    def delete(self, token: str, path: str) -> int | None:
        """The status of a DELETE; None if there is no answer."""
        with contextlib.closing(self.connect()) as connection:
            try:
                connection.request("DELETE", path, headers={"Authorization": f"Bearer {token}"})
                return connection.getresponse().status
            except (OSError, HTTPException):
                return None

    def check(self) -> str:
        """What `umusic check --deep` says; its status has to fit."""
        command = Command(["check", "--deep"], self.directory, self.environment, b"")
        status, output, errors = command.end()
        assert status == (b", 0 faults" not in output), errors.decode()
        return output.decode()

    def begin_upload(self, token: str, *, pause: float = 0.3) -> HTTPConnection:
        """Half of an upload, and a pause after it."""
        connection = self.connect()
        connection.putrequest("PUT", "/record")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(len(WAV)))
        connection.endheaders()
        connection.send(WAV[: len(WAV) // 2])
        time.sleep(pause)
        return connection

    def end_upload(self, connection: HTTPConnection) -> HTTPResponse:
        connection.send(WAV[len(WAV) // 2 :])
        return connection.getresponse()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Hangs up and stops it: for connections that are kept it would wait a while."""
        for connection in self.connections:
            connection.close()
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Waits for its end: the status, and what it logged."""
        return self.popen.wait(60), self.log.read_text()

    def close(self) -> None:
        """Closes what the test left open, and looks for secrets in the log."""
        for connection in self.connections:
            connection.close()
        if self.popen.poll() is None:
            self.popen.kill()
        leaks.assert_none_in_log(self.wait()[1], self.log)

    def family(self) -> list[str]:
        """The command lines of all processes that have to do with this umusic's directories."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode()
                if str(self.directory) in line:
                    found.append(line)
        return found


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[IO[str], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading) as told, os.fdopen(writing, "wb") as telling:
        yield told, telling


def pids(*, parent: int) -> list[int]:
    """The children of a process, the dead ones left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text().partition(" (")
            state, of = rest.rpartition(") ")[2].split()[:2]
            if state != "Z" and int(of) == parent:
                found.append(int(pid))
    return found


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    output: str
    errors: str


async def umusic(
    *args: str | Path,
    directory: Path,
    stdin: bytes = b"",
    program: str = "umusic",
    within: Sequence[str] = (),
    **environment: str | Path,
) -> Done:
    """Runs `umusic …` to its end, in a directory and with nothing of our environment; `program` and
    `within` are as with Process."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
        **{name: str(value) for name, value in environment.items()},
    }
    words = [str(arg) for arg in args]
    if not within:
        command = Command(words, directory, environment, stdin, program=program)
        status, output, errors = await asyncio.to_thread(command.end)
    else:
        process = await asyncio.create_subprocess_exec(
            *(*within, sys.executable, "-m", program, *words),
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(stdin)
        status = process.returncode or 0
    # It may name a link to whoever runs it.
    assert not leaks.tokens_in(errors.decode()), f"umusic {args[0]} told a token"
    return Done(status, output.decode(), errors.decode())
