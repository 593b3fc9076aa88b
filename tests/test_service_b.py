"""Service B: POST /user/ with a username, then POST /record/?user_id=… with Bearer and a form; the
user named there may be another one than the sender."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client, as_json, both_ways
from tests.senders import Reply, Request, Send, by_every_client
from tests.services import MISSING, assert_is_mp3_of, bearer
from tests.stores import Kept
from tests.wavs import take


async def register(send: Send, site: str, name: str = "Ann") -> tuple[str, str]:
    reply = await send(Request("POST", f"{site}/user/", json={"username": name}))
    assert reply.status == 201
    return reply.json["user_id"], reply.json["token"]


async def upload(send: Send, site: str, user: str, token: str, wav: Path) -> Reply:
    url = f"{site}/record/?user_id={user}"
    return await send(Request("POST", url, bearer(token), file=("file", wav)))


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
async def test_an_upload_is_filed_under_another_user_and_its_uploader_is_kept(
    site: str, send: Send, wav: Path
) -> None:
    ann, anns = await register(send, site)
    ben, bens = await register(send, site, "Ben")
    reply = await upload(send, site, ben, anns, wav)
    assert reply.status == 201
    assert (reply.json["user"], reply.json["uploader"]) == (ben, ann)
    await assert_is_mp3_of(send, reply.json["link"], wav, user=ben)
    listed = await send(Request("GET", f"{site}/records", bearer(bens)))
    assert [item["uploader"] for item in listed.json["items"]] == [ann]
    listed = await send(Request("GET", f"{site}/records", bearer(anns)))
    assert listed.json["items"] == []


@by_every_client
@pytest.mark.gen_test
async def test_the_uploader_has_no_right_over_what_is_filed_elsewhere(
    site: str, send: Send, wav: Path
) -> None:
    _, anns = await register(send, site)
    ben, _ = await register(send, site, "Ben")
    link = (await upload(send, site, ben, anns, wav)).json["link"]
    assert (await send(Request("DELETE", link, bearer(anns)))).problem == (403, "forbidden")
    renaming = Request("PATCH", link, bearer(anns), json={"name": "mine.wav"})
    assert (await send(renaming)).problem == (403, "forbidden")
    assert (await send(Request("GET", link))).status == 200


@by_every_client
@pytest.mark.gen_test
async def test_a_user_who_is_not_there_is_404_and_no_bearer_401(
    site: str, send: Send, wav: Path
) -> None:
    user, token = await register(send, site)
    reply = await upload(send, site, MISSING, token, wav)
    assert reply.problem == (404, "user-not-found")
    reply = await upload(send, site, user, "none", wav)
    assert reply.problem == (401, "token-unknown")
    reply = await send(Request("POST", f"{site}/record/?user_id={user}", file=("file", wav)))
    assert reply.problem == (401, "token-missing")
    assert reply.headers["www-authenticate"] == "Bearer"


@by_every_client
@pytest.mark.gen_test
async def test_a_foreign_library_tells_nothing_of_what_is_in_it(
    site: str, send: Send, wav: Path
) -> None:
    _, anns = await register(send, site)
    ben, bens = await register(send, site, "Ben")
    own = await upload(send, site, ben, bens, wav)
    foreign = await upload(send, site, ben, anns, wav)
    assert foreign.problem == (409, "record-name-taken")
    for secret in ("link", "record", "user"):
        assert secret not in foreign.json
    assert own.json["id"] not in foreign.body.decode()
    assert (await upload(send, site, ben, bens, wav)).json["link"] == own.json["link"]


@pytest.mark.gen_test
async def test_two_that_race_for_a_name_in_a_foreign_library_hear_no_more(
    client: Client,
) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    path = f"/record?user_id={ben.id}&name=x"
    replies = await asyncio.gather(*(client.upload(ann, take(0.3), path=path) for _ in range(2)))
    assert sorted(reply.code for reply in replies) == [201, 409]
    [loser] = [as_json(reply) for reply in replies if reply.code == 409]
    assert "link" not in loser


class TestWithFilingForOthersOff:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"file_for_others": False}

    @both_ways
    @by_every_client
    @pytest.mark.gen_test
    async def test_one_files_for_oneself_only(
        self, site: str, send: Send, wav: Path, kept: Kept
    ) -> None:
        ann, anns = await register(send, site)
        ben, _ = await register(send, site, "Ben")
        for other in (ben, MISSING):
            reply = await upload(send, site, other, anns, wav)
            assert reply.problem == (403, "filing-for-others-off")
        assert kept.is_empty
        assert (await upload(send, site, ann, anns, wav)).status == 201
