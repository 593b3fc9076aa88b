"""USER_QUOTA_BYTES: what a library may hold."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from tests.client import Account, Client, as_json, both_ways, form
from tests.conftest import wait_for
from tests.stores import Kept
from tests.test_uploads import assert_nothing_kept, files, rows
from tests.wavs import pieces, take
from umusic.app import Services

QUOTA = 100_000


@pytest.fixture
def knobs() -> dict[str, Any]:
    return {"user_quota_bytes": QUOTA}


async def used(client: Client, account: Account) -> int:
    account_reply = as_json(await client.fetch("/user", headers=account.bearer))
    assert account_reply["quota"] == QUOTA
    return int(account_reply["bytes"])


async def head_alone(client: Client, *lines: str) -> tuple[IOStream, bytes]:
    """Sends the head of a request and not a byte of its body; returns what is answered."""
    host, _, port = client.site.removeprefix("http://").partition(":")
    stream = await TCPClient().connect(host, int(port))
    await stream.write("\r\n".join(["PUT /record HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    return stream, await stream.read_until(b"\r\n\r\n")


@both_ways
@pytest.mark.gen_test
async def test_a_wav_larger_than_the_quota_is_413_before_its_body_is_read(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    stream, head = await head_alone(
        client, f"Authorization: Bearer {user.token}", f"Content-Length: {QUOTA + 1}"
    )
    with contextlib.closing(stream):
        assert b" 413 " in head.split(b"\r\n")[0]
    await assert_nothing_kept(services, kept)
    response = await client.upload(user, take(1.0))
    assert response.code == 413
    assert as_json(response)["type"] == "/problems/quota-exceeded"
    assert (as_json(response)["quota"], as_json(response)["left"]) == (QUOTA, QUOTA)


@both_ways
@pytest.mark.gen_test
async def test_a_chunked_one_is_413_while_it_streams_and_leaves_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    response = await client.upload_chunked(user, pieces(take(1.0), 10_000))
    assert response.code == 413
    assert as_json(response)["type"] == "/problems/quota-exceeded"
    await assert_nothing_kept(services, kept)


@both_ways
@pytest.mark.gen_test
async def test_a_form_is_413_as_well(client: Client, services: Services, kept: Kept) -> None:
    user = await client.register()
    content_type, body = form({}, take(1.0))
    response = await client.upload(user, body, headers={"Content-Type": content_type})
    assert response.code == 413
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_what_the_library_holds_counts_and_what_is_deleted_does_not(client: Client) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    wav = take(0.5)
    assert len(wav) < QUOTA
    receipts = []
    while QUOTA - await used(client, user) >= len(wav):
        receipts.append(as_json(await client.upload(user, wav)))
    assert await used(client, user) == sum(receipt["size"] for receipt in receipts)
    refused = await client.upload(user, wav)
    assert refused.code == 413
    assert as_json(refused)["left"] == QUOTA - await used(client, user)
    assert (await client.upload(other, wav)).code == 201
    await client.fetch(receipts[0]["link"], method="DELETE", headers=user.bearer)
    assert (await client.upload(user, wav)).code == 201


@pytest.mark.gen_test
async def test_what_is_filed_under_another_user_counts_there(client: Client) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    assert (await client.upload(ann, take(0.5), path=f"/record?user_id={ben.id}")).code == 201
    assert await used(client, ann) == 0
    assert await used(client, ben) > 0


@pytest.mark.gen_test
async def test_a_foreign_library_does_not_tell_what_it_has_left(client: Client) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    path = f"/record?user_id={ben.id}"
    for refused in (
        await client.upload(ann, take(1.0), path=path),
        await client.upload_chunked(ann, pieces(take(1.0), 10_000), path),
    ):
        assert refused.code == 413
        assert as_json(refused)["type"] == "/problems/quota-exceeded"
        assert "left" not in as_json(refused)


@pytest.mark.gen_test
async def test_uploads_that_fit_one_by_one_but_not_together_do_not_pass_the_quota(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    released = asyncio.Event()
    wav = take(0.4)

    async def hold() -> AsyncIterator[bytes]:
        yield wav[:10_000]
        await released.wait()
        yield wav[10_000:]

    # As full as it may be before the uploads begin, each of which has to fit as it comes.
    size = as_json(await client.upload(user, wav))["size"]
    while QUOTA - await used(client, user) >= len(wav) + size:
        await client.upload(user, wav)
    fitting = (QUOTA - await used(client, user)) // size
    count = fitting + 2
    uploads = [asyncio.ensure_future(client.upload_chunked(user, hold())) for _ in range(count)]
    await wait_for(lambda: services.keeper.live == count)
    released.set()
    codes = [(await upload).code for upload in uploads]
    assert sorted(codes) == fitting * [201] + 2 * [413]
    assert await used(client, user) <= QUOTA
    assert len(await rows(services)) == len(files(kept)) == QUOTA // size
