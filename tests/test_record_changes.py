"""PATCH and DELETE /record."""

import asyncio
import json
import uuid

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Account, Client, as_json, both_ways
from tests.stores import Kept
from tests.test_uploads import assert_nothing_kept
from tests.wavs import take
from umusic.app import Services


async def patch(client: Client, link: str, account: Account | None, body: object) -> HTTPResponse:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    bearer = account.bearer if account else {}
    return await client.fetch(link, method="PATCH", body=text, headers=bearer)


async def delete(client: Client, link: str, account: Account | None) -> HTTPResponse:
    bearer = account.bearer if account else {}
    return await client.fetch(link, method="DELETE", headers=bearer)


@both_ways
@pytest.mark.gen_test
async def test_a_new_name_is_told_and_kept(client: Client) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(0.1), name="old.wav"))
    response = await patch(
        client, receipt["link"], user, {"name": "C:\\takes\\E\u0301te\u0301.wav"}
    )
    assert response.code == 200
    assert as_json(response)["name"] == "\u00c9t\u00e9.wav"
    assert {**receipt, **as_json(response)} == {**receipt, "name": "\u00c9t\u00e9.wav"}
    info = await client.fetch(receipt["link"].replace("/record?", "/record/info/?"))
    assert as_json(info).items() <= as_json(response).items()
    assert (await client.upload(user, take(0.1), name="old.wav")).code == 201


@pytest.mark.gen_test
async def test_null_takes_the_name_away_and_the_own_name_may_stay(client: Client) -> None:
    user = await client.register()
    link = as_json(await client.upload(user, take(0.1), name="a"))["link"]
    assert as_json(await patch(client, link, user, {"name": "a"}))["name"] == "a"
    assert as_json(await patch(client, link, user, {"name": None}))["name"] is None
    assert (await client.upload(user, take(0.1), name="a")).code == 201


@both_ways
@pytest.mark.gen_test
async def test_a_name_that_is_taken_is_409_with_the_link_of_the_one_that_has_it(
    client: Client,
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    first = as_json(await client.upload(user, take(0.1), name="a"))["link"]
    second = as_json(await client.upload(user, take(0.1), name="b"))["link"]
    elsewhere = as_json(await client.upload(other, take(0.1), name="b"))["link"]
    response = await patch(client, second, user, {"name": "a"})
    assert response.code == 409
    assert as_json(response)["link"] == first
    assert (await patch(client, elsewhere, other, {"name": "a"})).code == 200


@pytest.mark.gen_test
async def test_of_two_that_race_for_a_name_one_gets_it(client: Client) -> None:
    user = await client.register()
    links = [as_json(await client.upload(user, take(0.1)))["link"] for _ in range(2)]
    replies = await asyncio.gather(*(patch(client, link, user, {"name": "a"}) for link in links))
    assert sorted(reply.code for reply in replies) == [200, 409]


@pytest.mark.gen_test
async def test_two_that_swap_their_names_at_once_both_hear_that_they_are_taken(
    client: Client,
) -> None:
    user = await client.register()
    one, two = [as_json(await client.upload(user, take(0.05), name=name))["link"] for name in "ab"]
    for _ in range(20):
        replies = await asyncio.gather(
            patch(client, one, user, {"name": "b"}), patch(client, two, user, {"name": "a"})
        )
        assert [reply.code for reply in replies] == [409, 409]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("name=a", 400),
        ("[]", 400),
        (b'{"name": "\xff"}', 400),
        ("{}", 422),
        ('{"name": 7}', 422),
        ('{"name": ""}', 422),
        ('{"name": "takes/"}', 422),
        ('{"name": ".."}', 422),
        ('{"name": "a\\u0000b"}', 422),
        ('{"name": "a\\r\\nb"}', 422),
        (json.dumps({"name": "x" * 251}), 422),
        (json.dumps({"name": "x" * 70_000}), 413),
    ],
)
@pytest.mark.gen_test
async def test_wrong_changes_are_refused_and_change_nothing(
    client: Client, body: str | bytes, status: int
) -> None:
    user = await client.register()
    link = as_json(await client.upload(user, take(0.1), name="a"))["link"]
    response = await patch(client, link, user, body)
    assert response.code == as_json(response)["status"] == status
    info = await client.fetch(link.replace("/record?", "/record/info?"))
    assert as_json(info)["name"] == "a"


@both_ways
@pytest.mark.gen_test
async def test_a_deleted_record_is_gone_at_once_with_its_file_and_404_the_second_time(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    # nginx would remember a file that it has just sent; test_nginx.py sees for how long.
    link = as_json(await client.upload(user, take(0.1), name="a"))["link"]
    response = await delete(client, link, user)
    assert (response.code, response.body) == (204, b"")
    await assert_nothing_kept(services, kept)
    for gone in (await client.fetch(link), await delete(client, link, user)):
        assert gone.code == 404
        assert as_json(gone)["type"] == "/problems/record-not-found"
    assert (await client.upload(user, take(0.1), name="a")).code == 201


@pytest.mark.gen_test
async def test_the_other_records_of_the_library_stay(client: Client, kept: Kept) -> None:
    user = await client.register()
    links = [as_json(await client.upload(user, take(0.1)))["link"] for _ in range(2)]
    await delete(client, links[0], user)
    assert (await client.fetch(links[1])).code == 200
    assert len(kept.mp3s()) == 1


@pytest.mark.gen_test
async def test_of_many_deletions_of_one_record_one_succeeds(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    link = as_json(await client.upload(user, take(0.1)))["link"]
    replies = await asyncio.gather(*(delete(client, link, user) for _ in range(8)))
    assert sorted(reply.code for reply in replies) == [204] + 7 * [404]
    await assert_nothing_kept(services, kept)


@both_ways
@pytest.mark.parametrize("change", ["PATCH", "DELETE"])
@pytest.mark.gen_test
async def test_only_the_owner_changes_a_record(client: Client, change: str) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    link = as_json(await client.upload(ann, take(0.1), name="a"))["link"]

    async def attempt(link: str, account: Account | None) -> tuple[int, str]:
        if change == "PATCH":
            response = await patch(client, link, account, {"name": "b"})
        else:
            response = await delete(client, link, account)
        return response.code, as_json(response)["type"]

    query = f"id={uuid.uuid4()}&user={ann.id}"
    assert await attempt(link, ben) == (403, "/problems/forbidden")
    assert await attempt(f"/record?{query}", ben) == (404, "/problems/record-not-found")
    assert await attempt(link.replace(ann.id, ben.id), ben) == (404, "/problems/record-not-found")
    assert await attempt(link, None) == (401, "/problems/token-missing")
    assert await attempt(link, Account(ann.id, "none")) == (401, "/problems/token-unknown")
    assert await attempt(f"/record?id={uuid.uuid4()}", ann) == (422, "/problems/invalid-field")
    assert await attempt("/record/?id=1&user=2", ann) == (404, "/problems/record-not-found")
    assert as_json(await client.fetch(link.replace("/record?", "/record/info?")))["name"] == "a"
