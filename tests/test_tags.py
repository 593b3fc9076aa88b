"""Tags of a WAV, and the ID3 tag made of them."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutagen.id3 import ID3

from tests.wavs import bext, chunk, info
from umusic.audio.tags import MAX_CHUNK_BYTES, Tags


def tags_of(*chunks: bytes) -> Tags:
    tags = Tags()
    for whole in chunks:
        tags.parsers[whole[:4]](whole[8 : 8 + int.from_bytes(whole[4:8], "little")])
    return tags


def fields(tags: Tags, size: int = 4096) -> dict[str, str]:
    encoded = tags.encoded(size)
    assert len(encoded) == size
    return {name: str(frame) for name, frame in ID3(io.BytesIO(encoded)).items()}


def test_list_info_becomes_id3() -> None:
    chunk = info(INAM="Привет", IART="Егор", IPRD="Album", ICRD="2024-05-06", IGNR="Speech")
    found = fields(tags_of(chunk))
    assert found == {
        "TIT2": "Привет",
        "TPE1": "Егор",
        "TALB": "Album",
        "TDRC": "2024-05-06",
        "TCON": "Speech",
        "TSSE": "umusic",
    }


def test_of_a_chunk_only_so_many_fields_are_read() -> None:
    unknown = [chunk(b"IXYZ", b"x\0")] * 99
    many = chunk(
        b"LIST", b"INFO" + b"".join([*unknown, chunk(b"INAM", b"a"), chunk(b"IART", b"b")])
    )
    found = fields(tags_of(many))
    assert (found["TIT2"], "TPE1" in found) == ("a", False)


def test_bext_becomes_id3_and_list_info_goes_before_it() -> None:
    found = fields(tags_of(bext("Interview", "Recorder", "2020:01:02"), info(IART="Egor")))
    assert (found["TIT2"], found["TPE1"], found["TDRC"]) == ("Interview", "Egor", "2020-01-02")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Ключ".encode("cp1251"), "Ключ"),
        ("Café".encode("cp1252"), "Café"),
        ("Ключ".encode(), "Ключ"),
        ("Ключ".encode()[:-1], "Клю"),
        (b"a\x07b\r\nc", "abc"),
        (b"  take \0 rest", "take"),
        (b"x" * 5000, "x" * 500),
    ],
)
def test_text_is_read_whatever_its_character_set_and_cleaned(raw: bytes, text: str) -> None:
    assert fields(tags_of(info(INAM=raw)))["TIT2"] == text


@pytest.mark.parametrize("date", ["yesterday", "", "19", "\0\0"])
def test_what_is_no_date_is_left_out(date: str) -> None:
    assert "TDRC" not in fields(tags_of(info(ICRD=date)))


def test_without_tags_and_without_more_to_come_no_room_is_taken() -> None:
    assert Tags().room(0) == 0
    assert Tags().encoded(0) == b""
    assert tags_of(info(ISFT="Lavf", IFOO="bar")).room(0) == 0


def test_the_room_is_enough_for_what_is_still_to_come_and_bounded() -> None:
    late = info(INAM="Ñ" * 100, IART="x" * 100)
    tags = tags_of(info(IGNR="Speech"))
    room = tags.room(len(late))
    tags.parsers[b"LIST"](late[8:])
    assert fields(tags, room).keys() >= {"TIT2", "TPE1", "TCON"}
    assert Tags().room(2**40) <= 8192


def test_what_does_not_fit_is_left_out_the_longest_first() -> None:
    tags = tags_of(info(INAM="Take", ICMT="long " * 90))
    assert fields(tags, 100).keys() == {"TIT2", "TSSE"}


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_at_all_do_no_harm(body: bytes, as_list: bool) -> None:
    tags = Tags()
    tags.parsers[b"LIST" if as_list else b"bext"](b"INFO" + body if as_list else body)
    assert len(tags.encoded(tags.room(100))) == tags.room(100)


@pytest.mark.parametrize(
    ("fields", "room"),
    [
        (chunk(b"INAM", b"") * (MAX_CHUNK_BYTES // 8), 0),
        (chunk(b"INAM", "a\u0301\u0316".encode() * (MAX_CHUNK_BYTES // 5)), 2000),
        (chunk(b"ICRD", "\u0301\u0316".encode() * 500) * (MAX_CHUNK_BYTES // 2008), 0),
        (chunk(b"ICRD", b"\xff" * 2000) * (MAX_CHUNK_BYTES // 2008), 0),
    ],
    ids=["empty", "accents", "accents for a date", "no UTF-8"],
)
def test_the_longest_chunk_that_is_read_takes_little_time_and_room(
    fields: bytes, room: int
) -> None:
    tags = Tags()
    began = time.process_time()
    tags.parsers[b"LIST"](b"INFO" + fields)
    assert time.process_time() - began < 0.1
    assert tags.room(0) <= room
