"""POST and PUT /record."""

import asyncio
import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.client import Client, as_json, both_ways, form
from tests.decoders import decoded_samples
from tests.services import MISSING
from tests.stores import Kept
from tests.wavs import pieces, take, tone, wav
from umusic.app import Services
from umusic.library.models import Claim, Record

ONE_SECOND = 44100


def files(kept: Kept) -> list[str]:
    return kept.names()


async def rows(services: Services) -> list[Record]:
    async with services.database.transaction() as session:
        return list(await session.scalars(select(Record)))


async def assert_nothing_kept(services: Services, kept: Kept) -> None:
    assert await rows(services) == []
    assert kept.is_empty
    assert services.keeper.live == 0
    async with services.database.reading() as session:
        assert (await session.scalars(select(Claim))).all() == []


@both_ways
@pytest.mark.gen_test
async def test_a_wav_becomes_an_mp3_behind_a_link(
    client: Client, tmp_path: Path, ffmpeg: Path
) -> None:
    user = await client.register()
    response = await client.upload(user, take(1.0), name="take.wav")
    assert response.code == 201
    receipt = as_json(response)
    assert receipt["link"] == response.headers["Location"]
    assert receipt["link"] == f"{client.site}/record?id={receipt['id']}&user={user.id}"
    mp3 = await client.fetch(receipt["link"])
    assert mp3.code == 200
    (tmp_path / "got.mp3").write_bytes(mp3.body)
    assert set(decoded_samples(tmp_path / "got.mp3", ffmpeg, 2).values()) == {ONE_SECOND}


@both_ways
@pytest.mark.gen_test
async def test_the_reply_is_a_receipt_of_what_arrived_and_what_was_kept(client: Client) -> None:
    user = await client.register()
    sent = take(1.0)
    receipt = as_json(await client.upload(user, sent, name="take.wav"))
    mp3 = (await client.fetch(receipt["link"])).body
    assert receipt["source"] == {
        "format": "s16le",
        "sample_rate": 44100,
        "channels": 2,
        "samples": ONE_SECOND,
        "size": len(sent),
        "sha256": hashlib.sha256(sent).hexdigest(),
    }
    assert receipt["size"] == len(mp3)
    assert receipt["sha256"] == hashlib.sha256(mp3).hexdigest()
    assert receipt["samples"] == ONE_SECOND
    assert receipt["duration"] == 1.0
    assert receipt["bitrate"] == len(mp3) * 8
    assert receipt["name"] == "take.wav"
    assert receipt["user"] == receipt["uploader"] == user.id
    assert receipt["download_link"] == receipt["link"]
    assert uuid.UUID(receipt["id"]).version == 4


@both_ways
@pytest.mark.gen_test
async def test_put_and_chunked_bodies_are_taken(client: Client) -> None:
    user = await client.register()
    response = await client.upload_chunked(user, pieces(take(0.5), 999), "/record/")
    assert response.code == 201
    assert as_json(response)["samples"] == ONE_SECOND // 2


@both_ways
@pytest.mark.gen_test
async def test_a_multipart_form_is_taken_with_its_filename_as_name(client: Client) -> None:
    user = await client.register()
    content_type, body = form({"note": "first"}, take(0.5), "Übung 1.wav")
    response = await client.upload(user, body, headers={"Content-Type": content_type})
    assert response.code == 201
    assert as_json(response)["name"] == "Übung 1.wav"
    assert as_json(response)["source"]["sha256"] == hashlib.sha256(take(0.5)).hexdigest()


@pytest.mark.gen_test
async def test_credentials_may_stand_in_the_query(client: Client) -> None:
    user = await client.register()
    response = await client.upload(
        None, take(0.1), path=f"/record?user_id={user.id}&token={user.token}"
    )
    assert response.code == 201
    assert as_json(response)["user"] == user.id


@pytest.mark.gen_test
async def test_credentials_may_stand_in_form_fields_before_the_file(client: Client) -> None:
    user = await client.register()
    content_type, body = form({"user_id": user.id, "token": user.token}, take(0.1))
    response = await client.upload(None, body, headers={"Content-Type": content_type})
    assert response.code == 201


@pytest.mark.gen_test
async def test_a_file_before_its_credentials_is_400_and_says_so(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    content_type, body = form({}, take(0.1))
    late = form({"user_id": user.id, "token": user.token}, None)[1]
    body = body.removesuffix(b"--b0und--\r\n") + late
    response = await client.upload(None, body, headers={"Content-Type": content_type})
    assert response.code == 400
    assert "before the file" in as_json(response)["detail"]
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_library_that_is_named_after_the_file_is_400_but_the_own_one_is_no_trouble(
    client: Client, services: Services, kept: Kept
) -> None:
    ann, ben = await client.register("Ann"), await client.register("Ben")
    content_type, body = form({}, take(0.1))
    for library, status in ((ben, 400), (ann, 201)):
        late = body.removesuffix(b"--b0und--\r\n") + form({"user_id": library.id}, None)[1]
        response = await client.upload(ann, late, headers={"Content-Type": content_type})
        assert response.code == status
        assert len(await rows(services)) == len(files(kept)) == (status == 201)


@pytest.mark.gen_test
async def test_a_large_form_without_credentials_is_not_read_to_its_end(client: Client) -> None:
    user = await client.register()
    for fields, status in (({}, 400), ({"user_id": user.id}, 401)):
        content_type, body = form(fields, take(20.0))
        response = await client.upload(None, body, headers={"Content-Type": content_type})
        assert response.code == status


@pytest.mark.gen_test
async def test_wrong_credentials_in_a_form_are_told_as_such(client: Client) -> None:
    user = await client.register()
    content_type, body = form({"user_id": user.id, "token": "wrong"}, take(0.1))
    response = await client.upload(None, body, headers={"Content-Type": content_type})
    assert (response.code, as_json(response)["type"]) == (404, "/problems/user-token-not-found")
    content_type, body = form({"user_id": str(uuid.uuid4())}, take(0.1))
    response = await client.upload(user, body, headers={"Content-Type": content_type})
    assert (response.code, as_json(response)["type"]) == (404, "/problems/user-not-found")


@pytest.mark.gen_test
async def test_put_takes_the_name_from_the_path(client: Client) -> None:
    user = await client.register()
    response = await client.upload(user, take(0.1), method="PUT", path="/record/a%20take.wav")
    assert as_json(response)["name"] == "a take.wav"


@pytest.mark.gen_test
async def test_the_name_may_stand_in_content_disposition(client: Client) -> None:
    user = await client.register()
    headers = {"Content-Disposition": 'attachment; filename="C:\\\\takes\\\\one.wav"'}
    assert as_json(await client.upload(user, take(0.1), headers=headers))["name"] == "one.wav"


@pytest.mark.gen_test
async def test_a_content_disposition_in_utf_8_is_read_as_such(client: Client) -> None:
    user = await client.register()
    headers = {
        "Content-Disposition": 'attachment; filename="Запись.wav"'.encode().decode("latin-1")
    }
    assert as_json(await client.upload(user, take(0.1), headers=headers))["name"] == "Запись.wav"


@pytest.mark.gen_test
async def test_a_path_that_is_not_utf_8_is_422(client: Client) -> None:
    user = await client.register()
    response = await client.upload(user, take(0.1), method="PUT", path="/record/%ff.wav")
    assert response.code == 422


@pytest.mark.gen_test
async def test_without_a_name_there_is_nothing_to_collide_with(client: Client) -> None:
    user = await client.register()
    for _ in range(2):
        response = await client.upload(user, take(0.1))
        assert response.code == 201
        assert as_json(response)["name"] is None


@both_ways
@pytest.mark.gen_test
async def test_a_name_that_is_taken_is_409_with_the_link_of_the_one_that_has_it(
    client: Client, services: Services
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    first = as_json(await client.upload(user, take(0.1), name="take.wav"))
    second = await client.upload(user, take(0.1), name="take.wav")
    assert second.code == 409
    assert as_json(second)["link"] == first["link"]
    assert (await client.upload(other, take(0.1), name="take.wav")).code == 201
    assert len(await rows(services)) == 2


@pytest.mark.gen_test
async def test_of_two_uploads_of_one_name_that_race_one_is_201_and_one_409(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()

    async def race(name: str) -> None:
        replies = await asyncio.gather(
            *(client.upload(user, take(0.05), name=name) for _ in range(2))
        )
        winner, loser = sorted(replies, key=lambda reply: reply.code)
        assert (winner.code, loser.code) == (201, 409)
        assert as_json(loser)["link"] == as_json(winner)["link"]

    for number in range(0, 50, 5):
        await asyncio.gather(*(race(f"{number + other}.wav") for other in range(5)))
    assert {row.name for row in await rows(services)} == {f"{number}.wav" for number in range(50)}
    assert len(await rows(services)) == len(files(kept)) == 50


@pytest.mark.parametrize(
    ("headers", "path", "status", "code"),
    [
        ({}, "/record", 401, "token-missing"),
        ({"Authorization": "Bearer nobody"}, "/record", 401, "token-unknown"),
        ({"Authorization": "Basic abc"}, "/record", 401, "token-missing"),
        ({}, f"/record?user_id={MISSING}&token=t", 404, "user-token-not-found"),
        ({}, f"/record?user_id={MISSING}", 401, "token-missing"),
        ({}, "/record?user_id=7&token=t", 404, "user-token-not-found"),
    ],
)
@pytest.mark.gen_test
async def test_wrong_credentials_are_refused(
    client: Client, headers: dict[str, str], path: str, status: int, code: str
) -> None:
    response = await client.upload(None, take(0.1), path=path, headers=headers)
    assert response.code == status
    assert as_json(response)["type"] == f"/problems/{code}"
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@both_ways
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"#EXTM3U\nfile:///etc/passwd\n", 415, "a playlist"),
        (b"<html>", 415, "HTML"),
        (take(1.0)[:-1000], 422, "cut short"),
        (take(1.0)[:30], 422, "cut short"),
        (wav(b""), 422, "no sound"),
        (wav(tone(100), data_size=200), 422, "no chunks"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_not_a_whole_wav_is_refused_and_leaves_nothing(
    client: Client, services: Services, kept: Kept, body: bytes, status: int, words: str
) -> None:
    user = await client.register()
    response = await client.upload(user, body, name="x")
    assert response.code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert words in as_json(response)["detail"]
    await assert_nothing_kept(services, kept)


@both_ways
@pytest.mark.gen_test
async def test_an_empty_body_is_422(client: Client) -> None:
    user = await client.register()
    response = await client.upload(user, b"")
    assert response.code == 422
    assert "empty" in as_json(response)["detail"]


@pytest.mark.gen_test
async def test_a_form_that_is_cut_short_is_400_and_leaves_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    content_type, body = form({}, take(1.0))
    response = await client.upload(user, body[:-20], headers={"Content-Type": content_type})
    assert response.code == 400
    await assert_nothing_kept(services, kept)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b0und--\r\n"),
        form({"note": "x"}, None),
        ("multipart/form-data; boundary=b0und", b"no form at all, but long enough to see it"),
        (
            "multipart/form-data; boundary=b0und",
            form({}, take(0.1))[1].replace(b"--b0und--\r\n", form({}, take(0.1))[1]),
        ),
    ],
    ids=["no boundary", "no file", "no form", "two files"],
)
@pytest.mark.gen_test
async def test_a_form_without_exactly_one_file_is_400(
    client: Client, services: Services, kept: Kept, content_type: str, body: bytes
) -> None:
    user = await client.register()
    response = await client.upload(user, body, headers={"Content-Type": content_type})
    assert response.code == 400
    assert as_json(response)["type"] == "/problems/malformed-form"
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_content_encoding_is_415(client: Client) -> None:
    user = await client.register()
    response = await client.upload(user, take(0.1), headers={"Content-Encoding": "gzip"})
    assert response.code == 415


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "x" * 251])
@pytest.mark.gen_test
async def test_an_unusable_name_is_422(client: Client, name: str) -> None:
    user = await client.register()
    assert (await client.upload(user, take(0.1), name=name)).code == 422


class TestLimits:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"max_upload_bytes": 50_000, "max_uploads": 1, "body_timeout": 0.5}

    @both_ways
    @pytest.mark.gen_test
    async def test_a_body_over_the_limit_is_413_told_from_its_length(self, client: Client) -> None:
        user = await client.register()
        response = await client.upload(user, take(1.0))
        assert response.code == 413
        assert as_json(response)["limit"] == 50_000

    @both_ways
    @pytest.mark.gen_test
    async def test_a_chunked_body_over_the_limit_is_413_and_leaves_nothing(
        self, client: Client, services: Services, kept: Kept
    ) -> None:
        user = await client.register()
        response = await client.upload_chunked(user, pieces(take(0.5), 10_000))
        assert response.code == 413
        await assert_nothing_kept(services, kept)

    @pytest.mark.gen_test
    async def test_a_form_may_be_a_little_longer_than_the_file_it_holds(
        self, client: Client
    ) -> None:
        user = await client.register()
        content_type, body = form({}, wav(tone(12_480)))
        assert len(body) > 50_000
        response = await client.upload(user, body, headers={"Content-Type": content_type})
        assert response.code == 201

    @both_ways
    @pytest.mark.gen_test
    async def test_a_stalled_body_is_408_and_leaves_nothing(
        self, client: Client, services: Services, kept: Kept
    ) -> None:
        user = await client.register()
        released = asyncio.Event()

        async def stall() -> Any:
            yield take(0.2)[:20_000]
            await released.wait()

        reply = asyncio.ensure_future(client.upload_chunked(user, stall()))
        await asyncio.sleep(1.5)
        await assert_nothing_kept(services, kept)
        released.set()
        assert (await reply).code == 408

    @pytest.mark.gen_test
    async def test_more_uploads_than_may_run_are_503_with_retry_after(self, client: Client) -> None:
        user = await client.register()
        begun, released = asyncio.Event(), asyncio.Event()

        async def hold() -> Any:
            yield take(0.2)[:20_000]
            begun.set()
            await released.wait()
            yield take(0.2)[20_000:]

        first = asyncio.ensure_future(client.upload_chunked(user, hold()))
        await begun.wait()
        await asyncio.sleep(0.2)
        second = await client.upload(user, take(0.1))
        released.set()
        assert second.code == 503
        assert int(second.headers["Retry-After"]) > 0
        assert (await first).code == 201
