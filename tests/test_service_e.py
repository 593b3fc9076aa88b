"""Service E: POST /user with a username, then POST /audiotrack with Bearer and a form that has the
user's id; the reply has the link as audiotrack_url."""

from pathlib import Path

import pytest

from tests.client import both_ways
from tests.senders import Reply, Request, Send, by_every_client
from tests.services import assert_is_mp3_of, bearer


async def register(send: Send, site: str, name: str = "Ann") -> tuple[str, str]:
    reply = await send(Request("POST", f"{site}/user", json={"username": name}))
    assert reply.status == 201
    return reply.json["id"], reply.json["access_token"]


async def upload(send: Send, site: str, user: str, token: str, wav: Path) -> Reply:
    url, form = f"{site}/audiotrack", {"user_id": user}
    return await send(Request("POST", url, bearer(token), form=form, file=("file", wav)))


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_its_script_registers_uploads_and_follows_the_link(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    reply = await upload(send, site, user, token, wav)
    assert reply.status == 201
    await assert_is_mp3_of(send, reply.json["audiotrack_url"], wav, user=user)


@both_ways
@by_every_client
@pytest.mark.gen_test
async def test_its_own_path_of_downloads_is_known_as_well(site: str, send: Send, wav: Path) -> None:
    user, token = await register(send, site)
    link = (await upload(send, site, user, token, wav)).json["audiotrack_url"]
    mp3 = await send(Request("GET", link))
    for path in ("/audiotrack?", "/audiotrack/?"):
        reply = await send(Request("GET", link.replace("/record?", path)))
        assert reply.status == 200
        assert reply.body == mp3.body
        head = await send(Request("GET", link.replace("/record?", path), {"Range": "bytes=0-9"}))
        assert (head.status, head.body) == (206, mp3.body[:10])


@by_every_client
@pytest.mark.gen_test
async def test_no_bearer_or_an_unknown_one_is_401(site: str, send: Send, wav: Path) -> None:
    user, _ = await register(send, site)
    reply = await upload(send, site, user, "none", wav)
    assert reply.problem == (401, "token-unknown")
    form = {"user_id": user}
    reply = await send(Request("POST", f"{site}/audiotrack/", form=form, file=("file", wav)))
    assert reply.problem == (401, "token-missing")
