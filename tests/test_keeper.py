"""One upload through the keeper, and what is left when something fails."""

import asyncio
import contextlib
import datetime
import errno
import itertools
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from tests.client import Account, Client, as_json
from tests.conftest import children, stopped_ffmpeg, wait_for
from tests.stores import Kept, lapse
from tests.test_uploads import assert_nothing_kept
from tests.wavs import chunk, fmt, pieces, take, tone, wav
from umusic.app import Services
from umusic.audio.segments import UNIT, Lengths
from umusic.errors import CommitUncertain, DatabaseUnavailable, Draining, NoSpace
from umusic.library.models import Record
from umusic.library.orders import Order
from umusic.library.record_file import PartFile

LONG = take(60.0)
#: What takes a `.part` away once its record is committed: on the disk, and beside a bucket.
REMOVALS = ("settle", "discard")
#: Segments of it are encoded before it has ended, for long enough to be seen.
EAGER = Lengths(shortest=20 * UNIT, longest=20 * UNIT, patience=0)
ENDLESS = wav(b"", data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF)


async def order(services: Services, name: str | None = "take.wav") -> Order:
    user, _ = await services.users.register(str(uuid.uuid4()))
    return Order(user.id, user.id, name)


async def sending(client: Client, account: Account, body: bytes = LONG) -> IOStream:
    """A connection on which an upload has begun and half of it has been sent."""
    host, _, port = client.site.removeprefix("http://").partition(":")
    stream = await TCPClient().connect(host, int(port))
    await stream.write(
        f"PUT /record?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body[: len(body) // 2]
    )
    return stream


@pytest.mark.gen_test
async def test_a_client_that_leaves_half_way_leaves_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    services.keeper.pool.lengths = EAGER
    stream = await sending(client, await client.register())
    await wait_for(lambda: bool(children("ffmpeg")))
    before = len(asyncio.all_tasks())
    stream.close()
    await wait_for(lambda: not services.keeper.live)
    await services.lifecycle.settle()
    await assert_nothing_kept(services, kept)
    assert not children("ffmpeg")
    assert len(asyncio.all_tasks()) < before


@pytest.mark.gen_test
async def test_a_client_that_leaves_after_its_last_byte_has_its_record_kept(
    client: Client, services: Services
) -> None:
    account = await client.register()
    services.keeper.pool.lengths = EAGER
    stream = await sending(client, account)
    await stream.write(LONG[len(LONG) // 2 :])
    await wait_for(lambda: bool(children("ffmpeg")))
    stream.close()
    await wait_for(lambda: not services.keeper.live)
    again = await client.upload(account, take(0.1), name="x")
    assert again.code == 409
    assert (await client.fetch(as_json(again)["link"])).code == 200


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_dies_is_503_and_leaves_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()

    async def pieces() -> AsyncIterator[bytes]:
        yield LONG[: len(LONG) // 2]
        os.kill(await stopped_ffmpeg(), signal.SIGKILL)
        yield LONG[len(LONG) // 2 :]

    services.keeper.pool.lengths = EAGER
    response = await client.upload_chunked(user, pieces())
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/encoder-failed"
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_body_shorter_than_its_content_length_leaves_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    services.keeper.pool.lengths = EAGER
    stream = await sending(client, await client.register())
    await wait_for(lambda: bool(children("ffmpeg")))
    stream.socket.shutdown(1)
    with pytest.raises(StreamClosedError):
        await stream.read_until(b"\r\n")
    await wait_for(lambda: not services.keeper.live)
    await services.lifecycle.settle()
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_commit_whose_outcome_is_unknown_keeps_the_file_if_the_row_is_there(
    services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = services.records.add

    async def committed_but_unheard(record: Record, **options: Any) -> None:
        await add(record, **options)
        raise CommitUncertain

    monkeypatch.setattr(services.records, "add", committed_but_unheard)
    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    record = await upload.finish()
    assert await services.records.find(record.id, record.user_id)
    assert kept.names() == [services.media.path(record.user_id, record.id)]


@pytest.mark.parametrize("lookup_works", [True, False])
@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_a_commit_of_which_nobody_can_tell_leaves_the_file_to_the_sweep(
    services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch, lookup_works: bool
) -> None:
    """The row may still be on its way, so even its absence proves nothing."""

    async def lost(record: Record, **options: Any) -> None:
        raise CommitUncertain

    async def unreachable(ids: object) -> set[uuid.UUID]:
        raise DatabaseUnavailable

    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    with monkeypatch.context() as patch:
        patch.setattr(services.records, "add", lost)
        if not lookup_works:
            patch.setattr(services.records, "owners", unreachable)
        with pytest.raises(CommitUncertain):
            await upload.finish()
        await upload.abort()
    assert len(kept.mp3s()) == 1
    await lapse(services)
    assert await services.audit.sweep() == 1
    await assert_nothing_kept(services, kept)


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_a_crash_after_the_commit_costs_no_record(
    services: Services, kept: Kept, media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    with monkeypatch.context() as patch:
        for name in REMOVALS:
            patch.setattr(PartFile, name, PartFile.release)
        record = await upload.finish()
    assert len(list(media_dir.rglob("*.part"))) == 1
    assert await services.audit.sweep() == 1
    assert kept.names() == [services.media.path(record.user_id, record.id)]
    assert not list(media_dir.rglob("*.part"))


@pytest.mark.expects_log("a .part could not be removed")
@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_a_part_that_cannot_be_removed_after_the_commit_does_not_cost_the_upload(
    services: Services, kept: Kept, media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(part: PartFile) -> None:
        part.release()
        raise OSError(30, "Read-only file system")

    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    with monkeypatch.context() as patch:
        for name in REMOVALS:
            patch.setattr(PartFile, name, read_only)
        record = await upload.finish()
    assert await services.audit.sweep() == 1
    assert kept.names() == [services.media.path(record.user_id, record.id)]
    assert not list(media_dir.rglob("*.part"))


@pytest.mark.disk
@pytest.mark.gen_test
async def test_a_full_volume_is_no_space_and_leaves_nothing(
    services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        await upload.finish()
    await upload.abort()
    await assert_nothing_kept(services, kept)


@pytest.mark.disk
@pytest.mark.parametrize("number", [1, 2, 3], ids=["the root's", "the file's", "its directory's"])
@pytest.mark.expects_log("media-away")
@pytest.mark.gen_test
async def test_an_fsync_that_fails_is_a_failure_and_leaves_nothing(
    client: Client,
    services: Services,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    account, fsync, calls = await client.register(), os.fsync, itertools.count(1)

    def fail(descriptor: int) -> None:
        if next(calls) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    assert (await client.upload(account, take(0.1))).code == 503
    await assert_nothing_kept(services, kept)
    assert (await client.upload(account, take(0.1))).code == 201
    assert next(calls) > 4


@pytest.mark.gen_test
async def test_nothing_is_made_before_the_header_is_read(services: Services, kept: Kept) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1)[:40])
    assert kept.is_empty
    assert not children("ffmpeg")
    await upload.abort()


@pytest.mark.gen_test
async def test_the_mp3_grows_while_the_wav_comes_in_and_the_wav_is_never_on_disk(
    services: Services, kept: Kept, media_dir: Path
) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(ENDLESS)
    services.keeper.pool.lengths = Lengths(shortest=2 * UNIT, longest=2 * UNIT)
    for _ in range(10):
        await upload.write(tone(200_000))
    part = next(media_dir.rglob("*.part"))
    await wait_for(lambda: part.stat().st_size > 10_000)
    assert part.stat().st_size < 1_000_000
    assert kept.is_remote == (kept.names() == [])
    files = [path for path in media_dir.rglob("*") if path.is_file()]
    assert [path for path in files if path.name != ".site"] == [part]
    record = await upload.finish()
    assert record.samples == 2_000_000
    assert not part.exists()


@pytest.mark.gen_test
async def test_a_short_wav_is_encoded_in_one_piece_however_it_comes_in(services: Services) -> None:
    services.keeper.pool.lengths = Lengths(patience=0)
    upload = await services.keeper.begin(await order(services))
    for piece in pieces(take(18.0), 100_000):
        await upload.write(piece)
    assert not children("ffmpeg")
    assert (await upload.finish()).samples == 18 * 44100


@pytest.mark.gen_test
async def test_aborting_all_ends_uploads_at_any_stage(services: Services, kept: Kept) -> None:
    fresh = await services.keeper.begin(await order(services))
    running = await services.keeper.begin(await order(services))
    await running.write(take(1.0)[:50_000])
    finishing = await services.keeper.begin(await order(services))
    await finishing.write(take(1.0))
    end = asyncio.ensure_future(finishing.finish())
    await services.keeper.abort_all()
    for writer in (fresh, running):
        with pytest.raises(Draining):
            await writer.write(b"x")
        await writer.abort()
    with pytest.raises(Draining):
        await end
    await finishing.abort()
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_an_upload_that_is_aborted_while_ffmpeg_starts_leaves_nothing(
    services: Services, kept: Kept
) -> None:
    upload = await services.keeper.begin(await order(services))
    writing = asyncio.ensure_future(upload.write(take(1.0)))
    await asyncio.sleep(0)
    await upload.abort()
    with contextlib.suppress(Draining):  # it may just have been taken
        await writing
    assert not children("ffmpeg")
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_record_tells_all_that_is_known(services: Services) -> None:
    data = tone(48_000, 1, 96_000, bits=24)
    upload = await services.keeper.begin(await order(services, None))
    await upload.write(wav(data, format=fmt(1, 1, 96_000, 24)))
    record = await upload.finish()
    assert (record.source_format, record.source_sample_rate) == ("s24le", 96_000)
    assert (record.source_channels, record.source_samples) == (1, 48_000)
    assert (record.sample_rate, record.channels, record.samples) == (48_000, 1, 24_000)
    assert record.duration == 0.5
    assert record.name is None
    age = datetime.datetime.now(datetime.UTC) - record.created_at
    assert datetime.timedelta(0) <= age < datetime.timedelta(seconds=5)


@pytest.mark.gen_test
async def test_tags_do_not_count_for_the_bit_rate(services: Services) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(wav(tone(1), after=chunk(b"JUNK", bytes(50_000))))
    record = await upload.finish()
    # Together they would make more bits a second than the column can hold.
    assert record.size > 8192
    assert record.bitrate == (record.size - 8192) * 8 * 44100
