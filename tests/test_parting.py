"""A stop behind a proxy that keeps connections: no request is lost that a connection could take."""

import asyncio
import contextlib
import errno
import hashlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from tornado.web import Application

from tests.conftest import run_apart
from tests.process import WAV, Process
from tests.wavs import take
from umusic.listening import listen
from umusic.server import make_server

Start = Callable[..., Process]
SHORT = take(0.05)


@pytest.fixture
def start(directory: Path, database_url: str) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def make(program: str = "umusic", **settings: str) -> Process:
            process = Process(directory, program=program, database_url=database_url, **settings)
            stack.callback(process.close)
            return process

        yield make


def kept(umusic: Process, count: int) -> list[HTTPConnection]:
    """Connections that have been used once, and are kept."""
    connections = [umusic.connect() for _ in range(count)]
    for connection in connections:
        assert ask(connection, "GET", "/healthz").status == 200
    return connections


def ask(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None, token: str = ""
) -> HTTPResponse:
    """The answer, read to its end."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    return response


def stop_and_await_closed_door(umusic: Process) -> None:
    umusic.popen.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            # The one that is turned away at the moment of the stop would come again after a second.
            socket.create_connection(("127.0.0.1", umusic.port), timeout=0.2).close()
        except ConnectionRefusedError:
            return
        except TimeoutError:
            pass
        time.sleep(0.02)
    raise AssertionError("it listens yet")


def test_kept_connections_are_served_once_more_and_then_closed(start: Start) -> None:
    umusic = start()
    token = umusic.register("Ann")
    link = umusic.upload(token)
    upload, download, ready, long = kept(umusic, 4)
    stop_and_await_closed_door(umusic)
    answers = [
        ask(upload, "PUT", "/record", SHORT, token),
        ask(download, "GET", link),
        ask(ready, "GET", "/readyz"),
        ask(long, "PUT", "/record", WAV, token),
    ]
    assert [answer.status for answer in answers] == [201, 200, 503, 201]
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    began = time.monotonic()
    status, log = umusic.wait()
    assert (status, "Traceback" in log) == (0, False)
    assert time.monotonic() - began < 5, "it waited although nobody was connected any more"


def test_an_answer_under_way_that_did_not_say_so_keeps_its_connection(start: Start) -> None:
    umusic = start()
    token = umusic.register("Ann")
    with contextlib.closing(umusic.connect()) as connection:
        receipt = ask(connection, "PUT", "/record", take(700.0, rate=8000), token)
    link = str(receipt.headers["Location"]).partition(str(umusic.port))[2]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", umusic.port))
        connection.sendall(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(1, socket.MSG_PEEK)
        stop_and_await_closed_door(umusic)
        first = HTTPResponse(connection)
        first.begin()
        assert (first.status, first.headers["Connection"]) == (200, None)
        mp3 = first.read()
        assert len(mp3) == int(first.headers["Content-Length"])
        connection.sendall(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        again = HTTPResponse(connection)
        again.begin()
        assert (again.status, again.headers["Connection"]) == (200, "close")
        assert hashlib.sha256(again.read()).digest() == hashlib.sha256(mp3).digest()
    assert umusic.wait()[0] == 0


def test_those_who_wait_to_be_accepted_are_answered(start: Start) -> None:
    umusic = start()
    token = umusic.register("Ann")
    umusic.popen.send_signal(signal.SIGSTOP)
    connections = [umusic.connect() for _ in range(60)]
    for number, connection in enumerate(connections):
        if number % 10:
            connection.request("GET", "/healthz")
        else:
            connection.request("PUT", "/record", SHORT, {"Authorization": f"Bearer {token}"})
    umusic.popen.send_signal(signal.SIGTERM)
    umusic.popen.send_signal(signal.SIGCONT)
    answers = [connection.getresponse() for connection in connections]
    assert [answer.status for answer in answers] == 6 * [201, *9 * [200]]
    for connection in connections:
        connection.close()
    status, log = umusic.wait()
    assert (status, "Traceback" in log) == (0, False)


@pytest.mark.expects_log("404 GET /")
def test_at_the_door_who_has_come_is_let_in_and_who_comes_is_refused() -> None:
    async def come_and_go() -> tuple[bytes, int]:
        sockets = listen(0, "127.0.0.1")
        server = make_server(Application())
        server.add_sockets(sockets)
        address = sockets[0].getsockname()
        # The kernel connects it; the loop has not had a turn to accept it.
        early = socket.create_connection(address)
        early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        locking = asyncio.create_task(server.lock_up(sockets))
        await asyncio.sleep(0.02)
        late = socket.socket()
        late.setblocking(False)
        assert late.connect_ex(address) == errno.EINPROGRESS
        await locking
        answer = await asyncio.to_thread(early.recv, 100)
        await asyncio.to_thread(select.select, [], [late], [], 5)
        outcome = late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        early.close()
        late.close()
        await server.empty(5)
        return answer, outcome

    answer, outcome = run_apart(come_and_go())
    assert answer.startswith(b"HTTP/1.1 404")
    assert outcome == errno.ECONNREFUSED


def test_under_load_no_request_is_lost_that_was_sent(start: Start) -> None:
    umusic = start()
    token = umusic.register("Ann")
    link = umusic.upload(token)
    going = threading.Event()

    def request(connection: HTTPConnection, number: int) -> HTTPResponse:
        if number % 5:
            return ask(connection, "GET", link if number % 2 else "/healthz")
        return ask(connection, "PUT", "/record", SHORT, token)

    def short() -> int:
        """A connection for each request, until none is taken any more."""
        for number in range(10**6):
            connection = HTTPConnection("127.0.0.1", umusic.port)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return number
            assert request(connection, number).status in (200, 201)
            connection.close()
            going.set()
        raise AssertionError

    def long() -> int:
        """One connection for all, until an answer says that it is the last."""
        connection = HTTPConnection("127.0.0.1", umusic.port)
        for number in range(10**6):
            answer = request(connection, number)
            assert answer.status in (200, 201)
            if answer.headers["Connection"] == "close":
                return number
        raise AssertionError

    with ThreadPoolExecutor(10) as clients:
        running = [clients.submit(kind) for kind in 5 * [short, long]]
        assert going.wait(10)
        time.sleep(0.7)
        umusic.popen.send_signal(signal.SIGTERM)
        assert sum(each.result(30) for each in running) > 10
    status, log = umusic.wait()
    assert (status, "Traceback" in log) == (0, False)


def test_when_the_parting_is_over_no_new_upload_is_taken(start: Start) -> None:
    umusic = start("tests.impatient", drain_seconds="20")
    token = umusic.register("Ann")
    running = umusic.begin_upload(token)
    [idle] = kept(umusic, 1)
    stop_and_await_closed_door(umusic)
    time.sleep(1.5)
    answer = ask(idle, "PUT", "/record", WAV, token)
    assert (answer.status, answer.headers["Connection"]) == (503, "close")
    assert umusic.popen.poll() is None
    assert umusic.end_upload(running).status == 201
    status, log = umusic.wait()
    assert (status, "Traceback" in log) == (0, False)


def test_an_idle_connection_holds_it_up_for_the_parting_alone(start: Start) -> None:
    umusic = start("tests.impatient", drain_seconds="60")
    [idle] = kept(umusic, 1)
    assert idle.sock is not None
    began = time.monotonic()
    umusic.popen.send_signal(signal.SIGTERM)
    assert idle.sock.recv(1) == b""
    assert 1 < time.monotonic() - began < 20
    assert umusic.wait()[0] == 0


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_ctrl_c_and_a_second_signal_wait_for_nobody(start: Start, signals: list[int]) -> None:
    umusic = start()
    kept(umusic, 2)
    began = time.monotonic()
    for number in signals:
        umusic.popen.send_signal(number)
        time.sleep(0.3)
    status, _ = umusic.wait()
    assert status == (0 if signals == [signal.SIGINT] else -signal.SIGTERM)
    assert time.monotonic() - began < 4
