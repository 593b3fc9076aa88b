"""Who is measured: umusic, and beside it what one would take instead, on the same machine.

umusic and the baseline are each given the same Postgres (a database of their own in it), the same
ffmpeg and the same disk. ffmpeg alone, and nginx with a static file, are what there is without a
service around it.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Request
from tests.front import Nginx, unused_port
from tests.rows import connected
from umusic import embedded

ROOT = Path(__file__).parents[1]
FFMPEG = str(embedded.ffmpeg_binary())
#: Where `make bench` installs what the baseline needs.
BASELINE_PYTHON = ROOT / ".venv" / "baseline" / "bin" / "python"
_START_SECONDS = 60.0
#: The log is that of umusic's own configuration.
_STATIC = """
server {{
    listen 127.0.0.1:{port};
    access_log {prefix}/access.log umusic buffer=64k flush=1s;
    location / {{
        root {media};
        sendfile on;
    }}
}}
"""
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Server:
    """A running side: its base URL, main process, MP3s and database, and a user of it."""

    name: str
    url: str
    pid: int
    media: Path
    database_url: str
    #: Seconds from its start to its first answer.
    started: float
    user: str = ""
    token: str = ""

    def uploading(self, front: str | None = None) -> Request:
        """The request that uploads a WAV, to umusic itself or to a proxy before it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.name == "umusic":
            return Request(f"{front or self.url}/record", "PUT", headers)
        headers["Content-Type"] = "multipart/form-data; boundary=bench"
        before = b'--bench\r\nContent-Disposition: form-data; name="file"; filename="take.wav"\r\n'
        return Request(
            f"{self.url}/record",
            "POST",
            headers,
            before + b"Content-Type: audio/wav\r\n\r\n",
            b"\r\n--bench--\r\n",
        )

    def get(self, path: str) -> tuple[dict[str, str], float]:
        """The JSON at a path of the user's, and the seconds it took."""
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request) as reply:
            body = reply.read()
        return json.loads(body), time.perf_counter() - began


@dataclass(frozen=True)
class Bench:
    """Where it is measured: a scratch directory, and a Postgres for all sides."""

    scratch: Path
    postgres: str

    @contextlib.contextmanager
    def umusic(self, **settings: str) -> Iterator[Server]:
        """Runs umusic, as `make run` does but for its Postgres."""
        database = self._database("umusic")
        media = self._media("umusic")
        given = {"port": "0", "media_dir": str(media), "database_url": database, **settings}
        environment = _environment()
        environment["PYTHONPATH"] = str(ROOT)
        environment |= {f"UMUSIC_{key.upper()}": value for key, value in given.items()}
        command = [sys.executable, "-m", "umusic"]
        subprocess.run(
            [*command, "migrate"],
            cwd=self.scratch,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        log = self.scratch / "umusic.log"
        began = time.perf_counter()
        with _running([*command, "serve"], self.scratch, environment, log) as process:
            assert process.stdout is not None
            greeting = process.stdout.readline()
            found = re.search(r"http://\S+", greeting)
            assert found, log.read_text()
            _await(f"{found[0]}/readyz", log)
            took = time.perf_counter() - began
            yield registered(Server("umusic", found[0], process.pid, media, database, took))

    @contextlib.contextmanager
    def baseline(self) -> Iterator[Server]:
        """Runs the baseline, with a worker a core."""
        database, media = self._database("baseline"), self._media("baseline")
        environment = _environment()
        url = database.replace("postgresql:", "postgresql+asyncpg:", 1)  # SQLAlchemy's word
        environment |= {"DATABASE_URL": url, "MEDIA_DIR": str(media), "FFMPEG": FFMPEG}
        # Where its temporary files go: on the same disk as the MP3s.
        environment["TMPDIR"] = str(self.scratch)
        port = unused_port()
        command = [
            *(str(BASELINE_PYTHON), "-m", "uvicorn", "app:app", "--log-level", "warning"),
            *("--workers", str(CORES), "--port", str(port)),
        ]
        log = self.scratch / "baseline.log"
        began = time.perf_counter()
        with _running(command, ROOT / "bench" / "baseline", environment, log) as process:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/openapi.json", log)
            took = time.perf_counter() - began
            yield registered(Server("baseline", url, process.pid, media, database, took))

    @contextlib.contextmanager
    def nginx_before(self, server: Server) -> Iterator[tuple[str, str]]:
        """nginx before umusic, with umusic's own configuration, and as a plain server of its MP3s:
        the URLs of both."""
        prefix, port = self.scratch / "nginx", unused_port()
        front = Nginx(prefix, upstream=server.url.removeprefix("http://"), media=server.media)
        static = _STATIC.format(port=port, prefix=prefix, media=server.media)
        (prefix / "conf.d" / "zz-static.conf").write_text(static)
        with front.running():
            yield front.url, f"http://127.0.0.1:{port}"

    def _media(self, name: str) -> Path:
        media = self.scratch / f"{name}-media"
        media.mkdir(exist_ok=True)
        return media

    def _database(self, name: str) -> str:
        """The URL of an empty database."""

        async def create() -> None:
            async with connected(self.postgres) as connection:
                await connection.execute(f"DROP DATABASE IF EXISTS {name}_bench WITH (FORCE)")
                await connection.execute(f"CREATE DATABASE {name}_bench")

        asyncio.run(create())
        return self.postgres.replace("/umusic?", f"/{name}_bench?")


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Has a scratch directory and a Postgres ready."""
    with tempfile.TemporaryDirectory(prefix="umusic-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # nginx's workers are somebody else
        with embedded.postgres(scratch / "data") as url:
            yield Bench(scratch, url)


@dataclass(frozen=True)
class Alone:
    """The seconds that ffmpeg by itself took for a file, and those of processor."""

    seconds: float
    cpu: float


def ffmpeg_alone(wav: Path, mp3: Path) -> Alone:
    """Encodes a file with ffmpeg alone, in the quality of umusic."""
    command = [FFMPEG, "-v", "error", "-y", "-i", str(wav), "-c:a", "libmp3lame", "-q:a", "2"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, str(mp3)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    assert process.returncode == 0
    return Alone(seconds, usage.ru_utime + usage.ru_stime)


@contextlib.contextmanager
def _running(
    command: list[str], directory: Path, environment: dict[str, str], log: Path
) -> Iterator["subprocess.Popen[str]"]:
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_SECONDS)


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("UMUSIC_")}


def _await(url: str, log: Path) -> None:
    """Waits until a URL answers."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as reply:
            reply.read()
            return
        time.sleep(0.01)
    raise AssertionError(log.read_text())


def registered(server: Server, name: str = "bench") -> Server:
    """The same, as a new user sees it."""
    body = json.dumps({"name": name}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/user", data=body, headers=headers)
    with urllib.request.urlopen(request) as reply:
        user = json.load(reply)
    return replace(server, user=user["id"], token=user["token"])
