"""Uploads of which no byte has come: whoever lost the answer to a creation does not know them."""

import asyncio
import datetime
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError

from tests.client import Client
from tests.proxy import Proxy
from tests.test_resumption import head
from tests.test_slow_senders import connected
from tests.tus import Tus, checksum, problem
from tests.wavs import take
from umusic.app import Services
from umusic.library import uploads

WAV = take(0.4)
HALF = len(WAV) // 2
HOUR = 3600
DAY = 24 * HOUR


def waits_for(response: HTTPResponse, seconds: float) -> bool:
    """Whether the upload is said to wait for so long, from now on."""
    assert response.code in (200, 201, 204)
    end = parsedate_to_datetime(response.headers["Upload-Expires"])
    left = (end - datetime.datetime.now(datetime.UTC)).total_seconds()
    return seconds - 10 < left <= seconds


@pytest.mark.gen_test
async def test_it_waits_for_an_hour_and_a_day_from_its_first_byte_on(client: Client) -> None:
    tus = Tus(client, await client.register())
    for length in (len(WAV), None):
        created = await tus.create(length)
        assert waits_for(created, HOUR)
        url = created.headers["Location"]
        assert waits_for(await tus.patch(url, 0, b""), HOUR)
        assert waits_for(await tus.ask("HEAD", url), HOUR)
        assert waits_for(await tus.patch(url, 0, WAV[:1]), DAY)
        assert waits_for(await tus.ask("HEAD", url), DAY)


@pytest.mark.gen_test
async def test_bytes_that_come_with_the_creation_count_and_those_of_a_wrong_checksum_do_not(
    client: Client,
) -> None:
    tus = Tus(client, await client.register())
    assert waits_for(await tus.create(len(WAV), WAV[:HALF]), DAY)
    url = await tus.begin(len(WAV))
    wrong = await tus.patch(url, 0, WAV[:HALF], checksum(b"something else"))
    assert problem(wrong) == (460, "checksum-mismatch")
    assert waits_for(await tus.ask("HEAD", url), HOUR)
    assert waits_for(await tus.patch(url, 0, WAV[:HALF], checksum(WAV[:HALF])), DAY)


@pytest.mark.gen_test
async def test_a_crash_a_moment_after_the_first_bytes_leaves_it_a_day(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    async with connected(client) as (_, writer):
        writer.write(head(url, 0, len(WAV)) + WAV[:HALF])
        # Nothing is told at a crash: it has to be in the row by then.
        end = time.monotonic() + 5
        while not waits_for(await tus.ask("HEAD", url), DAY):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


class TestShortExpiry:
    """Where all have less than an hour."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"upload_expiry": 600}

    @pytest.mark.gen_test
    async def test_it_waits_no_longer_than_others(self, client: Client) -> None:
        tus = Tus(client, await client.register())
        assert waits_for(await tus.create(len(WAV)), 600)


class TestQuota:
    """Where there is room for one."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"user_quota_bytes": 2 * len(WAV)}

    @pytest.mark.gen_test
    async def test_what_a_lost_answer_reserves_is_free_again_and_what_has_begun_stays(
        self, client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "_EMPTY_EXPIRY", datetime.timedelta(seconds=0.5))
        user = await client.register()
        tus = Tus(client, user)
        begun = await tus.begin(len(WAV) // 2)
        await tus.patch(begun, 0, WAV[:99])
        async with Proxy(client.site, lost=1).running() as site:
            with pytest.raises(HTTPStreamClosedError):
                await tus.create(len(WAV), path=f"{site}/uploads")
        again = await tus.create(len(WAV))
        assert problem(again) == (413, "quota-exceeded")
        await asyncio.sleep(0.6)
        await services.resumptions.tend()
        again = await tus.create(len(WAV))
        assert again.code == 201
        assert "Content-Location" in (await tus.patch(again.headers["Location"], 0, WAV)).headers
        assert await tus.offset(begun) == 99
