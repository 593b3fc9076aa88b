"""`umusic user …` and `umusic check` as an operator types them."""

import asyncio
import shutil
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Account, Client, as_json
from tests.conftest import wait_for
from tests.process import Done, Process, umusic
from tests.stores import Kept
from tests.wavs import take
from umusic.app import Services

Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def run(tmp_path: Path, database_url: str, media_dir: Path, kept: Kept) -> Run:
    """Runs a command on the database and the media of the test's own umusic."""

    async def command(*args: str | Path, stdin: bytes = b"") -> Done:
        return await umusic(
            *args,
            directory=tmp_path,
            stdin=stdin,
            UMUSIC_DATABASE_URL=database_url,
            UMUSIC_MEDIA_DIR=media_dir,
            **kept.environment,
        )

    return command


def told(done: Done) -> dict[str, str]:
    """The lines `name: value` that a command printed."""
    lines = (line.partition(":") for line in done.output.splitlines())
    return {name: value.strip() for name, _, value in lines}


class TestUser:
    @pytest.mark.gen_test
    async def test_add_makes_a_user_and_tells_its_token(self, client: Client, run: Run) -> None:
        done = await run("user", "add", " Егор Андреев ")
        assert (done.status, done.errors) == (0, "")
        account = Account(told(done)["id"], told(done)["token"])
        reply = as_json(await client.fetch("/user", headers=account.bearer))
        assert (reply["id"], reply["name"]) == (account.id, "Егор Андреев")

    @pytest.mark.parametrize(
        ("name", "words"),
        [("Ann", "exists already"), (" ", "empty"), ("a\nb", "control characters")],
    )
    @pytest.mark.gen_test
    async def test_a_name_that_cannot_be_had_is_told(
        self, client: Client, run: Run, name: str, words: str
    ) -> None:
        await client.register("Ann")
        done = await run("user", "add", name)
        assert (done.status, done.output) == (1, "")
        assert words in done.errors
        assert "Traceback" not in done.errors

    @pytest.mark.gen_test
    async def test_list_and_show_tell_what_is_in_the_libraries(
        self, client: Client, run: Run
    ) -> None:
        ben, ann = await client.register("Ben"), await client.register("Ann")
        size = as_json(await client.upload(ann, take(1.5)))["size"]
        done = await run("user", "list")
        assert done.status == 0
        head, *lines = done.output.splitlines()
        assert head.split() == ["id", "records", "bytes", "seconds", "created", "(UTC)", "name"]
        assert [line.split()[0] for line in lines] == [ann.id, ben.id]
        assert lines[0].split()[1:4] == ["1", f"{size:,}", "1.5"]
        assert [line.split()[-1] for line in lines] == ["Ann", "Ben"]
        for who in ("Ann", ann.id):
            shown = told(await run("user", "show", who))
            assert (shown["id"], shown["name"], shown["records"]) == (ann.id, "Ann", "1")
            assert (shown["bytes"], shown["seconds"]) == (f"{size:,}", "1.5")

    @pytest.mark.gen_test
    async def test_a_name_that_is_the_id_of_another_is_not_taken_for_it(
        self, client: Client, run: Run
    ) -> None:
        ann = await client.register("Ann")
        liar = await client.register(ann.id)
        done = await run("user", "delete", "--yes", ann.id)
        assert done.status == 1
        assert liar.id in done.errors
        assert told(await run("user", "show", "Ann"))["id"] == ann.id

    @pytest.mark.gen_test
    async def test_token_gives_a_new_one_and_kills_the_old(self, client: Client, run: Run) -> None:
        ann = await client.register("Ann")
        done = await run("user", "token", "Ann")
        assert (await client.fetch("/user", headers=ann.bearer)).code == 401
        renewed = Account(ann.id, told(done)["token"])
        assert (await client.fetch("/user", headers=renewed.bearer)).code == 200

    @pytest.mark.gen_test
    async def test_delete_asks_before_all_is_gone(
        self, client: Client, run: Run, kept: Kept
    ) -> None:
        ann = await client.register("Ann")
        await client.upload(ann, take(0.1))
        for answer in (b"", b"n\n"):
            done = await run("user", "delete", "Ann", stdin=answer)
            assert done.status == 1
            assert "Ann with 1 records?" in done.output
            assert (await client.fetch("/user", headers=ann.bearer)).code == 200
        done = await run("user", "delete", "Ann", stdin=b"y\n")
        assert done.status == 0
        assert "Ann is gone" in done.output
        assert (await client.fetch("/user", headers=ann.bearer)).code == 401
        assert kept.is_empty

    @pytest.mark.gen_test
    async def test_delete_does_not_ask_if_told_so(self, client: Client, run: Run) -> None:
        ann = await client.register("Ann")
        assert (await run("user", "delete", "--yes", ann.id)).status == 0
        assert (await client.fetch("/user", headers=ann.bearer)).code == 401

    @pytest.mark.parametrize(
        ("command", "who"),
        [("show", "Nobody"), ("token", "Nobody"), ("delete", str(uuid.UUID(int=7)))],
    )
    @pytest.mark.gen_test
    async def test_a_user_who_is_not_there_is_told(self, run: Run, command: str, who: str) -> None:
        done = await run("user", command, who)
        assert (done.status, done.output) == (1, "")
        assert f"no user of the name or id {who}" in done.errors


class TestCheck:
    @pytest.mark.gen_test
    async def test_all_is_well_beside_a_running_umusic(self, client: Client, run: Run) -> None:
        user = await client.register()
        await client.upload(user, take(0.1))
        for options in ([], ["--deep"], ["--repair"], ["--repair", "--deep"]):
            done = await run("check", *options)
            assert done.status == 0
            assert done.output.startswith("1 records checked, 0 faults found")

    @pytest.mark.gen_test
    async def test_faults_are_told_with_status_1_and_repaired_if_asked_for(
        self, client: Client, run: Run, kept: Kept
    ) -> None:
        user = await client.register()
        ids = [as_json(await client.upload(user, take(0.1)))["id"] for _ in range(4)]
        missing, longer, changed, sound = [f"{user.id}/{each}.mp3" for each in ids]
        kept.remove(missing)
        kept.write(longer, kept.read(longer) + b"x")
        kept.write(changed, kept.read(changed)[::-1])
        stray = f"{user.id}/{uuid.uuid4()}.mp3"
        kept.copy(sound, stray)
        left = kept.abandon(user.id)
        # Is no fault, as it can be made again.
        orphan = f"{user.id}/{uuid.uuid4()}.waveform/peaks.json"
        kept.write(orphan, b"{}")
        faults = {
            f"{missing[:-4]}: the file is missing",
            f"{longer[:-4]}: the file has a wrong size",
            f"{stray[:-4]}: the file belongs to no record",
            f"{user.id}/{left}: a crash left it unfinished",
        }
        done = await run("check")
        assert done.status == 1
        assert set(done.output.splitlines()) == {*faults, "4 records checked, 4 faults found."}
        deep = {*faults, f"{changed[:-4]}: the file has a wrong SHA-256"}
        done = await run("check", "--deep")
        assert done.status == 1
        assert set(done.output.splitlines()) == {*deep, "4 records checked, 5 faults found."}
        done = await run("check", "--deep", "--repair")
        assert done.status == 0
        end = "4 records checked, 5 faults found, 5 repaired."
        assert set(done.output.splitlines()) == {*(f"{fault} - repaired" for fault in deep), end}
        assert orphan not in kept.names()
        done = await run("check", "--deep")
        assert (done.status, done.output) == (0, "1 records checked, 0 faults found.\n")
        listed = as_json(await client.fetch("/records", headers=user.bearer))
        assert [item["id"] for item in listed["items"]] == ids[3:]

    @pytest.mark.gen_test
    async def test_nothing_is_repaired_where_the_store_seems_to_be_another(
        self, client: Client, run: Run, services: Services, kept: Kept
    ) -> None:
        user = await client.register()
        for _ in range(2):
            await client.upload(user, take(0.1))
        for name in kept.names():
            kept.remove(name)
        done = await run("check", "--repair")
        assert done.status == 1
        assert "UMUSIC_MEDIA_DIR" in done.errors
        assert await services.records.count() == 2
        assert (await run("check")).status == 1

    @pytest.mark.disk
    @pytest.mark.gen_test
    async def test_nothing_is_repaired_where_the_media_directory_seems_to_be_another(
        self, client: Client, run: Run, services: Services, media_dir: Path
    ) -> None:
        user = await client.register()
        for _ in range(2):
            await client.upload(user, take(0.1))
        shutil.rmtree(media_dir)
        done = await run("check", "--repair")
        assert done.status == 1
        assert "UMUSIC_MEDIA_DIR" in done.errors
        assert not media_dir.exists()
        media_dir.mkdir()
        done = await run("check", "--repair")
        assert done.status == 1
        assert "UMUSIC_MEDIA_DIR" in done.errors
        assert await services.records.count() == 2
        assert (await run("check")).status == 1


@pytest.mark.gen_test
async def test_the_embedded_database_is_shared_with_a_running_umusic(directory: Path) -> None:
    serving = Process(directory)  # which makes it
    try:
        own = {
            "UMUSIC_DATA_DIR": directory / "data",
            "UMUSIC_MEDIA_DIR": directory / "media",
            **serving.kept.environment,
        }
        token = told(await umusic("user", "add", "Ann", directory=directory, **own))["token"]
        assert serving.end_upload(serving.begin_upload(token)).status == 201
        assert (await umusic("check", directory=directory, **own)).status == 0
        assert serving.stop()[0] == 0
        await wait_for(lambda: serving.family() == [])
        shown = told(await umusic("user", "show", "Ann", directory=directory, **own))
        assert shown["records"] == "1"
        assert serving.family() == []
    finally:
        serving.close()


@pytest.mark.gen_test
async def test_of_two_commands_at_once_the_first_waits_for_the_second(directory: Path) -> None:
    own = {"UMUSIC_DATA_DIR": directory / "data", "UMUSIC_MEDIA_DIR": directory / "media"}
    names = [f"user {number}" for number in range(5)]
    done = await asyncio.gather(
        *(umusic("user", "add", name, directory=directory, **own) for name in names)
    )
    assert [each.status for each in done] == 5 * [0], done
    listed = await umusic("user", "list", directory=directory, **own)
    assert [line.split("  ")[-1] for line in listed.output.splitlines()[1:]] == names


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
@pytest.mark.gen_test
async def test_a_command_beside_a_server_that_stops_gets_its_database(
    start: Any, directory: Path, delay: float
) -> None:
    serving = start()
    own = {
        "UMUSIC_DATA_DIR": directory / "data",
        "UMUSIC_MEDIA_DIR": directory / "media",
        **serving.kept.environment,
    }
    listing = asyncio.ensure_future(umusic("user", "list", directory=directory, **own))
    await asyncio.sleep(delay)
    await asyncio.to_thread(serving.stop)
    done = await asyncio.wait_for(listing, 40)
    # It may have got hold of the server's own, which then went away.
    assert done.status == 0 or "database" in done.errors


@pytest.mark.gen_test
async def test_a_command_where_no_umusic_is_says_so_and_makes_nothing(directory: Path) -> None:
    for args in (["user", "list"], ["check"]):
        done = await umusic(*args, directory=directory)
        assert done.status == 1
        assert f"no umusic in {directory / '.umusic'}" in done.errors
    assert list(directory.iterdir()) == []


@pytest.mark.gen_test
async def test_help_names_all_commands(run: Run) -> None:
    done = await run("--help")
    assert done.status == 0
    for command in ("serve", "migrate", "check", "upload", "user"):
        assert f"  {command} " in done.output
