"""The containers of a clean copy of the project, on ports of their own."""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.front import unused_port

ROOT = Path(__file__).parents[2]
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker-compose"))
_PROJECT = "umusic-test"


def run(*args: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What the command prints; it has to end well."""
    done = subprocess.run(
        args,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, args))}: {done.stdout}{done.stderr}"
    return done.stdout


def await_true(truth: Callable[[], object], seconds: float = 60, what: str = "") -> None:
    """Waits until it is true."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, f"not within {seconds} s: {what or truth}"
        time.sleep(0.1)


class Stack:
    """umusic's containers. `env` is what `.env` says beside a password."""

    def __init__(self, directory: Path, env: Mapping[str, str], project: str = _PROJECT) -> None:
        self.directory, self.env, self.project = directory, env, project
        self.port, self.tls_port = unused_port(), unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = f"secret:/@{secrets.token_hex(8)}"
        _copy_tree(directory)
        example = (directory / ".env.example").read_text()
        settings = {
            "POSTGRES_PASSWORD": self.password,
            "COMPOSE_PROJECT_NAME": project,
            "HTTP_PORT": f"127.0.0.1:{self.port}",
            "HTTPS_PORT": f"127.0.0.1:{self.tls_port}",
            **env,
        }
        lines = [line for line in example.splitlines() if line.partition("=")[0] not in settings]
        lines += [f"{name}={value}" for name, value in settings.items()]
        (directory / ".env").write_text("\n".join(lines) + "\n")

    def compose(self, *args: str) -> str:
        """What docker compose prints."""
        return run(*COMPOSE, *args, cwd=self.directory)

    def up(self, replicas: int = 1) -> None:
        """Starts everything, and waits until uploads would be taken by so many umusics."""
        self.compose("up", "-d", "--scale", f"app={replicas}")
        self.await_ready(replicas)

    def await_ready(self, replicas: int) -> None:
        """Waits until nginx knows so many umusics, all of them healthy."""
        await_true(lambda: self.health() == ["healthy"] * replicas, 90, "all are healthy")
        await_true(lambda: self.reachable(f"{self.url}/healthz"), 30, "nginx answers")
        await_true(lambda: len(self.answering()) == replicas, 30, "nginx knows them all")

    def reachable(self, url: str, *options: str) -> bool:
        """Whether curl gets a good answer."""
        asked = ["curl", "-sf", "-o", "/dev/null", *options, url]
        return subprocess.run(asked).returncode == 0

    def health(self) -> list[str]:
        """What Docker says of each umusic."""
        return [self.inspect(each, "{{.State.Health.Status}}") for each in self.containers("app")]

    def answering(self) -> set[str]:
        """The addresses of the umusics that answered some requests."""
        asked = {self.curl("/healthz")[1]["x-request-id"] for _ in range(12)}
        return {self.upstream(request_id) for request_id in asked}

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).split()

    def inspect(self, container: str, template: str) -> str:
        """What Docker knows of a container."""
        return run("docker", "inspect", "--format", template, container).strip()

    def address(self, container: str) -> str:
        """Where nginx sees a umusic."""
        template = f'{{{{(index .NetworkSettings.Networks "{self.project}_web").IPAddress}}}}'
        return f"{self.inspect(container, template)}:8000"

    def access_log(self) -> list[dict[str, Any]]:
        """What nginx has logged, a line a request."""
        printed = run("docker", "logs", *self.containers("nginx"))
        lines = [line for line in printed.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def logged(self, request_id: str) -> dict[str, Any]:
        """What nginx has logged of the request."""
        found: list[dict[str, Any]] = []

        def look() -> list[dict[str, Any]]:
            found[:] = [line for line in self.access_log() if line["request_id"] == request_id]
            return found

        await_true(look, 10, f"{request_id} is logged")
        return found[0]

    def upstream(self, request_id: str) -> str:
        """The umusic that nginx passed the request to: the last of those that were tried."""
        return str(self.logged(request_id)["upstream"]).rpartition(", ")[2]

    def curl(self, path: str, *options: str | Path) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body of what curl gets."""
        return self.curl_begun(path, *options)()

    def curl_begun(
        self, path: str, *options: str | Path
    ) -> Callable[[], tuple[int, dict[str, str], bytes]]:
        """Starts curl; what is returned waits for its end, and gives what `curl` gives."""
        url = path if path.startswith("http") else self.url + path
        report = '\n{"status": %{http_code}, "headers": %{header_json}}'
        process = subprocess.Popen(
            ["curl", "-sS", "-m", "120", "-w", report, *options, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        def end() -> tuple[int, dict[str, str], bytes]:
            printed, complaint = process.communicate(timeout=150)
            body, _, rest = printed.rpartition(b'\n{"status": ')
            told = json.loads(b'{"status": ' + re.sub(rb"^000", b"0", rest))
            assert process.returncode == 0, f"{told['status']} {complaint.decode()}"
            headers = {name.lower(): values[-1] for name, values in told["headers"].items()}
            return told["status"], headers, body

        return end

    def register(self, name: str, site: str = "", *options: str) -> dict[str, Any]:
        """A new user."""
        status, _, body = self.curl(f"{site}/user", "-d", json.dumps({"name": name}), *options)
        assert status == 201, body
        return dict(json.loads(body))

    @contextlib.contextmanager
    def running(self, replicas: int = 1) -> Iterator["Stack"]:
        """All of it, until the end; then nothing is left."""
        try:
            self.compose("build", "app")
            self.up(replicas)
            yield self
        finally:
            self.compose("down", "--volumes", "--remove-orphans")


def _copy_tree(directory: Path) -> None:
    """What a clone of the project would have, as it is now."""
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
