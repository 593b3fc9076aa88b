"""`python -m umusic serve` as a process: start, drain, stop."""

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process import WAV
from tests.stores import files_in
from tests.warm import Command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_cleanly(start: Any, number: int) -> None:
    umusic = start(cold=True)
    assert f"curl -s http://127.0.0.1:{umusic.port}/user -d" in umusic.greeting
    umusic.register("Ann")
    assert umusic.family()
    status, errors = umusic.stop(number)
    assert status == 0
    assert "Traceback" not in errors
    assert umusic.family() == []


def test_an_upload_that_takes_longer_than_the_drain_is_told_and_leaves_nothing(start: Any) -> None:
    umusic = start(drain_seconds="0.5")
    waiting = umusic.begin_upload(umusic.register("Ann"))
    began = time.monotonic()
    umusic.popen.send_signal(signal.SIGTERM)
    reply = waiting.getresponse()
    assert (reply.status, json.load(reply)["type"]) == (503, "/problems/draining")
    status, errors = umusic.wait()
    assert status == 0
    assert time.monotonic() - began < 15
    assert "Traceback" not in errors
    assert umusic.kept.is_empty
    assert umusic.family() == []


def test_under_load_every_upload_ends_well_before_the_stop_and_the_next_start_finds_all(
    start: Any,
) -> None:
    umusic = start(drain_seconds="30")
    tokens = [umusic.register(f"user {number}") for number in range(8)]
    running = [umusic.begin_upload(token, pause=0) for token in tokens]
    await_true(lambda: len(files_in(umusic.media, ".part")) == len(running))
    umusic.popen.send_signal(signal.SIGTERM)
    with ThreadPoolExecutor(len(running)) as clients:
        receipts = [json.load(reply) for reply in clients.map(umusic.end_upload, running)]
    status, errors = umusic.wait()
    assert (status, "Traceback" in errors) == (0, False)
    again = start()
    for receipt in receipts:
        connection = again.connect()
        connection.request("GET", "/record" + receipt["link"].partition("/record")[2])
        mp3 = connection.getresponse().read()
        assert hashlib.sha256(mp3).hexdigest() == receipt["sha256"]
    assert again.check().startswith("8 records checked, 0 ")
    assert again.put(tokens[0], WAV)[0] == 201
    again.stop()


def test_kills_during_deletions_leave_no_row_without_a_file_and_no_file_without_a_row(
    start: Any,
) -> None:
    first = start(program="tests.impatient")
    tokens = [first.register(f"{number}") for number in range(4)]
    links = [(token, first.upload(token)) for token in tokens for _ in range(6)]
    deletions = [(token, "/user") for token in tokens[:2]]
    deletions += [deletion for deletion in links if deletion[0] in tokens[2:]]
    with ThreadPoolExecutor(len(deletions)) as clients:
        replies = [clients.submit(first.delete, *deletion) for deletion in deletions]
        time.sleep(0.03)
        first.popen.kill()
    first.wait()
    statuses = [reply.result() for reply in replies]
    assert set(statuses) <= {204, None}
    second = start(program="tests.impatient")
    # Their leases have to run out before it may take over what the first one had in hand.
    await_true(lambda: second.check().startswith(f"{len(second.kept.mp3s())} records checked, 0 "))
    assert not second.kept.unfinished()
    for (token, path), status in zip(deletions, statuses, strict=True):
        if status == 204:
            assert second.delete(token, path) in (401, 404)
    second.stop()


def test_a_port_in_use_stops_the_start_with_a_sentence(start: Any, directory: Path) -> None:
    (directory / "media").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, errors = run_serve(directory, PORT=port)
    assert status == 1
    assert "UMUSIC_PORT" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PORT": "high", "SPEED": "9"}, ["UMUSIC_PORT", "UMUSIC_SPEED"]),
        ({"DATA_DIR": "/proc/data"}, ["UMUSIC_DATA_DIR"]),
        ({"MAX_UPLOAD_BYTES": "9" * 30}, ["UMUSIC_MAX_UPLOAD_BYTES"]),
        ({"PUBLIC_URL": "http://h/?a=b"}, ["UMUSIC_PUBLIC_URL"]),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    directory: Path, settings: dict[str, str], words: list[str]
) -> None:
    status, errors = run_serve(directory, **{"PORT": "0", **settings})
    assert status == 1
    assert all(word in errors for word in words)
    assert "Traceback" not in errors


def await_true(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_serve(directory: Path, **settings: str) -> tuple[int, str]:
    """Its status, and what it says."""
    environment = {
        "PATH": os.environ["PATH"],
        "UMUSIC_DATA_DIR": str(directory / "data"),
        "UMUSIC_MEDIA_DIR": str(directory / "media"),
        **{f"UMUSIC_{name}": value for name, value in settings.items()},
    }
    status, _, errors = Command(["serve"], directory, environment, b"").end()
    return status, errors.decode()
