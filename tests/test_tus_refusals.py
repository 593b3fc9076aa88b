"""What a client of tus hears when it cannot go on at the moment: nothing that makes it begin anew,
and soon, although it is still sending."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Client
from tests.test_resumption import head
from tests.test_slow_senders import connected
from tests.tus import Tus, problem
from tests.wavs import take
from umusic.app import Services
from umusic.errors import Draining

WAV = take(30.0)
MUCH = 1_000_000


@contextlib.contextmanager
def unmounted(media_dir: Path) -> Iterator[None]:
    elsewhere = media_dir.with_name("elsewhere")
    media_dir.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(media_dir)


@pytest.mark.expects_log("media-away")
@pytest.mark.gen_test
async def test_while_the_media_directory_is_away_it_may_ask_again(
    client: Client, media_dir: Path
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    await tus.patch(url, 0, WAV[:99])
    # As it is asked of who does not have it in hand.
    other = await tus.begin(len(WAV))
    with unmounted(media_dir):
        asked = await tus.ask("HEAD", other)
        assert (asked.code, asked.headers["Retry-After"]) == (423, "5")
        assert asked.headers["Tus-Resumable"] == "1.0.0"
        assert problem(await tus.ask("GET", other)) == (503, "media-away")
    assert await tus.offset(url) == 99
    assert await tus.offset(other) == 0


def until_cut_off(client: Client, sent: bytes) -> tuple[bytes, float]:
    """What is answered to somebody who goes on sending a little and reads nothing until the line
    breaks; and after how long it does."""
    began = time.monotonic()
    parts = urlsplit(client.site)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(sent)
            while time.monotonic() < began + 10:
                line.sendall(bytes(1000))
                time.sleep(0.02)
        return line.recv(12), time.monotonic() - began


@pytest.mark.gen_test
async def test_who_sends_much_from_the_wrong_place_is_not_listened_to_for_long(
    client: Client,
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    answer, seconds = await asyncio.to_thread(until_cut_off, client, head(url, 5, len(WAV) - 5))
    assert answer == b"HTTP/1.1 409"
    assert seconds < 2
    # Little is heard out, as it is sooner sent than asked for again.
    little = head(url, 5, MUCH - 1) + bytes(MUCH - 100_001)
    answer, seconds = await asyncio.to_thread(until_cut_off, client, little)
    assert answer == b"HTTP/1.1 409"
    assert seconds > 1.5
    assert await tus.offset(url) == 0


@pytest.mark.gen_test
async def test_what_no_going_on_helps_is_told_to_who_sends_much_as_well(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    refused: HTTPResponse = await tus.patch(url, 0, b"no WAV at all" + WAV[13:])
    assert problem(refused) == (415, "not-a-wav")


@pytest.mark.gen_test
async def test_who_is_sending_while_umusic_drains_is_cut_off_soon_and_what_came_counts(
    client: Client, services: Services
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    async with connected(client) as (reader, writer):
        writer.write(head(url, 0, len(WAV)) + WAV[:1000])
        while await tus.offset(url) != 1000:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await services.lifecycle.refuse_waiting(Draining())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"/problems/draining" in answer
        assert time.monotonic() - began < 2
    assert await tus.offset(url) == 1000
