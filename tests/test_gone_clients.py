"""A client that is gone, at any byte of its upload: politely or with a reset."""

import asyncio
import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from tests.client import Account, Client, as_json
from tests.conftest import stopped_ffmpeg, wait_for
from tests.stores import Kept
from tests.test_uploads import assert_nothing_kept, rows
from tests.wavs import chunk, take, wav
from umusic.app import Services

WAV = wav(take(10.0)[44:], before=chunk(b"JUNK", bytes(100)))
SIZE = len(WAV)
HALF = SIZE // 2
CHUNKED = f"{SIZE:x}\r\n".encode() + WAV + b"\r\n0\r\n\r\n"

both_partings = pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])


def head(account: Account, framing: str) -> bytes:
    return (
        f"PUT /record?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.token}\r\n"
        f"{framing}\r\n\r\n"
    ).encode()


class Visitor:
    """A client that sends some bytes and goes."""

    def __init__(self, client: Client) -> None:
        host, _, port = client.site.removeprefix("http://").partition(":")
        self._address = host, int(port)

    async def send(self, data: bytes) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._writer.write(data)
        await self._writer.drain()

    async def go(self, resets: bool) -> None:
        if resets:
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()


async def assert_gone_without_trace(services: Services, kept: Kept) -> None:
    await wait_for(lambda: not services.keeper.live and not services.lifecycle.requests)
    await services.lifecycle.settle()
    await assert_nothing_kept(services, kept)


@both_partings
@pytest.mark.gen_test
async def test_in_the_headers_nothing_has_begun(
    client: Client, services: Services, kept: Kept, resets: bool
) -> None:
    account, visitor = await client.register(), Visitor(client)
    for sent in (0, 7, 30, -3, -1):
        await visitor.send(head(account, f"Content-Length: {SIZE}")[:sent])
        await asyncio.sleep(0.02)
        assert not services.keeper.live
        await visitor.go(resets)
        await asyncio.sleep(0.02)
        await assert_gone_without_trace(services, kept)
    assert (await client.upload(account, take(0.1), name="x")).code == 201


@both_partings
@pytest.mark.gen_test
async def test_in_the_body_nothing_is_kept(
    client: Client, services: Services, kept: Kept, resets: bool
) -> None:
    account, visitor = await client.register(), Visitor(client)
    start = head(account, f"Content-Length: {SIZE}")
    for sent in (0, 1, 11, 35, 36, 100, 151, 152, 153, HALF, SIZE - 1):
        await visitor.send(start + WAV[:sent])
        await wait_for(lambda: services.keeper.live == 1)
        await visitor.go(resets)
        await assert_gone_without_trace(services, kept)
    assert (await client.upload(account, take(0.1), name="x")).code == 201


@both_partings
@pytest.mark.gen_test
async def test_before_the_last_byte_of_the_last_chunk_nothing_is_kept(
    client: Client, services: Services, kept: Kept, resets: bool
) -> None:
    account, visitor = await client.register(), Visitor(client)
    start = head(account, "Transfer-Encoding: chunked")
    for missing in (SIZE + 9, HALF, 7, 6, 5, 4, 2, 1):
        await visitor.send(start + CHUNKED[:-missing])
        await wait_for(lambda: services.keeper.live == 1)
        await visitor.go(resets)
        await assert_gone_without_trace(services, kept)
    assert (await client.upload(account, take(0.1), name="x")).code == 201


@both_partings
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.gen_test
async def test_after_the_last_byte_the_record_is_kept(
    client: Client, services: Services, halting_ffmpeg: Path, chunked: bool, resets: bool
) -> None:
    services.keeper.pool.ffmpeg = halting_ffmpeg
    account, visitor = await client.register(), Visitor(client)
    if chunked:
        await visitor.send(head(account, "Transfer-Encoding: chunked") + CHUNKED)
    else:
        await visitor.send(head(account, f"Content-Length: {SIZE}") + WAV)
    pid = await stopped_ffmpeg()  # the only one: the whole body is there
    await visitor.go(resets)
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGCONT)
    await wait_for(lambda: not services.keeper.live)
    assert len(await rows(services)) == 1
    again = await client.upload(account, take(0.1), name="x")
    assert again.code == 409
    assert (await client.fetch(as_json(again)["link"])).code == 200
