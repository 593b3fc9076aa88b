"""A volume that is full for real: a small tmpfs as media directory, full at any write.

It is mounted in a name space of the server's own, so it is gone when the server is, and an
ordinary user may do it as well.
"""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import database_of, scratch_directory
from tests.process import Process
from tests.wavs import take

BLOCK = 4096
pytestmark = pytest.mark.disk

LONG, SMALL = take(20.0), take(0.05)
_MOUNT = 'mount -t tmpfs -o size=4m,nr_inodes=64,mode=755 umusic "$0" && exec "$@"'


@cache
def apart() -> tuple[str, ...]:
    """A command that runs another one in a mount name space of its own; empty if nobody may."""
    for options in (("--mount",), ("--user", "--map-root-user", "--mount")):
        command = ("unshare", *options)
        script = ("sh", "-c", "mount -t tmpfs umusic /tmp")
        if (
            shutil.which("unshare")
            and subprocess.run([*command, *script], capture_output=True).returncode == 0
        ):
            return command
    return ()


class Volume:
    """The tmpfs as it is seen from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "filler"

    def leave(self, *, size: int | None = None, inodes: int | None = None) -> None:
        """Fills it until there is only so much room, in bytes or in names."""
        self.empty()
        self._filler.mkdir()
        if size is not None:
            free = os.statvfs(self.root)
            (self._filler / "bytes").write_bytes(bytes(free.f_bavail * free.f_frsize - size))
        if inodes is not None:
            for number in range(os.statvfs(self.root).f_favail - inodes):
                (self._filler / str(number)).touch()

    def empty(self) -> None:
        """Throws out what filled it."""
        shutil.rmtree(self._filler, ignore_errors=True)

    def files(self) -> list[Path]:
        """What umusic has there."""
        found = (path for path in self.root.rglob("*") if self._filler not in path.parents)
        return [path for path in found if path != self._filler]


@pytest.fixture(scope="module")
def umusic(cluster: str, template: str) -> Iterator[Process]:
    if not apart():
        pytest.skip("nobody here may mount a tmpfs")
    with scratch_directory() as directory, contextlib.ExitStack() as stack:
        url = stack.enter_context(database_of(cluster, template))
        media = directory / "media"
        media.mkdir()
        within = [*apart(), "sh", "-c", _MOUNT, str(media)]
        made = Process(directory, program="tests.impatient", within=within, database_url=url)
        stack.callback(made.close)
        yield made
        assert made.stop()[0] == 0


@pytest.fixture
def volume(umusic: Process) -> Iterator[Volume]:
    root = Path(f"/proc/{umusic.popen.pid}/root{umusic.directory}/media")
    assert os.statvfs(root).f_files == 64
    yield (made := Volume(root))
    made.empty()


@pytest.fixture
def token(umusic: Process) -> str:
    return umusic.register(str(uuid.uuid4()))


def assert_507_and_nothing_kept(umusic: Process, volume: Volume, token: str) -> None:
    before = volume.files()
    status, problem = umusic.put(token, LONG)
    assert (status, problem["type"]) == (507, "/problems/no-space")
    assert volume.files() == before


@pytest.fixture(scope="module")
def needed(umusic: Process) -> int:
    """The bytes of the MP3 that there will be no room for."""
    token = umusic.register("who measures")
    status, receipt = umusic.put(token, LONG)
    assert status == 201
    assert umusic.delete(token, "/user") == 204
    return int(receipt["size"])


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_full_in_the_middle_is_507_and_a_smaller_upload_still_fits(
    umusic: Process, volume: Volume, token: str, needed: int, share: float
) -> None:
    volume.leave(size=round(needed * share))
    assert_507_and_nothing_kept(umusic, volume, token)
    assert umusic.put(token, SMALL)[0] == 201
    assert len(volume.files()) == 2  # the user's directory and the MP3
    assert umusic.delete(token, "/user") == 204
    assert volume.files() == []


@pytest.mark.parametrize("room", [0, BLOCK])
def test_full_at_the_first_write_is_507_until_there_is_room_again(
    umusic: Process, volume: Volume, token: str, room: int
) -> None:
    volume.leave(size=room)
    for _ in range(3):
        assert_507_and_nothing_kept(umusic, volume, token)
    volume.empty()
    assert umusic.put(token, LONG)[0] == 201
    assert umusic.delete(token, "/user") == 204


@pytest.mark.parametrize("names", [0, 1, 2])
def test_no_room_for_the_directory_the_part_or_the_final_name_is_507(
    umusic: Process, volume: Volume, token: str, names: int
) -> None:
    volume.leave(inodes=names)
    for _ in range(2):
        assert_507_and_nothing_kept(umusic, volume, token)
    volume.leave(inodes=3)
    assert umusic.put(token, SMALL)[0] == 201
    assert umusic.delete(token, "/user") == 204


def test_uploads_that_fill_it_together_are_each_kept_whole_or_not_at_all(
    umusic: Process, volume: Volume, token: str, needed: int
) -> None:
    volume.leave(size=needed * 2 + BLOCK)
    with ThreadPoolExecutor(4) as clients:
        statuses = sorted(clients.map(lambda _: umusic.put(token, LONG)[0], range(4)))
    assert set(statuses) <= {201, 507}
    assert statuses.count(201) <= 2
    assert [path.stat().st_size for path in volume.files() if path.is_file()] == (
        [needed] * statuses.count(201)
    )
    volume.empty()
    assert umusic.delete(token, "/user") == 204
