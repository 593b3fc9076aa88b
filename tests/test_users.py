"""/user, /users and /user/token: registering, and one's own account."""

import asyncio
import datetime
import hashlib
import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from tests.client import Account, Client, as_json, both_ways
from tests.stores import Kept
from tests.wavs import take
from umusic.app import Services
from umusic.library.models import Record, User


@both_ways
@pytest.mark.gen_test
async def test_a_new_user_gets_an_id_and_a_token(client: Client) -> None:
    response = await client.fetch("/user", method="POST", body='{"name": " Egor Andreev "}')
    assert response.code == 201
    user = as_json(response)
    assert user["name"] == "Egor Andreev"
    assert uuid.UUID(user["id"]).version == uuid.UUID(user["token"]).version == 4
    created = datetime.datetime.fromisoformat(user["created_at"])
    assert created.utcoffset() is not None
    assert abs(datetime.datetime.now(datetime.UTC) - created) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize("path", ["/user", "/user/"])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.gen_test
async def test_the_json_is_read_whatever_content_type_and_slash(
    client: Client, path: str, content_type: str
) -> None:
    response = await client.fetch(
        path, method="POST", body='{"name": "Ann"}', headers={"Content-Type": content_type}
    )
    assert response.code == 201


@pytest.mark.gen_test
async def test_a_name_that_is_taken_is_409_also_in_another_normal_form(client: Client) -> None:
    await client.register("\u00c9va")
    response = await client.fetch("/user", method="POST", body=json.dumps({"name": "E\u0301va"}))
    assert response.code == 409
    assert as_json(response)["type"] == "/problems/user-name-taken"


@pytest.mark.parametrize("path", ["/user", "/users"])
@pytest.mark.parametrize("field", ["name", "username"])
@pytest.mark.gen_test
async def test_every_spelling_gives_every_word_for_id_and_token(
    client: Client, path: str, field: str
) -> None:
    reply = as_json(await client.fetch(path, method="POST", body=json.dumps({field: "Ann"})))
    assert reply["id"] == reply["user_id"]
    assert reply["token"] == reply["access_token"]
    account = Account(reply["user_id"], reply["access_token"])
    assert (await client.fetch("/user", headers=account.bearer)).code == 200


@pytest.mark.gen_test
async def test_two_registrations_of_one_name_that_race_give_one_201_and_one_409(
    client: Client,
) -> None:
    body = '{"name": "Ann"}'
    replies = await asyncio.gather(
        *(client.fetch("/user", method="POST", body=body) for _ in range(2))
    )
    assert sorted(reply.code for reply in replies) == [201, 409]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("name=Ann", 400),
        ("[]", 400),
        ('"Ann"', 400),
        ('{"name": "Ann"', 400),
        (b'{"name": "\xff"}', 400),
        ("{}", 422),
        ('{"name": 7}', 422),
        ('{"name": null}', 422),
        ('{"username": 7}', 422),
        ('{"username": ""}', 422),
        ('{"user": "Ann"}', 422),
        ('{"name": "  "}', 422),
        ('{"name": "a\\u0000b"}', 422),
        (json.dumps({"name": "x" * 251}), 422),
        (json.dumps({"name": "x" * 70_000}), 413),
        ('{"name": "\\ud800"}', 400),
    ],
)
@pytest.mark.gen_test
async def test_wrong_registrations_are_refused(
    client: Client, body: str | bytes, status: int
) -> None:
    response = await client.fetch("/user", method="POST", body=body)
    assert response.code == status
    assert as_json(response)["status"] == status


@pytest.mark.gen_test
async def test_the_database_holds_only_the_tokens_hash(client: Client, services: Services) -> None:
    account = await client.register()
    async with services.database.reading() as session:
        user = (await session.scalars(select(User))).one()
    assert user.token_sha256 == hashlib.sha256(account.token.encode()).digest()
    assert account.token not in repr(vars(user))


class TestWithRegistrationClosed:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"registration": "closed"}

    @both_ways
    @pytest.mark.parametrize("path", ["/user", "/users/"])
    @pytest.mark.gen_test
    async def test_nobody_registers(self, client: Client, services: Services, path: str) -> None:
        response = await client.fetch(path, method="POST", body='{"name": "Ann"}')
        assert response.code == 403
        assert as_json(response)["type"] == "/problems/registration-closed"
        assert await services.users.page("", 10) == []

    @pytest.mark.gen_test
    async def test_whoever_is_a_user_already_remains_one(
        self, client: Client, services: Services
    ) -> None:
        user, token = await services.users.register("Ann")
        account = Account(str(user.id), token)
        assert (await client.upload(account, take(0.1))).code == 201
        assert (await client.fetch("/user", headers=account.bearer)).code == 200


@both_ways
@pytest.mark.gen_test
async def test_the_account_tells_how_much_is_in_the_library(client: Client) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    receipts = [as_json(await client.upload(user, take(seconds))) for seconds in (0.1, 0.2)]
    await client.upload(other, take(0.1))
    account = as_json(await client.fetch("/user", headers=user.bearer))
    assert (account["id"], account["name"]) == (user.id, "Ann")
    assert account["records"] == 2
    assert account["bytes"] == sum(receipt["size"] for receipt in receipts)
    assert account["seconds"] == pytest.approx(0.3)
    assert account["quota"] is None
    assert datetime.datetime.fromisoformat(account["created_at"]).utcoffset() is not None
    await client.fetch(receipts[0]["link"], method="DELETE", headers=user.bearer)
    account = as_json(await client.fetch("/user", headers=user.bearer))
    assert (account["records"], account["bytes"]) == (1, receipts[1]["size"])
    assert account["seconds"] == 0.2


@both_ways
@pytest.mark.parametrize("path", ["/user/token", "/user/token/"])
@pytest.mark.gen_test
async def test_a_new_token_kills_the_old_one_at_once(client: Client, path: str) -> None:
    user = await client.register()
    response = await client.fetch(path, method="POST", body="", headers=user.bearer)
    assert response.code == 200
    assert response.headers["Cache-Control"] == "no-store"
    renewed = as_json(response)
    assert renewed["id"] == user.id
    assert renewed["token"] != user.token
    assert uuid.UUID(renewed["token"]).version == 4
    assert (await client.fetch("/user", headers=user.bearer)).code == 401
    assert (await client.upload(user, take(0.1))).code == 401
    assert (await client.upload(Account(user.id, renewed["token"]), take(0.1))).code == 201


@pytest.mark.gen_test
async def test_of_many_renewals_with_one_token_one_succeeds(client: Client) -> None:
    user = await client.register()
    replies = await asyncio.gather(
        *(
            client.fetch("/user/token", method="POST", body="", headers=user.bearer)
            for _ in range(5)
        )
    )
    assert sorted(reply.code for reply in replies) == [200, 401, 401, 401, 401]
    [renewed] = [as_json(reply)["token"] for reply in replies if reply.code == 200]
    account = Account(user.id, renewed)
    assert (await client.fetch("/user", headers=account.bearer)).code == 200


@both_ways
@pytest.mark.gen_test
async def test_a_deleted_user_is_gone_with_all_records_and_files(
    client: Client, services: Services, kept: Kept
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    links = [as_json(await client.upload(user, take(0.1)))["link"] for _ in range(3)]
    left = as_json(await client.upload(other, take(0.1)))["link"]
    response = await client.fetch("/user", method="DELETE", headers=user.bearer)
    assert (response.code, response.body) == (204, b"")
    for link in links:
        assert (await client.fetch(link)).code == 404
    assert (await client.fetch("/user", headers=user.bearer)).code == 401
    assert (await client.fetch("/user", method="DELETE", headers=user.bearer)).code == 401
    assert [name.partition("/")[0] for name in kept.names()] == [other.id]
    assert (await client.fetch(left)).code == 200
    assert (await client.register("Ann")).id != user.id


@pytest.mark.gen_test
async def test_what_a_deleted_user_filed_under_others_stays_there(
    client: Client, services: Services
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    link = as_json(await client.upload(user, take(0.1), path=f"/record?user_id={other.id}"))["link"]
    response = await client.fetch("/user", method="DELETE", headers=user.bearer)
    assert response.code == 204
    assert (await client.fetch(link)).code == 200
    [item] = as_json(await client.fetch("/records", headers=other.bearer))["items"]
    assert (item["user"], item["uploader"]) == (other.id, None)


@pytest.mark.parametrize(
    ("deleted", "status"), [("uploader and owner", 401), ("uploader", 401), ("owner", 404)]
)
@pytest.mark.gen_test
async def test_an_upload_that_ends_after_a_user_of_it_was_deleted_leaves_nothing(
    client: Client, services: Services, kept: Kept, deleted: str, status: int
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    owner = user if deleted == "uploader and owner" else other
    gone_user = other if deleted == "owner" else user
    gone = asyncio.Event()

    async def pieces() -> Any:
        yield take(1.0)[:100_000]
        await gone.wait()
        yield take(1.0)[100_000:]

    path = f"/record?user_id={owner.id}"
    uploading = asyncio.ensure_future(client.upload_chunked(user, pieces(), path))
    while not services.keeper.live:
        await asyncio.sleep(0.01)
    assert (await client.fetch("/user", method="DELETE", headers=gone_user.bearer)).code == 204
    gone.set()
    assert (await uploading).code == status
    async with services.database.reading() as session:
        assert (await session.scalars(select(Record))).all() == []
    assert kept.is_empty
