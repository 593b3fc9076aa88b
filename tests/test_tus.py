"""tus 1.0.0 at /uploads, as its specification has it."""

import asyncio
import base64
import uuid
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Client, as_json, both_ways
from tests.conftest import wait_for
from tests.stores import Kept, files_in
from tests.test_uploads import files, rows
from tests.tus import STREAM, Tus, checksum, metadata, problem
from tests.wavs import take
from umusic.app import Services

WAV = take(0.4)
HALF = len(WAV) // 2


def parts(media_dir: Path) -> list[Path]:
    return files_in(media_dir, ".upload")


@both_ways
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.gen_test
async def test_an_upload_in_two_pieces_becomes_the_record_that_one_piece_becomes(
    client: Client, services: Services, kept: Kept, media_dir: Path, slash: str
) -> None:
    user = await client.register()
    plain = as_json(await client.upload(user, WAV))
    tus = Tus(client, user)
    created = await tus.create(len(WAV), path=f"/uploads{slash}", **metadata(filename="a.wav"))
    assert created.code == 201
    url = created.headers["Location"] + slash
    assert url.startswith(f"{client.site}/uploads/")
    assert created.headers["Upload-Expires"].endswith(" GMT")
    assert await tus.offset(url) == 0
    first = await tus.patch(url, 0, WAV[:HALF])
    assert (first.code, first.headers["Upload-Offset"]) == (204, str(HALF))
    assert first.headers["Upload-Expires"].endswith(" GMT")
    head = await tus.ask("HEAD", url)
    assert head.headers["Upload-Length"] == str(len(WAV))
    assert head.headers["Upload-Metadata"] == metadata(filename="a.wav")["Upload-Metadata"]
    state = await tus.state(url)
    assert (state["state"], state["offset"], state["length"]) == ("uploading", HALF, len(WAV))
    assert (state["name"], state["record"], state["link"]) == ("a.wav", None, None)
    last = await tus.patch(url, HALF, WAV[HALF:])
    assert (last.code, last.headers["Upload-Offset"]) == (204, str(len(WAV)))
    link = last.headers["Content-Location"]
    mp3 = await client.fetch(link)
    assert mp3.body == (await client.fetch(plain["link"])).body
    state = await tus.state(url)
    assert (state["state"], state["link"], state["record"]["link"]) == ("done", link, link)
    assert state["record"]["source"] == plain["source"]
    assert await tus.offset(url) == len(WAV)
    await wait_for(lambda: not parts(media_dir))
    assert len(await rows(services)) == len(files(kept)) == 2


@pytest.mark.parametrize(
    "asks", [{"Prefer": "return=representation"}, {"Accept": "text/html, application/json;q=0.5"}]
)
@pytest.mark.gen_test
async def test_the_last_reply_carries_the_receipt_for_whoever_asks(
    client: Client, asks: dict[str, str]
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    reply = await tus.patch(url, 0, WAV, asks)
    receipt = as_json(reply)
    assert reply.code == 200
    assert reply.headers["Content-Location"] == receipt["link"] == receipt["download_link"]
    assert receipt["source"]["size"] == len(WAV)
    # Whoever lost it asks again.
    again = await tus.patch(url, len(WAV), b"", asks)
    assert (again.code, as_json(again)) == (200, receipt)
    assert (await tus.patch(url, len(WAV), b"")).code == 204
    assert problem(await tus.patch(url, len(WAV), b"more"))[0] == 413


@pytest.mark.gen_test
async def test_options_tell_what_there_is(client: Client, services: Services) -> None:
    for path in ("/uploads", "/uploads/", f"/uploads/{uuid.uuid4()}"):
        reply = await client.fetch(path, method="OPTIONS")
        assert reply.code == 204
        assert reply.headers["Tus-Resumable"] == reply.headers["Tus-Version"] == "1.0.0"
        assert reply.headers["Tus-Max-Size"] == str(services.keeper.limits.upload_bytes)
        assert reply.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
        assert "creation-with-upload" in reply.headers["Tus-Extension"].split(",")


@pytest.mark.gen_test
async def test_another_version_is_412(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    for version in ("", "0.2.2"):
        for method in ("HEAD", "PATCH", "DELETE", "POST"):
            told = {"Tus-Resumable": version, **STREAM, "Upload-Offset": "0"}
            path = "/uploads" if method == "POST" else url
            reply = await tus.ask(method, path, told)
            assert (reply.code, reply.headers["Tus-Version"]) == (412, "1.0.0")


@pytest.mark.gen_test
async def test_creation_with_upload_may_end_it_at_once(client: Client, kept: Kept) -> None:
    user = await client.register()
    tus = Tus(client, user)
    whole = await tus.create(len(WAV), WAV, Prefer="return=representation")
    assert (whole.code, whole.headers["Upload-Offset"]) == (201, str(len(WAV)))
    assert whole.headers["Content-Location"] == as_json(whole)["link"]
    begun = await tus.create(len(WAV), WAV[:HALF])
    assert (begun.code, begun.headers["Upload-Offset"]) == (201, str(HALF))
    last = await tus.patch(begun.headers["Location"], HALF, WAV[HALF:])
    assert last.code == 204
    await wait_for(lambda: len(files(kept)) == 2)


@pytest.mark.gen_test
async def test_a_length_may_come_later(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(None)
    head = await tus.ask("HEAD", url)
    assert (head.headers["Upload-Defer-Length"], "Upload-Length" in head.headers) == ("1", False)
    assert (await tus.patch(url, 0, WAV[:HALF])).code == 204
    told = {"Upload-Length": str(len(WAV))}
    assert (await tus.patch(url, HALF, WAV[HALF:-9], told)).code == 204
    assert (await tus.ask("HEAD", url)).headers["Upload-Length"] == str(len(WAV))
    other = await tus.patch(url, len(WAV) - 9, WAV[-9:], {"Upload-Length": "1"})
    assert problem(other) == (413, "upload-length-exceeded")
    assert "Content-Location" in (await tus.patch(url, len(WAV) - 9, WAV[-9:])).headers
    # All may have come before its length is told.
    url = await tus.begin(None)
    assert (await tus.patch(url, 0, WAV)).code == 204
    assert "Content-Location" in (await tus.patch(url, len(WAV), b"", told)).headers


@pytest.mark.gen_test
async def test_what_creation_refuses(client: Client) -> None:
    user = await client.register()
    tus = Tus(client, user)
    taken = as_json(await client.upload(user, WAV, name="take.wav"))
    reply = await tus.create(9, **metadata(filename="take.wav"))
    assert problem(reply) == (409, "record-name-taken")
    assert as_json(reply)["link"] == taken["link"]
    assert problem(await tus.create(2**50)) == (413, "too-large")
    assert problem(await tus.create(9, **metadata(name="a\0b"))) == (422, "invalid-field")
    assert problem(await tus.create(0)) == (422, "no-sound")
    assert problem(await Tus(client).create(9)) == (401, "token-missing")
    reply = await tus.create(9, Authorization=f"Bearer {uuid.uuid4()}")
    assert problem(reply) == (401, "token-unknown")
    reply = await tus.create(9, WAV, Content_Type="audio/wav")
    assert problem(reply) == (415, "not-an-offset-stream")
    assert problem(await tus.create(9, Content_Encoding="gzip"))[0] == 415
    assert problem(await tus.create(9, **metadata(user_id="x"))) == (422, "invalid-field")
    foreign = await tus.create(9, **metadata(user_id=str(uuid.uuid4())))
    assert foreign.code == 404 or foreign.code == 201
    malformed: list[dict[str, str]] = [
        {"Upload_Length": ""},
        {"Upload_Length": "-1"},
        {"Upload_Length": "1x"},
        {"Upload_Defer_Length": "1"},
        {"Upload_Metadata": "filename ==="},
        {"Upload_Metadata": f"filename {base64.b64encode(bytes([255])).decode()}"},
        {"Upload_Metadata": "a,a"},
        {"Upload_Metadata": "x " + "QUFB" * 2000},
        {"Upload_Concat": "partial"},
    ]
    for headers in malformed:
        assert problem(await tus.create(9, **headers)) == (400, "malformed-header"), headers


@pytest.mark.gen_test
async def test_what_a_patch_refuses(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    wrong = await tus.patch(url, 5, WAV[5:])
    assert problem(wrong) == (409, "wrong-offset")
    assert as_json(wrong)["offset"] == 0
    for offset in ("", "x", "-1"):
        refused = await tus.patch(url, 0, WAV, {"Upload-Offset": offset})
        assert problem(refused) == (400, "malformed-header")
    other = await tus.patch(url, 0, WAV, {"Content-Type": "audio/wav"})
    assert problem(other) == (415, "not-an-offset-stream")
    assert problem(await tus.patch(url, 0, WAV + b"x")) == (413, "upload-length-exceeded")
    for unknown in (uuid.uuid4(), "x"):
        assert problem(await tus.patch(f"/uploads/{unknown}", 0, WAV))[0] == 404
        assert (await tus.ask("HEAD", f"/uploads/{unknown}")).code == 404
    post = await tus.ask("POST", url)
    assert problem(post) == (405, "method-not-allowed")
    assert "PATCH" in post.headers["Allow"]
    assert await tus.offset(url) == 0


ALLOWED = "HEAD, GET, PATCH, DELETE, OPTIONS, POST"


@pytest.mark.gen_test
async def test_the_method_may_be_overridden(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    override = "X-HTTP-Method-Override"
    told = {override: "PATCH", **STREAM, "Upload-Offset": "0"}
    assert (await tus.ask("POST", url, told, WAV[:HALF])).code == 204
    assert await tus.offset(url) == HALF
    head = await tus.ask("POST", url, {override: "HEAD"})
    assert (problem(head)[0], head.headers["Allow"]) == (405, ALLOWED)
    assert (await tus.ask("POST", url, {override: "DELETE"})).code == 204
    assert (await tus.ask("HEAD", url)).code == 410
    assert problem(await tus.ask("POST", url, {override: "BREW"}))[0] == 405
    assert problem(await tus.ask("PUT", url, told, WAV))[0] == 405


@pytest.mark.gen_test
async def test_another_method_is_405_and_says_which_version_there_is(client: Client) -> None:
    for method, path, allowed in (
        ("GET", "/uploads", "POST, OPTIONS"),
        ("PATCH", "/uploads/", "POST, OPTIONS"),
        ("PUT", f"/uploads/{uuid.uuid4()}", ALLOWED),
        ("BREW", f"/uploads/{uuid.uuid4()}", ALLOWED),
    ):
        reply = await client.fetch(path, method=method)
        assert problem(reply) == (405, "method-not-allowed")
        assert reply.headers["Allow"] == allowed


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.gen_test
async def test_bytes_count_if_they_have_their_checksum(client: Client, algorithm: str) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    assert (await tus.patch(url, 0, WAV[:99])).code == 204
    wrong = await tus.patch(url, 99, WAV[99:HALF], checksum(b"other", algorithm))
    assert problem(wrong) == (460, "checksum-mismatch")
    assert wrong.reason == "Checksum Mismatch"
    assert await tus.offset(url) == 99
    right = await tus.patch(url, 99, WAV[99:HALF], checksum(WAV[99:HALF], algorithm))
    assert (right.code, right.headers["Upload-Offset"]) == (204, str(HALF))
    wrong = await tus.patch(url, HALF, WAV[HALF:], checksum(b"other", algorithm))
    assert wrong.code == 460
    for bad in ("md5 AAAA", "sha1 ?", "sha1"):
        refused = await tus.patch(url, HALF, WAV[HALF:], {"Upload-Checksum": bad})
        assert refused.code in (400, 460)
    last = await tus.patch(url, HALF, WAV[HALF:], checksum(WAV[HALF:], algorithm))
    assert "Content-Location" in last.headers


@both_ways
@pytest.mark.gen_test
async def test_a_termination_removes_what_there_is(client: Client, media_dir: Path) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    await tus.patch(url, 0, WAV[:HALF])
    assert len(parts(media_dir)) == 1
    assert (await tus.ask("DELETE", url)).code == 204
    assert not parts(media_dir)
    assert (await tus.ask("HEAD", url)).code == 410
    for reply in (
        await tus.patch(url, HALF, WAV[HALF:]),
        await tus.ask("DELETE", url),
        await tus.ask("GET", url),
    ):
        assert problem(reply) == (410, "upload-terminated")


@both_ways
@pytest.mark.gen_test
async def test_a_wav_that_is_none_refuses_the_patch_and_ends_the_upload(
    client: Client, services: Services, media_dir: Path
) -> None:
    tus = Tus(client, await client.register())
    sent = b"no WAV at all, this " * 100_000
    url = await tus.begin(len(sent))
    assert problem(await tus.patch(url, 0, sent)) == (415, "not-a-wav")
    await wait_for(lambda: not parts(media_dir))
    assert (await tus.ask("HEAD", url)).code == 410
    reply = await tus.patch(url, 0, sent)
    assert problem(reply) == (410, "upload-failed")
    state = await tus.state(url)
    assert (state["state"], state["problem"]["cause"]) == ("failed", "not-a-wav")
    cut_short = await tus.begin(len(WAV) - 100)
    assert problem(await tus.patch(cut_short, 0, WAV[:-100])) == (422, "broken-wav")
    assert (await tus.state(cut_short))["problem"]["cause"] == "broken-wav"


@pytest.mark.gen_test
async def test_of_two_with_one_name_the_second_fails_at_its_end(client: Client) -> None:
    user = await client.register()
    tus = Tus(client, user)
    urls = [await tus.begin(len(WAV), filename="one.wav") for _ in range(2)]
    first, second = [await tus.patch(url, 0, WAV) for url in urls]
    assert first.code == 204
    assert problem(second) == (409, "record-name-taken")
    assert as_json(second)["link"] == first.headers["Content-Location"]


@pytest.mark.gen_test
async def test_a_deleted_user_takes_uploads_along(client: Client, kept: Kept) -> None:
    user = await client.register()
    tus = Tus(client, user)
    url = await tus.begin(len(WAV))
    await tus.patch(url, 0, WAV[:HALF])
    assert (await client.fetch("/user", method="DELETE", headers=user.bearer)).code == 204
    assert (await tus.ask("HEAD", url)).code == 404
    assert kept.is_empty


@pytest.mark.gen_test
async def test_a_deleted_record_takes_what_is_known_of_its_upload_along(client: Client) -> None:
    user = await client.register()
    tus = Tus(client, user)
    url = await tus.begin(len(WAV))
    link = (await tus.patch(url, 0, WAV)).headers["Content-Location"]
    assert (await client.fetch(link, method="DELETE", headers=user.bearer)).code == 204
    assert (await tus.ask("HEAD", url)).code == 404


class TestQuota:
    """Uploads that are on their way count towards it."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"user_quota_bytes": 2 * len(WAV)}

    @pytest.mark.gen_test
    async def test_what_is_announced_is_reserved(self, client: Client) -> None:
        user = await client.register()
        tus = Tus(client, user)
        url = await tus.begin(len(WAV))
        assert problem(await tus.create(len(WAV) + 1)) == (413, "quota-exceeded")
        assert (await client.upload(user, take(0.5))).code == 413
        assert "Content-Location" in (await tus.patch(url, 0, WAV)).headers
        assert (await tus.create(len(WAV) + 1)).code == 201

    @pytest.mark.gen_test
    async def test_one_of_open_length_is_refused_as_it_grows(self, client: Client) -> None:
        tus = Tus(client, await client.register())
        open_end = await tus.begin(None)
        await tus.begin(len(WAV))
        assert (await tus.patch(open_end, 0, WAV[:-1])).code == 204
        assert problem(await tus.patch(open_end, len(WAV) - 1, b"xx")) == (413, "quota-exceeded")
        assert await tus.offset(open_end) == len(WAV) - 1


class TestExpiry:
    """What is given up by its client."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"upload_expiry": 0.5}

    @pytest.mark.gen_test
    async def test_what_has_expired_is_gone_and_then_forgotten(
        self, client: Client, services: Services, media_dir: Path
    ) -> None:
        tus = Tus(client, await client.register())
        url = await tus.begin(len(WAV))
        done = await tus.begin(len(WAV))
        await tus.patch(url, 0, WAV[:HALF])
        await services.resumptions.tend()
        assert await tus.offset(url) == HALF
        assert (await tus.patch(done, 0, WAV)).code == 204
        await asyncio.sleep(0.55)
        await services.resumptions.tend()
        assert not parts(media_dir)
        gone: HTTPResponse = await tus.ask("GET", url)
        assert problem(gone) == (410, "upload-expired")
        await asyncio.sleep(0.55)
        await services.resumptions.tend()
        for each in (url, done):
            assert (await tus.ask("HEAD", each)).code == 404
        assert len(await rows(services)) == 1
