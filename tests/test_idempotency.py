"""Idempotency-Key on uploads: who lost the answer asks again."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from tornado.httpclient import HTTPResponse

from tests.client import Account, Client, as_json, both_ways, form
from tests.conftest import wait_for
from tests.stores import Kept, lapse
from tests.test_refusals import HEADER, LARGE, body
from tests.test_slow_senders import connected
from tests.test_uploads import assert_nothing_kept, files, rows
from tests.wavs import take
from umusic import app as composition
from umusic.app import Services
from umusic.errors import CommitUncertain, DatabaseUnavailable
from umusic.library.keeper import Upload
from umusic.library.models import IdempotencyKey, Record
from umusic.library.orders import Order
from umusic.settings import Settings
from umusic.upload_errors import KeyInUse

WAV = take(0.2)


def keyed(key: str = "a key", **more: str) -> dict[str, str]:
    return {"Idempotency-Key": key, **more}


def problem(response: HTTPResponse) -> tuple[int, str]:
    return response.code, as_json(response)["type"].removeprefix("/problems/")


async def keys(services: Services) -> int:
    async with services.database.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(IdempotencyKey)) or 0)


async def age(services: Services, interval: str) -> None:
    async with services.database.transaction() as session:
        await session.execute(
            text(f"UPDATE idempotency_keys SET created_at = created_at - interval '{interval}'")
        )


def head(account: Account, key: str, framing: str, query: str = "") -> bytes:
    return (
        f"PUT /record{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.token}\r\n"
        f"Idempotency-Key: {key}\r\n{framing}\r\n\r\n"
    ).encode()


@both_ways
@pytest.mark.parametrize("path", ["/record", "/record/", "/audio", "/users/wav", "/audiotrack"])
@pytest.mark.gen_test
async def test_the_same_key_gets_the_first_reply_again(
    client: Client, services: Services, kept: Kept, path: str
) -> None:
    user = await client.register()
    first = await client.upload(user, WAV, name="take.wav", path=path, headers=keyed())
    second = await client.upload(user, WAV, name="take.wav", path=path, headers=keyed())
    assert first.code == second.code == 201
    assert as_json(second) == as_json(first)
    assert second.headers["Location"] == first.headers["Location"]
    assert len(await rows(services)) == len(files(kept)) == await keys(services) == 1


@both_ways
@pytest.mark.gen_test
async def test_the_reply_comes_before_a_byte_of_the_body(client: Client) -> None:
    user = await client.register()
    first = await client.upload(user, WAV, headers=keyed())
    async with connected(client) as (reader, writer):
        writer.write(head(user, "a key", f"Content-Length: {len(WAV)}"))
        answer = await reader.read(65536)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert as_json(first)["id"].encode() in answer


@both_ways
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.gen_test
async def test_who_sends_all_of_a_large_body_again_hears_201_and_no_reset(
    client: Client, services: Services, framing: str
) -> None:
    user = await client.register()
    [row] = [as_json(await client.upload(user, WAV, name="x", headers=keyed()))]
    async with services.database.transaction() as session:
        await session.execute(text(f"UPDATE idempotency_keys SET length = {LARGE}"))
    length = {"Content-Length": str(LARGE)} if framing == "length" else {}

    def send() -> httpx.Response:
        return httpx.put(
            f"{client.site}/record?name=x",
            content=body(HEADER),
            headers={**user.bearer, **keyed(), **length},
            timeout=30,
        )

    for _ in range(3):
        response = await asyncio.to_thread(send)
        assert response.status_code == 201
        assert response.json()["link"] == row["link"]


@both_ways
@pytest.mark.parametrize("in_form", [True, False])
@pytest.mark.gen_test
async def test_a_form_is_answered_once_its_sender_and_name_are_known(
    client: Client, in_form: bool
) -> None:
    user = await client.register()
    fields = {"user_id": user.id, "token": user.token} if in_form else {}
    content_type, sent = form(fields, take(1.0))
    sender = None if in_form else user
    headers = keyed(**{"Content-Type": content_type})
    first = await client.upload(sender, sent, headers=headers)
    assert (first.code, as_json(first)["name"]) == (201, "take.wav")
    bearer = "" if in_form else f"Authorization: Bearer {user.token}\r\n"
    async with connected(client) as (reader, writer):
        writer.write(
            f"POST /record HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sent)}\r\n{bearer}"
            f"Content-Type: {content_type}\r\nIdempotency-Key: a key\r\n\r\n".encode()
            + sent[:600]
        )
        answer = await reader.read(65536)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert as_json(first)["id"].encode() in answer


@both_ways
@pytest.mark.gen_test
async def test_the_same_key_with_another_length_name_or_library_is_409(
    client: Client, services: Services
) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    assert (await client.upload(ann, WAV, name="a", headers=keyed())).code == 201
    for wav, options in [
        (take(0.3), {"name": "a"}),
        (WAV, {"name": "b"}),
        (WAV, {}),
        (WAV, {"path": f"/record/?user_id={ben.id}&name=a"}),
    ]:
        response = await client.upload(ann, wav, headers=keyed(), **options)
        assert problem(response) == (409, "idempotency-key-reused")
    assert len(await rows(services)) == 1


@pytest.mark.gen_test
async def test_without_a_length_only_the_name_is_compared(client: Client) -> None:
    user = await client.register()

    async def chunked(name: str) -> HTTPResponse:
        async def produce(write: Any) -> None:
            await write(WAV)

        headers = {**user.bearer, **keyed()}
        path = f"/record?name={name}"
        return await client.fetch(path, method="PUT", body_producer=produce, headers=headers)

    first = await chunked("a")
    assert first.code == 201
    for response in (
        await chunked("a"),
        await client.upload(user, take(0.3), name="a", headers=keyed()),
    ):
        assert (response.code, as_json(response)["id"]) == (201, as_json(first)["id"])
    assert problem(await chunked("b")) == (409, "idempotency-key-reused")


@pytest.mark.gen_test
async def test_keys_of_two_users_have_nothing_to_do_with_each_other(client: Client) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    for user in (ann, ben):
        response = await client.upload(user, WAV, headers=keyed())
        assert (response.code, as_json(response)["user"]) == (201, user.id)


@pytest.mark.gen_test
async def test_a_key_is_the_uploaders_wherever_the_upload_is_filed(client: Client) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    path = f"/record/?user_id={ben.id}"
    first, second = [await client.upload(ann, WAV, path=path, headers=keyed()) for _ in range(2)]
    assert (first.code, as_json(first)) == (201, as_json(second))
    assert (await client.upload(ben, WAV, headers=keyed())).code == 201


@both_ways
@pytest.mark.gen_test
async def test_while_the_first_is_running_it_is_409_with_retry_after(
    client: Client, services: Services
) -> None:
    user = await client.register()
    async with connected(client) as (reader, writer):
        writer.write(head(user, "a key", f"Content-Length: {len(WAV)}") + WAV[:20_000])
        await wait_for(lambda: services.keeper.live == 1)
        second = await client.upload(user, WAV, headers=keyed())
        assert problem(second) == (409, "idempotency-key-in-use")
        assert second.headers["Retry-After"] == "2"
        assert "still running" in as_json(second)["detail"]
        writer.write(WAV[20_000:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
    assert (await client.upload(user, WAV, headers=keyed())).code == 201
    assert len(await rows(services)) == 1


@both_ways
@pytest.mark.gen_test
async def test_of_many_that_race_one_becomes_a_record_and_all_hear_of_it_in_the_end(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()

    async def persist() -> Any:
        while True:
            response = await client.upload(user, WAV, name="x", headers=keyed())
            if response.code == 201:
                return as_json(response)
            assert problem(response) == (409, "idempotency-key-in-use")
            await asyncio.sleep(0.05)

    replies = await asyncio.gather(*(persist() for _ in range(8)))
    assert all(reply == replies[0] for reply in replies)
    assert len(await rows(services)) == len(files(kept)) == 1


@pytest.mark.parametrize("names", [("x", "x"), (None, None)])
@pytest.mark.gen_test
async def test_of_two_that_race_in_two_processes_one_becomes_a_record(
    client: Client,
    services: Services,
    settings: Settings,
    database_url: str,
    ffmpeg: Path,
    kept: Kept,
    names: tuple[str | None, str | None],
) -> None:
    user = uuid.UUID((await client.register()).id)
    orders = [Order(user, user, name, "a key", len(WAV)) for name in names]
    made = composition.services(settings, database_url=database_url, ffmpeg=ffmpeg)
    async with made as elsewhere:
        uploads = []
        for keeper, order in zip((services.keeper, elsewhere.keeper), orders, strict=True):
            upload = await keeper.begin(order)
            assert isinstance(upload, Upload)
            await upload.write(WAV)
            uploads.append(upload)
        outcomes = await asyncio.gather(
            *(upload.finish() for upload in uploads), return_exceptions=True
        )
        [loser] = [number for number in (0, 1) if isinstance(outcomes[number], Exception)]
        assert isinstance(outcomes[loser], KeyInUse)
        await uploads[loser].abort()
        again = await (services.keeper, elsewhere.keeper)[loser].begin(orders[loser])
    assert again.id == outcomes[1 - loser].id  # type: ignore[union-attr]
    assert len(await rows(services)) == len(files(kept)) == 1


@pytest.mark.gen_test
async def test_in_two_processes_the_key_alone_decides_if_the_libraries_are_two(
    client: Client, services: Services, settings: Settings, database_url: str, ffmpeg: Path
) -> None:
    ann, ben = [uuid.UUID((await client.register(name)).id) for name in ("Ann", "Ben")]
    orders = [Order(owner, ann, None, "a key", len(WAV)) for owner in (ann, ben)]
    made = composition.services(settings, database_url=database_url, ffmpeg=ffmpeg)
    async with made as elsewhere:
        for _ in range(5):
            uploads = [
                await keeper.begin(order)
                for keeper, order in zip((services.keeper, elsewhere.keeper), orders, strict=True)
            ]
            for upload in uploads:
                assert isinstance(upload, Upload)
                await upload.write(WAV)
            outcomes = await asyncio.gather(
                *(upload.finish() for upload in uploads if isinstance(upload, Upload)),
                return_exceptions=True,
            )
            [loser] = [number for number in (0, 1) if isinstance(outcomes[number], Exception)]
            assert isinstance(outcomes[loser], KeyInUse)
            await uploads[loser].abort()  # type: ignore[union-attr]
            await age(services, "25 hours")
    assert len(await rows(services)) == 5


@pytest.mark.expects_log("commit-uncertain")
@pytest.mark.expects_log("swept the files of 1 records", store="disk")
@pytest.mark.gen_test
async def test_after_a_commit_of_which_nobody_could_tell_the_key_tells(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    add = services.records.add

    async def unheard(record: Record, **options: Any) -> None:
        await add(record, **options)
        raise CommitUncertain from OSError("the connection broke")

    async def unreachable(ids: object) -> set[uuid.UUID]:
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(services.records, "add", unheard)
        patched.setattr(services.records, "owners", unreachable)
        assert (await client.upload(user, WAV, headers=keyed())).code == 503
    again = await client.upload(user, WAV, headers=keyed())
    assert again.code == 201
    assert [str(row.id) for row in await rows(services)] == [as_json(again)["id"]]
    assert len(kept.mp3s()) == 1
    await lapse(services)
    # In a bucket the mark has gone with the commit.
    assert await services.audit.sweep() == (0 if kept.is_remote else 1)


@both_ways
@pytest.mark.gen_test
async def test_a_failed_upload_keeps_no_key(client: Client, services: Services, kept: Kept) -> None:
    user = await client.register()
    for wav, status in ((WAV[:-100], 422), (b"no sound at all", 415), (b"", 422)):
        assert (await client.upload(user, wav, headers=keyed())).code == status
        assert await keys(services) == 0
        await assert_nothing_kept(services, kept)
    async with connected(client) as (_, writer):
        writer.write(head(user, "a key", f"Content-Length: {len(WAV)}") + WAV[:20_000])
        await wait_for(lambda: services.keeper.live == 1)
    await wait_for(lambda: services.keeper.live == 0)
    assert (await client.upload(user, WAV, headers=keyed())).code == 201


@pytest.mark.gen_test
async def test_the_key_of_a_deleted_record_counts_as_unused(
    client: Client, services: Services
) -> None:
    user = await client.register()
    first = as_json(await client.upload(user, WAV, headers=keyed()))
    path = first["link"].removeprefix(client.site)
    deleted = await client.fetch(path, method="DELETE", headers=user.bearer)
    assert deleted.code == 204
    assert await keys(services) == 0
    second = await client.upload(user, take(0.3), name="other", headers=keyed())
    assert second.code == 201
    assert as_json(second)["id"] != first["id"]


@pytest.mark.gen_test
async def test_a_renamed_record_is_told_as_it_was_and_by_the_name_of_then(client: Client) -> None:
    user = await client.register()
    first = await client.upload(user, WAV, name="a", headers=keyed())
    path = as_json(first)["link"].removeprefix(client.site)
    await client.fetch(path, method="PATCH", body=b'{"name": "b"}', headers=user.bearer)
    second = await client.upload(user, WAV, name="a", headers=keyed())
    assert (second.code, as_json(second)) == (201, as_json(first))
    assert problem(await client.upload(user, WAV, name="b", headers=keyed()))[0] == 409


@pytest.mark.gen_test
async def test_after_a_day_a_key_counts_as_unused_and_goes(
    client: Client, services: Services
) -> None:
    user = await client.register()
    first = as_json(await client.upload(user, WAV, headers=keyed()))
    await client.upload(user, WAV, headers=keyed("another"))
    await age(services, "23 hours 59 minutes")
    assert as_json(await client.upload(user, WAV, headers=keyed())) == first
    await age(services, "2 minutes")
    again = await client.upload(user, take(0.3), headers=keyed())
    assert (again.code, as_json(again)["id"] != first["id"]) == (201, True)
    assert await keys(services) == 1
    await age(services, "25 hours")
    await services.keys.sweep()
    assert await keys(services) == 0
    assert len(await rows(services)) == 3


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("x" * 255, 201),
        ('"a key"', 201),
        ('"with \\"quotes\\" and \\\\"', 201),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', 201),
        ("", 400),
        ('""', 400),
        ("x" * 256, 400),
        ('"' + "x" * 256 + '"', 400),
        ('"no end', 400),
        ("a\tb", 400),
        ("\u00fc", 400),
    ],
)
@pytest.mark.gen_test
async def test_a_key_is_1_to_255_printable_characters_bare_or_in_quotes(
    client: Client, sent: str, status: int
) -> None:
    user = await client.register()
    response = await client.upload(user, WAV, headers=keyed(sent))
    assert response.code == status
    if status == 400:
        assert as_json(response)["type"] == "/problems/malformed-header"
        assert as_json(response)["header"] == "Idempotency-Key"


@pytest.mark.gen_test
async def test_a_key_in_quotes_is_the_same_as_a_bare_one(client: Client) -> None:
    user = await client.register()
    replies = [await client.upload(user, WAV, headers=keyed(key)) for key in ("k", '"k"')]
    assert as_json(replies[0]) == as_json(replies[1])


@pytest.mark.gen_test
async def test_two_keys_are_none(client: Client) -> None:
    user = await client.register()
    two = head(user, "a\r\nIdempotency-Key: b", f"Content-Length: {len(WAV)}\r\nConnection: close")
    async with connected(client) as (reader, writer):
        writer.write(two + WAV)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")


class TestLimits:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"uploads_per_user": 1, "user_quota_bytes": len(WAV)}

    @pytest.mark.gen_test
    async def test_the_reply_is_given_although_nothing_more_is_taken(
        self, client: Client, services: Services
    ) -> None:
        user = await client.register()
        first = await client.upload(user, WAV, headers=keyed())
        async with connected(client) as (_, writer):
            writer.write(head(user, "b", "Content-Length: 10000") + WAV[:5000])
            await wait_for(lambda: services.keeper.live == 1)
            assert as_json(await client.upload(user, WAV, headers=keyed())) == as_json(first)
