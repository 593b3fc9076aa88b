"""The client behind `umusic upload`, against servers that are not as they should be."""

import contextlib
import errno
import hashlib
import io
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.wavs import take
from umusic import client, resuming
from umusic.client import Client
from umusic.errors import UploadFailed
from umusic.resuming import Watch

WAV = take(0.1)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSES", [0.01] * 8)
    monkeypatch.setattr(resuming, "PAUSES", [0.01])
    monkeypatch.setattr(resuming, "PATIENCE_SECONDS", 0.0)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes, int], str]]:
    """Starts a server that reads so many bytes, answers as told, and hangs up; returns its URL.
    Where a resumable upload begins it lets it."""
    threads = []

    def start(answer: bytes, reads: int) -> str:
        listening = socket.create_server(("127.0.0.1", 0))

        def talk() -> None:
            with listening, contextlib.ExitStack() as stack:
                connection = stack.enter_context(listening.accept()[0])
                if connection.recv(4, socket.MSG_PEEK) == b"POST":
                    connection.recv(65536)
                    connection.sendall(BEGUN)
                    connection = stack.enter_context(listening.accept()[0])
                left = reads
                while left > 0 and (data := connection.recv(min(left, 65536))):
                    left -= len(data)
                connection.sendall(answer)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(10)


def send(url: str, wav: bytes = WAV, size: int | None = len(WAV)) -> str:
    return Client(url, "token").upload(io.BytesIO(wav), size=size, name="a.wav")


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


RECEIPT = (
    b'{"link": "http://x", "source": {"sha256": "%s"}}' % hashlib.sha256(WAV).hexdigest().encode()
)


@contextlib.contextmanager
def scripted(answers: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads whole requests and gives one answer on each connection. Its URL, and the
    heads that it gets."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            for answered in answers:
                with listening.accept()[0] as connection, connection.makefile("rb") as sent:
                    heads.append(b"".join(iter(sent.readline, b"\r\n")))
                    if length := re.search(rb"Content-Length: (\d+)", heads[-1]):
                        sent.read(int(length[1]))
                    elif b"chunked" in heads[-1]:
                        while size := int(sent.readline(), 16):
                            sent.read(size + 2)
                        sent.readline()
                    connection.sendall(answered)

        server = threading.Thread(target=talk)
        server.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heads
        server.join()


BEGUN = b"HTTP/1.1 201 Created\r\nLocation: http://x/uploads/some-id\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("way", ["file", "new file", "pipe"])
@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (b"", "cannot be reached: (Remote end closed|Connection reset)"),
        (b"SSH-2.0-OpenSSH\r\n", "cannot be reached"),
        (answer("502 Bad Gateway", b"<html>"), "answers 502, and not as umusic"),
        (answer("202 Accepted", b"[]"), "answers 202, and not as umusic"),
        (answer("409 Conflict", b'{"detail": "No."}'), "^No.$"),
        (answer("409 Conflict", b'{"detail": "No.", "link": "http://x"}'), r"^No\. \(http://x\)$"),
        (answer("201 Created", b""), "not as umusic"),
        (answer("201 Created", b"{}"), "not as umusic"),
        (answer("201 Created", b'{"link": "http://x", "source": null}'), "not as umusic"),
        (
            answer("201 Created", b'{"link": "http://x", "source": {"sha256": "0"}}'),
            "what arrived is not what was sent: http://x",
        ),
    ],
)
def test_an_answer_that_is_not_as_it_should_be_is_told(
    answered: bytes, words: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSES", [])
    if way != "pipe":
        answered = answered.replace(b"201 Created", b"200 OK")
    with scripted([BEGUN, answered] if way == "file" else [answered]) as (url, heads):
        if way == "new file" and b"200 OK" in answered:
            words = "answers 200, and not as umusic"
        with pytest.raises(UploadFailed, match=words):
            send(url, size=None if way == "pipe" else len(WAV))
    assert [head.split()[0] for head in heads] == {
        "file": [b"POST", b"PATCH"],
        "new file": [b"POST"],
        "pipe": [b"PUT"],
    }[way]


@pytest.mark.parametrize("location", ["", "Location: /uploads/\r\n", "Location: /a/%2e?\r\n"])
def test_an_upload_without_an_id_is_told(location: str) -> None:
    begun = f"HTTP/1.1 201 Created\r\n{location}Content-Length: 0\r\n\r\n".encode()
    with scripted([begun]) as (url, _), pytest.raises(UploadFailed, match="not as umusic does"):
        send(url)


@pytest.mark.parametrize("size", [len(WAV), None], ids=["file", "pipe"])
def test_the_link_is_told_and_an_interim_answer_passed_over(size: int | None) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    answers = (
        [interim + BEGUN, interim + answer("200 OK", RECEIPT)] if size else [interim + CREATED]
    )
    with scripted(answers) as (url, _):
        assert send(url, size=size) == "http://x"


CREATED = answer("201 Created", RECEIPT)
RUNNING = answer(
    "409 Conflict",
    b'{"type": "/problems/idempotency-key-in-use", "detail": "It is still running."}',
)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([b"", CREATED], "http://x"),
        ([b"HTTP/1.1 2", b"", CREATED], "http://x"),
        ([b"", RUNNING, CREATED], "http://x"),
        ([RUNNING, CREATED], "http://x"),
        ([b"", answer("502 Bad Gateway", b"<html>"), CREATED], "http://x"),
        ([b"", *[RUNNING] * 8], "It is still running."),
        ([b"", *[answer("503 Unavailable", b"{}")] * 8], "cannot be reached: Remote end closed"),
    ],
)
def test_a_lost_answer_to_a_pipe_is_asked_for_again_with_the_same_key(
    answers: list[bytes], outcome: str
) -> None:
    with scripted(answers) as (url, heads):
        try:
            told = send(url, size=None)
        except UploadFailed as exc:
            told = str(exc)
    assert outcome in told
    keys = re.findall(rb"Idempotency-Key: (.+)\r\n", b"".join(heads))
    assert len(keys) == len(answers)
    assert len(set(keys)) == 1


def test_of_what_came_through_a_pipe_nothing_is_left_to_be_sent_again() -> None:
    refusal = answer("422 Unprocessable", b'{"detail": "no sound"}')
    words = "cannot be reached: Remote end closed"
    with scripted([b"", refusal]) as (url, _), pytest.raises(UploadFailed, match=words):
        send(url, size=None)


def test_an_answer_before_the_end_of_a_pipe_does_not_end_its_chunks(
    serve: Callable[[bytes, int], str],
) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    receipt = f'{{"link": "http://x", "source": {{"sha256": "{digest}"}}}}'.encode()
    with pytest.raises(UploadFailed, match="what arrived is not what was sent"):
        send(serve(answer("201 Created", receipt), 100), bytes(50_000_000), None)


def test_an_early_answer_is_heard_before_all_is_sent(
    serve: Callable[[bytes, int], str],
) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 17\r\n\r\n"
    url = serve(answer + b'{"detail": "No."}', 1000)
    sent: list[int] = []
    with pytest.raises(UploadFailed, match=r"No\."):
        Client(url, "token").upload(
            Endless(), size=2**40, name=None, watch=Watch(on_sent=sent.append)
        )
    assert sum(sent) < 2**30


class Endless(io.BytesIO):
    """Zeros without end."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return bytes(size or 0)


def test_what_comes_live_through_a_pipe_goes_on_at_once() -> None:
    source, sink = os.pipe()
    os.write(sink, b"a first breath")

    def breathe_on(count: int) -> None:
        # Called when the first block is on its way: nothing waits for a whole one.
        os.close(sink)

    with os.fdopen(source, "rb") as wav, socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def talk() -> None:
            with listening.accept()[0] as connection:
                got = b""
                while not got.endswith(b"0\r\n\r\n"):
                    got += connection.recv(65536)
                connection.sendall(answer("409 Conflict", b'{"detail": "No."}'))

        server = threading.Thread(target=talk)
        server.start()
        with pytest.raises(UploadFailed, match=r"^No\.$"):
            Client(url, "token").upload(wav, size=None, name=None, watch=Watch(on_sent=breathe_on))
        server.join()


def test_a_file_that_cannot_be_read_is_told_as_such(serve: Callable[[bytes, int], str]) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UploadFailed, match="it cannot be read: Input/output error"):
        Client(serve(b"", 100), "token").upload(Broken(), size=9, name=None)


def test_a_file_that_becomes_shorter_is_told(serve: Callable[[bytes, int], str]) -> None:
    with pytest.raises(UploadFailed, match="became shorter"):
        send(serve(b"", 1000), WAV, len(WAV) + 1)


def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(UploadFailed, match="cannot be reached: Connection refused"):
        send("http://127.0.0.1:9")


def test_a_refusal_over_tls_is_heard_although_the_server_hangs_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            for answered in (BEGUN, answer("403 Forbidden", b'{"detail": "No."}')):
                plain = listening.accept()[0]
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(1000)
                    connection.sendall(answered)
                    time.sleep(0.2)

        server = threading.Thread(target=talk)
        server.start()
        url = f"https://localhost:{listening.getsockname()[1]}"
        with pytest.raises(UploadFailed, match=r"^No\.$"):
            Client(url, "token").upload(Endless(), size=2**34, name=None)
        server.join()


def test_a_server_that_speaks_no_tls_is_told_as_such(serve: Callable[[bytes, int], str]) -> None:
    url = serve(answer("400 Bad Request", b""), 10).replace("http:", "https:")
    with pytest.raises(UploadFailed, match=r"Does it speak https\?"):
        send(url)
