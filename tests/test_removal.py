"""Removing records and users: what a crash at each point leaves, and what the sweep makes of it."""

import asyncio
import contextlib
import errno
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.client import Account, Client, as_json
from tests.rows import add_rows
from tests.stores import Kept, lapse
from tests.test_uploads import assert_nothing_kept, files, rows
from tests.wavs import take
from umusic.app import Services
from umusic.errors import CommitUncertain, DatabaseUnavailable, RecordBusy, RecordUnknown
from umusic.library import record_file, removal
from umusic.library.media import Doomed
from umusic.library.models import Record


class Crash(BaseException):
    """The process ends here."""


async def one_record(client: Client, services: Services) -> tuple[Account, Record]:
    user = await client.register()
    await client.upload(user, take(0.1))
    [record] = await rows(services)
    return user, record


def doomed_files(services: Services) -> type[Doomed]:
    """The class of what is removed from this store."""
    return type(services.media.doomed(uuid.uuid4(), []))


@pytest.mark.expects_log("swept the files of 1 records", store="disk")
@pytest.mark.gen_test
async def test_a_crash_before_the_row_goes_costs_nothing(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, record = await one_record(client, services)
    with monkeypatch.context() as patch:
        doomed = doomed_files(services)
        mark_in = doomed.mark_in

        async def die(files: Doomed, *args: Any) -> None:
            await mark_in(files, *args)
            raise Crash

        # What a process that is killed does not get to.
        patch.setattr(doomed, "unmark", doomed.release)
        patch.setattr(doomed, "mark_in", die)
        with pytest.raises(Crash):
            await services.removal.remove_record(record)
    await lapse(services)
    # In a bucket the mark is part of the transaction.
    assert await services.audit.sweep() == (0 if kept.is_remote else 1)
    assert files(kept) == [services.media.path(record.user_id, record.id)]
    link = f"/record?id={record.id}&user={user.id}"
    assert (await client.fetch(link)).code == 200


@pytest.mark.parametrize("discarded", [False, True], ids=["before", "amid"])
@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_a_crash_after_the_row_has_gone_leaves_a_file_that_is_swept(
    client: Client,
    services: Services,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    discarded: bool,
) -> None:
    _, record = await one_record(client, services)

    path = services.media.path(record.user_id, record.id)

    async def die(files: Doomed) -> None:
        if discarded:
            kept.remove(path)
        await files.release()
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(doomed_files(services), "discard", die)
        with pytest.raises(Crash):
            await services.removal.remove_record(record)
    assert await rows(services) == []
    assert (path in files(kept)) == (not discarded)
    await lapse(services)
    assert await services.audit.sweep() == 1
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_database_that_is_away_leaves_record_and_file_as_they_were(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = await one_record(client, services)

    async def away(*args: object) -> int:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(services.records, "remove", away)
        with pytest.raises(DatabaseUnavailable):
            await services.removal.remove_record(record)
    assert files(kept) == [services.media.path(record.user_id, record.id)]
    await services.removal.remove_record(record)
    await assert_nothing_kept(services, kept)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.gen_test
async def test_a_commit_of_which_nobody_can_tell_leaves_the_file_to_the_sweep(
    client: Client,
    services: Services,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    committed: bool,
) -> None:
    _, record = await one_record(client, services)
    remove = services.records.remove

    async def uncertain(*args: Any) -> int:
        if committed:
            await remove(*args)
        raise CommitUncertain

    with monkeypatch.context() as patch:
        patch.setattr(services.records, "remove", uncertain)
        with pytest.raises(CommitUncertain):
            await services.removal.remove_record(record)
    await lapse(services)
    # In a bucket the mark is part of the transaction.
    marked = committed or not kept.is_remote
    if marked:
        request.applymarker(pytest.mark.expects_log("swept the files of 1 records"))
    assert await services.audit.sweep() == marked
    assert len(files(kept)) == len(await rows(services)) == (0 if committed else 1)


@pytest.mark.gen_test
async def test_a_record_without_its_file_can_be_removed(
    client: Client, services: Services, kept: Kept
) -> None:
    _, record = await one_record(client, services)
    kept.remove(services.media.path(record.user_id, record.id))
    await services.removal.remove_record(record)
    assert await rows(services) == []


@pytest.mark.disk
@pytest.mark.gen_test
async def test_a_record_can_be_removed_on_a_full_volume(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = await one_record(client, services)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "hardlink_to", full)
    await services.removal.remove_record(record)
    await assert_nothing_kept(services, kept)


@pytest.mark.disk
@pytest.mark.gen_test
async def test_a_file_that_somebody_else_holds_is_waited_for_and_then_left_alone(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = await one_record(client, services)
    holder = services.media.doomed(record.user_id, [record.id])
    assert await holder.mark()
    monkeypatch.setattr(removal, "_PATIENCE", 0.2)
    with pytest.raises(RecordBusy):
        await services.removal.remove_record(record)
    assert len(files(kept)) == 2
    assert len(await rows(services)) == 1
    monkeypatch.setattr(removal, "_PATIENCE", 10)
    waiting = asyncio.ensure_future(services.removal.remove_record(record))
    await asyncio.sleep(0.1)
    await holder.unmark()
    await waiting
    await assert_nothing_kept(services, kept)


@pytest.mark.disk
@pytest.mark.expects_log("media-away")
@pytest.mark.gen_test
async def test_a_media_directory_that_is_read_only_is_503_and_changes_nothing(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, record = await one_record(client, services)

    def read_only(*args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    link = f"/record?id={record.id}&user={user.id}"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", read_only)
        response = await client.fetch(link, method="DELETE", headers=user.bearer)
    assert response.code == 503
    assert "cannot be written to" in as_json(response)["detail"]
    assert (await client.fetch(link)).code == 200
    assert len(files(kept)) == 1


@pytest.mark.disk
@pytest.mark.expects_log("media-away")
@pytest.mark.gen_test
async def test_while_the_media_directory_is_away_nothing_is_removed_or_taken(
    client: Client, services: Services, kept: Kept, media_dir: Path
) -> None:
    user, record = await one_record(client, services)
    link = f"/record?id={record.id}&user={user.id}"
    media_dir.rename(media_dir.with_name("unmounted"))
    media_dir.mkdir()
    for response in (
        await client.fetch(link, method="DELETE", headers=user.bearer),
        await client.fetch("/user", method="DELETE", headers=user.bearer),
        await client.upload(user, take(0.1)),
        await client.fetch("/readyz"),
    ):
        assert response.code == 503
        assert as_json(response)["type"] == "/problems/media-away"
    media_dir.rmdir()
    media_dir.with_name("unmounted").rename(media_dir)
    assert (await client.fetch(link)).code == 200
    assert len(files(kept)) == len(await rows(services)) == 1


@pytest.mark.gen_test
async def test_a_sweep_beside_a_removal_does_not_disturb_it(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = await one_record(client, services)
    remove = services.records.remove

    async def sweep_meanwhile(*args: Any) -> int:
        assert await services.audit.sweep() == 0
        return await remove(*args)

    monkeypatch.setattr(services.records, "remove", sweep_meanwhile)
    await services.removal.remove_record(record)
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_record_that_went_meanwhile_is_told(client: Client, services: Services) -> None:
    _, record = await one_record(client, services)
    await services.removal.remove_record(record)
    with pytest.raises(RecordUnknown):
        await services.removal.remove_record(record)


@pytest.mark.gen_test
async def test_a_user_of_many_records_is_removed_in_batches(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    await client.upload(user, take(0.1))
    await add_rows(services.database, user.id, 250)
    await services.removal.remove_user(uuid.UUID(user.id))
    await assert_nothing_kept(services, kept)
    assert await services.users.page("", 10) == []


@pytest.mark.gen_test
async def test_a_users_removal_that_is_cut_short_can_be_asked_for_again(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    for _ in range(3):
        await client.upload(user, take(0.1))
    monkeypatch.setattr(removal, "_BATCH", 1)
    remove, calls = services.records.remove, 0

    async def fails_at_the_second(*args: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DatabaseUnavailable
        return await remove(*args)

    monkeypatch.setattr(services.records, "remove", fails_at_the_second)
    with pytest.raises(DatabaseUnavailable):
        await services.removal.remove_user(uuid.UUID(user.id))
    assert len(await rows(services)) == len(files(kept)) == 2
    assert (await client.fetch("/user", headers=user.bearer)).code == 200
    await services.removal.remove_user(uuid.UUID(user.id))
    await assert_nothing_kept(services, kept)


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_what_an_uncertain_removal_left_goes_when_the_user_is_removed_again(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _ = await one_record(client, services)
    remove = services.records.remove

    async def unheard(*args: Any) -> int:
        await remove(*args)
        raise CommitUncertain

    with monkeypatch.context() as patch:
        patch.setattr(services.records, "remove", unheard)
        response = await client.fetch("/user", method="DELETE", headers=user.bearer)
        assert response.code == 503
    assert len(kept.mp3s()) == 1
    await lapse(services)
    response = await client.fetch("/user", method="DELETE", headers=user.bearer)
    assert response.code == 204
    await assert_nothing_kept(services, kept)


@pytest.mark.disk
@pytest.mark.gen_test
async def test_a_slow_file_system_holds_a_removal_up_and_locks_nothing_for_good(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = await one_record(client, services)
    mark = record_file.DoomedFile.mark

    def slow(file: record_file.DoomedFile) -> bool:
        time.sleep(0.3)
        return mark(file)

    monkeypatch.setattr(removal, "_PATIENCE", 0.1)
    monkeypatch.setattr(record_file.DoomedFile, "mark", slow)
    await services.removal.remove_record(record)
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_a_record_that_is_filed_while_its_user_is_removed_goes_as_well(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    remove, late = services.users.remove, True

    async def one_comes_first(user_id: uuid.UUID) -> bool:
        nonlocal late
        if late:
            late = False
            assert (await client.upload(user, take(0.1))).code == 201
        return await remove(user_id)

    monkeypatch.setattr(services.users, "remove", one_comes_first)
    assert (await client.fetch("/user", method="DELETE", headers=user.bearer)).code == 204
    await assert_nothing_kept(services, kept)


@pytest.mark.gen_test
async def test_uploads_downloads_renamings_and_deletions_at_once_never_show_a_fault(
    client: Client, services: Services, kept: Kept
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    links = [as_json(await client.upload(user, take(0.05)))["link"] for _ in range(10)]

    async def upload() -> None:
        for _ in range(10):
            assert (await client.upload(other, take(0.05))).code == 201

    async def read(link: str) -> None:
        while (response := await client.fetch(link)).code == 200:
            assert response.headers["Content-Type"] == "audio/mpeg"
        assert response.code == 404

    async def check() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                assert [finding async for finding in services.audit.check(deep=True)] == []

    checking = asyncio.ensure_future(check())
    working = [asyncio.ensure_future(read(link)) for link in links]
    working += [asyncio.ensure_future(upload()) for _ in range(2)]
    for link in links:
        body = f'{{"name": "{uuid.uuid4()}"}}'
        await client.fetch(link, method="PATCH", body=body, headers=user.bearer)
        await client.fetch(link, method="DELETE", headers=user.bearer)
    await asyncio.gather(*working)
    checking.cancel()
    await checking
    assert len(await rows(services)) == len(files(kept)) == 20
