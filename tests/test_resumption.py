"""Uploads that go on after a break: of the line, of the server, or with somebody else."""

import asyncio
import contextlib
import hashlib
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import leaks
from tests.chaos.storm import await_true
from tests.client import Client, as_json, both_ways
from tests.conftest import wait_for
from tests.front import Nginx
from tests.process import Process
from tests.stores import Kept, files_in
from tests.test_slow_senders import connected
from tests.test_tus import parts
from tests.test_uploads import files, rows
from tests.tus import Tus, checksum, problem
from tests.wavs import take
from umusic.app import Services
from umusic.errors import CommitUncertain, EncoderFailed
from umusic.library.keeper import Upload
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.library.uploads import Uploads

WAV = take(1.0)
HALF = len(WAV) // 2


def head(url: str, offset: int, length: int, **more: str) -> bytes:
    """The head of a PATCH."""
    path = "/" + url.partition("://")[2].partition("/")[2]
    lines = [
        f"PATCH {path} HTTP/1.1",
        "Host: x",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {offset}",
        f"Content-Length: {length}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in more.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def plain_mp3(client: Client, account: Any, wav: bytes) -> bytes:
    link = as_json(await client.upload(account, wav))["link"]
    return bytes((await client.fetch(link)).body)


async def offset_is(tus: Tus, url: str, offset: int) -> None:
    async with asyncio.timeout(5):
        while await tus.offset(url) != offset:
            await asyncio.sleep(0.01)


@both_ways
@pytest.mark.gen_test
async def test_a_second_patch_takes_over_from_one_that_hangs(client: Client) -> None:
    user = await client.register()
    tus = Tus(client, user)
    url = await tus.begin(len(WAV))
    async with connected(client) as (reader, writer):
        writer.write(head(url, 0, len(WAV)) + WAV[:HALF])
        await offset_is(tus, url, HALF)
        # One that is wrong cuts off nobody.
        assert problem(await tus.patch(url, 5, WAV[5:])) == (409, "wrong-offset")
        began = time.monotonic()
        last = await tus.patch(url, HALF, WAV[HALF:])
        assert "Content-Location" in last.headers
        assert time.monotonic() - began < 1.0
        assert (await reader.read(65536)).startswith(b"HTTP/1.1 423 ")
    mp3 = (await client.fetch(last.headers["Content-Location"])).body
    assert mp3 == await plain_mp3(client, user, WAV)


@pytest.mark.gen_test
async def test_what_hangs_under_a_checksum_does_not_count(client: Client, media_dir: Path) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    await tus.patch(url, 0, WAV[:99])
    announced = checksum(WAV[99:])["Upload-Checksum"]
    async with connected(client) as (_, writer):
        writer.write(head(url, 99, len(WAV) - 99, Upload_Checksum=announced) + WAV[99:HALF])
        await wait_for(lambda: parts(media_dir)[0].stat().st_size == HALF)
        assert await tus.offset(url) == 99
        assert (await tus.patch(url, 99, WAV[99:200])).code == 204
    assert "Content-Location" in (await tus.patch(url, 200, WAV[200:])).headers


@pytest.mark.gen_test
async def test_whoever_leaves_goes_on_with_the_encoder_there_is(
    client: Client, services: Services
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    async with connected(client) as (_, writer):
        writer.write(head(url, 0, len(WAV)) + WAV[:HALF])
        await offset_is(tus, url, HALF)
    assert services.keeper.live == services.resumptions.live == 1
    [before] = list(services.keeper._live)
    assert (await tus.patch(url, HALF, WAV[HALF:-1])).code == 204
    assert list(services.keeper._live) == [before]
    # Whoever leaves after the last byte has sent all.
    async with connected(client) as (_, writer):
        writer.write(head(url, len(WAV) - 1, 1) + WAV[-1:])
        await writer.drain()
    await wait_for(lambda: not services.keeper.live)
    assert (await tus.state(url))["state"] == "done"


@pytest.mark.gen_test
async def test_a_checksum_without_a_byte_leaves_no_doubt_behind(
    client: Client, services: Services
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    announced = checksum(WAV)["Upload-Checksum"]
    async with connected(client) as (_, writer):
        writer.write(head(url, 0, len(WAV), Upload_Checksum=announced))
        await wait_for(lambda: services.resumptions.live == 1)
        await asyncio.sleep(0.05)
    assert (await tus.patch(url, 0, WAV[:HALF])).code == 204
    assert (await services.uploads.find(uuid.UUID(url[-36:]))).pending_from is None


class TestImpatience:
    """What nobody goes on with is let go soon."""

    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"body_timeout": 0.3, "uploads_per_user": 2}

    @pytest.mark.gen_test
    async def test_it_counts_while_it_is_live_and_starts_anew_after_that(
        self, client: Client, services: Services
    ) -> None:
        user = await client.register()
        tus = Tus(client, user)
        urls = [await tus.begin(len(WAV)) for _ in range(3)]
        for url in urls[:2]:
            assert (await tus.patch(url, 0, WAV[:HALF])).code == 204
        assert problem(await tus.patch(urls[2], 0, WAV)) == (429, "too-many-of-one-user")
        assert (await client.upload(user, WAV)).code == 429
        await wait_for(lambda: not services.keeper.live)
        mp3 = await plain_mp3(client, user, WAV)
        last = await tus.patch(urls[0], HALF, WAV[HALF:])
        assert (await client.fetch(last.headers["Content-Location"])).body == mp3
        reading = services.metrics.exposition().decode()
        assert 'umusic_resumable_uploads_total{event="resumed"} 1.0' in reading

    @pytest.mark.gen_test
    async def test_who_stalls_hears_that_it_can_go_on_and_what_came_counts(
        self, client: Client
    ) -> None:
        tus = Tus(client, await client.register())
        url = await tus.begin(len(WAV))
        async with connected(client) as (reader, writer):
            writer.write(head(url, 0, len(WAV)) + WAV[:HALF])
            answer = await reader.read(65536)
        # Not 408, with which tus-js-client would give up for good.
        assert answer.startswith(b"HTTP/1.1 423 ")
        assert b"/problems/upload-stalled" in answer
        assert await tus.offset(url) == HALF


async def all_there(tus: Tus, services: Services) -> str:
    """An upload of which all bytes are there, as a crash may leave it."""
    assert tus.account
    url = await tus.begin(len(WAV))
    path = services.media.directory.wav_part(uuid.UUID(tus.account.id), uuid.UUID(url[-36:])).path
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(WAV)
    return url


@pytest.mark.parametrize("how", ["HEAD", "GET", "PATCH", "tend"])
@pytest.mark.gen_test
async def test_what_has_come_before_a_crash_becomes_a_record_by_itself(
    client: Client, services: Services, kept: Kept, media_dir: Path, how: str
) -> None:
    tus = Tus(client, await client.register())
    url = await all_there(tus, services)
    if how == "tend":
        await services.resumptions.tend()
    elif how == "PATCH":
        assert "Content-Location" in (await tus.patch(url, len(WAV), b"")).headers
    elif how == "HEAD":
        assert await tus.offset(url) == len(WAV)
    else:
        assert (await tus.state(url))["state"] == "encoding"
    await wait_for(lambda: not services.resumptions.live and not parts(media_dir))
    assert (await tus.state(url))["state"] == "done"
    assert len(await rows(services)) == len(files(kept)) == 1


@pytest.mark.gen_test
async def test_a_patch_that_meets_the_record_being_made_hears_of_it(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    tus = Tus(client, await client.register())
    url = await all_there(tus, services)
    really_open = services.resumptions.open

    async def open_late(upload_id: uuid.UUID, **rest: float) -> Any:
        """As if another process had been faster."""
        await (await really_open(upload_id, **rest)).ended()
        return await really_open(upload_id, **rest)

    monkeypatch.setattr(services.resumptions, "open", open_late)
    assert "Content-Location" in (await tus.patch(url, len(WAV), b"")).headers


@pytest.mark.gen_test
async def test_a_commit_that_nobody_knows_of_makes_one_record(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Records.add

    async def uncertain(records: Records, record: Record, **rest: Any) -> None:
        await add(records, record, **rest)
        monkeypatch.undo()
        raise CommitUncertain

    async def nobody(*_: object) -> dict[uuid.UUID, uuid.UUID]:
        return {}

    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    monkeypatch.setattr(Records, "add", uncertain)
    monkeypatch.setattr(Records, "owners", nobody)
    await tus.patch(url, 0, WAV)
    await services.resumptions.tend()
    assert (await tus.state(url))["state"] == "done"
    assert "Content-Location" in (await tus.patch(url, len(WAV), b"")).headers
    await services.audit.sweep()
    assert len(await rows(services)) == len(files(kept)) == 1


@pytest.mark.gen_test
async def test_what_is_opened_while_the_rows_are_asked_for_is_not_taken_for_gone(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    tus = Tus(client, await client.register())
    held, opened = [await tus.begin(len(WAV)) for _ in range(2)]
    asked, go = asyncio.Event(), asyncio.Event()
    among = Uploads.among

    async def slowly(uploads: Uploads, upload_ids: Collection[uuid.UUID]) -> Any:
        found = await among(uploads, upload_ids)
        asked.set()
        await go.wait()
        return found

    monkeypatch.setattr(Uploads, "among", slowly)
    await tus.patch(held, 0, WAV[:HALF])
    await asked.wait()
    await tus.patch(opened, 0, WAV[:HALF])
    asked.clear()
    go.set()
    await asked.wait()
    for url in (opened, held):
        assert "Content-Location" in (await tus.patch(url, HALF, WAV[HALF:])).headers


@pytest.mark.gen_test
async def test_an_encoder_that_fails_may_be_tried_again(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        monkeypatch.undo()
        raise EncoderFailed

    tus = Tus(client, await client.register())
    url = await tus.begin(len(WAV))
    monkeypatch.setattr(Upload, "finish", fail)
    assert problem(await tus.patch(url, 0, WAV)) == (503, "encoder-failed")
    assert "Content-Location" in (await tus.patch(url, len(WAV), b"")).headers


@pytest.mark.gen_test
async def test_part_files_without_an_upload_are_swept_and_found(
    client: Client, services: Services, media_dir: Path
) -> None:
    user = await client.register()
    tus = Tus(client, user)
    url = await tus.begin(len(WAV))
    await tus.patch(url, 0, WAV[:HALF])
    [kept] = parts(media_dir)
    stray = kept.with_name(f".{uuid.uuid4()}.upload")
    stray.write_bytes(WAV)
    foreign = media_dir / str(uuid.uuid4()) / f".{uuid.uuid4()}.upload"
    foreign.parent.mkdir()
    foreign.write_bytes(WAV)
    found = [finding async for finding in services.audit.check()]
    assert {str(finding.record_id) for finding in found} == {
        stray.name[1:-7],
        foreign.name[1:-7],
    }
    await services.audit.sweep()
    # What another database may know of is left alone.
    assert set(parts(media_dir)) == {kept, foreign}
    for finding in found:
        assert await services.audit.repair(finding)
    assert parts(media_dir) == [kept]


# --- several processes ----------------------------------------------------------------------------


class Line:
    """An upload through processes that come and go. It holds that offsets never go back."""

    def __init__(self, server: Process, token: str, length: int) -> None:
        self.server = server
        reply = self.ask(
            "POST",
            "/uploads",
            {"Authorization": f"Bearer {token}", "Upload-Length": str(length)},
        )
        assert reply.status == 201, reply.status
        self.path = "/" + reply.headers["Location"].split("/", 3)[3]
        leaks.unshown(self.path[-36:])
        self.told = 0

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Tus-Resumable": "1.0.0", **headers})
            response = connection.getresponse()
            response.read()
            return response

    def offset(self) -> int:
        reply = self.ask("HEAD", self.path, {})
        assert reply.status == 200, reply.status
        offset = int(reply.headers["Upload-Offset"])
        assert offset >= self.told, "an offset went back"
        self.told = offset
        return offset

    def patch(self, offset: int, data: bytes, **more: str) -> HTTPResponse:
        headers = {
            **more,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        return self.ask("PATCH", self.path, headers, data)

    def hang(self, wav: bytes, end: int, **more: str) -> socket.socket:
        """Sends a PATCH up to `end`, and no further."""
        offset = self.offset()
        line = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        line.sendall(head(f"http://x{self.path}", offset, len(wav) - offset, **more))
        line.sendall(wav[offset:end])
        return line

    def mp3(self, link: str) -> bytes:
        with contextlib.closing(self.server.connect()) as connection:
            connection.request("GET", "/" + link.split("/", 3)[3])
            return connection.getresponse().read()

    def await_offset(self, offset: int) -> None:
        deadline = time.monotonic() + 10
        while self.offset() < offset:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def await_done(self) -> str:
        """Waits for the record; returns its link."""
        deadline = time.monotonic() + 20
        while True:
            reply = self.ask("HEAD", self.path, {})
            if link := reply.headers.get("Content-Location"):
                return str(link)
            assert time.monotonic() < deadline
            time.sleep(0.05)


Start = Callable[..., Process]


@pytest.fixture
def start(directory: Path, database_url: str) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def make(**settings: str) -> Process:
            process = Process(
                directory, program="tests.impatient", database_url=database_url, **settings
            )
            stack.callback(process.close)
            return process

        yield make


def kill(server: Process) -> None:
    server.popen.kill()
    server.popen.wait()


def link_of(response: HTTPResponse) -> str:
    assert response.status == 204, response.status
    return str(response.headers["Content-Location"])


@pytest.mark.chaos
def test_kills_at_any_point_change_nothing(start: Start) -> None:
    choice = random.Random(8)
    wav = take(8.0)
    server = start()
    token = server.register("Ann")
    status, receipt = server.put(token, wav)
    assert status == 201
    line = Line(server, token, len(wav))
    for _ in range(2):
        end = min(line.offset() + choice.randrange(len(wav) // 3), len(wav) - 1)
        with line.hang(wav, end):
            line.await_offset(choice.randrange(line.told, end))
            kill(line.server)
        line.server = start()
    # Bytes without their checksum do not count, before the kill as after it.
    offset = line.offset()
    announced = checksum(wav[offset:])["Upload-Checksum"]
    with line.hang(wav, len(wav) - 1, Upload_Checksum=announced):
        [part] = files_in(server.directory / "media", ".upload")
        while part.stat().st_size < len(wav) - 1:
            time.sleep(0.01)
        assert line.offset() == offset
        kill(line.server)
    line.server = start()
    assert line.offset() == offset
    link = link_of(line.patch(offset, wav[offset:]))
    assert line.mp3(link) == line.mp3(receipt["link"])
    assert ", 0 faults" in line.server.check()


def test_a_kill_after_the_last_byte_makes_one_record(start: Start) -> None:
    wav = take(12.0)
    server = start(encoders="1")
    token = server.register("Ann")
    line = Line(server, token, len(wav))
    with line.hang(wav, len(wav)):
        line.await_offset(len(wav))
        kill(server)
    line.server = start()
    link = line.await_done()
    receipt = line.server.put(token, wav)[1]
    assert line.mp3(link) == line.mp3(receipt["link"])
    assert "2 records checked, 0 faults" in line.server.check()


def patches(server: Process) -> int:
    return server.log.read_text().count('"PATCH /uploads/')


def test_nginx_sends_an_upload_to_one_process_while_it_is_there(
    start: Start, directory: Path, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as starters:
        servers = list(starters.map(lambda _: start(), range(2)))
    upstream = "; server ".join(f"127.0.0.1:{server.port}" for server in servers)
    nginx = Nginx(tmp_path / "nginx", upstream=upstream, media=directory / "media")
    token = servers[0].register("Ann")
    with nginx.running():
        front: Any = SimpleNamespace(port=int(nginx.url.rpartition(":")[2]))
        line = Line(front, token, len(WAV))
        for offset in range(0, 4000, 1000):
            assert line.patch(offset, WAV[offset : offset + 1000]).status == 204
        # The log comes after the answer.
        await_true(lambda: sum(map(patches, servers)) == 4)
        assert min(map(patches, servers)) == 0
        kill(max(servers, key=patches))
        assert line.offset() == 4000
        link_of(line.patch(4000, WAV[4000:]))


def test_one_process_takes_over_from_another(start: Start) -> None:
    with ThreadPoolExecutor(2) as starters:
        one, two = starters.map(lambda _: start(drain_seconds="1"), range(2))
    token = one.register("Ann")
    sha256 = two.put(token, WAV)[1]["sha256"]
    # From one that lives.
    line = Line(one, token, len(WAV))
    with line.hang(WAV, HALF) as hanging:
        line.await_offset(HALF)
        line.server = two
        assert line.offset() == HALF
        assert line.patch(HALF, WAV[HALF:-9]).status == 204
        assert hanging.recv(65536).startswith(b"HTTP/1.1 423 ")
    line.server = one
    link = link_of(line.patch(len(WAV) - 9, WAV[-9:]))
    assert hashlib.sha256(line.mp3(link)).hexdigest() == sha256
    # To end it.
    line = Line(one, token, len(WAV))
    with line.hang(WAV, HALF) as hanging:
        line.await_offset(HALF)
        line.server = two
        assert line.ask("DELETE", line.path, {}).status == 204
        assert hanging.recv(65536).startswith(b"HTTP/1.1 410 ")
    assert not files_in(one.directory / "media", ".upload")
    # From one that has been told to stop.
    line = Line(one, token, len(WAV))
    with line.hang(WAV, HALF) as hanging:
        line.await_offset(HALF)
        one.popen.send_signal(signal.SIGTERM)
        line.server = two
        assert hanging.recv(65536).startswith(b"HTTP/1.1 503 ")
    link_of(line.patch(HALF, WAV[HALF:]))
    status, log = one.wait()
    assert (status, "Traceback" in log) == (0, False)
