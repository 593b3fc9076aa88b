"""Frames of MPEG audio Layer III: reading, splitting, re-packing."""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umusic.audio.mp3 import SAMPLE_RATES, BrokenMp3, Repacker, Stream

#: ID, layer III, no CRC; sampling_frequency; mode, copyright, original, emphasis.
_RATES = {
    rate: (version, index)
    for version, rates in {
        3: (44100, 48000, 32000),
        2: (22050, 24000, 16000),
        0: (11025, 12000, 8000),
    }.items()
    for index, rate in enumerate(rates)
}


def stream(rate: int = 44100, channels: int = 2) -> Stream:
    version, index = _RATES[rate]
    header = 0x7FF << 21 | version << 19 | 1 << 17 | 1 << 16 | 5 << 12 | index << 10
    return Stream.of((header | (3 if channels == 1 else 1) << 6).to_bytes(4, "big"))


def frame(kind: Stream, main_data: bytes, *, bits_short: int = 0, begin: int = 0) -> bytes:
    """A frame of the highest bit rate that holds `main_data`, but for its last bits."""
    lengths = [0] * len(kind.length_shifts)
    left = 8 * len(main_data) - bits_short
    for number in range(len(lengths)):
        lengths[number] = min(left, 4095)
        left -= lengths[number]
    assert not left
    side = begin << (8 * kind.side_bytes - kind.begin_bits)
    for length, shift in zip(lengths, kind.length_shifts, strict=True):
        side |= length << shift
    header = (kind.header | len(kind.sizes) << 12).to_bytes(4, "big")
    whole = header + side.to_bytes(kind.side_bytes, "big") + main_data
    return whole.ljust(kind.sizes[-1], b"U")


def unpacked(kind: Stream, frames: list[bytes]) -> list[bytes]:
    """The main data of each frame, gathered as a decoder does: from main_data_begin on."""
    found, reservoir = [], b""
    for one in frames:
        side = int.from_bytes(one[4 : kind.main_data], "big")
        begin = side >> (8 * kind.side_bytes - kind.begin_bits)
        length = (sum(side >> shift & 0xFFF for shift in kind.length_shifts) + 7) // 8
        assert begin <= len(reservoir)
        here = reservoir[len(reservoir) - begin :] + one[kind.main_data :]
        assert length <= len(here)
        found.append(here[:length])
        # Only so much of the past can be pointed at.
        reservoir = (reservoir + one[kind.main_data :])[-511:]
    return found


@pytest.mark.parametrize(
    ("rate", "channels", "side", "per_frame", "shifts"),
    [
        (44100, 2, 32, 1152, (224, 165, 106, 47)),
        (48000, 1, 17, 1152, (106, 47)),
        (22050, 2, 17, 576, (114, 51)),
        (8000, 1, 9, 576, (51,)),
    ],
)
def test_a_header_tells_how_long_the_parts_are(
    rate: int, channels: int, side: int, per_frame: int, shifts: tuple[int, ...]
) -> None:
    kind = stream(rate, channels)
    assert (kind.sample_rate, kind.channels) == (rate, channels)
    assert (kind.side_bytes, kind.samples_per_frame) == (side, per_frame)
    assert kind.length_shifts == shifts


@pytest.mark.parametrize(
    ("rate", "sizes"),
    [
        (44100, {1: 104, 5: 208, 9: 417, 14: 1044}),
        (32000, {1: 144, 14: 1440}),
        (22050, {1: 26, 8: 208}),
        (8000, {1: 72, 8: 576}),
    ],
)
def test_the_size_of_a_frame_follows_from_its_bit_rate(rate: int, sizes: dict[int, int]) -> None:
    assert {index: stream(rate).sizes[index - 1] for index in sizes} == sizes


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"ID3\x04",
        bytes(4),
        b"\xff\xfd\x90\x64",  # layer II
        b"\xff\xeb\x90\x64",  # a reserved version
        b"\xff\xfb\x9c\x64",  # a reserved sampling frequency
        b"\xff\xfa\x90\x64",  # protected by a CRC
    ],
)
def test_other_headers_are_refused(data: bytes) -> None:
    with pytest.raises(BrokenMp3):
        Stream.of(data)


def test_a_padded_frame_is_one_byte_longer() -> None:
    kind = stream()
    padded = (kind.header | 9 << 12 | 1 << 9).to_bytes(4, "big").ljust(418, b"x")
    plain = (kind.header | 9 << 12).to_bytes(4, "big").ljust(417, b"y")
    assert list(kind.frames(padded + plain + padded)) == [padded, plain, padded]


@pytest.mark.parametrize(
    "broken",
    [
        lambda one: one + one[:-1],
        lambda one: one + b"\0" + one,
        lambda one: one + one[:2],
        lambda one: one + (stream(48000).header | 9 << 12).to_bytes(4, "big") + one[4:],
        lambda one: one + (stream(44100, 1).header | 9 << 12).to_bytes(4, "big") + one[4:],
        lambda one: one + (stream().header | 15 << 12).to_bytes(4, "big") + one[4:],
        lambda one: one + stream().header.to_bytes(4, "big") + one[4:],
    ],
)
def test_bytes_that_are_not_whole_frames_of_the_stream_are_refused(
    broken: Callable[[bytes], bytes],
) -> None:
    one = frame(stream(), b"main data")
    with pytest.raises(BrokenMp3):
        list(stream().frames(broken(one)))


@given(
    rate=st.sampled_from(SAMPLE_RATES),
    channels=st.sampled_from([1, 2]),
    sizes=st.lists(st.integers(0, 2000), max_size=40),
    seed=st.integers(0, 2**32),
)
def test_packed_frames_hold_the_same_main_data_in_as_little_room_as_can_be(
    rate: int, channels: int, sizes: list[int], seed: int
) -> None:
    kind, chance = stream(rate, channels), random.Random(seed)
    most = min(kind.sizes[-1] - kind.main_data, len(kind.length_shifts) * 4095 // 8)
    contents = [chance.randbytes(min(size, most)) for size in sizes]
    repacker = Repacker(kind)
    packed = []
    for content in contents:
        short = chance.randrange(8) if content else 0
        packed += repacker.push(frame(kind, content, bits_short=short))
    packed += repacker.flush()
    assert list(kind.frames(b"".join(packed))) == packed
    assert len(packed) == len(contents)
    assert unpacked(kind, packed) == contents
    # With a bit rate less for any frame, its main data would not fit.
    room = 0
    for one, content in zip(packed, contents, strict=True):
        index = one[2] >> 4
        if index > 1:
            assert room + kind.sizes[index - 2] - kind.main_data < len(content)
        left = room + len(one) - kind.main_data - len(content)
        room = min(left, 2**kind.begin_bits - 1)


def test_packing_leaves_the_rest_of_header_and_side_information_alone() -> None:
    kind = stream()
    one = bytearray(frame(kind, bytes(100)))
    one[3] |= 0x20  # mode_extension
    one[8:20] = struct.pack(">12B", *range(100, 112))
    head = int.from_bytes(one[:36], "big")
    repacker = Repacker(kind)
    [packed] = repacker.push(bytes(one)) + repacker.flush()
    same = ~(0xF200 << 256 | 0x1FF << 247)
    assert int.from_bytes(packed[:36], "big") & same == head & same


def test_a_frame_that_does_not_stand_alone_cannot_be_packed() -> None:
    with pytest.raises(BrokenMp3):
        Repacker(stream()).push(frame(stream(), b"x", begin=1))


def test_a_frame_that_promises_more_main_data_than_it_has_cannot_be_packed() -> None:
    cut = frame(stream(), bytes(1000))[:500]
    with pytest.raises(BrokenMp3):
        Repacker(stream()).push(cut)
