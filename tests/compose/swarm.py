"""The stack of a clean copy of the project, on a Swarm of this one node."""

import contextlib
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.compose.stack import COMPOSE, ROOT, Stack, await_true, run
from tests.front import unused_port
from tests.stores import BUCKET, S3

_PROJECT = "umusic-swarm-test"
#: What `make stack` waits for: three umusics, one after the other, if need be twice.
_DEPLOY_SECONDS = 400


class Swarm(Stack):
    """umusic's stack: `make stack` with a `.env` that names this node for the database."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        super().__init__(directory, env, _PROJECT)
        self.version = 0
        self.s3 = S3("", "", "")
        own = {
            "HTTP_PORT": str(self.port),
            "HTTPS_PORT": "",
            # Comments as in docs/operations.md.
            "DB_NODE": run("docker", "info", "--format", "{{.Name}}").strip() + "  # who has it",
            "IMAGE": f'"{_PROJECT}" # one node needs no registry',
            "APPS": "3",
        }
        self.set(**own, **env)

    def set(self, **settings: str) -> None:
        """Has `.env` say so from here on."""
        env = self.directory / ".env"
        lines = [
            line for line in env.read_text().splitlines() if line.partition("=")[0] not in settings
        ]
        lines += [f"{name}={value}" for name, value in settings.items()]
        env.write_text("\n".join(lines) + "\n")

    def deploy(self) -> subprocess.CompletedProcess[str]:
        """`make stack`, of a new version."""
        self.version += 1
        return self.deploy_again()

    def deploy_again(self) -> subprocess.CompletedProcess[str]:
        """`make stack`, of the same version."""
        return subprocess.run(
            ["make", "stack", f"COMPOSE={' '.join(COMPOSE)}", f"IMAGE_TAG={self.version}"],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_DEPLOY_SECONDS,
        )

    def make_secret(self, name: str, value: str) -> None:
        """`docker secret create`, with a line's end that is none of it."""
        create = ["docker", "secret", "create", f"{_PROJECT}_{name}", "-"]
        subprocess.run(create, input=value + "\n", text=True, check=True, capture_output=True)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, also of those that are being stopped."""
        label = f"label=com.docker.swarm.service.name={_PROJECT}_{service}"
        return run("docker", "ps", "--no-trunc", "-q", "--filter", label).split()

    def umusic(self, *args: str) -> str:
        """What umusic's command prints, in one of its containers."""
        return run("docker", "exec", self.containers("app")[0], "python", "-m", "umusic", *args)

    def telling(self, metric: str) -> list[str]:
        """The containers of the umusics in whose metrics this line is."""
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read())"
        return [
            each
            for each in self.containers("app")
            if metric in run("docker", "exec", each, "python", "-c", ask)
        ]

    def logs(self) -> str:
        """What all services have said."""
        services = run("docker", "stack", "services", "-q", _PROJECT).split()
        return "".join(run("bash", "-c", f"docker service logs {each} 2>&1") for each in services)

    @contextlib.contextmanager
    def running_stack(self) -> Iterator["Swarm"]:
        """All of it, until the end; then nothing is left, nor a Swarm that was not there before."""
        found = run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active"
        if not found:
            run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")
        try:
            with _ceph(self.directory.with_name("ceph")) as self.s3:
                self.s3.make_bucket()
                self.set(
                    UMUSIC_MEDIA_URL=f"s3://{BUCKET}/{uuid.uuid4()}",
                    UMUSIC_S3_ENDPOINT=self.s3.endpoint,
                    STORE=self.s3.endpoint.removeprefix("http://"),
                )
                for name, value in self.secrets().items():
                    self.make_secret(name, value)
                try:
                    done = self.deploy()
                    assert done.returncode == 0, done.stdout + self.logs()
                    self.await_ready(3)
                    yield self
                finally:
                    self._end()
        finally:
            if not found:
                run("docker", "swarm", "leave", "--force")

    def secrets(self) -> dict[str, str]:
        """What nobody is to see, by the names of docs/operations.md."""
        password = self.password.replace("/", "-")
        return {
            "database_password": password,
            "database_url": f"postgresql://umusic:{password.replace('@', '%40')}@db/umusic",
            "s3_access_key": self.s3.access_key,
            "s3_secret_key": self.s3.secret_key,
        }

    def _end(self) -> None:
        run("docker", "stack", "rm", _PROJECT)
        label = f"label=com.docker.stack.namespace={_PROJECT}"
        await_true(lambda: not run("docker", "ps", "-a", "-q", "--filter", label), 200)
        for secret in run("docker", "secret", "ls", "--format", "{{.Name}}").split():
            if secret.startswith(f"{_PROJECT}_"):
                run("docker", "secret", "rm", secret)
        for volume in run("docker", "volume", "ls", "-q", "--filter", label).split():
            run("docker", "volume", "rm", volume)
        for image in run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split():
            if image.startswith(f"{_PROJECT}:"):
                run("docker", "image", "rm", image)


@contextlib.contextmanager
def _ceph(directory: Path) -> Iterator[S3]:
    """A Ceph where the containers reach it: at this machine's end of the way out of the Swarm."""
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    # The first Swarm of an engine makes it, soon after it has begun.
    names = ("docker", "network", "ls", "--format", "{{.Name}}")
    await_true(lambda: "docker_gwbridge" in run(*names).split(), 30)
    ports = unused_port(), unused_port()
    environment = {
        "CEPH_DIR": str(directory),
        "CEPH_ADDRESS": run(
            "docker", "network", "inspect", "docker_gwbridge", "--format", gateway
        ).strip(),
        "CEPH_PORT": str(ports[0]),
        "CEPH_MON_PORT": str(ports[1]),
    }
    up = ROOT / "tests" / "ceph" / "up"
    try:
        told = dict(re.findall(r"TEST_S3_(\w+)=(\S+)", run(up, **environment)))
        yield S3(told["ENDPOINT"], told["ACCESS_KEY"], told["SECRET_KEY"])
    finally:
        run(up, "down", **environment)
