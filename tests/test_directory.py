"""The media directory, and a store that is one."""

import os
import uuid
from pathlib import Path

import pytest

from tests.conftest import run_apart
from umusic.errors import MediaAway, NoSpace, StartError
from umusic.library.directory import Directory
from umusic.library.disk import Disk
from umusic.library.record_file import PartFile

pytestmark = pytest.mark.disk
USER, RECORD = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def media(media_dir: Path) -> Disk:
    made = Disk(Directory(media_dir))
    run_apart(made.prepare())
    return made


def test_a_directory_without_hard_links_stops_the_start(
    media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StartError, match="hard links"):
        Directory(media_dir).prepare()
    assert list(media_dir.iterdir()) == []


def test_a_published_file_bears_the_time_told_and_keeps_its_part_until_it_is_settled(
    media_dir: Path, media: Disk
) -> None:
    part = PartFile(media_dir, USER, RECORD)
    part.path.write_bytes(b"an MP3")
    stored = part.publish(1_700_000_000)
    final = media_dir / media.path(USER, RECORD)
    assert final.read_bytes() == b"an MP3"
    assert final.stat().st_mtime == 1_700_000_000
    assert stored.size == 6
    assert part.path.exists()
    part.settle()
    assert [path for path in media_dir.rglob("*") if path.is_file()] == [final]


def test_a_discarded_file_takes_its_directory_along(media_dir: Path, media: Disk) -> None:
    part = PartFile(media_dir, USER, RECORD)
    part.publish(0)
    part.discard()
    part.discard()
    assert list(media_dir.iterdir()) == []


def test_an_empty_directory_that_another_upload_takes_along_is_made_again(
    media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    calls = []

    def racing(path: object, *args: int) -> int:
        if str(path).endswith(".part") and not calls:
            calls.append(path)
            (media_dir / str(USER)).rmdir()
        return opened(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", racing)
    part = PartFile(media_dir, USER, RECORD)
    assert calls
    assert part.path.exists()
    part.discard()


def test_a_full_volume_is_no_space(media_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    part = PartFile(media_dir, USER, RECORD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        part.publish(0)
    part.discard()


def test_a_directory_that_is_not_the_one_of_the_start_is_not_touched(
    media_dir: Path, media: Disk
) -> None:
    media_dir.rename(media_dir.with_name("unmounted"))
    for _ in range(2):
        with pytest.raises(MediaAway):
            run_apart(media.create(USER, RECORD))
        with pytest.raises(MediaAway):
            run_apart(media.check_ready())
        media_dir.mkdir(exist_ok=True)
    assert list(media_dir.iterdir()) == []


def test_two_do_not_doom_the_same_file(media_dir: Path, media: Disk) -> None:
    part = PartFile(media_dir, USER, RECORD)
    part.publish(0)
    part.settle()

    async def doom_twice() -> None:
        one, other = (media.doomed(USER, [RECORD]) for _ in range(2))
        assert await one.mark()
        assert not await other.mark()
        await one.unmark()
        assert await other.mark()
        await other.discard()

    run_apart(doom_twice())
    assert list(media_dir.iterdir()) == []
