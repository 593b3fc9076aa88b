"""The Xing/LAME tag: every field at its place."""

import dataclasses
import struct
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_mp3 import stream
from umusic.audio.info_tag import InfoTag, SeekTable, info_frame_size
from umusic.audio.mp3 import SAMPLE_RATES

TAG = InfoTag(
    stream=stream(),
    quality=2,
    bitrate=32,
    frames=1000,
    size=400_000,
    contents=bytes(range(100)),
    padding=0x5A5,
    music_crc=0xBEEF,
)


def crc16(data: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005, reflected, from 0."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _of_byte(crc & 0xFF ^ byte)
    return crc


@cache
def _of_byte(crc: int) -> int:
    """Bit by bit."""
    for _ in range(8):
        crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def test_the_fields_stand_where_the_specification_has_them() -> None:
    frame = TAG.frame()
    assert frame[:36] == b"\xff\xfb\x50\x40" + bytes(32)
    tag = frame[36:]
    assert struct.unpack(">4sIII", tag[:16]) == (b"Xing", 0xF, 1000, 400_000)
    assert tag[16:116] == bytes(range(100))
    assert struct.unpack(">I9sB", tag[116:130]) == (100 - 20 - 3, b"LAME3.100", 4)
    assert tag[140] == 32
    assert tag[141:144].hex() == "2405a5"  # 576 and 0x5A5 in 12 bits each
    assert struct.unpack(">HIH", tag[146:154]) == (480, 400_000, 0xBEEF)
    assert int.from_bytes(tag[154:156], "big") == crc16(frame[:190])
    assert len(frame) == 208
    assert not any(frame[192:])


def test_a_constant_bit_rate_says_so() -> None:
    tag = dataclasses.replace(TAG, quality=None, bitrate=128).frame()
    assert tag[36:40] == b"Info"
    assert tag[36 + 129] == 1
    assert tag[36 + 140] == 128
    assert struct.unpack(">H", tag[36 + 146 : 36 + 148]) == (128,)
    assert len(tag) == 417


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_every_stream_has_a_bit_rate_whose_frames_hold_the_tag(rate: int, channels: int) -> None:
    kind = stream(rate, channels)
    for bitrate in kind.bitrates:
        frame = dataclasses.replace(TAG, stream=kind, bitrate=bitrate).frame()
        assert list(kind.frames(frame)) == [frame]
        assert len(frame) == info_frame_size(kind, bitrate) >= kind.main_data + 156
        at = kind.main_data
        assert frame[at : at + 4] == b"Xing"
        assert int.from_bytes(frame[at + 154 : at + 156], "big") == crc16(frame[: at + 154])


def test_numbers_too_large_for_their_fields_are_as_large_as_can_be() -> None:
    tag = dataclasses.replace(TAG, size=2**40, frames=2**33).frame()[36:]
    assert struct.unpack(">4sIII", tag[:16]) == (b"Xing", 0xF, 2**32 - 1, 2**32 - 1)


@given(sizes=st.lists(st.integers(24, 1440), min_size=1, max_size=3000))
def test_the_table_of_contents_tells_where_each_hundredth_begins(sizes: list[int]) -> None:
    table, at, starts = SeekTable(), 208, []
    for size in sizes:
        table.add(at)
        starts.append(at)
        at += size
    contents = table.contents(at)
    assert list(contents) == sorted(contents)
    for percent, told in enumerate(contents):
        wanted = percent * len(sizes) // 100
        # As coarse as its steps: 400 positions are kept at most.
        near = starts[max(wanted - len(sizes) // 200 - 1, 0) : wanted + 1]
        assert 256 * near[0] // at <= told <= 256 * near[-1] // at


def test_the_table_of_contents_of_nothing_is_empty() -> None:
    assert SeekTable().contents(208) == bytes(100)


def test_the_table_stays_small() -> None:
    table = SeekTable()
    for frame in range(100_000):
        table.add(400 * frame)
    assert len(table._positions) <= 400
    middle = table.contents(400 * 100_000)[50]
    assert middle == pytest.approx(128, abs=1)
