"""Refusing large bodies: every client hears the status that is due, none a reset or a 502.

Tornado's own client takes an early answer for a closed connection, so raw sockets, httpx and,
where it is on the PATH, curl ask here. umusic runs in this process; they run beside it.
"""

import asyncio
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.tcpclient import TCPClient

from tests.client import Account, Client, both_ways
from tests.wavs import take, wav
from umusic.app import Services
from umusic.web import base

#: More than the sockets' buffers hold on the way, nginx's among them.
LARGE = 20_000_000
HEADER = wav(b"", data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF)


def body(first: bytes) -> Iterator[bytes]:
    """`LARGE` bytes that begin with these."""
    yield first
    left, block = LARGE - len(first), bytes(64 * 1024)
    while left:
        yield block[: min(left, len(block))]
        left -= min(left, len(block))


def by_raw_socket(site: str, token: str, query: str, first: bytes, headers: str) -> int:
    """Sends all of the body, whatever is answered meanwhile, and reads the answer afterwards."""
    host, _, port = site.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"PUT /record{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n"
            f"Authorization: Bearer {token}\r\n{headers}\r\n".encode()
        )
        for piece in body(first):
            connection.sendall(piece)
        return int(connection.makefile("rb").readline().split()[1])


def by_httpx(site: str, token: str, query: str, first: bytes, headers: str) -> int:
    """Streams with a Content-Length."""
    sent = {"Authorization": f"Bearer {token}", "Content-Length": str(LARGE)}
    return httpx.put(
        f"{site}/record{query}", content=body(first), headers=sent, timeout=30
    ).status_code


async def by_curl(way: list[str], site: str, token: str, query: str, file: Path) -> str:
    """What curl shows: the status, and its own complaint if it has one."""
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "30"),
        *("-H", f"Authorization: Bearer {token}", *way, str(file), f"{site}/record{query}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await curl.communicate())[0].decode()


CASES = {
    "bad token": (401, "", HEADER),
    "name taken": (409, "?name=taken", HEADER),
    "too large": (413, "", HEADER),
    "not a WAV": (415, "", b"this is no WAV at all"),
}


async def prepared(client: Client, case: str) -> Account:
    account = await client.register()
    assert (await client.upload(account, take(0.1), name="taken")).code == 201
    return Account(account.id, "nobody") if case == "bad token" else account


class TestRefusals:
    @pytest.fixture
    def knobs(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        large = "case" in request.fixturenames and request.getfixturevalue("case") == "too large"
        return {"max_upload_bytes": LARGE - 1 if large else 2 * LARGE}

    @both_ways
    @pytest.mark.parametrize("send", [by_raw_socket, by_httpx])
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.gen_test
    async def test_a_client_that_sends_all_hears_the_status(
        self, client: Client, case: str, send: Callable[..., int]
    ) -> None:
        account = await prepared(client, case)
        status, query, first = CASES[case]
        for _ in range(3):
            got = await asyncio.to_thread(send, client.site, account.token, query, first, "")
            assert got == status

    if shutil.which("curl"):

        @both_ways
        @pytest.mark.parametrize("case", CASES)
        @pytest.mark.parametrize(
            "way",
            [
                ["-T"],
                ["-H", "Transfer-Encoding: chunked", "-T"],
                ["-H", "Expect:", "--data-binary"],
                ["-H", "Expect: 100-continue", "-T"],
            ],
            ids=["-T", "chunked", "--data-binary", "Expect"],
        )
        @pytest.mark.gen_test
        async def test_curl_shows_the_status(
            self, client: Client, tmp_path: Path, case: str, way: list[str]
        ) -> None:
            account = await prepared(client, case)
            status, query, first = CASES[case]
            file = tmp_path / "body"
            with file.open("wb") as target:
                target.writelines(body(first))
            argument = "@" + str(file) if "--data-binary" in way else str(file)
            for _ in range(3):
                shown = await by_curl(way, client.site, account.token, query, Path(argument))
                assert shown == str(status)


async def answer(client: Client, request: str, seconds: float = 10) -> bytes:
    """All that comes back on a connection of its own, until the peer closes or time is up."""
    host, _, port = client.site.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    try:
        async with asyncio.timeout(seconds):
            return await reader.read()
    except TimeoutError:
        return b"(still open)"
    finally:
        writer.close()


@pytest.fixture
def knobs() -> dict[str, Any]:
    return {"body_timeout": 1}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", b"411"),
        ("Content-Length: -5", b"400"),
        ("Content-Length: 5\r\nContent-Length: 6", b"400"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"400"),
        ("Transfer-Encoding: gzip", b"400"),
        ("Content-Length: 5\r\nExpect: the-unexpected", b"417"),
    ],
)
@pytest.mark.gen_test
async def test_wrong_framing_is_told_before_anything_is_done(
    client: Client, services: Services, headers: str, status: bytes
) -> None:
    account = await client.register()
    got = await answer(
        client,
        f"POST /record HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {account.token}\r\n{headers}\r\n\r\nhello",
    )
    assert got.startswith(b"HTTP/1.1 " + status)
    assert got.count(b"HTTP/1.1") == 1 or b"HTTP/1.1 400 Bad Request\r\n\r\n" in got
    assert b"application/problem+json" in got
    assert not services.keeper.live


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
@pytest.mark.gen_test
async def test_a_refusal_comes_instead_of_100_and_a_welcome_is_100(
    client: Client, expectation: str
) -> None:
    account = await client.register()
    head = f"PUT /record HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: {expectation}\r\n"
    host, _, port = client.site.removeprefix("http://").partition(":")
    for token, first in (("nobody", b"HTTP/1.1 401 "), (account.token, b"HTTP/1.1 100 ")):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(first)
        writer.close()


@pytest.mark.gen_test
async def test_a_refused_sender_that_goes_silent_is_let_go(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LINGER_IDLE_SECONDS", 0.3)
    began = time.monotonic()
    got = await answer(
        client, "PUT /record HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nRIFF"
    )
    assert got.startswith(b"HTTP/1.1 401 ")
    assert 0.2 < time.monotonic() - began < 5
    assert not services.lifecycle.requests


@pytest.mark.gen_test
async def test_a_body_that_stalls_is_408_wherever_it_goes(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LINGER_IDLE_SECONDS", 0.1)
    for path in ("/user", "/healthz"):
        method = "GET" if path == "/healthz" else "POST"
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{"
        assert (await answer(client, request)).startswith(b"HTTP/1.1 408 ")
    assert not services.lifecycle.requests


@pytest.mark.gen_test
async def test_no_stall_is_told_once_the_body_has_ended(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping = services.database.ping

    async def slowly() -> None:
        await asyncio.sleep(1.5)  # longer than the body's timeout
        await ping()

    monkeypatch.setattr(services.database, "ping", slowly)
    request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    got = await answer(client, request)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 ") == 1
    assert not services.lifecycle.requests


@pytest.mark.gen_test
async def test_while_draining_every_answer_closes_its_connection(
    client: Client, services: Services
) -> None:
    services.lifecycle.draining = True
    for path in ("/readyz", "/healthz", "/nothing"):
        got = await answer(client, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n", 3)
        assert b"\r\nConnection: close\r\n" in got


@pytest.mark.gen_test
async def test_a_refused_connection_is_closed_as_announced(client: Client) -> None:
    refused = "PUT /record/take.wav HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nRIFF"
    got = await answer(client, refused + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 401 ")
    assert got.count(b"HTTP/1.1 ") == 1


@both_ways
@pytest.mark.gen_test
async def test_an_unknown_method_with_a_large_body_is_refused_as_politely(client: Client) -> None:
    def send(method: str) -> int:
        return httpx.request(method, f"{client.site}/record", content=body(b"x")).status_code

    for method in ("FOO", "FINISH", "UNKNOWN"):
        assert await asyncio.to_thread(send, method) == 405


@pytest.mark.gen_test
async def test_a_large_body_where_none_is_wanted_is_refused_as_politely(client: Client) -> None:
    for path, status in (("/user", 413), ("/nothing", 404), ("/healthz", 405)):

        def send(path: str = path) -> int:
            return httpx.post(f"{client.site}{path}", content=bytes(5_000_000)).status_code

        assert await asyncio.to_thread(send) == status


@both_ways
@pytest.mark.parametrize(
    "path", ["/nope", "/user", "/users", "/record?id=1&user=2", "/record", "/records?limit=0"]
)
@pytest.mark.gen_test
async def test_a_refusal_without_a_body_keeps_its_connection(client: Client, path: str) -> None:
    user = await client.register()
    host, _, port = client.site.removeprefix("http://").partition(":")
    stream = await TCPClient().connect(host, int(port))
    head = f"Host: x\r\nAuthorization: Bearer {user.token[:-1]}\r\n\r\n"
    for _ in range(2):
        for asked, status in ((path, b" 4"), ("/healthz", b" 200 ")):
            await stream.write(f"GET {asked} HTTP/1.1\r\n{head}".encode())
            answer = await stream.read_until(b"\r\n\r\n")
            assert status in answer.split(b"\r\n")[0]
            assert b"Connection: close" not in answer
            [length] = re.findall(rb"Content-Length: (\d+)", answer)
            await stream.read_bytes(int(length))
    stream.close()
