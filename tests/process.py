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
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

from tests.wavs import take

ROOT = Path(__file__).parents[1]
WAV = take(3.0)


class Process:
    """A running umusic with directories of its own."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "UMUSIC_PORT": "0",
            "UMUSIC_DATA_DIR": str(directory / "data"),
            "UMUSIC_MEDIA_DIR": str(directory / "media"),
            **{f"UMUSIC_{name.upper()}": value for name, value in settings.items()},
        }
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "umusic", "serve"],
            cwd=directory,  # where no .env is
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        self.greeting = self.popen.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.greeting)
        assert found, self.popen.communicate()[1]
        self.port = int(found[1])
        self.connections: list[HTTPConnection] = []

    def connect(self) -> HTTPConnection:
        """A connection that is closed after the test."""
        self.connections.append(HTTPConnection("127.0.0.1", self.port))
        return self.connections[-1]

    def register(self, name: str) -> str:
        connection = self.connect()
        connection.request("POST", "/user", json.dumps({"name": name}))
        return str(json.load(connection.getresponse())["token"])

    def upload(self, token: str) -> str:
        """Uploads a short WAV; returns its link without scheme and host."""
        connection = self.connect()
        connection.request("PUT", "/record", take(0.05), {"Authorization": f"Bearer {token}"})
        return str(json.load(connection.getresponse())["link"]).partition(str(self.port))[2]

    def delete(self, token: str, path: str) -> int | None:
        """The status of a DELETE; None if there is no answer."""
        connection = self.connect()
        try:
            connection.request("DELETE", path, headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None

    def check(self) -> str:
        """What `umusic check --deep` says."""
        command = [sys.executable, "-m", "umusic", "check", "--deep"]
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True
        ).stdout

    def begin_upload(self, token: str) -> HTTPConnection:
        """Half of an upload."""
        connection = self.connect()
        connection.putrequest("PUT", "/record")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(len(WAV)))
        connection.endheaders()
        connection.send(WAV[: len(WAV) // 2])
        time.sleep(0.3)
        return connection

    def end_upload(self, connection: HTTPConnection) -> HTTPResponse:
        connection.send(WAV[len(WAV) // 2 :])
        return connection.getresponse()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=60)
        return self.popen.returncode, errors

    def close(self) -> None:
        """Closes what the test left open."""
        for connection in self.connections:
            connection.close()
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()

    def family(self) -> list[str]:
        """The command lines of all processes that have to do with this umusic's directories."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode()
                if str(self.directory) in line:
                    found.append(line)
        return found


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    output: str
    errors: str


async def umusic(
    *args: str | Path, directory: Path, stdin: bytes = b"", **environment: str | Path
) -> Done:
    """Runs `python -m umusic …` to its end, in a directory and with nothing of our environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "umusic", *args),
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            **{name: str(value) for name, value in environment.items()},
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin)
    return Done(process.returncode or 0, output.decode(), errors.decode())
