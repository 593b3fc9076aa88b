"""From bodies to WAV bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import form
from umusic.errors import MalformedForm
from umusic.web.bodies import Event, Field, FileStart, MultipartBody, RawBody, body_of, filename_of

FILE = bytes(range(256)) * 4 + b"\r\n--b0un\r\n--\r\n\r\n--b0unx --b0und\r"
BODY = form({"user_id": "1", "token": "t"}, FILE, "take.wav")[1]


def events(body: bytes, cuts: list[int]) -> list[Event]:
    """The events of a body cut at these places, the file's bytes joined."""
    parser = MultipartBody("b0und")
    found: list[Event] = []
    edges = [0, *sorted(cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        if start == end:
            continue
        for event in parser.feed(body[start:end]):
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    parser.close()
    return found


@given(st.lists(st.integers(0, len(BODY)), max_size=6))
def test_any_split_of_a_form_gives_its_fields_and_its_file(cuts: list[int]) -> None:
    assert events(BODY, cuts) == [
        Field("user_id", "1"),
        Field("token", "t"),
        FileStart("take.wav"),
        FILE,
    ]


def test_a_raw_body_is_the_wav_itself() -> None:
    body = body_of("application/x-www-form-urlencoded")
    assert isinstance(body, RawBody)
    assert list(body.feed(b"RIFF")) == [b"RIFF"]


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", 'Multipart/Form-Data; charset=utf-8; boundary="x"'],
)
def test_multipart_is_known_by_its_content_type(content_type: str) -> None:
    assert isinstance(body_of(content_type), MultipartBody)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form({"a": "x" * 20_000}, b"")[1], "longer than"),
        (form({str(number): "x" for number in range(40)}, b"")[1], "cannot be read"),
        (form({"a": "x"}, None)[1], "no file"),
        (form({}, b"x")[1][:-6], "cut short"),
        (form({}, b"x")[1].replace(b"--b0und--", form({}, b"y")[1]), "more than one"),
        (form({str(number): "x" * 10_000 for number in range(7)}, b"")[1], "besides its file"),
        (bytes(70_000) + b"\r\n" + BODY, "besides its file"),
        (BODY + bytes(70_000), "besides its file"),
        (BODY.replace(b"Content-Type", b"X: y\r\n" * 8 + b"Content-Type"), "cannot be read"),
        (BODY.replace(b"audio/wav", b"x" * 5000), "cannot be read"),
        (form({"a": "?"}, b"x")[1].replace(b"?", b"\xff"), "UTF-8"),
        (form({}, b"x")[1].replace(b"Content-Disposition", b"Content-Type"), "cannot be read"),
        (b"--b0und\n" + bytes(20), "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_form_is_told(body: bytes, words: str) -> None:
    with pytest.raises(MalformedForm, match=words):
        events(body, [])


def test_a_form_around_a_large_file_has_the_same_limits_in_any_pieces() -> None:
    body = form({"a": "x" * 10_000}, bytes(10**6))[1]
    for size in (1000, 65536, 10**7):
        assert len(events(body, list(range(size, len(body), size)))) == 3
    with pytest.raises(MalformedForm, match="besides its file"):
        events(body + bytes(70_000), list(range(1000, len(body) + 70_000, 1000)))


@pytest.mark.parametrize("boundary", ["", "x" * 71, "x" * 20_000])
def test_an_unusable_boundary_is_told(boundary: str) -> None:
    with pytest.raises(MalformedForm, match="boundary"):
        body_of(f"multipart/form-data; boundary={boundary}")


@pytest.mark.parametrize("before", [b"", b'filename="=?utf-8?B?0K8=?="; '])
def test_a_filename_in_extended_notation_goes_before_a_plain_one(before: bytes) -> None:
    extended = before + b"filename*=utf-8''%D0%AF.wav"
    body = form({}, b"RIFF")[1].replace(b'filename="take.wav"', extended)
    assert events(body, []) == [FileStart("Я.wav"), b"RIFF"]


@pytest.mark.parametrize(
    ("header", "filename"),
    [
        ("", None),
        ("attachment", None),
        ("attachment; filename=take.wav", "take.wav"),
        ('attachment; filename="a \\"b\\".wav"', 'a "b".wav'),
        ('inline; filename="one.wav"', "one.wav"),
        ("attachment; filename*=UTF-8''%C3%9Cbung.wav", "Übung.wav"),
        ("attachment; filename=\"x\"; filename*=utf-8'ru'%D0%AF.wav", "Я.wav"),
        ("attachment; filename*=utf-8''%ff", None),
        ("attachment; filename*=idna''abc", None),
        ("attachment; filename*=i\u017fo-8859-1''%e4", None),
        ("attachment; filename*=a%00b''x", None),
        ("attachment; filename*0*=idna''a; filename*1*=b", None),
        ("attachment; filename*" + "9" * 4500 + "=a", None),
    ],
)
def test_the_filename_of_a_content_disposition(header: str, filename: str | None) -> None:
    assert filename_of(header) == filename
