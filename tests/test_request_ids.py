"""X-Request-ID: on every answer, and on every line that is logged for the request."""

import asyncio
import io
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Client, as_json
from tests.conftest import wait_for
from tests.test_gone_clients import Visitor, head
from tests.wavs import take
from umusic import logs
from umusic.app import Services
from umusic.errors import Draining
from umusic.web.uploads import UploadHandler

MADE = re.compile(r"[0-9a-f]{32}")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What has been logged so far, read back from JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.json_lines())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


def id_of(response: HTTPResponse) -> str:
    values = response.headers.get_list("X-Request-ID")
    assert len(values) == 1
    return values[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/healthz", 405),
        ("BREW", "/record", 405),
        ("POST", "/record", 401),
        ("GET", "/record", 422),
        ("GET", "/record/info?id=%ff&user=1", 422),
    ],
)
@pytest.mark.gen_test
async def test_every_answer_has_one_of_its_own(
    client: Client, lines: Lines, method: str, path: str, status: int
) -> None:
    body = b"" if method == "POST" else None
    replies = [await client.fetch(path, method=method, body=body) for _ in range(2)]
    assert [reply.code for reply in replies] == [status] * 2
    ids = [id_of(reply) for reply in replies]
    assert all(MADE.fullmatch(one) for one in ids)
    assert ids[0] != ids[1]
    assert [line["request_id"] for line in lines()] == ids


@pytest.mark.gen_test
async def test_an_early_refusal_has_one(client: Client) -> None:
    reply = await client.upload(None, take(0.1), headers={"Authorization": "Bearer nobodys"})
    assert reply.code == 401
    assert MADE.fullmatch(id_of(reply))


@pytest.mark.parametrize("told", ["4bf92f3577b34da6a3ce929d0e0e4736", "a.b-c_d9", "x" * 128])
@pytest.mark.gen_test
async def test_that_of_a_trusted_proxy_is_taken_over(
    client: Client, lines: Lines, told: str
) -> None:
    for path in ("/healthz", "/nothing"):
        reply = await client.fetch(path, headers={"X-Request-ID": told})
        assert id_of(reply) == told
    assert [line["request_id"] for line in lines()] == [told, told]


@pytest.mark.parametrize("told", ["short", "x" * 129, "", "with space", "a;b=cdefgh", "ünïcödëd"])
@pytest.mark.gen_test
async def test_one_that_is_not_sane_is_not(client: Client, told: str) -> None:
    reply = await client.fetch("/healthz", headers={"X-Request-ID": told})
    assert MADE.fullmatch(id_of(reply))


class TestFromElsewhere:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"trusted_proxies": "192.0.2.0/24"}

    @pytest.mark.gen_test
    async def test_it_is_not_taken_over(self, client: Client) -> None:
        reply = await client.fetch("/healthz", headers={"X-Request-ID": "x" * 32})
        assert MADE.fullmatch(id_of(reply))


@pytest.mark.gen_test
async def test_the_access_log_tells_of_a_request_but_not_its_query(
    client: Client, lines: Lines
) -> None:
    account = await client.register()
    lines_before = len(lines())
    wav = take(0.2)
    await client.upload(account, wav, name="a")
    await client.upload(account, wav, name="a")
    first, second = lines()[lines_before:]
    assert (first["method"], first["path"], first["status"]) == ("POST", "/record", 201)
    assert first["bytes_in"] == len(wav)
    assert 0 < first["duration"] < 60
    assert "problem" not in first
    assert (second["status"], second["problem"]) == (409, "record-name-taken")


@pytest.mark.expects_log("ffmpeg failed")
@pytest.mark.gen_test
async def test_what_is_logged_deep_below_bears_it(
    client: Client, services: Services, lines: Lines, complaining_ffmpeg: Path
) -> None:
    services.keeper.pool.ffmpeg = complaining_ffmpeg
    account = await client.register()
    reply = await client.upload(account, take(0.2))
    told = {line["logger"]: line.get("request_id") for line in lines()}
    assert reply.code == 503
    assert told["umusic.audio.process"] == told["umusic.access"] == id_of(reply)


@pytest.mark.expects_log("the clean-up of PUT /record failed")
@pytest.mark.gen_test
async def test_so_does_what_is_logged_of_a_client_that_has_gone(
    client: Client,
    services: Services,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account, visitor = await client.register(), Visitor(client)
    wav = take(3.0)
    named = f"Content-Length: {len(wav)}\r\nX-Request-ID: going-going"
    await visitor.send(head(account, named) + wav[: len(wav) // 2])
    await wait_for(lambda: services.keeper.live == 1)
    clean_up = UploadHandler.clean_up

    async def fail(handler: UploadHandler) -> None:
        await clean_up(handler)
        raise ValueError

    monkeypatch.setattr(UploadHandler, "clean_up", fail)
    await visitor.go(resets=False)
    await wait_for(lambda: len(lines()) == 3)
    gone, cleaned = lines()[1:]
    assert (gone["status"], gone["request_id"]) == (499, "going-going")
    assert (cleaned["logger"], cleaned["request_id"]) == ("umusic.web.base", "going-going")


@pytest.mark.gen_test
async def test_so_does_a_refusal_that_comes_from_outside_of_the_request(
    client: Client, services: Services, lines: Lines
) -> None:
    account, visitor = await client.register(), Visitor(client)
    await visitor.send(head(account, "Content-Length: 1000\r\nX-Request-ID: draining-1"))
    await wait_for(lambda: bool(services.lifecycle.waiting))
    await services.lifecycle.refuse_waiting(Draining())
    await visitor.go(resets=False)
    await wait_for(lambda: len(lines()) == 2)
    assert (lines()[1]["status"], lines()[1]["request_id"]) == (503, "draining-1")


@pytest.mark.gen_test
async def test_no_line_bears_that_of_another_request_on_its_connection(
    client: Client, lines: Lines
) -> None:
    host, _, port = client.site.removeprefix("http://").partition(":")

    def talk() -> bytes:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /user HTTP/1.1\r\nHost: x\r\nX-Request-ID: first-one\r\n"
                b"Content-Length: 2\r\n\r\n{}"
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-ID: second-one\r\n\r\n"
            )
            said = b""
            while b"second-one" not in said:
                said += connection.recv(65536)
            connection.sendall(b"no HTTP at all\r\n\r\n")
            while block := connection.recv(65536):
                said += block
            return said

    assert (await asyncio.to_thread(talk)).count(b"X-Request-Id: ") == 2
    assert [line.get("request_id") for line in lines()] == ["first-one", "second-one", None]


@pytest.mark.gen_test
async def test_uploads_side_by_side_keep_theirs_apart(client: Client, lines: Lines) -> None:
    account = await client.register()

    async def upload(number: int) -> None:
        headers = {"X-Request-ID": f"upload-{number}"}
        reply = await client.upload(account, take(0.3), name=f"{number}", headers=headers)
        assert as_json(reply)["name"] == f"{number}"
        assert id_of(reply) == f"upload-{number}"

    await asyncio.gather(*map(upload, range(6)))
    ids = sorted(line["request_id"] for line in lines()[1:])
    assert ids == [f"upload-{number}" for number in range(6)]


class TestThroughNginx:
    @pytest.fixture
    def via(self) -> str:
        return "nginx"

    @pytest.mark.gen_test
    async def test_the_log_has_the_one_that_nginx_gave(self, client: Client, lines: Lines) -> None:
        account = await client.register()
        forged = {"X-Request-ID": "forged-id"}
        upload = await client.upload(account, take(0.2), headers=forged)
        refused = await client.upload(account, b"no WAV" * 9)
        download = await client.fetch(as_json(upload)["link"], headers=forged)
        assert [upload.code, refused.code, download.code] == [201, 415, 200]
        ids = [id_of(reply) for reply in (upload, refused, download)]
        assert [line["request_id"] for line in lines()[1:]] == ids
        assert "forged-id" not in ids
