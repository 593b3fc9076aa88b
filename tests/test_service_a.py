"""Service A: POST /user, then POST /audio with id and token in the query; it gets a bare link."""

from pathlib import Path

import pytest

from tests.client import both_ways
from tests.senders import Request, Send, by_every_client
from tests.services import MISSING, assert_is_mp3_of, is_uuid4


async def register(send: Send, site: str, name: str = "Ann") -> tuple[str, str]:
    reply = await send(Request("POST", f"{site}/user", json={"name": name}))
    assert reply.status == 201
    assert reply.json["name"] == name
    assert reply.json["created_at"]
    assert is_uuid4(reply.json["id"])
    assert is_uuid4(reply.json["token"])
    return reply.json["id"], reply.json["token"]


def upload(site: str, user: str, token: str, wav: Path) -> Request:
    return Request("POST", f"{site}/audio?user_id={user}&token={token}", file=("file", wav))


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_its_script_registers_uploads_and_follows_the_link(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    reply = await send(upload(site, user, token, wav))
    assert reply.status == 201
    assert reply.headers["content-type"] == "application/json"
    assert isinstance(reply.json, str)
    assert reply.json.startswith(f"{site}/record?id=")
    await assert_is_mp3_of(send, reply.json, wav, user=user)


@by_every_client
@pytest.mark.gen_test
async def test_a_slash_at_the_end_makes_no_difference(site: str, send: Send, wav: Path) -> None:
    reply = await send(Request("POST", f"{site}/user/", json={"name": "Ann"}))
    query = f"user_id={reply.json['id']}&token={reply.json['token']}"
    reply = await send(Request("POST", f"{site}/audio/?{query}", file=("audio", wav)))
    assert reply.status == 201
    assert isinstance(reply.json, str)


@by_every_client
@pytest.mark.gen_test
async def test_a_pair_that_is_unknown_is_404_in_its_words(site: str, send: Send, wav: Path) -> None:
    user, token = await register(send, site)
    other, _ = await register(send, site, "Ben")
    for pair in ((MISSING, token), ("7", token), (user, MISSING), (user, "no"), (other, token)):
        reply = await send(upload(site, *pair, wav))
        assert reply.problem == (404, "user-token-not-found")
        assert reply.json["detail"] == "Doesn't exist such user + token"


@by_every_client
@pytest.mark.gen_test
async def test_a_name_that_is_taken_is_409(site: str, send: Send) -> None:
    await register(send, site)
    reply = await send(Request("POST", f"{site}/user", json={"name": "Ann"}))
    assert reply.problem == (409, "user-name-taken")
