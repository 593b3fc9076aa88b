"""Two umusics on one bucket and one database, each with a directory of its own for part-files."""

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests import leaks
from tests.chaos.clients import download
from tests.chaos.storm import await_true
from tests.process import Process
from tests.stores import Kept, files_in
from tests.tus import STREAM, VERSION, checksum
from tests.wavs import take
from umusic.app import Services
from umusic.settings import Settings

pytestmark = pytest.mark.s3

WAV = take(8.0)
HALF = len(WAV) // 2


@pytest.fixture
def start(directory: Path, database_url: str, kept: Kept) -> Iterator[Callable[[str], Process]]:
    """Starts a umusic in the directory of this name."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Process:
            (directory / name).mkdir(exist_ok=True)
            settings = {"database_url": database_url, **kept.settings}
            process = Process(directory / name, program="tests.impatient", **settings)
            stack.callback(process.close)
            return process

        yield make


class Upload:
    """A resumable upload of WAV, by its URL's path."""

    def __init__(self, umusic: Process) -> None:
        token = umusic.register(str(uuid.uuid4()))
        told = {"Authorization": f"Bearer {token}", "Upload-Length": str(len(WAV))}
        location = self._ask(umusic, "POST", "/uploads", told).headers["Location"]
        self.path = f"/uploads/{leaks.unshown(location[-36:])}"

    def offset(self, umusic: Process) -> int:
        return int(self._ask(umusic, "HEAD", self.path).headers["Upload-Offset"])

    def append(self, umusic: Process, offset: int, end: int, *, wrong: bool = False) -> int:
        """The status of a PATCH with WAV from one offset to the other; `wrong`: its checksum."""
        data = WAV[offset:end]
        told = {**STREAM, "Upload-Offset": str(offset), **checksum(b"" if wrong else data)}
        return self._ask(umusic, "PATCH", self.path, told, data).status

    def receipt(self, umusic: Process) -> dict[str, str]:
        told = json.loads(self._ask(umusic, "GET", self.path, {"Accept": "application/json"}).body)
        return dict(told["record"])

    @staticmethod
    def _ask(
        umusic: Process,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> "Answer":
        with contextlib.closing(umusic.connect()) as connection:
            connection.request(method, path, body, {**VERSION, **(headers or {})})
            return Answer(connection.getresponse())


class Answer:
    """A response that has been read."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def parts(umusic: Process) -> list[Path]:
    return files_in(umusic.directory / "media", ".upload")


def assert_is_whole(umusic: Process, upload: Upload) -> None:
    """The record is that of a plain upload of the same WAV."""
    receipt = upload.receipt(umusic)
    plain = umusic.put(umusic.register(str(uuid.uuid4())), WAV)[1]
    assert receipt["sha256"] == plain["sha256"]
    got = download(umusic.port, "/record" + receipt["link"].partition("/record")[2])
    assert hashlib.sha256(got.body).hexdigest() == plain["sha256"]


def test_an_upload_whose_umusic_is_gone_begins_again_elsewhere(
    start: Callable[[str], Process],
) -> None:
    first, second = start("first"), start("second")
    upload = Upload(first)
    assert upload.append(first, 0, HALF) == 204
    assert upload.offset(first) == HALF
    first.popen.kill()
    first.wait()
    assert upload.offset(second) == 0
    assert upload.append(second, HALF, len(WAV)) == 409
    assert upload.append(second, 0, HALF) == 204
    assert upload.append(second, HALF, len(WAV)) in (200, 204)
    assert_is_whole(second, upload)


def test_what_another_umusic_still_has_of_an_upload_does_not_count_any_more(
    start: Callable[[str], Process],
) -> None:
    first, second = start("first"), start("second")
    upload = Upload(first)
    assert upload.append(first, 0, HALF) == 204
    assert upload.append(second, 0, HALF - 1000) == 204
    assert upload.offset(first) == 0
    # What has the wrong checksum here is nothing to the other one.
    assert upload.append(second, HALF - 1000, HALF, wrong=True) == 460
    assert upload.offset(second) == HALF - 1000
    # It sweeps twice a second.
    await_true(lambda: not parts(first))
    assert upload.append(second, HALF - 1000, len(WAV)) in (200, 204)
    assert_is_whole(second, upload)
    await_true(lambda: not parts(second))


def test_an_upload_that_comes_back_begins_there_from_nothing(
    start: Callable[[str], Process],
) -> None:
    first, second = start("first"), start("second")
    upload = Upload(first)
    assert upload.append(first, 0, HALF) == 204
    assert upload.append(second, 0, 1000) == 204
    assert upload.append(first, 0, HALF + 1000) == 204
    assert upload.offset(first) == HALF + 1000
    assert upload.append(first, HALF + 1000, len(WAV)) in (200, 204)
    assert_is_whole(first, upload)


def test_a_start_in_the_same_directory_goes_on_where_it_was(
    start: Callable[[str], Process],
) -> None:
    first = start("first")
    upload = Upload(first)
    assert upload.append(first, 0, HALF) == 204
    first.popen.kill()
    first.wait()
    again = start("first")
    assert upload.offset(again) == HALF
    assert upload.append(again, HALF, len(WAV)) in (200, 204)
    assert_is_whole(again, upload)


@pytest.mark.gen_test
async def test_what_is_here_of_a_user_who_was_deleted_elsewhere_goes_once_nobody_goes_on_with_it(
    services: Services, settings: Settings, media_dir: Path
) -> None:
    old, new = (media_dir / str(uuid.uuid4()) / f".{uuid.uuid4()}.upload" for _ in range(2))
    for path in (old, new):
        path.parent.mkdir()
        path.touch()
    then = time.time() - settings.upload_expiry - 3700
    os.utime(old, (then, then))
    await services.audit.sweep()
    assert (old.exists(), new.exists()) == (False, True)
