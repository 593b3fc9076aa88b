"""Service D: POST /users, where a name that is taken is 200; then POST /users/wav, a form with the
JSON of id and access_token in the field `data`."""

import json
from pathlib import Path

import pytest

from tests.client import both_ways
from tests.senders import Reply, Request, Send, by_every_client
from tests.services import MISSING, assert_is_mp3_of


async def register(send: Send, site: str, name: str = "Ann") -> tuple[str, str]:
    reply = await send(Request("POST", f"{site}/users", json={"name": name}))
    assert reply.status == 201
    return reply.json["id"], reply.json["access_token"]


async def upload(send: Send, site: str, user: str, token: str, wav: Path) -> Reply:
    data = json.dumps({"user_id": user, "access_token": token})
    url = f"{site}/users/wav"
    return await send(Request("POST", url, form={"data": data}, file=("audio_file", wav)))


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_its_script_registers_uploads_and_follows_the_link(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    reply = await upload(send, site, user, token, wav)
    assert reply.status == 201
    await assert_is_mp3_of(send, reply.json["link"], wav, user=user)


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_a_name_that_is_taken_is_200_and_says_so(site: str, send: Send) -> None:
    await register(send, site)
    for path in ("/users", "/users/"):
        reply = await send(Request("POST", site + path, json={"name": "Ann"}))
        assert (reply.status, reply.json) == (200, {"error_name": "user with name already is"})


@by_every_client
@pytest.mark.gen_test
async def test_a_wrong_id_a_wrong_token_and_a_name_already_there_are_errors(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    assert (await upload(send, site, MISSING, token, wav)).problem[0] == 404
    assert (await upload(send, site, user, MISSING, wav)).problem[0] == 404
    assert (await upload(send, site, "7", token, wav)).problem[0] == 404
    assert (await upload(send, site, user, token, wav)).status == 201
    assert (await upload(send, site, user, token, wav)).problem[0] == 409


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("{", (400, "malformed-json")),
        ("[]", (400, "malformed-json")),
        ("{}", (401, "token-missing")),
        ('{"user_id": "7", "access_token": "t"}', (404, "user-token-not-found")),
        ('{"user_id": 7, "access_token": "t"}', (422, "invalid-field")),
        ('{"user_id": "7", "access_token": null}', (401, "token-missing")),
    ],
)
@by_every_client
@pytest.mark.gen_test
async def test_data_that_is_wrong_is_told(
    site: str, send: Send, wav: Path, data: str, problem: tuple[int, str]
) -> None:
    url = f"{site}/users/wav/"
    reply = await send(Request("POST", url, form={"data": data}, file=("audio_file", wav)))
    assert reply.problem == problem


@by_every_client
@pytest.mark.gen_test
async def test_a_field_of_that_name_may_mean_something_else_to_others(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    form = {"user_id": user, "token": token, "data": "my first take"}
    reply = await send(Request("POST", f"{site}/record", form=form, file=("file", wav)))
    assert reply.status == 201
