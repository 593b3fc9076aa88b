"""The media directory and its files."""

import os
import uuid
from pathlib import Path

import pytest

from umusic.errors import MediaAway, NoSpace, StartError
from umusic.library.media import Media


@pytest.fixture
def media(media_dir: Path) -> Media:
    made = Media(media_dir)
    made.prepare()
    return made


USER, RECORD = uuid.uuid4(), uuid.uuid4()


def test_preparing_leaves_nothing_in_the_directory(media: Media) -> None:
    assert list(media.root.iterdir()) == []


def test_a_directory_without_hard_links_stops_the_start(
    media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StartError, match="hard links"):
        Media(media_dir).prepare()
    assert list(media_dir.iterdir()) == []


def test_a_published_file_is_whole_and_bears_the_time_told(media: Media) -> None:
    part = media.create(USER, RECORD)
    part.path.write_bytes(b"an MP3")
    stored = part.publish(1_700_000_000)
    final = media.root / media.path_in_root(USER, RECORD)
    assert final.read_bytes() == b"an MP3"
    assert final.stat().st_mtime == 1_700_000_000
    assert stored.size == 6
    assert part.path.exists()
    part.settle()
    assert [path for path in media.root.rglob("*") if path.is_file()] == [final]


def test_a_discarded_file_is_gone_by_whichever_name_and_its_directory_too(media: Media) -> None:
    part = media.create(USER, RECORD)
    part.publish(0)
    part.discard()
    part.discard()
    assert list(media.root.iterdir()) == []


def test_a_live_file_cannot_be_claimed_and_an_abandoned_one_can(media: Media) -> None:
    part = media.create(USER, RECORD)
    [leftover] = media.leftovers()
    assert (leftover.user_id, leftover.record_id) == (USER, RECORD)
    assert not leftover.claim()
    leftover.release()
    part.release()
    assert leftover.claim()
    assert not leftover.is_published()
    leftover.discard()
    assert list(media.root.iterdir()) == []


def test_an_empty_directory_that_another_upload_takes_along_is_made_again(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    calls = []

    def racing(path: object, *args: int) -> int:
        if str(path).endswith(".part") and not calls:
            calls.append(path)
            (media.root / str(USER)).rmdir()
        return opened(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", racing)
    part = media.create(USER, RECORD)
    assert calls
    assert part.path.exists()
    part.discard()


def test_a_full_volume_is_no_space(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    part = media.create(USER, RECORD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        part.publish(0)
    part.discard()


def test_a_directory_that_is_not_the_one_of_the_start_is_not_touched(media: Media) -> None:
    media.root.rename(media.root.with_name("unmounted"))
    for _ in range(2):
        with pytest.raises(MediaAway):
            media.create(USER, RECORD)
        with pytest.raises(MediaAway):
            media.check_writable()
        media.root.mkdir(exist_ok=True)
    assert list(media.root.iterdir()) == []
