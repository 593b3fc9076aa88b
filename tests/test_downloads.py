"""GET and HEAD /record."""

import base64
import datetime
import hashlib
import uuid
from typing import Any

import pytest
from tornado.httputil import format_timestamp

from tests.client import Client, as_json, both_ways
from tests.stores import Kept
from tests.wavs import take


async def stored(client: Client) -> tuple[str, bytes]:
    """The link of a fresh record, and its MP3."""
    user = await client.register(str(uuid.uuid4()))
    link = as_json(await client.upload(user, take(1.0)))["link"]
    return link, (await client.fetch(link)).body


@both_ways
@pytest.mark.gen_test
async def test_a_download_bears_the_contracts_headers(client: Client) -> None:
    link, mp3 = await stored(client)
    for method in ("GET", "HEAD"):
        response = await client.fetch(link, method=method)
        record_id = link.partition("id=")[2].partition("&")[0]
        assert response.code == 200
        assert response.headers["Content-Type"] == "audio/mpeg"
        assert response.headers["Content-Length"] == str(len(mp3))
        assert response.headers["Content-Disposition"] == f'attachment; filename="{record_id}.mp3"'
        assert response.headers["Accept-Ranges"] == "bytes"
        assert "Last-Modified" in response.headers
        digest = base64.b64encode(hashlib.sha256(mp3).digest()).decode()
        assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        assert response.body == (mp3 if method == "GET" else b"")


@both_ways
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, None), ("bytes=-50", -50, None)],
)
@pytest.mark.gen_test
async def test_a_range_gives_206_and_its_part(
    client: Client, asked: str, start: int, end: int | None
) -> None:
    link, mp3 = await stored(client)
    response = await client.fetch(link, headers={"Range": asked})
    assert response.code == 206
    assert response.body == mp3[start:end]
    first = start % len(mp3)
    last = (len(mp3) if end is None else end) - 1
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(mp3)}"


@both_ways
@pytest.mark.parametrize(
    "condition",
    [{"If-Match": '"other"'}, {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}],
)
@pytest.mark.gen_test
async def test_a_precondition_that_fails_is_412(client: Client, condition: dict[str, str]) -> None:
    link, _ = await stored(client)
    response = await client.fetch(link, headers=condition)
    assert response.code == 412
    assert response.headers["Content-Type"] == "application/problem+json"
    etag = (await client.fetch(link)).headers["Etag"]
    assert (await client.fetch(link, headers={"If-Match": etag})).code == 200


@both_ways
@pytest.mark.gen_test
async def test_a_range_outside_of_the_file_is_416(client: Client) -> None:
    link, mp3 = await stored(client)
    response = await client.fetch(link, headers={"Range": f"bytes={len(mp3)}-"})
    assert response.code == 416
    assert response.headers["Content-Type"] == "application/problem+json"
    assert as_json(response)["status"] == 416
    assert response.headers["Content-Range"] == f"bytes */{len(mp3)}"


@both_ways
@pytest.mark.gen_test
async def test_what_the_client_has_already_is_304(client: Client) -> None:
    link, _ = await stored(client)
    first = await client.fetch(link)
    for condition in (
        {"If-None-Match": first.headers["Etag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        response = await client.fetch(link, headers=condition)
        assert response.code == 304
        assert response.body == b""
    assert (await client.fetch(link, headers={"If-None-Match": '"other"'})).code == 200


@both_ways
@pytest.mark.gen_test
async def test_if_range_gives_the_part_only_of_what_the_client_knows(client: Client) -> None:
    link, mp3 = await stored(client)
    headers = (await client.fetch(link)).headers
    for validator in (headers["Etag"], headers["Last-Modified"]):
        response = await client.fetch(link, headers={"Range": "bytes=0-9", "If-Range": validator})
        assert (response.code, response.body) == (206, mp3[:10])
    for validator in ('"other"', "Sat, 01 Jan 2000 00:00:00 GMT"):
        response = await client.fetch(link, headers={"Range": "bytes=0-9", "If-Range": validator})
        assert (response.code, response.body) == (200, mp3)


@both_ways
@pytest.mark.gen_test
async def test_all_ways_and_stores_make_the_same_etag(client: Client) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(0.1)))
    created = int(datetime.datetime.fromisoformat(receipt["created_at"]).timestamp())
    headers = (await client.fetch(receipt["link"])).headers
    assert headers["Etag"] == f'"{created:x}-{receipt["size"]:x}"'
    assert headers["Last-Modified"] == format_timestamp(created)


@both_ways
@pytest.mark.gen_test
async def test_an_unknown_record_is_404(client: Client) -> None:
    link, _ = await stored(client)
    other = await client.register("Ben")
    record_id = link.partition("id=")[2].partition("&")[0]
    for query in (
        f"id={uuid.uuid4()}&user={other.id}",
        f"id={record_id}&user={other.id}",
        "id=../../etc/passwd&user=x",
    ):
        response = await client.fetch(f"/record?{query}")
        assert response.code == 404
        assert as_json(response)["detail"] == "Audio file is not found"


@pytest.mark.gen_test
async def test_a_link_without_id_or_user_is_422(client: Client) -> None:
    assert (await client.fetch("/record")).code == 422
    assert (await client.fetch(f"/record?id={uuid.uuid4()}")).code == 422


@pytest.mark.gen_test
async def test_the_user_may_be_spelled_user_id(client: Client) -> None:
    link, mp3 = await stored(client)
    assert (await client.fetch(link.replace("&user=", "&user_id="))).body == mp3


@both_ways
@pytest.mark.gen_test
async def test_a_file_that_has_gone_missing_is_404(
    client: Client, kept: Kept, via: str, request: pytest.FixtureRequest
) -> None:
    receipt = as_json(await client.upload(await client.register(), take(0.1)))
    [name] = kept.mp3s()
    kept.remove(name)
    # Where nginx fetches it from elsewhere umusic does not know.
    if via == "direct" or not kept.is_remote:
        request.applymarker(pytest.mark.expects_log("the file of a record is missing"))
    for more in ({}, {"If-None-Match": '"other"'}, {"Range": "bytes=0-9"}):
        response = await client.fetch(receipt["link"], headers=more)
        assert response.code == 404
        assert response.headers["Content-Type"] == "application/problem+json"
        assert as_json(response)["detail"] == "Audio file is not found"
        assert "attachment" not in response.headers.get("Content-Disposition", "")


class TestLinks:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"public_url": "https://music.example/umusic/"}

    @pytest.mark.gen_test
    async def test_links_begin_with_the_public_url_if_one_is_set(self, client: Client) -> None:
        user = await client.register()
        link = as_json(await client.upload(user, take(0.1)))["link"]
        assert link.startswith("https://music.example/umusic/record?id=")


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "music.example"}


@pytest.mark.gen_test
async def test_a_trusted_proxy_tells_scheme_and_host(client: Client) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(0.1), headers=FORWARDED))
    assert receipt["link"].startswith("https://music.example/record?")


class TestUntrustedPeers:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"trusted_proxies": "10.0.0.0/8"}

    @pytest.mark.gen_test
    async def test_others_than_trusted_proxies_tell_nothing(self, client: Client) -> None:
        user = await client.register()
        receipt = as_json(await client.upload(user, take(0.1), headers=FORWARDED))
        assert receipt["link"].startswith(f"{client.site}/record?")
