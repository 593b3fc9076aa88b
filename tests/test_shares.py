"""UPLOADS_PER_USER and MAX_UPLOADS: how many uploads run at once, and that each place returns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.client import Account, Client, as_json, both_ways, form
from tests.conftest import wait_for
from tests.stores import Kept
from tests.test_refusals import HEADER, LARGE, body
from tests.test_slow_senders import connected, upload_head
from tests.wavs import take
from umusic.app import Services

SHARE = 2
ALL = 3


@pytest.fixture
def knobs() -> dict[str, Any]:
    return {"uploads_per_user": SHARE, "max_uploads": ALL, "body_timeout": 1.5}


@contextlib.asynccontextmanager
async def running(
    client: Client, services: Services, account: Account, count: int
) -> AsyncIterator[None]:
    """That many uploads that wait for more of their body, and go on afterwards."""
    before = services.keeper.live
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            _, writer = await stack.enter_async_context(connected(client))
            writer.write(upload_head(account).encode() + take(1.0)[:50_000])
        await wait_for(lambda: services.keeper.live == before + count)
        yield
    await wait_for(lambda: services.keeper.live == before)


@both_ways
@pytest.mark.gen_test
async def test_one_upload_more_than_ones_share_is_429_before_its_body_is_read(
    client: Client, services: Services
) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    async with running(client, services, ann, SHARE):
        async with connected(client) as (reader, writer):
            writer.write(upload_head(ann).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 429 ")
        async with connected(client) as (reader, writer):
            form_head = "Content-Length: 9999\r\nContent-Type: multipart/form-data; boundary=x"
            writer.write(upload_head(ann, form_head).encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        refused = await client.upload(ann, take(0.1))
        assert as_json(refused)["type"] == "/problems/too-many-of-one-user"
        assert as_json(refused)["limit"] == SHARE
        assert (await client.upload(ben, take(0.1))).code == 201
    assert (await client.upload(ann, take(0.1))).code == 201


@both_ways
@pytest.mark.parametrize(("count", "status"), [(SHARE, 429), (ALL, 503)])
@pytest.mark.gen_test
async def test_a_large_body_hears_the_status_and_no_reset(
    client: Client, services: Services, count: int, status: int
) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")

    def send() -> httpx.Response:
        headers = {**ann.bearer, "Content-Length": str(LARGE)}
        return httpx.put(f"{client.site}/record", content=body(HEADER), headers=headers)

    async with (
        running(client, services, ann, SHARE),
        running(client, services, ben, count - SHARE),
    ):
        for _ in range(2):
            response = await asyncio.to_thread(send)
            assert response.status_code == status
            assert response.headers["Retry-After"] == "5"


@both_ways
@pytest.mark.gen_test
async def test_a_form_is_counted_once_its_sender_is_known(
    client: Client, services: Services
) -> None:
    ann = await client.register("Ann")
    content_type, sent = form({"user_id": ann.id, "token": ann.token}, take(0.1))
    async with running(client, services, ann, SHARE):
        response = await client.upload(None, sent, headers={"Content-Type": content_type})
        assert response.code == 429
    response = await client.upload(None, sent, headers={"Content-Type": content_type})
    assert response.code == 201


@both_ways
@pytest.mark.gen_test
async def test_the_place_comes_back_however_an_upload_ends(
    client: Client, services: Services, kept: Kept
) -> None:
    ann = await client.register("Ann")
    assert (await client.upload(ann, take(0.1), name="taken")).code == 201
    content_type, cut = form({}, take(0.1))
    kind = {"Content-Type": content_type}

    async def status(sent: bytes, **options: Any) -> int:
        return (await client.upload(ann, sent, **options)).code

    async def hang_up() -> None:
        async with running(client, services, ann, 1):
            pass

    async def stall() -> int:
        async with connected(client) as (reader, writer):
            writer.write(upload_head(ann).encode() + take(1.0)[:50_000])
            return int((await reader.readline()).split()[1])

    async def break_chunks() -> None:
        async with connected(client) as (reader, writer):
            head = upload_head(ann, "Transfer-Encoding: chunked")
            writer.write(head.encode() + b"2c\r\n" + take(0.1)[:44] + b"\r\nno chunk\r\n")
            await reader.read()

    for _ in range(SHARE + 1):
        assert await status(take(0.1)) == 201
        assert await status(take(0.1), name="taken") == 409
        assert await status(b"no sound at all") == 415
        assert await status(take(0.1)[:-100]) == 422
        assert await status(cut[:-20], headers=kind) == 400
        assert await status(take(0.1), path="/record?user_id=7") == 422
        assert await stall() == 408
        await hang_up()
        await break_chunks()
        await wait_for(lambda: services.keeper.live == 0)
    assert len(kept.mp3s()) == SHARE + 2
