"""Service C: POST /users, then POST /record with id and token in the query and a form; the reply
has the link as download_link."""

from pathlib import Path

import pytest

from tests.client import both_ways
from tests.senders import Reply, Request, Send, by_every_client
from tests.services import assert_is_mp3_of


async def register(send: Send, site: str, name: str = "Ann") -> tuple[str, str]:
    reply = await send(Request("POST", f"{site}/users", json={"name": name}))
    assert reply.status == 201
    return reply.json["id"], reply.json["token"]


async def upload(send: Send, site: str, user: str, token: str, wav: Path) -> Reply:
    url = f"{site}/record?user_id={user}&token={token}"
    return await send(Request("POST", url, file=("wav_file", wav)))


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_its_script_registers_uploads_and_follows_the_link(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    reply = await upload(send, site, user, token, wav)
    assert reply.status == 201
    await assert_is_mp3_of(send, reply.json["download_link"], wav, user=user)


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_the_same_file_name_again_is_409_but_not_in_another_library(
    site: str, send: Send, wav: Path
) -> None:
    ann, ben = await register(send, site), await register(send, site, "Ben")
    first = await upload(send, site, *ann, wav)
    again = await upload(send, site, *ann, wav)
    assert again.problem == (409, "record-name-taken")
    assert again.json["link"] == first.json["download_link"]
    assert (await upload(send, site, *ben, wav)).status == 201


@by_every_client
@pytest.mark.gen_test
async def test_an_unknown_pair_is_404(site: str, send: Send, wav: Path) -> None:
    user, _ = await register(send, site)
    reply = await upload(send, site, user, "none", wav)
    assert reply.problem == (404, "user-token-not-found")
