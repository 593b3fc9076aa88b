"""Two umusics on one volume and one database: neither sweeps the other's live uploads away."""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.chaos.clients import download
from tests.chaos.storm import await_true
from tests.process import WAV, Process
from tests.stores import files_in


@pytest.fixture
def start(directory: Path, database_url: str) -> Iterator[Callable[[], Process]]:
    with contextlib.ExitStack() as stack:

        def make() -> Process:
            process = Process(directory, database_url=database_url)
            stack.callback(process.close)
            return process

        yield make


def begin(umusic: Process, token: str, sent: int) -> HTTPConnection:
    """An upload of which so many bytes have been sent."""
    connection = umusic.connect()
    connection.putrequest("PUT", "/record")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(len(WAV)))
    connection.endheaders(WAV[:sent])
    return connection


def test_a_start_sweeps_what_a_crash_left_and_no_live_upload_of_another_process(
    start: Callable[[], Process],
) -> None:
    first = start()
    tokens = [first.register(f"user {number}") for number in range(2)]
    sent = [60, 1000, len(WAV) // 4, len(WAV) // 2, len(WAV) - 1]
    live = [(begin(first, token, count), count) for token in tokens for count in sent]
    await_true(lambda: len(files_in(first.media, ".part")) == len(live))
    first.kept.abandon(uuid.uuid4())
    second = start()
    # The sweep says so at its end, when it has seen all.
    await_true(lambda: "swept the files of 1 records" in second.log.read_text())
    assert len(files_in(first.media, ".part")) == len(live)
    assert len(first.kept.unfinished()) == (0 if first.kept.is_remote else len(live))
    for connection, count in live:
        connection.send(WAV[count:])
    for connection, _ in live:
        response = connection.getresponse()
        receipt = json.load(response)
        assert response.status == 201
        path = "/record" + receipt["link"].partition("/record")[2]
        for umusic in (first, second):
            got = download(umusic.port, path)
            assert hashlib.sha256(got.body).hexdigest() == receipt["sha256"]
    assert second.check().startswith(f"{len(live)} records checked, 0 ")
    assert (first.stop()[0], second.stop()[0]) == (0, 0)
