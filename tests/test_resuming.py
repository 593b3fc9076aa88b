"""Files on their way by tus, against a server that breaks in every way."""

import hashlib
import io
import json
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.test_client import BEGUN, RECEIPT, WAV, answer, scripted
from umusic import bookmarks, resuming
from umusic.bookmarks import Bookmark, bookmark
from umusic.client import Client
from umusic.errors import UploadFailed
from umusic.resuming import Watch

DONE = answer("200 OK", RECEIPT)
HALF = len(WAV) // 2


def state(offset: int, of: str = "uploading", **members: Any) -> bytes:
    return answer("200 OK", json.dumps({"state": of, "offset": offset, **members}).encode())


def problem(status: str, code: str, after: str = "") -> bytes:
    body = json.dumps({"type": f"/problems/{code}", "detail": f"It is {code}."}).encode()
    return answer(status, body).replace(b"\r\n", f"\r\n{after}".encode(), 1)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "PAUSES", [0.001])


def methods(heads: list[bytes]) -> str:
    return " ".join(head.split()[0].decode() for head in heads)


def offsets(heads: list[bytes]) -> list[int]:
    return [int(found) for found in re.findall(rb"Upload-Offset: (\d+)", b"".join(heads))]


@pytest.mark.parametrize(
    "failure",
    [
        b"",
        b"HTTP/1.1 2",
        answer("502 Bad Gateway", b"<html>"),
        problem("500 Internal Server Error", "internal-error"),
        problem("503 Service Unavailable", "draining"),
        problem("408 Request Timeout", "body-stalled"),
        problem("409 Conflict", "wrong-offset"),
        problem("423 Locked", "upload-locked"),
        problem("429 Too Many Requests", "too-many-requests"),
    ],
)
def test_what_passes_by_itself_is_tried_again_from_where_the_server_is(failure: bytes) -> None:
    answers = [BEGUN, failure, state(HALF), failure, failure, state(HALF + 9), DONE]
    with scripted(answers) as (url, heads):
        link = Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name="ä.wav")
    assert link == "http://x"
    assert methods(heads) == "POST PATCH GET PATCH GET GET PATCH"
    assert offsets(heads) == [0, HALF, HALF + 9]
    assert b"Upload-Metadata: filename w6Qud2F2\r\n" in heads[0]
    assert [b"Authorization" in head for head in heads] == [True] + [False] * 6


@pytest.mark.parametrize(
    "refusal",
    [
        problem("507 Insufficient Storage", "no-space"),
        problem("413 Content Too Large", "quota-exceeded"),
        problem("409 Conflict", "record-name-taken"),
        problem("410 Gone", "upload-terminated"),
        problem("401 Unauthorized", "token-unknown"),
        problem("422 Unprocessable Content", "broken-wav"),
    ],
)
@pytest.mark.parametrize("before", [[], [BEGUN], [BEGUN, b"", state(9)]])
def test_what_does_not_pass_by_itself_is_told_at_once(refusal: bytes, before: list[bytes]) -> None:
    with scripted([*before, refusal]) as (url, heads), pytest.raises(UploadFailed, match="It is"):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)
    assert len(heads) == len(before) + 1


def test_a_creation_whose_answer_is_lost_is_tried_again() -> None:
    with scripted([b"", BEGUN, DONE]) as (url, heads):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)
    assert methods(heads) == "POST POST PATCH"


def test_a_record_that_is_there_after_a_lost_answer_is_not_made_twice() -> None:
    encoding = state(len(WAV), "encoding")
    done = state(len(WAV), "done", record=json.loads(RECEIPT))
    with scripted([BEGUN, b"", encoding, b"", encoding, done]) as (url, heads):
        link = Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)
    assert (link, methods(heads)) == ("http://x", "POST PATCH GET GET GET GET")


def test_a_record_that_is_not_made_in_an_hour_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "ENCODING_SECONDS", -1.0)
    answers = [BEGUN, b"", state(len(WAV), "encoding")]
    with scripted(answers) as (url, _), pytest.raises(UploadFailed, match="no record of it yet"):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)


def test_what_it_failed_by_meanwhile_is_told() -> None:
    failed = state(HALF, "failed", problem={"detail": "No sound.", "link": "http://x"})
    with (
        scripted([BEGUN, b"", failed]) as (url, _),
        pytest.raises(UploadFailed, match=r"^No sound\. \(http://x\)$"),
    ):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)


def test_an_upload_that_vanishes_is_begun_anew_but_not_for_ever() -> None:
    gone = problem("404 Not Found", "upload-not-found")
    answers = [BEGUN, b"", gone, BEGUN, b"", gone, BEGUN, b"", gone]
    with scripted(answers) as (url, heads), pytest.raises(UploadFailed, match="It is upload-not"):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)
    assert methods(heads) == "POST PATCH GET POST PATCH GET POST PATCH GET"


@pytest.mark.parametrize("offset", [-1, len(WAV) + 1])
def test_an_offset_that_cannot_be_is_told(offset: int) -> None:
    answers = [BEGUN, b"", state(offset)]
    with scripted(answers) as (url, _), pytest.raises(UploadFailed, match="not as umusic does"):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)


def test_bytes_that_are_sent_twice_are_hashed_once_and_watched_from_the_offset() -> None:
    told: list[tuple[str, int]] = []
    watch = Watch(
        on_sent=lambda count: told.append(("sent", count)),
        on_offset=lambda offset: told.append(("offset", offset)),
    )
    with scripted([BEGUN, b"", state(HALF), b"", state(HALF - 9), DONE]) as (url, _):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None, watch=watch)
    assert told == [
        *(("offset", 0), ("sent", len(WAV))),
        *(("offset", HALF), ("sent", len(WAV) - HALF)),
        *(("offset", HALF - 9), ("sent", len(WAV) - HALF + 9)),
    ]


def test_it_is_told_once_if_a_break_lasts_and_again_after_progress() -> None:
    told: list[str] = []
    watch = Watch(on_wait=lambda error: told.append(str(error)))
    away = answer("502 Bad Gateway", b"")
    answers = [BEGUN, b"", state(1), b"", away, away, away, state(2), b"", away, state(3), DONE]
    with scripted(answers) as (url, _):
        Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None, watch=watch)
    assert told == ["the server answers 502, and not as umusic does."] * 2


class TestGivingUp:
    @pytest.fixture(autouse=True)
    def little_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resuming, "PATIENCE_SECONDS", 0.3)
        monkeypatch.setattr(resuming, "PAUSES", [0.2])

    def test_it_gives_up_without_progress_only(self) -> None:
        going_on = [part for at in range(1, 5) for part in (b"", state(at))]
        stuck = [b"", state(4), b"", state(4)]
        with (
            scripted([BEGUN, *going_on, *stuck]) as (url, heads),
            pytest.raises(UploadFailed, match="Remote end closed"),
        ):
            Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)
        assert len(heads) == 13

    def test_a_pause_that_the_server_asks_for_is_kept_or_too_long(self) -> None:
        refusal = problem("503 Service Unavailable", "draining", "Retry-After: 5\r\n")
        with (
            scripted([refusal]) as (url, _),
            pytest.raises(UploadFailed, match="It is draining"),
        ):
            Client(url, "t").upload(io.BytesIO(WAV), size=len(WAV), name=None)

    def test_a_long_request_that_breaks_leaves_time_to_ask_what_came_of_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1000.0]
        monkeypatch.setattr(resuming, "_now", lambda: now[0])
        patience = resuming._Patience()
        assert patience.failed() == 1
        now[0] += 0.2
        assert patience.left() == pytest.approx(0.1)
        now[0] += 100
        patience.sent()
        assert patience.failed() == 2
        assert patience.left() == pytest.approx(0.3)
        # It was for nothing.
        patience.reached(0)
        assert patience.left() < 0
        patience.reached(1)
        assert patience.failed() == 1
        assert patience.left() == pytest.approx(0.3)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "uploads"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "take.wav"
    path.write_bytes(WAV)
    return path


def send(url: str, directory: Path, wav: Path, token: str = "t") -> str:
    with (
        wav.open("rb") as opened,
        bookmark(directory, "http://server", token, wav, wav.stat()) as mark,
    ):
        return Client(url, token).upload(opened, size=len(WAV), name=None, bookmark=mark)


class TestBookmarks:
    @pytest.fixture(autouse=True)
    def no_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resuming, "PATIENCE_SECONDS", 0.0)

    @pytest.fixture
    def broken(self, directory: Path, wav: Path) -> Path:
        """An upload has been broken off. Its note."""
        with scripted([BEGUN, b""]) as (url, _), pytest.raises(UploadFailed):
            send(url, directory, wav)
        [note] = directory.iterdir()
        return note

    def test_a_later_call_goes_on(self, broken: Path, directory: Path, wav: Path) -> None:
        assert stat.S_IMODE(broken.stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert json.loads(broken.read_text())["upload"] == "some-id"
        with scripted([state(HALF), DONE]) as (url, heads):
            assert send(url, directory, wav) == "http://x"
        assert (methods(heads), offsets(heads)) == ("GET PATCH", [HALF])
        assert b"/uploads/some-id" in heads[0]
        assert not list(directory.iterdir())

    def test_it_prints_the_link_of_what_has_become_a_record(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        done = state(len(WAV), "done", record=json.loads(RECEIPT))
        with scripted([done]) as (url, _):
            assert send(url, directory, wav) == "http://x"
        assert not broken.exists()

    def test_what_the_server_knows_no_more_is_begun_anew(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        with scripted([problem("410 Gone", "upload-expired"), BEGUN, DONE]) as (url, heads):
            assert send(url, directory, wav) == "http://x"
        assert methods(heads) == "GET POST PATCH"

    def test_another_user_does_not_go_on_with_it(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        with scripted([BEGUN, DONE]) as (url, heads):
            send(url, directory, wav, "another token")
        assert methods(heads) == "POST PATCH"
        assert broken.exists()

    def test_a_file_that_has_changed_is_begun_anew_and_the_old_upload_ended(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        wav.write_bytes(WAV)
        with scripted([answer("204 No Content", b""), BEGUN, DONE]) as (url, heads):
            send(url, directory, wav)
        assert methods(heads) == "DELETE POST PATCH"
        assert b"/uploads/some-id" in heads[0]

    def test_a_refusal_is_the_end_but_a_full_disk_is_not(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        for refusal, kept in (
            (problem("507 Insufficient Storage", "no-space"), True),
            (problem("413 Content Too Large", "too-large"), False),
        ):
            with scripted([state(HALF), refusal]) as (url, _), pytest.raises(UploadFailed):
                send(url, directory, wav)
            assert broken.exists() == kept

    def test_of_two_at_once_only_one_goes_on(
        self, broken: Path, directory: Path, wav: Path
    ) -> None:
        with bookmark(directory, "http://server", "t", wav, wav.stat()) as one:
            assert one is not None and one.upload == "some-id"
            with bookmark(directory, "http://server", "t", wav, wav.stat()) as other:
                assert other is None
            one.drop()
        assert not broken.exists()

    def test_no_token_is_noted(self, directory: Path, wav: Path) -> None:
        with bookmark(directory, "http://server", "secret", wav, wav.stat()) as mark:
            assert isinstance(mark, Bookmark)
            mark.keep("some-id")
        [note] = directory.iterdir()
        assert set(json.loads(note.read_text())) == {"upload", "size", "changed"}

    def test_notes_that_are_broken_or_old_are_none(
        self, broken: Path, directory: Path, wav: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken.write_text("{")
        with bookmark(directory, "http://server", "t", wav, wav.stat()) as mark:
            assert mark is not None and mark.upload is None and mark.stale is None
            mark.keep("some-id")
        assert broken.exists()
        monkeypatch.setattr(bookmarks, "_KEPT_SECONDS", -1.0)
        with bookmark(directory, "http://server", "t", wav, wav.stat()) as mark:
            assert mark is not None and mark.upload is None
        assert not list(directory.iterdir())

    def test_where_nothing_can_be_noted_files_are_sent_all_the_same(
        self, directory: Path, wav: Path
    ) -> None:
        directory.parent.write_text("a file where the directory should be")
        with scripted([BEGUN, DONE]) as (url, _):
            assert send(url, directory, wav) == "http://x"


def test_a_file_that_is_written_to_meanwhile_is_not_gone_on_with(wav: Path) -> None:
    def write(_: int) -> None:
        time.sleep(0.02)
        wav.write_bytes(WAV)

    ended = answer("204 No Content", b"")
    with (
        scripted([BEGUN, b"", state(HALF), ended]) as (url, heads),
        wav.open("rb") as opened,
        pytest.raises(UploadFailed, match="the file has changed"),
    ):
        Client(url, "t").upload(opened, size=len(WAV), name=None, watch=Watch(on_sent=write))
    assert methods(heads) == "POST PATCH GET DELETE"


def test_the_hash_is_of_what_was_sent_also_by_an_earlier_call(wav: Path, directory: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    receipt = json.dumps({"link": "http://x", "source": {"sha256": other}}).encode()
    with (
        scripted([BEGUN, b"", state(HALF), answer("200 OK", receipt)]) as (url, _),
        pytest.raises(UploadFailed, match="what arrived is not what was sent: http://x"),
    ):
        send(url, directory, wav)
    assert not list(directory.iterdir())
