"""draft-ietf-httpbis-resumable-upload, beginning at /record and going on at /uploads/ID."""

import asyncio
import contextlib
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.client import Account, Client, as_json, both_ways
from tests.conftest import run_apart, wait_for
from tests.draft import PARTIAL, REGISTRY, VERSION, Draft, Line, content_digest, flag
from tests.process import Process
from tests.stores import Kept
from tests.test_tus import parts
from tests.test_uploads import files, rows
from tests.tus import Tus
from tests.wavs import take
from umusic.app import Services

WAV = take(0.4)
HALF = len(WAV) // 2
MISMATCH = (409, f"{REGISTRY}mismatching-upload-offset")
INCONSISTENT = (400, f"{REGISTRY}inconsistent-upload-length")
LAST = {"Upload-Complete": "?1"}
FIRST = {"Upload-Complete": "?0"}


@pytest.fixture
def knobs() -> dict[str, Any]:
    return {"resumable_draft": "on"}


async def mp3_of(client: Client, link: str) -> bytes:
    return bytes((await client.fetch(link)).body)


async def plain_mp3(client: Client, account: Account) -> bytes:
    return await mp3_of(client, as_json(await client.upload(account, WAV))["link"])


async def half_way(line: Line, media_dir: Path) -> str:
    """Sends the first half, once the URL has come; returns that."""
    interim = await line.head()
    assert interim.code == 104
    await line.send(WAV[:HALF])
    await wait_for(lambda: any(part.stat().st_size == HALF for part in parts(media_dir)))
    return str(interim.headers["Location"])


def whole(length: int = len(WAV)) -> dict[str, str]:
    """What a plain upload says more if its sender could resume it."""
    return {**LAST, "Upload-Length": str(length), "Content-Length": str(length)}


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(("method", "path"), [("POST", "/record"), ("PUT", "/record/take.wav")])
@pytest.mark.gen_test
async def test_a_plain_upload_hears_its_url_and_is_answered_as_ever(
    client: Client, services: Services, media_dir: Path, method: str, path: str, version: int
) -> None:
    user = await client.register()
    draft = Draft(client, user, version)
    answer = await draft.create(WAV, last=True, length=len(WAV), path=path, method=method)
    [interim] = answer.interim
    assert (interim.code, interim.headers[VERSION]) == (104, str(version))
    url = interim.headers["Location"]
    assert url.startswith(f"{client.site}/uploads/")
    limit = services.keeper.limits.upload_bytes
    size, _, age = interim.headers["Upload-Limit"].partition(", max-age=")
    # No byte has come yet.
    assert (size, int(age)) == (f"max-size={limit}", pytest.approx(3600, abs=30))
    link = answer.json["link"]
    assert (answer.code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert answer.headers["Location"] == answer.json["download_link"] == link
    assert answer.json["name"] == ("take.wav" if method == "PUT" else None)
    assert await mp3_of(client, link) == await plain_mp3(client, user)
    await wait_for(lambda: not parts(media_dir))
    done = await draft.ask("HEAD", url)
    assert (done.headers["Upload-Complete"], done.headers["Content-Location"]) == ("?1", link)


@pytest.mark.gen_test
async def test_whoever_waits_for_100_hears_the_url_before(client: Client, media_dir: Path) -> None:
    draft = Draft(client, await client.register())
    expecting = {**whole(), "Expect": "100-continue"}
    async with draft.line("POST", "/record", expecting) as line, asyncio.timeout(20):
        assert [(await line.head()).code for _ in range(2)] == [104, 100]
        await line.send(WAV)
        assert (await line.answer("POST")).code == 201


@pytest.mark.gen_test
async def test_a_plain_upload_that_breaks_in_the_middle_is_resumed(
    client: Client, services: Services, kept: Kept, media_dir: Path
) -> None:
    user = await client.register()
    draft = Draft(client, user)
    async with draft.line("POST", "/record?name=a.wav", whole()) as line:
        url = await half_way(line, media_dir)
    # From here on the URL is all that it takes.
    resuming = Draft(client)
    state = await resuming.ask("HEAD", url)
    assert (state.code, state.body) == (204, b"")
    told = {name: state.headers[f"Upload-{name}"] for name in ("Offset", "Complete", "Length")}
    assert told == {"Offset": str(HALF), "Complete": "?0", "Length": str(len(WAV))}
    assert state.headers["Upload-Limit"].startswith("max-size=")
    assert state.headers["Cache-Control"] == "no-store"
    got = await resuming.ask("GET", url)
    assert (got.code, got.headers["Upload-Offset"]) == (200, str(HALF))
    assert (got.json["state"], got.json["name"]) == ("uploading", "a.wav")
    last = await resuming.append(url, HALF, WAV[HALF:], last=True)
    assert (last.code, last.headers["Upload-Complete"]) == (201, "?1")
    assert last.headers["Location"] == last.json["link"]
    assert last.json["source"]["size"] == len(WAV)
    assert await mp3_of(client, last.json["link"]) == await plain_mp3(client, user)
    assert len(await rows(services)) == len(files(kept)) == 2


@both_ways
@pytest.mark.gen_test
async def test_an_upload_in_pieces(client: Client, media_dir: Path) -> None:
    user = await client.register()
    draft = Draft(client, user)
    begun = await draft.create(WAV[:99], last=False, Content_Disposition='inline; filename="é.wav"')
    assert (begun.code, begun.headers["Upload-Complete"], begun.body) == (201, "?0", b"")
    assert begun.headers["Upload-Offset"] == "99"
    url = begun.headers["Location"]
    assert all(told.headers["Location"] == url for told in begun.interim)
    more = await draft.append(url, 99, WAV[99:HALF], last=False)
    assert (more.code, more.headers["Upload-Complete"]) == (204, "?0")
    assert more.headers["Upload-Offset"] == str(HALF)
    head = await draft.ask("HEAD", url)
    assert ("Upload-Length" in head.headers, head.headers["Upload-Complete"]) == (False, "?0")
    # All may be there before it is said that this was the last.
    assert (await draft.append(url, HALF, WAV[HALF:], last=False)).code == 204
    assert len(parts(media_dir)) == 1
    last = await draft.append(url, len(WAV), b"", last=True)
    assert (last.code, last.headers["Upload-Complete"]) == (201, "?1")
    assert await mp3_of(client, last.json["link"]) == await plain_mp3(client, user)
    assert (last.json["name"], await draft.offset(url)) == ("é.wav", len(WAV))


@both_ways
@pytest.mark.gen_test
async def test_one_that_begins_without_a_byte_is_at_its_end_when_its_length_is_there(
    client: Client,
) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin(len(WAV))
    assert await draft.offset(url) == 0
    # It is not known to be the last one: but there is nothing to wait for.
    last = await draft.append(url, 0, WAV, last=False)
    assert (last.code, last.headers["Upload-Complete"]) == (201, "?1")
    # Whoever lost the answer, or has yet to say that it was the last, asks for it again.
    again = await draft.append(url, len(WAV), b"", last=True)
    assert (again.code, again.json) == (201, last.json)
    assert again.headers["Location"] == last.headers["Location"]


@pytest.mark.gen_test
async def test_the_last_piece_may_come_in_chunks(client: Client) -> None:
    draft = Draft(client, await client.register())

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    chunked = {**LAST, "Transfer-Encoding": "chunked"}
    async with draft.line("PUT", "/record", chunked) as line, asyncio.timeout(20):
        await line.send(chunk(WAV[:HALF]) + chunk(WAV[HALF:]) + b"0\r\n\r\n")
        answer = await line.answer("PUT")
    assert (answer.code, answer.json["source"]["size"]) == (201, len(WAV))
    # What ends too early, and what goes on for too long.
    for length, code, after in ((len(WAV) + 1, INCONSISTENT, 204), (HALF - 1, INCONSISTENT, 410)):
        url = await draft.begin(length)
        told = {**PARTIAL, **chunked, "Upload-Offset": "0"}
        async with draft.line("PATCH", url, told) as line, asyncio.timeout(20):
            await line.send(chunk(WAV[:HALF]) + b"0\r\n\r\n")
            assert (await line.answer("PATCH")).problem == code
        assert (await draft.ask("HEAD", url)).code == after


@both_ways
@pytest.mark.gen_test
async def test_a_wrong_offset_tells_the_right_one(client: Client) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin()
    assert (await draft.append(url, 0, WAV[:HALF], last=False)).code == 204
    for offset in (0, HALF - 1, HALF + 1):
        wrong = await draft.append(url, offset, WAV[offset:], last=True)
        assert (wrong.problem, wrong.headers["Upload-Offset"]) == (MISMATCH, str(HALF))
        assert wrong.json["expected-offset"] == HALF
        assert wrong.json["provided-offset"] == offset
        assert "Upload-Complete" not in wrong.headers
    # Neither is it when it is large, which nginx has tus find out by a line that breaks.
    large = await draft.append(url, 0, bytes(1_500_000), last=False)
    assert (large.problem, large.headers["Upload-Offset"]) == (MISMATCH, str(HALF))
    assert (await draft.append(url, HALF, WAV[HALF:], last=True)).code == 201


@both_ways
@pytest.mark.gen_test
async def test_nothing_is_appended_to_what_is_complete(client: Client, services: Services) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin(len(WAV))
    assert (await draft.append(url, 0, WAV, last=True)).code == 201
    assert (await draft.append(url, len(WAV), b"x", last=False)).problem == INCONSISTENT
    assert (await draft.append(url, HALF, b"x", last=False)).problem == MISMATCH
    assert await draft.offset(url) == len(WAV)
    assert len(await rows(services)) == 1


@both_ways
@pytest.mark.gen_test
async def test_lengths_that_contradict_each_other_are_refused(client: Client, via: str) -> None:
    draft = Draft(client, await client.register())
    if via == "direct":  # else it is a plain one
        for length in (1, len(WAV) - 1, len(WAV) + 1):
            answer = await draft.create(WAV, last=True, length=length)
            assert (answer.problem, answer.interim) == (INCONSISTENT, [])
    url = await draft.begin(len(WAV))
    other = {"Upload_Length": str(len(WAV) + 1)}
    for refused in (
        await draft.append(url, 0, WAV[:HALF], last=False, **other),
        await draft.append(url, 0, WAV[:HALF], last=True),
        await draft.append(url, 0, WAV, last=True, **other),
        await draft.append(url, 0, WAV + b"x", last=False),
    ):
        assert refused.problem == INCONSISTENT
    assert await draft.offset(url) == 0
    assert (await draft.append(url, 0, WAV, last=True)).code == 201


@both_ways
@pytest.mark.gen_test
async def test_a_head_cuts_off_who_still_writes_so_that_its_offset_stays(
    client: Client, media_dir: Path
) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin(len(WAV))
    told = {**PARTIAL, **LAST, "Upload-Offset": "0", "Content-Length": str(len(WAV))}
    async with draft.line("PATCH", url, told) as line, asyncio.timeout(20):
        await line.send(WAV[:HALF])
        await wait_for(lambda: any(part.stat().st_size == HALF for part in parts(media_dir)))
        began = time.monotonic()
        assert await draft.offset(url) == HALF
        assert time.monotonic() - began < 1.0
        assert (await line.answer("PATCH")).problem == (423, "upload-locked")
    assert (await draft.append(url, HALF, WAV[HALF:], last=True)).code == 201


@both_ways
@pytest.mark.gen_test
async def test_a_deletion_ends_it_whoever_writes_to_it(client: Client, media_dir: Path) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin(len(WAV))
    told = {**PARTIAL, **LAST, "Upload-Offset": "0", "Content-Length": str(len(WAV))}
    async with draft.line("PATCH", url, told) as line, asyncio.timeout(20):
        await line.send(WAV[:HALF])
        await wait_for(lambda: bool(parts(media_dir)))
        assert (await draft.ask("DELETE", url)).code == 204
        cut = await line.answer("PATCH")
        assert (cut.problem, "Upload-Complete" in cut.headers) == (
            (410, "upload-terminated"),
            False,
        )
    assert not parts(media_dir)
    assert (await draft.ask("HEAD", url)).code == 410
    assert (await draft.append(url, 0, WAV, last=True)).problem == (410, "upload-terminated")
    assert (await draft.ask("DELETE", url)).problem == (410, "upload-terminated")
    assert (await draft.ask("HEAD", f"/uploads/{uuid.uuid4()}")).code == 404


@pytest.mark.gen_test
async def test_what_a_wav_is_refused_for_is_told_as_the_end(
    client: Client, media_dir: Path
) -> None:
    """So that nobody sends more of it; what is wrong with a request alone is no end."""
    user = await client.register()
    draft = Draft(client, user)
    noise = b"no WAV at all, this " * 100_000
    refused = await draft.create(noise, last=True)
    assert (refused.problem, refused.headers["Upload-Complete"]) == ((415, "not-a-wav"), "?1")
    [interim] = refused.interim
    assert (await draft.ask("HEAD", interim.headers["Location"])).code == 410
    url = await draft.begin(len(WAV) - 9)
    cut_short = await draft.append(url, 0, WAV[:-9], last=True)
    assert (cut_short.problem, cut_short.headers["Upload-Complete"]) == ((422, "broken-wav"), "?1")
    await client.upload(user, WAV, name="taken.wav")
    taken = await draft.create(WAV, last=True, path="/record?name=taken.wav")
    assert (taken.problem, taken.interim) == ((409, "record-name-taken"), [])
    await wait_for(lambda: not parts(media_dir))


@pytest.mark.gen_test
async def test_what_requests_are_refused_for(client: Client, services: Services) -> None:
    draft = Draft(client, await client.register())
    url = await draft.begin()
    told = {**PARTIAL, **FIRST, "Upload-Offset": "0"}
    for header, value, problem in (
        ("Content-Type", "application/offset+octet-stream", (415, "not-a-partial-upload")),
        ("Upload-Complete", "", (400, "malformed-header")),
        ("Upload-Complete", "1", (400, "malformed-header")),
        ("Upload-Offset", "", (400, "malformed-header")),
        ("Upload-Offset", "-1", (400, "malformed-header")),
        ("Upload-Offset", "?1", (400, "malformed-header")),
        ("Repr-Digest", "sha-256=:AAAA:", (400, "malformed-header")),
        ("Content-Digest", "?", (400, "malformed-header")),
        ("Content-Encoding", "gzip", (415, "content-encoding-unsupported")),
    ):
        refused = await draft.ask("PATCH", url, {**told, header: value}, WAV)
        assert refused.problem[0] == problem[0], header
        if header != "Content-Encoding":
            assert refused.problem == problem, header
    refused = await draft.ask("PATCH", url, {**told, "Content-Type": "audio/wav"}, WAV)
    assert refused.headers["Accept-Patch"] == "application/partial-upload"
    assert await draft.offset(url) == 0
    key = await draft.create(b"", last=False, Idempotency_Key="one")
    assert key.problem == (400, "malformed-header")
    assert (await Draft(client).create(WAV, last=True)).problem == (401, "token-missing")
    assert (await draft.create(b"", last=True)).problem == (422, "no-sound")
    large = await draft.create(b"", last=False, length=services.keeper.limits.upload_bytes + 1)
    assert large.problem == (413, "too-large")
    assert large.headers["Upload-Limit"] == f"max-size={services.keeper.limits.upload_bytes}"


@both_ways
@pytest.mark.gen_test
async def test_options_tell_that_uploads_are_resumable(client: Client, services: Services) -> None:
    draft = Draft(client)
    for path in ("/record", "/record/", "/record/take.wav", f"/uploads/{uuid.uuid4()}"):
        told = await draft.ask("OPTIONS", path)
        assert told.code == 204
        assert told.headers["Accept-Patch"] == "application/partial-upload"
        assert told.headers["Upload-Limit"] == f"max-size={services.keeper.limits.upload_bytes}"
        assert "PUT" in told.headers["Allow"] or "PATCH" in told.headers["Allow"]


@pytest.mark.gen_test
async def test_a_piece_counts_if_it_has_its_digest(client: Client) -> None:
    user = await client.register()
    draft = Draft(client, user)
    url = await draft.begin(len(WAV))
    digest = content_digest(WAV[:HALF])["Content-Digest"]
    other = content_digest(WAV)["Content-Digest"]
    wrong = await draft.append(url, 0, WAV[:HALF], last=False, Content_Digest=other)
    assert wrong.problem == (422, "digest-mismatch")
    assert await draft.offset(url) == 0
    right = await draft.append(url, 0, WAV[:HALF], last=False, Content_Digest=digest)
    assert right.headers["Upload-Offset"] == str(HALF)
    digest = content_digest(WAV[HALF:])["Content-Digest"]
    last = await draft.append(url, HALF, WAV[HALF:], last=True, Content_Digest=digest)
    assert await mp3_of(client, last.json["link"]) == await plain_mp3(client, user)


@pytest.mark.gen_test
async def test_who_asks_for_more_than_can_be_resumed_gets_that_instead(client: Client) -> None:
    """A key and a digest hold for the whole upload: it is then a plain one."""
    draft = Draft(client, await client.register())
    told = {"Idempotency_Key": "one", "Repr_Digest": content_digest(WAV)["Content-Digest"]}
    first = await draft.create(WAV, last=True, **told)
    again = await draft.create(WAV, last=True, **told)
    assert (first.code, first.interim) == (201, []) == (again.code, again.interim)
    assert first.json == again.json
    wrong = await draft.create(WAV, last=True, **content_digest_as_word(WAV[1:]))
    assert (wrong.problem, wrong.interim) == ((422, "digest-mismatch"), [])


def content_digest_as_word(data: bytes) -> dict[str, str]:
    return {"Content_Digest": content_digest(data)["Content-Digest"]}


@pytest.mark.gen_test
async def test_who_speaks_something_else_hears_nothing_of_it(client: Client) -> None:
    user = await client.register()
    draft = Draft(client, user)
    told = {**whole(), **user.bearer}
    for headers, options in (
        ({VERSION: "7"}, {}),
        ({VERSION: ""}, {}),
        ({"Upload-Complete": "yes"}, {}),
        ({"Tus-Resumable": "1.0.0"}, {}),
        ({}, {"http": "1.0"}),
        # Whom a proxy relays would take an interim answer for the final one.
        ({"X-Forwarded-For": "192.0.2.1"}, {}),
        ({"Via": "1.1 proxy"}, {}),
    ):
        answer = await draft.ask("POST", "/record", {**told, **headers}, WAV, **options)
        assert (answer.code, answer.interim) == (201, []), headers
        assert "Upload-Complete" not in answer.headers
    # And tus goes on with what the draft began.
    url = await draft.begin(len(WAV))
    tus = Tus(client)
    assert await tus.offset(url) == 0
    assert "Content-Location" in (await tus.patch(url, 0, WAV)).headers
    assert (await draft.ask("HEAD", url)).headers["Upload-Complete"] == "?1"


@both_ways
@pytest.mark.gen_test
async def test_what_breaks_off_before_its_url_was_told_leaves_nothing(
    client: Client, services: Services, media_dir: Path
) -> None:
    told = {"Content-Length": str(len(WAV)), "X-Forwarded-For": "192.0.2.1"}
    for complete in (FIRST, LAST):
        draft = Draft(client, await client.register(flag(complete == FIRST)))
        async with draft.line("POST", "/record", {**told, **complete}) as line:
            await line.send(WAV[:HALF])
            await wait_for(lambda: services.keeper.live == 1)
        await wait_for(lambda: not services.keeper.live and not services.resumptions.live)
        await wait_for(lambda: not parts(media_dir))


class TestRelayed:
    """With a proxy that lets interim answers pass."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"resumable_draft": "relayed"}

    @pytest.mark.gen_test
    async def test_interim_answers_come_through_proxies(self, client: Client) -> None:
        draft = Draft(client, await client.register())
        answer = await draft.create(WAV, last=True, X_Forwarded_For="192.0.2.1")
        assert (answer.code, [told.code for told in answer.interim]) == (201, [104])


class TestOff:
    """As it is unless set otherwise."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {}

    @both_ways
    @pytest.mark.gen_test
    async def test_nothing_is_other_than_without_it(self, client: Client) -> None:
        user = await client.register()
        draft = Draft(client, user)
        answer = await draft.create(WAV, last=True, length=len(WAV))
        assert (answer.code, answer.interim) == (201, [])
        assert (await draft.create(WAV[:HALF], last=False)).problem == (422, "broken-wav")
        assert (await draft.ask("OPTIONS", "/record")).problem == (405, "method-not-allowed")
        url = await Tus(client, user).begin(len(WAV))
        for method in ("HEAD", "PATCH", "DELETE"):
            assert (await draft.ask(method, url)).code == 412
        for told in (answer, await draft.ask("GET", url), await draft.ask("OPTIONS", url)):
            named = [name for name in told.headers if name.startswith("Upload-")]
            assert not named and "Accept-Patch" not in told.headers


class TestExpiry:
    """What is given up by its client."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"resumable_draft": "on", "upload_expiry": 1.5}

    @pytest.mark.gen_test
    async def test_what_has_expired_is_gone(self, client: Client, services: Services) -> None:
        draft = Draft(client, await client.register())
        url = await draft.begin(len(WAV))
        head = await draft.ask("HEAD", url)
        assert head.headers["Upload-Limit"].endswith((", max-age=1", ", max-age=0"))
        await asyncio.sleep(1.6)
        await services.resumptions.tend()
        assert (await draft.append(url, 0, WAV, last=True)).problem == (410, "upload-expired")


async def resumed_after(server: Process, start: Any, token: str, wav: bytes) -> bytes:
    """The MP3 that comes of an upload in the middle of which its umusic is killed."""
    half = len(wav) // 2
    draft = Draft(SimpleNamespace(site=f"http://127.0.0.1:{server.port}"), Account("", token), 8)
    async with draft.line("POST", "/record", whole(len(wav))) as line:
        path = urlsplit((await line.head()).headers["Location"]).path
        await line.send(wav[:half])
        part = server.directory / "media"
        await wait_for(lambda: any(file.stat().st_size == half for file in parts(part)))
        server.popen.kill()
        await asyncio.to_thread(server.wait)
    again = await asyncio.to_thread(start, resumable_draft="on")
    draft = Draft(SimpleNamespace(site=f"http://127.0.0.1:{again.port}"), version=8)
    assert await draft.offset(path) == half
    last = await draft.append(path, half, wav[half:], last=True)
    assert (last.code, last.headers["Upload-Complete"]) == (201, "?1")
    plain = (await asyncio.to_thread(again.put, token, wav))[1]["link"]
    resumed, other = [await draft.ask("GET", link) for link in (last.json["link"], plain)]
    assert resumed.body == other.body
    assert ", 0 faults" in await asyncio.to_thread(again.check)
    assert (await asyncio.to_thread(again.stop))[0] == 0
    return resumed.body


def test_a_plain_upload_outlives_a_kill(start: Any) -> None:
    server = start(resumable_draft="on")
    token = server.register("Ann")
    assert run_apart(resumed_after(server, start, token, take(3.0)))


async def cut_off_elsewhere(one: Process, other: Process, token: str, wav: bytes) -> int:
    """The offset that another umusic tells of an upload that one has in hand."""
    half = len(wav) // 2
    draft = Draft(SimpleNamespace(site=f"http://127.0.0.1:{one.port}"), Account("", token))
    async with draft.line("POST", "/record", whole(len(wav))) as line, asyncio.timeout(20):
        path = urlsplit((await line.head()).headers["Location"]).path
        await line.send(wav[:half])
        await wait_for(lambda: any(part.stat().st_size for part in parts(one.directory / "media")))
        elsewhere = Draft(SimpleNamespace(site=f"http://127.0.0.1:{other.port}"))
        offset = await elsewhere.offset(path)
        assert (await line.answer("POST")).problem == (423, "upload-locked")
    assert (await elsewhere.append(path, offset, wav[offset:], last=True)).code == 201
    return offset


def test_a_head_cuts_off_who_writes_in_another_process(directory: Path, database_url: str) -> None:
    with contextlib.ExitStack() as stack:
        servers = [
            Process(directory, database_url=database_url, resumable_draft="on") for _ in range(2)
        ]
        for server in servers:
            stack.callback(server.close)
        token = servers[0].register("Ann")
        assert run_apart(cut_off_elsewhere(*servers, token, take(1.0))) > 0
        for server in servers:
            assert server.stop()[0] == 0
