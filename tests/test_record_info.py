"""GET /record/info: what is known of a record."""

import hashlib
import uuid

import pytest

from tests.client import Client, as_json, both_ways
from tests.wavs import take


@both_ways
@pytest.mark.parametrize("path", ["/record/info?", "/record/info/?"])
@pytest.mark.gen_test
async def test_it_tells_the_same_as_the_receipt_and_needs_no_token(
    client: Client, path: str
) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(1.0), name="take.wav"))
    response = await client.fetch(receipt["link"].replace("/record?", path))
    assert response.code == 200
    info = as_json(response)
    assert info.items() <= receipt.items()
    assert "uploader" not in info
    assert (info["name"], info["duration"], info["sample_rate"]) == ("take.wav", 1.0, 44100)
    assert (info["channels"], info["source"]["format"]) == (2, "s16le")
    mp3 = (await client.fetch(info["link"])).body
    assert (info["size"], info["sha256"]) == (len(mp3), hashlib.sha256(mp3).hexdigest())
    assert info["bitrate"] == len(mp3) * 8


@pytest.mark.gen_test
async def test_head_gives_the_same_headers_without_a_body(client: Client) -> None:
    user = await client.register()
    link = as_json(await client.upload(user, take(0.1)))["link"]
    url = link.replace("/record?", "/record/info?")
    got, head = await client.fetch(url), await client.fetch(url, method="HEAD")
    assert (head.code, head.body) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@both_ways
@pytest.mark.gen_test
async def test_an_unknown_record_and_one_of_another_library_are_404(client: Client) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    record = as_json(await client.upload(ann, take(0.1)))["id"]
    for query in (f"id={uuid.uuid4()}&user={ann.id}", f"id={record}&user={ben.id}", "id=1&user=2"):
        response = await client.fetch(f"/record/info?{query}")
        assert response.code == 404
        assert as_json(response)["detail"] == "Audio file is not found"


@pytest.mark.gen_test
async def test_a_file_of_that_name_can_be_put_all_the_same(client: Client) -> None:
    user = await client.register()
    response = await client.upload(user, take(0.1), method="PUT", path="/record/info")
    assert response.code == 201
    assert as_json(response)["name"] == "info"
