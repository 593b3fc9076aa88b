"""The sweep of what crashes left, and `check` with its repair."""

import asyncio
import json
import os
import shutil
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.client import Account, Client, as_json
from tests.conftest import execute, run_apart
from tests.test_keeper import order
from tests.test_uploads import files, rows
from tests.wavs import take
from umusic.app import Services
from umusic.library.audit import Fault, Finding
from umusic.library.models import Record, User


async def findings(services: Services, *, deep: bool = False) -> list[Finding]:
    return [finding async for finding in services.audit.check(deep=deep)]


async def repair(services: Services, *, deep: bool = False) -> list[bool]:
    return [await services.audit.repair(finding) for finding in await findings(services, deep=deep)]


async def two_records(client: Client, services: Services) -> tuple[Account, list[Path]]:
    """Two records and the paths of their files, the first one's first."""
    user = await client.register()
    ids = [as_json(await client.upload(user, take(0.1), name=name))["id"] for name in "ab"]
    return user, [services.media.directory.root / user.id / f"{record_id}.mp3" for record_id in ids]


def finding(fault: Fault, path: Path) -> Finding:
    return Finding(fault, uuid.UUID(path.parent.name), uuid.UUID(path.stem))


@pytest.mark.expects_log("swept the files of 2 records")
@pytest.mark.expects_log("as of another database")
@pytest.mark.gen_test
async def test_the_sweep_removes_what_a_crash_left_and_nothing_else(
    services: Services, media_dir: Path
) -> None:
    kept = await services.keeper.begin(await order(services))
    await kept.write(take(0.1))
    record = await kept.finish()
    live = await services.keeper.begin(await order(services))
    await live.write(take(1.0)[:50_000])
    half, published, foreign = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    own, stranger = media_dir / str(record.user_id), media_dir / str(uuid.uuid4())
    gone, abandoned = media_dir / str(uuid.uuid4()), own / f"{uuid.uuid4()}.mp3"
    for directory, left, suffixes in (
        (gone, half, [".part"]),
        (own, published, [".part", ".mp3"]),
        (stranger, foreign, [".part", ".mp3"]),
    ):
        directory.mkdir(exist_ok=True)
        for suffix in suffixes:
            (directory / f"{'.' if suffix == '.part' else ''}{left}{suffix}").write_bytes(b"x")
    # As when the database was restored from an older backup: not for a sweep to decide.
    abandoned.write_bytes(b"an MP3 without a row")
    assert await services.audit.sweep() == 2
    assert not gone.exists()
    assert {path.name for path in own.iterdir()} == {f"{record.id}.mp3", abandoned.name}
    assert len(list(stranger.iterdir())) == 2
    await live.write(take(1.0)[50_000:])
    assert (await live.finish()).samples == 44100
    shutil.rmtree(stranger)


@pytest.mark.gen_test
async def test_a_library_that_is_as_it_should_be_has_no_findings(
    client: Client, services: Services
) -> None:
    await two_records(client, services)
    seen: list[None] = []
    looked = services.audit.check(deep=True, on_record=lambda: seen.append(None))
    assert [finding async for finding in looked] == []
    assert len(seen) == await services.records.count() == 2


@pytest.mark.gen_test
async def test_a_missing_file_is_found_and_its_row_goes_to_the_lost_and_found(
    client: Client, services: Services, media_dir: Path
) -> None:
    user, paths = await two_records(client, services)
    [row] = [row for row in await rows(services) if str(row.id) == paths[0].stem]
    paths[0].unlink()
    assert await findings(services) == [finding(Fault.FILE_MISSING, paths[0])]
    assert await repair(services) == [True]
    assert await findings(services) == []
    assert [str(kept.id) for kept in await rows(services)] == [paths[1].stem]
    [line] = (media_dir / "lost-and-found" / "records.jsonl").read_text().splitlines()
    lost = json.loads(line)
    assert (lost["id"], lost["name"], lost["user_id"]) == (paths[0].stem, "a", user.id)
    assert lost["sha256"] == "\\x" + row.sha256.hex()
    assert (await client.upload(user, take(0.1), name="a")).code == 201


@pytest.mark.gen_test
async def test_a_row_from_the_lost_and_found_can_be_put_back(
    client: Client, services: Services, media_dir: Path, database_url: str
) -> None:
    user, paths = await two_records(client, services)
    mp3 = paths[0].read_bytes()
    before = as_json(await client.fetch(f"/record/info?id={paths[0].stem}&user={user.id}"))
    paths[0].write_bytes(b"")
    assert await repair(services) == [True]
    line = (media_dir / "lost-and-found" / "records.jsonl").read_text()
    quoted = line.strip().replace("'", "''")
    await asyncio.to_thread(
        run_apart,
        execute(
            database_url,
            f"INSERT INTO records SELECT * FROM json_populate_record(NULL::records, '{quoted}')",
        ),
    )
    paths[0].write_bytes(mp3)
    assert await findings(services, deep=True) == []
    after = as_json(await client.fetch(f"/record/info?id={paths[0].stem}&user={user.id}"))
    assert after == before
    assert as_json(await client.fetch("/user", headers=user.bearer))["records"] == 2


@pytest.mark.gen_test
async def test_a_file_without_a_row_is_found_and_set_aside(
    client: Client, services: Services, media_dir: Path
) -> None:
    _, paths = await two_records(client, services)
    stray = paths[0].with_stem(str(uuid.uuid4()))
    shutil.copy(paths[0], stray)
    elsewhere = media_dir / str(uuid.uuid4()) / paths[0].name
    elsewhere.parent.mkdir()
    shutil.copy(paths[0], elsewhere)
    (media_dir / "notes.txt").write_text("no business of umusic's")
    (paths[0].parent / "notes.mp3").write_text("nor this")
    expected = [finding(Fault.ROW_MISSING, path) for path in (stray, elsewhere)]
    assert sorted(await findings(services), key=repr) == sorted(expected, key=repr)
    assert await repair(services) == [True, True]
    assert await findings(services) == []
    for path in (stray, elsewhere):
        assert not path.exists()
        aside = media_dir / "lost-and-found" / path.relative_to(media_dir)
        assert aside.read_bytes() == paths[0].read_bytes()
    shutil.copy(paths[0], stray)
    assert await repair(services) == [True]
    assert len(list((media_dir / "lost-and-found" / stray.parent.name).iterdir())) == 2


@pytest.mark.gen_test
async def test_a_file_of_a_wrong_size_is_found_and_set_aside_with_its_row(
    client: Client, services: Services, media_dir: Path
) -> None:
    user, paths = await two_records(client, services)
    with paths[0].open("ab") as file:
        file.write(b"x")
    assert await findings(services) == [finding(Fault.WRONG_SIZE, paths[0])]
    assert await repair(services) == [True]
    assert await findings(services, deep=True) == []
    assert (media_dir / "lost-and-found" / user.id / paths[0].name).exists()
    gone, kept = [f"/record?id={path.stem}&user={user.id}" for path in paths]
    assert (await client.fetch(gone)).code == 404
    assert (await client.fetch(kept)).code == 200


@pytest.mark.gen_test
async def test_a_changed_byte_is_found_by_a_deep_look_alone(
    client: Client, services: Services
) -> None:
    _, paths = await two_records(client, services)
    with paths[0].open("r+b") as file:
        file.seek(500)
        byte = file.read(1)
        file.seek(500)
        file.write(bytes([byte[0] ^ 1]))
    assert await findings(services) == []
    assert await findings(services, deep=True) == [finding(Fault.WRONG_SHA256, paths[0])]
    assert await repair(services, deep=True) == [True]
    assert await findings(services, deep=True) == []


@pytest.mark.gen_test
async def test_what_a_crash_left_unfinished_is_found_and_swept(
    client: Client, services: Services, media_dir: Path
) -> None:
    _, paths = await two_records(client, services)
    part = paths[0].with_name(f".{uuid.uuid4()}.part")
    part.write_bytes(b"half an MP3")
    record_id = uuid.UUID(part.stem.removeprefix("."))
    user_id = uuid.UUID(part.parent.name)
    assert await findings(services) == [Finding(Fault.UNFINISHED, user_id, record_id)]
    assert await repair(services) == [True]
    assert await findings(services) == []
    assert len(files(media_dir)) == 2


@pytest.mark.gen_test
async def test_odd_files_are_findings_or_nothing_and_never_an_end(
    client: Client, services: Services, media_dir: Path
) -> None:
    _, paths = await two_records(client, services)
    directory = paths[0].parent
    os.mkfifo(directory / f".{uuid.uuid4()}.part")
    (directory / f".{uuid.uuid4()}.part").mkdir()
    (directory / f".{uuid.uuid4()}.part").symlink_to("/etc/passwd")
    (media_dir / str(uuid.uuid4())).write_text("no directory")
    paths[0].unlink()
    paths[0].symlink_to(paths[0].name)
    paths[1].unlink()
    os.mkfifo(paths[1])
    dangling = paths[0].with_stem(str(uuid.uuid4()))
    dangling.symlink_to("nowhere")
    expected = [
        finding(Fault.UNREADABLE, paths[0]),
        finding(Fault.WRONG_SIZE, paths[1]),
        finding(Fault.ROW_MISSING, dangling),
    ]
    assert sorted(await findings(services, deep=True), key=repr) == sorted(expected, key=repr)
    assert await services.audit.sweep() == 0
    assert sorted(await repair(services)) == [False, True, True]
    assert await findings(services) == expected[:1]
    for left in directory.rglob("*.part"):
        left.rmdir() if left.is_dir() else left.unlink()


@pytest.mark.gen_test
async def test_what_is_left_of_a_user_who_is_gone_goes_to_the_lost_and_found(
    client: Client, services: Services, media_dir: Path
) -> None:
    left = media_dir / str(uuid.uuid4()) / f"{uuid.uuid4()}.mp3"
    left.parent.mkdir()
    left.write_bytes(b"an MP3")
    left.with_name(f".{left.stem}.part").hardlink_to(left)
    user_id, record_id = uuid.UUID(left.parent.name), uuid.UUID(left.stem)
    assert await findings(services) == [Finding(Fault.UNFINISHED, user_id, record_id)]
    assert await repair(services) == [True]
    assert await findings(services) == []
    assert not left.parent.exists()
    aside = media_dir / "lost-and-found" / left.relative_to(media_dir)
    assert aside.read_bytes() == b"an MP3"


@pytest.mark.gen_test
async def test_an_upload_that_is_committed_during_the_look_is_nothing_to_find(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    await client.upload(user, take(0.1))
    owners = services.records.owners

    async def one_comes_after(record_ids: list[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        known = await owners(record_ids)
        await client.upload(user, take(0.1))
        return known

    monkeypatch.setattr(services.records, "owners", one_comes_after)
    assert await findings(services) == []


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_the_sweep_waits_for_a_commit_that_is_under_way(
    client: Client, services: Services, media_dir: Path
) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(0.1)))
    path = media_dir / user.id / f"{receipt['id']}.mp3"
    path.with_name(f".{path.stem}.part").hardlink_to(path)
    # As if the process had died in its COMMIT, with Postgres still at it.
    async with services.database.transaction() as session:
        record = await session.get(Record, uuid.UUID(receipt["id"]))
        assert record is not None
        copied = {column.key: getattr(record, column.key) for column in Record.__table__.columns}
        await session.delete(record)
    async with services.database.transaction() as session:
        await session.execute(
            select(User).where(User.id == uuid.UUID(user.id)).with_for_update(key_share=True)
        )
        sweeping = asyncio.ensure_future(services.audit.sweep())
        await asyncio.sleep(0.2)
        assert not sweeping.done()
        session.add(Record(**copied))
    assert await sweeping == 1
    assert (await client.fetch(receipt["link"])).code == 200


@pytest.mark.gen_test
async def test_live_uploads_are_nothing_to_find(client: Client, services: Services) -> None:
    live = await services.keeper.begin(await order(services))
    await live.write(take(1.0)[:50_000])
    assert await findings(services) == []
    await live.abort()


@pytest.mark.gen_test
async def test_where_no_record_has_its_file_there_is_reason_to_doubt(
    client: Client, services: Services
) -> None:
    assert await services.audit.is_plausible()
    user, paths = await two_records(client, services)
    paths[0].unlink()
    assert await services.audit.is_plausible()
    paths[1].unlink()
    assert not await services.audit.is_plausible()
    for number, path in enumerate(paths):
        url = f"/record?id={path.stem}&user={user.id}"
        await client.fetch(url, method="DELETE", headers=user.bearer)
        assert await services.audit.is_plausible()
        # As with another's database: files without a single row.
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"an MP3")
        assert await services.audit.is_plausible() == (number == 0)
