"""Senders that hold a place as long as they can: heads that never end, bodies that drip."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client import Account, Client, as_json, both_ways
from tests.conftest import stopped_ffmpeg
from tests.front import TEMPLATES
from tests.stores import Kept
from tests.test_uploads import assert_nothing_kept
from tests.wavs import fmt, pieces, take, tone, wav
from umusic import server
from umusic.app import Services

#: Longer than all that a test takes.
LONG = 60


@pytest.fixture
def knobs() -> dict[str, Any]:
    return {"body_timeout": 1}


@contextlib.asynccontextmanager
async def connected(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = client.site.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def drip(client: Client, head: str, drop: bytes, seconds: float = 0.1) -> tuple[bytes, float]:
    """Sends a head and then a drop now and then, until there is an answer. Returns that, and how
    long it took."""
    began = time.monotonic()
    async with connected(client) as (reader, writer):
        writer.write(head.encode("latin-1"))
        answer = asyncio.ensure_future(reader.read(65536))
        while not answer.done():
            with contextlib.suppress(OSError):
                writer.write(drop)
                await writer.drain()
            await asyncio.wait({answer}, timeout=seconds)
        with contextlib.suppress(ConnectionError):
            return await answer, time.monotonic() - began
        return b"", time.monotonic() - began


def upload_head(account: Account, framing: str = "Content-Length: 1000000") -> str:
    return (
        "PUT /record HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {account.token}\r\n{framing}\r\n\r\n"
    )


@both_ways
@pytest.mark.parametrize(
    ("framing", "drop"),
    [("Content-Length: 1000000", b"R"), ("Transfer-Encoding: chunked", b"1\r\nR\r\n")],
    ids=["length", "chunked"],
)
@pytest.mark.gen_test
async def test_a_body_that_drips_is_408_and_leaves_nothing(
    client: Client, services: Services, framing: str, drop: bytes, kept: Kept
) -> None:
    user = await client.register()
    header = take(1.0)[:44]
    first = header if "Length" in framing else b"2c\r\n" + header + b"\r\n"
    head = upload_head(user, framing) + first.decode("latin-1")
    answer, seconds = await drip(client, head, drop)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"/problems/body-stalled" in answer
    assert 0.9 < seconds < 8
    await assert_nothing_kept(services, kept)
    assert not services.lifecycle.requests


@both_ways
@pytest.mark.gen_test
async def test_a_small_body_that_drips_is_408_as_well(client: Client) -> None:
    head = "POST /user HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    answer, seconds = await drip(client, head, b" ")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.9 < seconds < 8


@both_ways
@pytest.mark.gen_test
async def test_what_comes_live_at_four_kilobytes_per_second_goes_on(client: Client) -> None:
    user = await client.register()
    sound = wav(tone(10_000, 1, 4000, bits=8), format=fmt(1, 1, 4000, 8))

    async def live() -> AsyncIterator[bytes]:
        for piece in pieces(sound, 400):
            yield piece
            await asyncio.sleep(0.1)

    response = await client.upload_chunked(user, live())
    assert response.code == 201
    assert as_json(response)["duration"] == 2.5


@both_ways
@pytest.mark.gen_test
async def test_a_sender_that_is_held_back_by_the_encoder_is_not_too_slow(client: Client) -> None:
    user = await client.register()
    upload = asyncio.ensure_future(client.upload(user, take(120.0)))
    pid = await stopped_ffmpeg()
    await asyncio.sleep(2)
    os.kill(pid, signal.SIGCONT)
    assert (await upload).code == 201


class TestHeads:
    @pytest.fixture
    def knobs(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(server, "HEAD_SECONDS", 1)
        return {}

    @pytest.mark.gen_test
    async def test_one_that_never_ends_is_hung_up_on(self, client: Client) -> None:
        answer, seconds = await drip(client, "GET /healthz HTTP/1.1\r\nX: ", b"x")
        assert answer == b""
        assert 0.9 < seconds < 5


def test_a_head_has_half_a_minute_or_so_and_nginx_forgets_idle_connections_first() -> None:
    assert 30 <= server.HEAD_SECONDS <= 60
    template = (TEMPLATES / "umusic.conf.template").read_text()
    assert "client_header_timeout 30s;" in template
    assert "keepalive_timeout 5s;" in template


class TestAHundredAtOnce:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"body_timeout": LONG}

    @both_ways
    @pytest.mark.gen_test
    async def test_they_keep_nobody_else_waiting(self, client: Client, services: Services) -> None:
        slow, ann = await client.register("Slow"), await client.register("Ann")
        heads = [
            "GET /healthz HTTP/1.1\r\nX: ",
            "POST /user HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
            upload_head(slow) + "RIFF",
            upload_head(slow, "Transfer-Encoding: chunked") + "4\r\nRIFF\r\n",
        ]
        drops = [b"x", b" ", b"x", b"1\r\nx\r\n"]
        dripping = [
            asyncio.ensure_future(drip(client, heads[number % 4], drops[number % 4], 1))
            for number in range(100)
        ]
        await asyncio.sleep(1.5)
        try:
            for _ in range(3):
                began = time.monotonic()
                response = await client.upload(ann, take(0.2))
                assert response.code == 201
                assert (await client.fetch(as_json(response)["link"])).code == 200
                assert time.monotonic() - began < 2
            still = [task for task in dripping if not task.done()]
            assert len(still) >= 50
        finally:
            for task in dripping:
                task.cancel()
            await asyncio.wait(dripping)
        assert json.loads((await client.fetch("/readyz")).body) == {"status": "ready"}
