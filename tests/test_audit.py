"""The sweep of what crashes left, and `check` with its repair."""

import asyncio
import json
import os
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.client import Account, Client, as_json
from tests.conftest import execute, run_apart
from tests.stores import Kept, leave_marked
from tests.test_keeper import order
from tests.test_uploads import files, rows
from tests.wavs import take
from umusic.app import Services
from umusic.errors import MediaAway
from umusic.library.audit import Audit, Fault, Finding
from umusic.library.media import Leftover
from umusic.library.models import Record, User


async def findings(services: Services, *, deep: bool = False) -> list[Finding]:
    return [finding async for finding in services.audit.check(deep=deep)]


async def repair(services: Services, *, deep: bool = False) -> list[bool]:
    return [await services.audit.repair(finding) for finding in await findings(services, deep=deep)]


async def two_records(client: Client) -> tuple[Account, list[str]]:
    """Two records and the names of their files, the first one's first."""
    user = await client.register()
    ids = [as_json(await client.upload(user, take(0.1), name=name))["id"] for name in "ab"]
    return user, [f"{user.id}/{record_id}.mp3" for record_id in ids]


def record_of(name: str) -> str:
    """The id of the record whose file it is."""
    return name[37:-4]


def finding(fault: Fault, name: str) -> Finding:
    return Finding(fault, uuid.UUID(name[:36]), uuid.UUID(record_of(name)))


def lost_row(kept: Kept) -> str:
    """The only row in the lost-and-found."""
    [name] = [name for name in kept.names() if name.endswith((".json", ".jsonl"))]
    return kept.read(name).decode().strip()


@pytest.mark.expects_log("swept the files of 2 records", store="disk")
@pytest.mark.expects_log("as of another database", store="disk")
@pytest.mark.expects_log("swept the files of 3 records", store="s3")
@pytest.mark.leaves_files
@pytest.mark.gen_test
async def test_the_sweep_removes_what_a_crash_left_and_nothing_else(
    services: Services, kept: Kept, media_dir: Path
) -> None:
    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    record = await upload.finish()
    live = await services.keeper.begin(await order(services))
    await live.write(take(1.0)[:50_000])
    gone, stranger = uuid.uuid4(), uuid.uuid4()
    kept.abandon(gone)
    for owner in (record.user_id, stranger):
        record_id = uuid.uuid4()
        kept.write(f"{owner}/{record_id}.mp3", b"x")
        await leave_marked(services, owner, record_id)
    # As when the database was restored from an older backup: not for a sweep to decide.
    abandoned = f"{record.user_id}/{uuid.uuid4()}.mp3"
    kept.write(abandoned, b"an MP3 without a row")
    # Of a bucket the database itself knows what is marked.
    assert await services.audit.sweep() == (3 if kept.is_remote else 2)
    left = {name for name in kept.names() if name.startswith(str(record.user_id))}
    assert left == {f"{record.user_id}/{record.id}.mp3", abandoned}
    of_strangers = [name for name in kept.names() if name.startswith(str(stranger))]
    assert len(of_strangers) == (0 if kept.is_remote else 2)
    assert not (media_dir / str(gone)).exists()
    assert str(gone) not in str(kept.unfinished())
    await live.write(take(1.0)[50_000:])
    assert (await live.finish()).samples == 44100
    for name in of_strangers:
        kept.remove(name)


@pytest.mark.gen_test
async def test_a_library_that_is_as_it_should_be_has_no_findings(
    client: Client, services: Services
) -> None:
    await two_records(client)
    seen: list[None] = []
    looked = services.audit.check(deep=True, on_record=lambda: seen.append(None))
    assert [finding async for finding in looked] == []
    assert len(seen) == await services.records.count() == 2


@pytest.mark.gen_test
async def test_a_missing_file_is_found_and_its_row_goes_to_the_lost_and_found(
    client: Client, services: Services, kept: Kept
) -> None:
    user, paths = await two_records(client)
    [row] = [row for row in await rows(services) if str(row.id) == record_of(paths[0])]
    kept.remove(paths[0])
    assert await findings(services) == [finding(Fault.FILE_MISSING, paths[0])]
    assert await repair(services) == [True]
    assert await findings(services) == []
    assert [str(row.id) for row in await rows(services)] == [record_of(paths[1])]
    lost = json.loads(lost_row(kept))
    assert (lost["id"], lost["name"], lost["user_id"]) == (record_of(paths[0]), "a", user.id)
    assert lost["sha256"] == "\\x" + row.sha256.hex()
    assert (await client.upload(user, take(0.1), name="a")).code == 201


@pytest.mark.gen_test
async def test_a_row_from_the_lost_and_found_can_be_put_back(
    client: Client, services: Services, kept: Kept, database_url: str
) -> None:
    user, paths = await two_records(client)
    mp3 = kept.read(paths[0])
    before = as_json(await client.fetch(f"/record/info?id={record_of(paths[0])}&user={user.id}"))
    kept.write(paths[0], b"")
    assert await repair(services) == [True]
    quoted = lost_row(kept).replace("'", "''")
    await asyncio.to_thread(
        run_apart,
        execute(
            database_url,
            f"INSERT INTO records SELECT * FROM json_populate_record(NULL::records, '{quoted}')",
        ),
    )
    kept.write(paths[0], mp3)
    assert await findings(services, deep=True) == []
    after = as_json(await client.fetch(f"/record/info?id={record_of(paths[0])}&user={user.id}"))
    assert after == before
    assert as_json(await client.fetch("/user", headers=user.bearer))["records"] == 2


@pytest.mark.leaves_files
@pytest.mark.gen_test
async def test_a_file_without_a_row_is_found_and_set_aside(
    client: Client, services: Services, kept: Kept
) -> None:
    user, paths = await two_records(client)
    stray = f"{user.id}/{uuid.uuid4()}.mp3"
    kept.copy(paths[0], stray)
    elsewhere = f"{uuid.uuid4()}/{record_of(paths[0])}.mp3"
    kept.copy(paths[0], elsewhere)
    kept.write("notes.txt", b"no business of umusic's")
    kept.write(f"{user.id}/notes.mp3", b"nor this")
    expected = [finding(Fault.ROW_MISSING, path) for path in (stray, elsewhere)]
    assert sorted(await findings(services), key=repr) == sorted(expected, key=repr)
    assert await repair(services) == [True, True]
    assert await findings(services) == []
    for path in (stray, elsewhere):
        assert path not in kept.names()
        assert kept.read(f"lost-and-found/{path}") == kept.read(paths[0])
    kept.copy(paths[0], stray)
    assert await repair(services) == [True]
    aside = [name for name in kept.names() if name.startswith(f"lost-and-found/{user.id}/")]
    assert len(aside) == 2


@pytest.mark.gen_test
async def test_a_file_of_a_wrong_size_is_found_and_set_aside_with_its_row(
    client: Client, services: Services, kept: Kept
) -> None:
    user, paths = await two_records(client)
    kept.write(paths[0], kept.read(paths[0]) + b"x")
    assert await findings(services) == [finding(Fault.WRONG_SIZE, paths[0])]
    assert await repair(services) == [True]
    assert await findings(services, deep=True) == []
    assert f"lost-and-found/{paths[0]}" in kept.names()
    gone, sound = [f"/record?id={record_of(path)}&user={user.id}" for path in paths]
    assert (await client.fetch(gone)).code == 404
    assert (await client.fetch(sound)).code == 200


@pytest.mark.gen_test
async def test_a_changed_byte_is_found_by_a_deep_look_alone(
    client: Client, services: Services, kept: Kept
) -> None:
    _, paths = await two_records(client)
    changed = bytearray(kept.read(paths[0]))
    changed[500] ^= 1
    kept.write(paths[0], bytes(changed))
    assert await findings(services) == []
    assert await findings(services, deep=True) == [finding(Fault.WRONG_SHA256, paths[0])]
    assert await repair(services, deep=True) == [True]
    assert await findings(services, deep=True) == []


@pytest.mark.gen_test
async def test_what_a_crash_left_unfinished_is_found_and_swept(
    client: Client, services: Services, kept: Kept
) -> None:
    user, _ = await two_records(client)
    user_id, record_id = uuid.UUID(user.id), kept.abandon(user.id)
    assert await findings(services) == [Finding(Fault.UNFINISHED, user_id, record_id)]
    assert await repair(services) == [True]
    assert await findings(services) == []
    assert len(files(kept)) == 2
    assert not kept.unfinished()


@pytest.mark.disk
@pytest.mark.gen_test
async def test_odd_files_are_findings_or_nothing_and_never_an_end(
    client: Client, services: Services, media_dir: Path
) -> None:
    _, names = await two_records(client)
    paths = [media_dir / name for name in names]
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
        finding(Fault.UNREADABLE, names[0]),
        finding(Fault.WRONG_SIZE, names[1]),
        finding(Fault.ROW_MISSING, str(dangling.relative_to(media_dir))),
    ]
    assert sorted(await findings(services, deep=True), key=repr) == sorted(expected, key=repr)
    assert await services.audit.sweep() == 0
    assert sorted(await repair(services)) == [False, True, True]
    assert await findings(services) == expected[:1]
    for left in directory.rglob("*.part"):
        left.rmdir() if left.is_dir() else left.unlink()


@pytest.mark.gen_test
async def test_what_is_left_of_a_user_who_is_gone_is_found_and_goes(
    client: Client, services: Services, kept: Kept
) -> None:
    user_id, record_id = uuid.uuid4(), uuid.uuid4()
    left = f"{user_id}/{record_id}.mp3"
    kept.write(left, b"an MP3")
    await leave_marked(services, user_id, record_id)
    assert await findings(services) == [Finding(Fault.UNFINISHED, user_id, record_id)]
    assert await repair(services) == [True]
    assert await findings(services) == []
    if kept.is_remote:
        # The database knows that it had a record, and that this one is gone.
        assert kept.is_empty
    else:
        # It may be of another database: nobody can tell.
        assert kept.names() == [f"lost-and-found/{left}"]
        assert kept.read(f"lost-and-found/{left}") == b"an MP3"


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
    client: Client, services: Services
) -> None:
    user = await client.register()
    receipt = as_json(await client.upload(user, take(0.1)))
    await leave_marked(services, uuid.UUID(user.id), uuid.UUID(receipt["id"]))
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


@pytest.mark.leaves_files
@pytest.mark.gen_test
async def test_where_no_record_has_its_file_there_is_reason_to_doubt(
    client: Client, services: Services, kept: Kept
) -> None:
    assert await services.audit.is_plausible()
    user, paths = await two_records(client)
    kept.remove(paths[0])
    assert await services.audit.is_plausible()
    kept.remove(paths[1])
    assert not await services.audit.is_plausible()
    for number, path in enumerate(paths):
        url = f"/record?id={record_of(path)}&user={user.id}"
        await client.fetch(url, method="DELETE", headers=user.bearer)
        assert await services.audit.is_plausible()
        # As with another's database: files without a single row.
        kept.write(path, b"an MP3")
        assert await services.audit.is_plausible() == (number == 0)


@pytest.mark.expects_log("could not be swept")
@pytest.mark.expects_log("swept the files of 3 records")
@pytest.mark.gen_test
async def test_what_cannot_be_read_keeps_a_sweep_from_nothing_else(
    services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        kept.abandon(uuid.uuid4())
    sweep_file, unreadable = Audit._sweep_file, 1

    async def sweep_some(audit: Audit, file: Leftover) -> bool:
        nonlocal unreadable
        unreadable -= 1
        if unreadable >= 0:
            raise MediaAway from OSError("cannot be read")
        return await sweep_file(audit, file)

    monkeypatch.setattr(Audit, "_sweep_file", sweep_some)
    assert await services.audit.sweep() == 3
    assert len(kept.unfinished()) == 1
    # Where nothing can be read it is the store, of which somebody should hear.
    for _ in range(4):
        kept.abandon(uuid.uuid4())
    unreadable = 9
    with pytest.raises(MediaAway):
        await services.audit.sweep()
    assert unreadable == 6
    kept.clear()
