"""`umusic move-media`, and umusic on two stores meanwhile."""

import asyncio
import dataclasses
import datetime
import hashlib
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from sqlalchemy import func, select

from tests.client import Account, Client, as_json, both_ways
from tests.conftest import wait_for
from tests.process import Done, Process, umusic
from tests.stores import S3, Kept, kept_in, kept_in_bucket, lapse
from tests.test_cli_upload import on_a_terminal
from tests.test_full_disk import apart
from tests.test_uploads import rows
from tests.warm import Command
from tests.wavs import take
from umusic.app import Services
from umusic.library import move
from umusic.library.directory import Directory
from umusic.library.media import Media
from umusic.library.models import Claim, Record
from umusic.library.move import Move
from umusic.library.scratch import scratch

Run = Callable[..., Awaitable[Done]]


@dataclass(frozen=True)
class Place:
    """A store other than that of the test's umusic: what is kept there, and its URL."""

    kept: Kept
    url: str

    @property
    def settings(self) -> dict[str, str]:
        """What umusic is told so that it works there."""
        return self.kept.settings or {"media_dir": self.url, "media_url": ""}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """To a directory; and to a bucket where there is an S3."""
    if "target" in metafunc.fixturenames:
        places = {"disk": ["directory"], "s3": ["directory", "bucket"]}
        names = places[metafunc.config.getoption("--store")]
        metafunc.parametrize("target", names, indirect=True)


@pytest.fixture
def target(request: pytest.FixtureRequest, s3: S3 | None, tmp_path: Path) -> Iterator[Place]:
    """An empty store."""
    if request.param == "directory":
        path = tmp_path / "target"
        path.mkdir()
        yield Place(kept_in(path), str(path))
    else:
        assert s3 is not None
        for kept in kept_in_bucket(s3):
            yield Place(kept, kept.settings["media_url"])


@pytest.fixture
def environment(database_url: str, media_dir: Path, kept: Kept) -> dict[str, str]:
    """The settings of the test's umusic."""
    settings = {"database_url": database_url, "media_dir": str(media_dir), **kept.settings}
    return {f"UMUSIC_{name.upper()}": value for name, value in settings.items()}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs a command beside the test's umusic, with these settings in the place of its own."""

    async def command(*args: str, **settings: str) -> Done:
        told = {f"UMUSIC_{name.upper()}": value for name, value in settings.items()}
        return await umusic(*args, directory=tmp_path, **{**environment, **told})

    return command


async def stock(services: Services, kept: Kept, sizes: list[int]) -> list[Record]:
    """Records of files that were never uploaded, with so many bytes of anything."""
    user, _ = await services.users.register(str(uuid.uuid4()))
    records = []
    for number, size in enumerate(sizes):
        data = random.Random(number).randbytes(size)
        record = Record(
            id=uuid.uuid4(),
            user_id=user.id,
            uploader_id=user.id,
            name=None,
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
            + datetime.timedelta(seconds=number),
            duration=1,
            sample_rate=44100,
            channels=2,
            bitrate=128000,
            samples=44100,
            size=size,
            sha256=hashlib.sha256(data).digest(),
            source_format="s16le",
            source_sample_rate=44100,
            source_channels=2,
            source_samples=44100,
            source_size=176444,
            source_sha256=hashlib.sha256().digest(),
        )
        kept.write(name_of(record), data)
        records.append(record)
    async with services.database.transaction() as session:
        session.add_all(records)
    return records


def name_of(record: Record) -> str:
    return f"{record.user_id}/{record.id}.mp3"


def assert_all_there(kept: Kept, records: list[Record]) -> None:
    """There is what the rows say, and nothing else."""
    assert kept.names() == sorted(name_of(record) for record in records)
    for record in records:
        assert hashlib.sha256(kept.read(name_of(record))).digest() == record.sha256


def opened(services: Services, target: Place, tmp_path: Path) -> Media:
    """The target, with another directory for what is on its way there than umusic's own."""
    directory = tmp_path / "other"
    directory.mkdir()
    return services.stores.at(target.url, Directory(directory))


def move_to(services: Services, store: Media) -> tuple[Move, list[str]]:
    """A move from the first store of the settings, and the faults that it tells."""
    told: list[str] = []
    moving = Move(
        services.records,
        services.stores.first(),
        store,
        on_bytes=lambda _: None,
        on_fault=lambda _, why: told.append(why),
    )
    return moving, told


async def claims(services: Services) -> int:
    async with services.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(Claim)) or 0


class TestMoving:
    @pytest.mark.gen_test(timeout=180)
    async def test_all_is_there_with_its_time_and_nothing_is_gone(
        self, services: Services, kept: Kept, target: Place, run: Run, media_dir: Path
    ) -> None:
        # More than a store reads, and sends, at once.
        records = await stock(services, kept, [20_000_000, *range(1, 220)])
        done = await run("move-media", "--to", target.url)
        assert (done.status, done.errors) == (0, "")
        assert "220 records copied, 20.0 MB" in done.output
        for store in (kept, target.kept):
            assert_all_there(store, records)
        if not target.kept.is_remote:
            for record in records:
                found = (Path(target.url) / name_of(record)).stat()
                assert found.st_mtime == record.created_at.timestamp()
        assert await claims(services) == 0
        assert not (media_dir / ".move").exists()

    @pytest.mark.gen_test
    async def test_a_second_run_copies_nothing(
        self, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        records = await stock(services, kept, [1000] * 5)
        await run("move-media", "--to", target.url)
        times = {name: _modified(target, name) for name in target.kept.names()}
        late = await stock(services, kept, [2000])
        done = await run("move-media", "--to", target.url)
        assert done.status == 0
        assert "1 records copied, 2.0 kB" in done.output
        assert "5 were there already" in done.output
        assert_all_there(target.kept, records + late)
        assert all(_modified(target, name) == times[name] for name in times)

    @pytest.mark.gen_test
    async def test_there_and_back_again(
        self, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        records = await stock(services, kept, [100_000] * 5)
        assert (await run("move-media", "--to", target.url)).status == 0
        kept.clear()
        home = kept.settings.get("media_url") or services.media.name
        done = await run("move-media", "--from", target.url, "--to", home)
        assert (done.status, done.errors) == (0, "")
        assert_all_there(kept, records)
        assert "5 records checked, 0 faults" in (await run("check", "--deep")).output

    @pytest.mark.gen_test
    async def test_downloads_are_the_same_before_and_after(
        self,
        client: Client,
        target: Place,
        run: Run,
        start: Callable[..., Process],
        database_url: str,
    ) -> None:
        user = await client.register()
        receipt = as_json(await client.upload(user, take(1.0)))
        link = f"/record?id={receipt['id']}&user={user.id}"
        before = await client.fetch(link)
        done = await run("move-media", "--to", target.url)
        assert done.status == 0, done.output + done.errors
        moved = start(database_url=database_url, **target.settings)
        after = await client.fetch(f"http://127.0.0.1:{moved.port}{link}")
        assert (after.code, after.body) == (200, before.body)
        for name in ("ETag", "Last-Modified", "Repr-Digest", "Content-Length"):
            assert after.headers[name] == before.headers[name]
        old = {"If-None-Match": before.headers["ETag"]}
        again = await client.fetch(f"http://127.0.0.1:{moved.port}{link}", headers=old)
        assert again.code == 304

    @pytest.mark.gen_test(timeout=120)
    async def test_uploads_and_deletions_go_on_meanwhile(
        self, client: Client, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        stocked = await stock(services, kept, [200_000] * 100)
        user = await client.register()
        moving = asyncio.create_task(run("move-media", "--to", target.url))
        sent = 0
        while not moving.done():
            assert (await client.upload(user, take(0.1))).code == 201
            await services.removal.remove_record(stocked[sent % 100])
            sent += 1
            if sent == 100:
                break
        assert (await moving).status == 0, moving.result().output
        done = await run("move-media", "--to", target.url)
        assert done.status == 0, done.output
        records = await rows(services)
        assert sent > 1 and len(records) == 100
        # Of what was deleted only what had been copied before is there.
        for record in records:
            data = target.kept.read(name_of(record))
            assert hashlib.sha256(data).digest() == record.sha256
        assert set(target.kept.names()) <= {name_of(record) for record in [*records, *stocked]}
        assert await claims(services) == 0

    @pytest.mark.parametrize("files", [16])
    @pytest.mark.gen_test(timeout=400)
    async def test_one_that_was_killed_goes_on(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        run: Run,
        tmp_path: Path,
        environment: dict[str, str],
        media_dir: Path,
        files: int,
    ) -> None:
        records = await stock(services, kept, [9_000_000] * files)
        killed = []
        for least in (2, files // 2):
            command = Command(["move-media", "--to", target.url], tmp_path, environment, b"")
            await wait_for(lambda least=least: len(target.kept.mp3s()) >= least, 150)
            command._forked.kill()
            assert command.end()[0] == -signal.SIGKILL
            killed.append(len(target.kept.mp3s()))
        assert killed[-1] < files, "it was over before it was killed"
        done = await run("move-media", "--to", target.url)
        assert (done.status, done.errors) == (0, ""), done.output
        assert f"{files} records copied" not in done.output
        assert_all_there(target.kept, records)
        assert target.kept.unfinished() == []
        assert await claims(services) == 0
        assert not (media_dir / ".move").exists()

    @pytest.mark.gen_test(timeout=120)
    async def test_ctrl_c_leaves_nothing_half(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        run: Run,
        tmp_path: Path,
        environment: dict[str, str],
    ) -> None:
        records = await stock(services, kept, [9_000_000] * 30)
        command = Command(["move-media", "--to", target.url], tmp_path, environment, b"")
        await wait_for(lambda: bool(target.kept.mp3s()), 30)
        command._forked.send_signal(signal.SIGINT)
        status, output, errors = await asyncio.to_thread(command.end)
        assert (status, errors) == (130, b"")
        assert b"the next call goes on from here" in output
        # What was just under way has been taken back. S3 may still be at it, hence the claims.
        assert target.kept.names() == target.kept.mp3s()
        assert target.kept.unfinished() == []
        await lapse(services)
        done = await run("move-media", "--to", target.url)
        assert done.status == 0
        assert await claims(services) == 0
        assert_all_there(target.kept, records)

    @pytest.mark.gen_test
    async def test_what_is_damaged_or_missing_is_told_and_the_rest_goes_on(
        self, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        records = await stock(services, kept, [300_000] * 6)
        altered, short, missing, *sound = records
        data = bytearray(kept.read(name_of(altered)))
        data[-1] ^= 1
        kept.write(name_of(altered), bytes(data))
        kept.write(name_of(short), b"x")
        kept.remove(name_of(missing))
        done = await run("move-media", "--to", target.url)
        assert done.status == 1
        for record, words in (
            (altered, "the file has a wrong SHA-256"),
            (short, "the file has a wrong size"),
            (missing, "the file is missing"),
        ):
            assert f"{record.user_id}/{record.id}: {words}" in done.output
        assert "3 records copied, 900.0 kB" in done.output
        assert "3 could not be copied" in done.output
        assert_all_there(target.kept, sound)
        assert await claims(services) == 0

    @pytest.mark.gen_test
    async def test_a_file_of_the_target_that_has_a_wrong_size_is_not_lost(
        self, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        [record] = await stock(services, kept, [1000])
        target.kept.write(name_of(record), b"something else")
        assert (await run("move-media", "--to", target.url)).status == 0
        lost = f"lost-and-found/{name_of(record)}"
        assert target.kept.names() == sorted([lost, name_of(record)])
        assert target.kept.read(lost) == b"something else"
        assert target.kept.read(name_of(record)) == kept.read(name_of(record))

    @pytest.mark.gen_test
    async def test_a_store_that_cannot_be_used_is_told_in_a_sentence(
        self, services: Services, kept: Kept, run: Run, tmp_path: Path
    ) -> None:
        await stock(services, kept, [1000])
        home = kept.settings.get("media_url") or services.media.name
        for options, words in (
            (("--to", f"{tmp_path}/none"), f"--to: {tmp_path}/none is not there"),
            (("--to", str(tmp_path), "--from", f"{tmp_path}/none"), "--from: "),
            (("--to", home), "is where the MP3s are already"),
        ):
            done = await run("move-media", *options)
            assert (done.status, done.output) == (1, "")
            assert words in done.errors
            assert "Traceback" not in done.errors

    @pytest.mark.gen_test
    async def test_only_one_moves_at_a_time(
        self, services: Services, run: Run, target: Place, media_dir: Path
    ) -> None:
        with scratch(Directory(media_dir)):
            done = await run("move-media", "--to", target.url)
        assert done.status == 1
        assert "another umusic move-media is running" in done.errors

    @pytest.mark.gen_test
    async def test_what_somebody_else_has_in_hand_is_waited_for_and_then_told(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(move, "_PATIENCE", 1.0)
        [record] = await stock(services, kept, [1000])
        store = opened(services, target, tmp_path)
        part = await store.create(record.user_id, record.id)
        part.path.write_bytes(b"its own")
        await part.publish(0)
        moving, told = move_to(services, store)
        await moving.run()
        assert told == ["somebody else has it in hand"]
        assert (moving.copied, moving.faults) == (0, 1)
        assert target.kept.read(name_of(record)) == b"its own"
        await part.discard()
        await moving.run()
        assert moving.copied == 1
        assert_all_there(target.kept, [record])

    @pytest.mark.gen_test
    async def test_what_somebody_else_has_copied_meanwhile_is_there(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        records = await stock(services, kept, [1000, 2000])
        store = opened(services, target, tmp_path)
        moving, told = move_to(services, store)
        await moving.run()

        async def too_early(_: Move, records: list[Record]) -> list[bool]:
            return [False for _ in records]

        monkeypatch.setattr(Move, "_look", too_early)
        await moving.run()
        assert (moving.copied, moving.present, told) == (2, 2, [])
        assert_all_there(target.kept, records)

    @pytest.mark.gen_test
    async def test_a_record_that_is_deleted_while_it_is_copied_leaves_nothing(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        [record] = await stock(services, kept, [1000])
        store = opened(services, target, tmp_path)
        measure = store.measure

        async def deleted(*ids: uuid.UUID) -> Any:
            await services.removal.remove_record(record)
            return await measure(*ids)

        monkeypatch.setattr(store, "measure", deleted)
        moving, _ = move_to(services, store)
        await moving.run()
        assert (moving.copied, moving.present, moving.faults) == (0, 0, 0)
        assert target.kept.names() == kept.names() == []
        assert await claims(services) == 0

    @pytest.mark.gen_test
    async def test_elsewhere_than_on_a_terminal_there_are_plain_lines(
        self, services: Services, kept: Kept, target: Place, run: Run
    ) -> None:
        await stock(services, kept, [100_000] * 20)
        done = await run("move-media", "--to", target.url)
        assert "50 %: 1.0 MB of 2.0 MB" in done.output
        assert "\x1b" not in done.output
        *_, last = done.output.splitlines()
        assert last.startswith("20 records copied, 2.0 MB in ")

    @pytest.mark.gen_test
    async def test_on_a_terminal_there_is_a_bar_with_megabytes_and_the_time_left(
        self,
        services: Services,
        kept: Kept,
        target: Place,
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        records = await stock(services, kept, [5_000_000] * 10)
        kept.remove(name_of(records[0]))
        lines = (f"{name}={value}\n" for name, value in environment.items())
        (tmp_path / ".env").write_text("".join(lines))
        status, screen = await on_a_terminal("move-media", "--to", target.url, directory=tmp_path)
        assert status == 1
        assert "moving ━" in screen
        assert "/50.0 MB" in screen
        assert "MB/s" in screen
        assert f"{records[0].user_id}/{records[0].id}: the file is missing" in screen
        assert "9 records copied, 45.0 MB" in screen


def _modified(place: Place, name: str) -> Any:
    if place.kept.is_remote:
        return obstore.head(place.kept._store, name)["last_modified"]
    return (Path(place.url) / name).stat().st_ctime_ns


class TestLeftovers:
    """What a move that was killed leaves in a store that umusic already works on."""

    async def leave(
        self, services: Services, kept: Kept, record: Record, data: bytes | None, half: bytes
    ) -> None:
        """A mark of nobody any more, and `data` published with it; or what was not yet, `half`."""
        if data is None:
            kept.remove(name_of(record))
        else:
            kept.write(name_of(record), data)
        if not kept.is_remote:
            final = services.media.directory.root / name_of(record)
            final.parent.mkdir(exist_ok=True)
            part = final.with_name(f".{record.id}.part")
            if data is None:
                part.write_bytes(half)
            else:
                part.hardlink_to(final)
            return
        row = Claim(
            store=services.media.claims.store,  # type: ignore[attr-defined]
            record_id=record.id,
            user_id=record.user_id,
            holder=uuid.uuid4(),
            until=datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1),
        )
        async with services.database.transaction() as session:
            session.add(row)

    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.gen_test
    async def test_a_whole_copy_stays(self, services: Services, kept: Kept) -> None:
        records = await stock(services, kept, [1000, 1000])
        whole = kept.read(name_of(records[0]))
        await self.leave(services, kept, records[0], whole, b"")
        assert await services.audit.sweep() == 1
        assert_all_there(kept, records)
        assert await claims(services) == 0

    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.expects_log("not what its row says")
    @pytest.mark.parametrize("wrong", [b"x" * 1000, b"x"], ids=["altered", "short"])
    @pytest.mark.gen_test
    async def test_what_is_no_copy_goes_to_the_lost_and_found(
        self, services: Services, kept: Kept, wrong: bytes
    ) -> None:
        [record] = await stock(services, kept, [1000])
        await self.leave(services, kept, record, wrong, b"")
        assert await services.audit.sweep() == 1
        assert kept.names() == [f"lost-and-found/{name_of(record)}"]
        assert await claims(services) == 0

    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.gen_test
    async def test_what_was_not_published_goes(self, services: Services, kept: Kept) -> None:
        [record] = await stock(services, kept, [1000])
        await self.leave(services, kept, record, None, b"half")
        assert await services.audit.sweep() == 1
        assert kept.names() == []
        assert await claims(services) == 0

    @pytest.mark.gen_test
    async def test_a_live_move_is_let_alone(
        self, services: Services, kept: Kept, tmp_path: Path
    ) -> None:
        """Into the very store that this umusic works on."""
        [record] = await stock(services, kept, [1000])
        data = kept.read(name_of(record))
        kept.remove(name_of(record))
        part = await services.media.create(record.user_id, record.id)
        part.path.write_bytes(data)
        await part.publish(0)
        assert await services.audit.sweep() == 0
        assert await services.records.confirm(record.user_id, record.id, part.settle_in)
        await part.settle()
        assert await services.audit.sweep() == 0
        assert_all_there(kept, [record])

    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.gen_test
    async def test_the_next_move_takes_over_a_whole_copy_as_it_is(
        self, services: Services, kept: Kept, target: Place, tmp_path: Path, run: Run
    ) -> None:
        whole, half = await stock(services, kept, [1000, 2000])
        store = opened(services, target, tmp_path)
        there = dataclasses.replace(services, media=store)
        await self.leave(there, target.kept, whole, kept.read(name_of(whole)), b"")
        await self.leave(there, target.kept, half, b"something else", b"")
        done = await run("move-media", "--to", target.url)
        assert done.status == 0, done.output
        assert "1 records copied, 2.0 kB" in done.output
        assert "1 were there already" in done.output
        assert target.kept.read(f"lost-and-found/{name_of(half)}") == b"something else"
        target.kept.remove(f"lost-and-found/{name_of(half)}")
        assert_all_there(target.kept, [whole, half])
        # The same as it would be for a sweep of this umusic.
        await self.leave(services, kept, whole, kept.read(name_of(whole)), b"")
        assert await services.audit.sweep() == 1


class TestFallback:
    """umusic on two stores: that of the test, and the target for what is not there."""

    @pytest.fixture
    def knobs(self, target: Place) -> dict[str, Any]:
        url = target.url if target.kept.is_remote else Path(target.url).as_uri()
        return {"media_fallback_url": url}

    async def record(
        self, client: Client, kept: Kept, target: Place, seconds: float = 1.0
    ) -> tuple[Account, str, str]:
        """A record whose MP3 is in the target alone: its user, its query, and its name there."""
        user = await client.register(str(uuid.uuid4()))
        record_id = as_json(await client.upload(user, take(seconds)))["id"]
        name = f"{user.id}/{record_id}.mp3"
        target.kept.write(name, kept.read(name))
        kept.remove(name)
        return user, f"id={record_id}&user={user.id}", name

    @both_ways
    @pytest.mark.gen_test
    async def test_what_is_not_in_the_first_store_is_sent_from_the_second(
        self, client: Client, kept: Kept, target: Place
    ) -> None:
        _, query, name = await self.record(client, kept, target)
        mp3 = target.kept.read(name)
        got = await client.fetch(f"/record?{query}")
        assert (got.code, got.body) == (200, mp3)
        part = await client.fetch(f"/record?{query}", headers={"Range": "bytes=10-19"})
        assert (part.code, part.body) == (206, mp3[10:20])
        head = await client.fetch(f"/record?{query}", method="HEAD")
        assert head.headers["ETag"] == got.headers["ETag"]
        # And once it has been moved the first one sends it, as the same.
        kept.write(name, mp3)
        moved = await client.fetch(f"/record?{query}")
        assert (moved.code, moved.body) == (200, mp3)

    @pytest.mark.gen_test
    async def test_what_is_made_of_an_mp3_is_kept_where_that_is(
        self, client: Client, kept: Kept, target: Place
    ) -> None:
        user, query, name = await self.record(client, kept, target)
        for kind in ("peaks", "waveform"):
            for _ in range(2):
                assert (await client.fetch(f"/record/{kind}?{query}")).code == 200
        directory = name.replace(".mp3", ".waveform/")
        assert [each for each in kept.names() if not each.startswith("lost")] == []
        made = [each for each in target.kept.names() if each.startswith(directory)]
        assert len(made) == 2
        gone = await client.fetch(f"/record?{query}", method="DELETE", headers=user.bearer)
        assert gone.code == 204
        assert kept.names() == target.kept.names() == []

    @pytest.mark.gen_test
    async def test_uploads_go_to_the_first_and_removals_to_both(
        self, client: Client, kept: Kept, target: Place, services: Services
    ) -> None:
        user = await client.register()
        record_id = as_json(await client.upload(user, take(0.1)))["id"]
        name = f"{user.id}/{record_id}.mp3"
        assert (kept.names(), target.kept.names()) == ([name], [])
        target.kept.write(name, kept.read(name))
        link = f"/record?id={record_id}&user={user.id}"
        assert (await client.fetch(link, method="DELETE", headers=user.bearer)).code == 204
        assert kept.names() == target.kept.names() == []
        assert await claims(services) == 0

    @pytest.mark.gen_test
    async def test_what_is_deleted_while_it_is_copied_is_no_fault_and_leaves_nothing(
        self,
        kept: Kept,
        target: Place,
        services: Services,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """Removed in the target as well, in the midst of its copy."""
        doomed, other = await stock(services, kept, [1000, 1000])
        store = opened(services, target, tmp_path)
        size, looks = store.size, 0

        async def deleted(user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
            nonlocal looks
            looks += record_id == doomed.id
            # The second look is the last thing before the copy is published.
            if record_id == doomed.id and looks == 2:
                await services.removal.remove_record(doomed)
            return await size(user_id, record_id)

        monkeypatch.setattr(store, "size", deleted)
        moving, _ = move_to(services, store)
        await moving.run()
        assert (looks, moving.copied, moving.faults) == (2, 1, 0)
        assert_all_there(target.kept, [other])
        assert_all_there(kept, [other])
        assert await claims(services) == 0

    @pytest.mark.gen_test
    async def test_check_knows_both(
        self, client: Client, kept: Kept, target: Place, services: Services
    ) -> None:
        user, _, name = await self.record(client, kept, target)
        await client.upload(user, take(0.1))

        async def faults() -> list[str]:
            found = services.audit.check(deep=True)
            return sorted([finding.fault async for finding in found])

        assert await faults() == []
        stray = f"{user.id}/{uuid.uuid4()}.mp3"
        target.kept.write(stray, b"of nobody")
        data = target.kept.read(name)
        target.kept.remove(name)
        assert await faults() == ["the file belongs to no record", "the file is missing"]
        target.kept.write(name, data)
        [finding] = [finding async for finding in services.audit.check()]
        assert await services.audit.repair(finding)
        assert await faults() == []
        assert f"lost-and-found/{stray}" in target.kept.names()

    @pytest.mark.gen_test(timeout=120)
    async def test_a_library_is_moved_and_nothing_is_missing_at_any_moment(
        self, client: Client, kept: Kept, target: Place, services: Services, run: Run
    ) -> None:
        stocked = await stock(services, kept, [200_000] * 60)
        user = await client.register()
        moving = asyncio.create_task(run("move-media", "--to", target.url))
        deleted = 0
        while not moving.done() or not deleted:
            await services.removal.remove_record(stocked.pop())
            deleted += 1
            await client.upload(user, take(0.1))
            kept_one = stocked[deleted % len(stocked)]
            link = f"/record?id={kept_one.id}&user={kept_one.user_id}"
            got = await client.fetch(link)
            assert hashlib.sha256(got.body).digest() == kept_one.sha256
            if len(stocked) == 20:
                break
        assert (await moving).status == 0, moving.result().output
        assert (await run("move-media", "--to", target.url)).status == 0
        records = await rows(services)
        assert_all_there(kept, records)
        # Also what was deleted meanwhile is gone there.
        assert_all_there(target.kept, records)
        assert await claims(services) == 0


@pytest.mark.skipif(not apart(), reason="nobody may mount a tmpfs here")
@pytest.mark.gen_test
async def test_a_full_target_stops_it_and_the_next_call_goes_on(
    services: Services, kept: Kept, tmp_path: Path, run: Run, environment: dict[str, str]
) -> None:
    records = await stock(services, kept, [1_000_000] * 8)
    (tmp_path / "full").mkdir()
    command = f"{sys.executable} -m umusic move-media --to full"
    script = (
        f"mount -t tmpfs -o size=4m umusic full; {command}; echo $?; find full -name '.*.part'; "
        f"mount -o remount,size=40m full; {command}; echo $?; ls full/*/*.mp3 | wc -l"
    )
    told = await asyncio.to_thread(
        subprocess.run,
        [*apart(), "sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])}
        | environment,
        capture_output=True,
        text=True,
    )
    lines = [line for line in told.stdout.splitlines() if "%" not in line]
    assert len(lines) == 6, told
    figures, stopped, status, after, good, count = lines
    assert int(figures.split()[0]) > 0
    assert "Stopped before the end: [Errno 28] No space left on device" in stopped
    assert (status, good, count) == ("1", "0", str(len(records))), told
    assert after.startswith(f"{8 - int(figures.split()[0])} records copied")
