"""umusic on Docker Swarm, as `make stack` brings it up; `make swarm-test` runs it.

A clean copy of the project, a `.env` made of the example and the secrets are all that it starts
from. What it saw goes to the standard output.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.refusals import cases, outcome, ways
from bench.wavs import music
from tests.compose.clients import bearer, kept_connection, records_of, upload, uploads_by_curl
from tests.compose.stack import ROOT, await_true, run
from tests.compose.swarm import Swarm
from tests.decoders import decoded_samples
from tests.resumable.poor_line import PoorLine
from umusic import embedded

pytestmark = pytest.mark.swarm

TIMES = 10


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("swarm")


@pytest.fixture(scope="module")
def swarm(scratch: Path) -> Iterator[Swarm]:
    env = {
        "NGINX_TAG": "stable",
        "UMUSIC_MAX_UPLOAD_BYTES": "110MB",
        # An update takes about a minute, and ends no upload that began before it.
        "UMUSIC_DRAIN_SECONDS": "110",
        "STOP_GRACE": "130s",
        "REGISTRATIONS": "1000r/s",
        "CONNECTIONS": "300",
    }
    with Swarm(scratch / "clone", env).running_stack() as running:
        yield running


@pytest.fixture(scope="module")
def take(scratch: Path) -> Path:
    return music(scratch / "take.wav", 6)


@pytest.fixture(scope="module")
def some(scratch: Path) -> Path:
    """5.3 MB: at 60 kB/s an upload of 90 seconds."""
    return music(scratch / "some.wav", 30)


@contextlib.contextmanager
def load(swarm: Swarm, user: dict[str, Any], take: Path) -> Iterator["collections.Counter[int]"]:
    """Short uploads and downloads all the time, whose answers all have to be good: how many."""
    link = upload(swarm, user, take)["link"]
    over = threading.Event()
    counts = collections.Counter[int]()
    tasks: list[Callable[[], collections.Counter[int]]] = [
        *(lambda n=n: uploads_by_curl(swarm, user, take, n, over) for n in range(2)),
        *(lambda n=n: kept_connection(swarm, user, take, link, n, over) for n in (2, 3)),
    ]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = [threads.submit(task) for task in tasks]
        try:
            yield counts
        finally:
            over.set()
        for each in running:
            counts.update(each.result())


def slow_uploads(
    swarm: Swarm, user: dict[str, Any], wav: Path, rate: str
) -> list[Callable[[], Any]]:
    """Twenty uploads that have begun."""
    return [
        swarm.curl_begun(
            f"/record?name=slow{number}", *bearer(user), "--limit-rate", rate, "-T", wav
        )
        for number in range(20)
    ]


def patched(swarm: Swarm) -> set[str]:
    """The umusics that had uploads in hand that can be resumed."""
    lines = [line for line in swarm.access_log() if line["method"] == "PATCH"]
    return {upstream for line in lines for upstream in line["upstream"].split(", ")}


def assert_nothing_half_kept(swarm: Swarm) -> None:
    """Files and rows agree to the last byte."""
    print(swarm.umusic("check", "--deep").splitlines()[-1])


def test_three_umusics_do_the_main_job(swarm: Swarm, take: Path, scratch: Path) -> None:
    user = swarm.register("Egor Andreev")
    receipt = upload(swarm, user, take)
    assert swarm.curl("/record/", *bearer(user), "-T", take)[0] == 409
    for _ in range(9):
        status, headers, body = swarm.curl(receipt["link"])
        assert (status, headers["content-length"]) == (200, str(receipt["size"]))
        assert hashlib.sha256(body).hexdigest() == receipt["sha256"]
    mp3 = scratch / "take.mp3"
    mp3.write_bytes(body)
    assert set(decoded_samples(mp3, embedded.ffmpeg_binary(), 2).values()) == {receipt["samples"]}
    assert swarm.curl(receipt["link"], "-r", "100-199")[2] == body[100:200]
    assert swarm.curl(receipt["link"], *bearer(user), "-X", "DELETE")[0] == 204
    await_true(lambda: swarm.curl(receipt["link"])[0] == 404, 2, "the deletion shows")


def test_refusals_of_large_uploads_are_heard_each_time(swarm: Swarm, scratch: Path) -> None:
    token = swarm.register("Refused")["token"]
    long_take = music(scratch / "ten.wav", 600)
    text = scratch / "text.wav"
    text.write_text("x" * 102_400_000)
    music(scratch / "large.wav", 640)
    assert outcome(swarm.url, token, ["-T", str(long_take)], long_take) == "201"
    for case, (due, sent, body) in cases(token, long_take, text).items():
        for way, options in ways(body).items():
            heard = collections.Counter(
                outcome(swarm.url, sent, options, body) for _ in range(TIMES)
            )
            print(f"{case:10} {way:13} due {due}: {dict(heard)}")
            assert heard == {due: TIMES}


def test_no_secret_is_where_others_can_read_it(swarm: Swarm) -> None:
    services = run("docker", "stack", "services", "-q", swarm.project).split()
    containers = [each for service in ("app", "nginx", "db") for each in swarm.containers(service)]
    assert len(services) == 3 and len(containers) == 5
    told = run("docker", "service", "inspect", *services) + run("docker", "inspect", *containers)
    told += swarm.logs()
    assert "UMUSIC_MAX_UPLOADS" in told
    for name, value in {**swarm.secrets(), ".env": swarm.password}.items():
        # That of an access key is a name, as that of a user.
        assert name == "s3_access_key" or value not in told, name


def test_nothing_runs_as_root_nor_writes_where_it_should_not(swarm: Swarm) -> None:
    for service in ("app", "nginx", "db"):
        container = swarm.containers(service)[0]
        listed = run("docker", "top", container, "-eo", "pid,uid,comm").splitlines()[1:]
        processes = {tuple(line.split()[1:]) for line in listed}
        assert processes and "0" not in {user for user, _ in processes}
        assert swarm.inspect(container, "{{.HostConfig.ReadonlyRootfs}}") == "true"
        assert swarm.inspect(container, "{{.HostConfig.CapDrop}}") == "[ALL]"
        assert swarm.inspect(container, "{{.HostConfig.Memory}}") != "0"
        print(f"{service}: {sorted(processes)}")


def test_an_update_under_twenty_uploads_fails_no_request(
    swarm: Swarm, take: Path, some: Path
) -> None:
    old = set(swarm.containers("app"))
    busy, patient = swarm.register("Busy"), swarm.register("Patient")
    with load(swarm, busy, take) as counts:
        slow = slow_uploads(swarm, patient, some, "60k")
        time.sleep(2)
        began = time.monotonic()
        done = swarm.deploy()
        took = time.monotonic() - began
        assert done.returncode == 0, done.stdout
        ends = collections.Counter(end()[0] for end in slow)
    print(f"updated in {took:.0f} s: {dict(counts)} and slow uploads {dict(ends)}")
    assert ends == {201: 20}
    assert set(counts) == {200, 201}
    assert len(records_of(swarm, busy)) == counts[201] + 1
    assert len(records_of(swarm, patient)) == 20
    await_true(lambda: len(swarm.containers("app")) == 3, 130, "the old ones have gone")
    assert not old & set(swarm.containers("app"))
    assert_nothing_half_kept(swarm)


def test_a_version_that_does_not_start_is_taken_back_and_nobody_notices(
    swarm: Swarm, take: Path
) -> None:
    old = set(swarm.containers("app"))
    with load(swarm, swarm.register("Unaware"), take) as counts:
        swarm.set(UMUSIC_MP3_QUALITY="V77")
        done = swarm.deploy()
        swarm.set(UMUSIC_MP3_QUALITY="")
        await_true(lambda: set(swarm.containers("app")) == old, 60, "only the old ones are there")
    assert done.returncode != 0
    assert "do not become ready" in done.stdout
    assert set(counts) == {200, 201}
    print(f"taken back: {dict(counts)}; {done.stdout.splitlines()[-2:]}")


def test_of_twenty_uploads_only_those_of_a_killed_umusic_fail(swarm: Swarm, some: Path) -> None:
    user = swarm.register("Twenty")
    slow = slow_uploads(swarm, user, some, "300k")
    victim = swarm.containers("app")[0]
    address = swarm.address(victim)
    time.sleep(5)
    run("docker", "kill", victim)
    replies = [end() for end in slow]
    spread = collections.Counter[tuple[str, int]]()
    for status, headers, _ in replies:
        upstream = swarm.upstream(headers["x-request-id"])
        spread[upstream, status] += 1
        assert status == (503 if upstream == address else 201)
        if status == 503:
            assert headers["content-type"] == "application/problem+json"
    print(f"killed {address}: {dict(spread)}")
    assert len({upstream for upstream, _ in spread}) == 3
    swarm.await_ready(3)
    assert len(records_of(swarm, user)) == sum(status == 201 for status, _, _ in replies)
    assert_nothing_half_kept(swarm)


def test_an_upload_by_umusics_command_goes_on_when_its_umusic_is_killed(
    swarm: Swarm, scratch: Path
) -> None:
    user = swarm.register("Resumed")
    # At the pace of that line it takes 18 s.
    wav = music(scratch / "long.wav", 500)
    line = PoorLine(swarm.url)
    command = [sys.executable, "-m", "umusic", "upload", "--server", line.url, wav]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "UMUSIC_TOKEN": user["token"],
        "XDG_STATE_HOME": str(scratch),
    }
    with (
        line.running(),
        subprocess.Popen(
            command, cwd=scratch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as sender,
    ):
        holders: list[str] = []
        live = "umusic_resumable_uploads_live 1.0"
        await_true(lambda: holders.extend(swarm.telling(live)) or holders, 60, "somebody has it")
        run("docker", "kill", holders[0])
        link, complaint = sender.communicate(timeout=200)
    assert sender.returncode == 0, complaint
    await_true(lambda: len(patched(swarm)) > 1, 5, "two umusics had it")
    (kept,) = records_of(swarm, user).values()
    assert kept.removeprefix(swarm.url) in link.decode().replace("\n", "")
    mp3 = scratch / "long.mp3"
    mp3.write_bytes(swarm.curl(kept)[2])
    decoded = decoded_samples(mp3, embedded.ffmpeg_binary(), 2)
    assert set(decoded.values()) == {500 * 44100}
    print(f"{patched(swarm)}: {complaint.decode()}")
    swarm.await_ready(3)


def test_more_and_fewer_umusics_fail_nobody(swarm: Swarm, take: Path, some: Path) -> None:
    user, patient = swarm.register("Scaled"), swarm.register("Patient as well")
    with load(swarm, user, take) as counts:
        slow = slow_uploads(swarm, patient, some, "60k")
        for replicas in (5, 2, 3):
            swarm.set(APPS=str(replicas))
            done = swarm.deploy_again()
            assert done.returncode == 0, done.stdout
        ends = collections.Counter(end()[0] for end in slow)
    print(f"to 5, 2 and 3: {dict(counts)} and slow uploads {dict(ends)}")
    assert ends == {201: 20}
    assert set(counts) == {200, 201}
    assert_nothing_half_kept(swarm)


def test_a_database_that_is_away_for_a_while_costs_no_umusic(swarm: Swarm, take: Path) -> None:
    await_true(lambda: len(swarm.containers("app")) == 3, 130, "there are three")
    old = set(swarm.containers("app"))
    user = swarm.register("Without a database")
    run("docker", "service", "scale", "--detach", f"{swarm.project}_db=0")
    await_true(lambda: not swarm.reachable(f"{swarm.url}/readyz"))
    time.sleep(40)
    run("docker", "service", "scale", "--detach", f"{swarm.project}_db=1")
    await_true(lambda: swarm.reachable(f"{swarm.url}/readyz"))
    assert set(swarm.containers("app")) == old
    assert json.loads(swarm.curl("/user", *bearer(user))[2])["name"] == "Without a database"
    upload(swarm, user, take)


def test_it_speaks_tls_if_there_is_a_port_for_it(swarm: Swarm, take: Path, scratch: Path) -> None:
    certificate, key = scratch / "certificate.pem", scratch / "key.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"),
        *("subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
    )
    swarm.make_secret("tls_certificate", certificate.read_text())
    swarm.make_secret("tls_key", key.read_text())
    swarm.set(HTTPS_PORT=str(swarm.tls_port))
    try:
        done = swarm.deploy_again()
        assert done.returncode == 0, done.stdout
        site, trust = f"https://localhost:{swarm.tls_port}", ("--cacert", str(certificate))
        await_true(lambda: swarm.reachable(f"{site}/readyz", *trust))
        user = swarm.register("Tls", site, *trust)
        status, headers, body = swarm.curl(f"{site}/record/", *bearer(user), "-T", take, *trust)
        assert status == 201 and headers["strict-transport-security"].startswith("max-age=")
        assert swarm.curl(json.loads(body)["link"], *trust)[0] == 200
        assert swarm.curl("/record?id=1")[0] == 308
    finally:
        swarm.set(HTTPS_PORT="")
        swarm.deploy_again()
        await_true(lambda: swarm.reachable(f"{swarm.url}/readyz"))
