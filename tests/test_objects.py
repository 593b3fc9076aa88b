"""Objects in a bucket of a real S3."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import ROOT
from tests.stores import BUCKET, S3, Kept
from umusic.errors import MediaAway
from umusic.library.objects import Objects
from umusic.library.s3 import S3Access

pytestmark = pytest.mark.s3
LARGE = 25_000_000
#: Publishes a file, and tells how much memory that took at most, in bytes.
PUBLISH = """
import asyncio, json, resource, sys
from pathlib import Path
from umusic.library.objects import Objects
from umusic.library.s3 import S3Access

async def publish(url, endpoint, key, secret, *paths):
    objects = Objects(url, S3Access("us-east-1", endpoint, key, secret))
    for path in map(Path, paths):
        await objects.put(path.name, path, "audio/mpeg")

asyncio.run(publish(*sys.argv[1:]))
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""


@pytest.fixture
def objects(kept: Kept, s3: S3) -> Objects:
    access = S3Access("us-east-1", s3.endpoint, s3.access_key, s3.secret_key)
    return Objects(kept.settings["media_url"], access)


@pytest.mark.gen_test
async def test_a_large_object_goes_in_parts_and_is_whole(
    objects: Objects, kept: Kept, s3: S3, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(LARGE)
    path = tmp_path / "large"
    path.write_bytes(data)
    await objects.put("a/b.mp3", path, "audio/mpeg")
    assert hashlib.sha256(kept.read("a/b.mp3")).digest() == hashlib.sha256(data).digest()
    key = f"{kept.settings['media_url'].split('/', 3)[3]}/a/b.mp3"
    head = s3.client.head_object(Bucket=BUCKET, Key=key)
    # The ETag of what came in parts says in how many.
    assert head["ETag"].strip('"').endswith("-3")
    assert head["ContentType"] == "audio/mpeg"
    assert not kept.unfinished()
    found = await objects.head("a/b.mp3")
    assert found is not None
    assert found.size == LARGE
    assert b"".join([piece async for piece in objects.read("a/b.mp3", 7, LARGE - 9)]) == data[7:-9]


def test_publishing_takes_no_more_memory_for_a_larger_file(
    kept: Kept, s3: S3, tmp_path: Path
) -> None:
    def peak(megabytes: int) -> int:
        path = tmp_path / str(megabytes)
        path.write_bytes(bytes(megabytes * 1_000_000))
        command = [sys.executable, "-c", PUBLISH, kept.settings["media_url"]]
        access = [s3.endpoint, s3.access_key, s3.secret_key]
        done = subprocess.run([*command, *access, str(path)], capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        kept.clear()
        return int(json.loads(done.stdout))

    # Two parts of 8 MiB under way, and one that is read meanwhile.
    assert peak(120) - peak(1) < 60_000_000


@pytest.mark.gen_test
async def test_what_is_not_there_is_none_and_its_removal_no_trouble(objects: Objects) -> None:
    assert await objects.head("none") is None
    await objects.delete("none")
    await objects.abort("none", "none")
    with pytest.raises(FileNotFoundError):
        async for _ in objects.read("none", 0, 1):
            pass
    with pytest.raises(FileNotFoundError):
        await objects.move("none", "other")


@pytest.mark.gen_test
async def test_all_objects_are_listed_page_by_page(
    objects: Objects, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umusic.library.objects._PAGE", 5)
    names = [f"a/{number:02}" for number in range(12)]
    for name in names:
        kept.write(name, b"")
    kept.write("b/1", b"12")
    pages = [page async for page in objects.pages()]
    assert len(pages) == 3
    assert sorted(meta.key for page in pages for meta in page) == [*names, "b/1"]
    assert [(meta.key, meta.size) async for meta in objects.list("b")] == [("b/1", 2)]
    await objects.delete(*names)
    assert kept.names() == ["b/1"]


@pytest.mark.gen_test
async def test_a_moved_object_is_under_its_new_key_alone(objects: Objects, kept: Kept) -> None:
    kept.write("a", b"data")
    await objects.move("a", "b/c")
    assert kept.names() == ["b/c"]
    assert kept.read("b/c") == b"data"


@pytest.mark.gen_test
async def test_multipart_uploads_are_listed_and_aborted(objects: Objects, kept: Kept) -> None:
    record_id = kept.abandon("user")
    [(key, upload)] = [found async for found in objects.unfinished()]
    assert key == f"user/{record_id}.mp3"
    assert [found async for found in objects.unfinished("other/")] == []
    await objects.abort(key, upload)
    await objects.abort(key, upload)
    assert [found async for found in objects.unfinished()] == []


@pytest.mark.gen_test
async def test_a_bucket_that_is_not_there_is_no_missing_object(s3: S3) -> None:
    access = S3Access("us-east-1", s3.endpoint, s3.access_key, s3.secret_key)
    nowhere = Objects("s3://umusic-no-such-bucket/x", access)
    for asking in (nowhere.put("a", b"", "text/plain"), nowhere.move("a", "b")):
        with pytest.raises(MediaAway):
            await asking
    with pytest.raises(MediaAway):
        [found async for found in nowhere.list()]
    with pytest.raises(MediaAway):
        [found async for found in nowhere.unfinished()]
