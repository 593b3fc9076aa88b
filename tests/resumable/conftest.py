"""umusic behind nginx, clients of tus as they are, and a large WAV; `make tus-test` runs these."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from tests.conftest import scratch_directory
from tests.front import Nginx
from tests.process import Process
from tests.stores import files_in
from tests.wavs import wav

HERE = Path(__file__).parent
#: Where `make tus-test` has npm put what package.json names.
MODULES = Path(os.environ.get("TUS_MODULES", "")).resolve() / "node_modules"
_FRAMES = 75_000_000
_FRAMES_AT_ONCE = 2_500_000


class Pages:
    """A web server of another origin: the page of the test and tus-js-client for browsers."""

    def __init__(self, directory: Path) -> None:
        shutil.copy(HERE / "page.html", directory / "page.html")
        shutil.copy(tus_js() / "dist" / "tus.min.js", directory / "tus.js")

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Says nothing."""

        handler = functools.partial(Quiet, directory=str(directory))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Pages"]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class Site:
    """umusic behind nginx, whose URL is `url`. umusic may be killed, and comes back then."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.media = directory / "media"
        self._directory = directory
        self._settings = {"x_accel_prefix": "/_media/", "max_upload_bytes": "1GB", **settings}
        self.umusic = Process(directory, **self._settings)
        self._settings["port"] = str(self.umusic.port)
        self.nginx = Nginx(
            directory / "nginx", upstream=f"127.0.0.1:{self.umusic.port}", media=self.media
        )
        self.url = self.nginx.url
        self.kills = 0
        self._returning: list[threading.Thread] = []

    def kill(self) -> None:
        """Kills umusic with -9; soon it runs again."""
        self.await_return()
        self.umusic.popen.kill()
        self.kills += 1
        self._returning.append(threading.Thread(target=self._return))
        self._returning[-1].start()

    def await_return(self) -> None:
        """Waits until it runs again, if it has been killed."""
        while self._returning:
            self._returning.pop().join()

    def _return(self) -> None:
        self.umusic.close()
        time.sleep(0.3)
        self.umusic = Process(self._directory, **self._settings)

    def left_over(self) -> list[str]:
        """The files in the media directory that are no MP3s."""
        return [path.name for path in files_in(self.media) if path.suffix != ".mp3"]

    @contextlib.contextmanager
    def running(self) -> Iterator["Site"]:
        try:
            with self.nginx.running():
                yield self
        finally:
            self.await_return()
            self.umusic.close()


def tus_js() -> Path:
    """Where tus-js-client is."""
    found = MODULES / "tus-js-client"
    assert found.is_dir(), "tus-js-client is not there: `make tus-test` fetches it"
    return found


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages(tmp_path_factory.mktemp("pages")).running() as running:
        yield running


@pytest.fixture(scope="session")
def site(pages: Pages) -> Iterator[Site]:
    with scratch_directory() as directory:
        settings = {"cors_origins": pages.origin}
        with Site(directory, **settings).running() as running:
            yield running


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of 300 MB in which no two seconds are alike."""
    path = tmp_path_factory.mktemp("large") / "a long take.wav"
    head = wav(b"", data_size=4 * _FRAMES, riff_size=36 + 4 * _FRAMES)
    random = np.random.default_rng(300)
    with path.open("wb") as file:
        file.write(head)
        for start in range(0, _FRAMES, _FRAMES_AT_ONCE):
            seconds = np.arange(start, start + _FRAMES_AT_ONCE) / 44100
            pitch = 220 + start / 1e6
            mono = 9000 * np.sin(2 * np.pi * pitch * seconds)
            noise = random.integers(-600, 600, (_FRAMES_AT_ONCE, 2))
            file.write((mono[:, None] + noise).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def unbroken(site: Site, large: Path) -> str:
    """The SHA-256 of the MP3 that comes of a plain upload of it."""
    token = site.umusic.register("plain")
    began = time.monotonic()
    subprocess.run(
        [
            *("curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {token}"),
            *("-T", str(large), "-o", os.devnull, f"{site.url}/record"),
        ],
        check=True,
    )
    print(f"\na plain upload of {large.stat().st_size} bytes: {time.monotonic() - began:.1f} s")
    [record] = records(site.url, token)
    return str(record["sha256"])


def records(site: str, token: str) -> list[dict[str, Any]]:
    """All that a user has."""
    return list(ask(f"{site}/records", {"Authorization": f"Bearer {token}"})["items"])


def ask(url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What JSON there is."""
    with urlopen(Request(url, headers=headers or {})) as reply:
        return dict(json.load(reply))


def sha256_at(url: str) -> str:
    """That of what there is."""
    with urlopen(url) as reply:
        return hashlib.file_digest(reply, "sha256").hexdigest()
