"""POST /user."""

import asyncio
import datetime
import hashlib
import json
import uuid

import pytest
from sqlalchemy import select

from tests.client import Client, as_json, both_ways
from umusic.app import Services
from umusic.library.models import User


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
