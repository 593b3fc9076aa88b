"""Where recordings are cut, and the memory that segments wait in."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wavs import tone
from umusic.audio.segments import (
    LOOK_AHEAD,
    PRE_ROLL,
    UNIT,
    Grid,
    Lengths,
    Memory,
    Segment,
    pre_roll,
)
from umusic.audio.wav_format import WavFormat

STEREO = WavFormat(False, 2, 2, 44100)


def contents(memory: Memory) -> bytes:
    with memory.mapped() as whole:
        return whole[:]


@given(rate=st.integers(4000, 384_000), frame=st.integers(0, 10**7))
def test_what_is_complete_can_be_cut_and_no_more(rate: int, frame: int) -> None:
    grid = Grid(rate)
    end = grid.end(frame)
    assert grid.complete(end) >= frame
    if frame:
        assert grid.complete(end - 1) < frame


@given(rate=st.integers(4000, 384_000), frame=st.integers(0, 10**7))
def test_encoding_begins_where_the_resampler_is_as_at_the_start(rate: int, frame: int) -> None:
    grid = Grid(rate)
    start, drop = grid.start(frame)
    # From there on `drop` samples of the MP3's rate lead to the frame, exactly.
    assert start * grid.rate % rate == 0
    assert start * grid.rate // rate + drop == frame * grid.samples_per_frame
    assert 0 <= drop < grid.rate


@pytest.mark.parametrize(
    ("left", "share", "pieces"),
    [(5800, 1, 1), (5800, 2, 2), (22_970, 2, 6), (229_700, 2, 42), (229_700, 8, 48), (500, 8, 2)],
)
def test_segments_of_a_known_length_are_as_many_for_each_encoder_and_equal_but_for_the_first(
    left: int, share: int, pieces: int
) -> None:
    lengths, cut, made = Lengths(), 0, []
    while left > 0:
        made.append(min(lengths.full(left, cut=cut, share=share), left))
        left -= made[-1]
        cut += 1
    assert len(made) == pieces
    assert max(made) <= lengths.longest
    opening = share if pieces > share else 0
    assert all(abs(4 * length - made[-1]) <= len(made) for length in made[:opening])
    usual = made[opening:]
    assert max(usual) - min(usual) <= max(len(made), lengths.shortest)


def test_segments_of_an_unknown_length_leave_something_for_the_other_encoders() -> None:
    lengths = Lengths()
    assert lengths.full(None, cut=1, share=1) == lengths.longest
    assert lengths.full(None, cut=0, share=1) == lengths.longest // 4
    assert lengths.full(None, cut=5, share=4) == lengths.longest // 4
    assert lengths.full(None, cut=5, share=1000) == lengths.shortest


def test_segments_are_shorter_the_more_of_them_share_the_memory() -> None:
    lengths = Lengths()
    frame = 1152 * 4
    assert lengths.capped(frame, 3) == lengths
    for holders in (3, 20, 60):
        held = lengths.capped(frame, holders).longest + PRE_ROLL + LOOK_AHEAD
        assert held * frame <= lengths.budget / holders
    least = lengths.capped(frame, 10_000)
    assert (least.shortest, least.longest) == (PRE_ROLL, PRE_ROLL)


def test_segments_of_wide_sound_are_held_within_bounds_too() -> None:
    wide = WavFormat(True, 8, 8, 384_000)
    grid = Grid(384_000)
    frame = grid.frame_bytes(wide)
    assert pre_roll(frame) == UNIT
    assert pre_roll(Grid(96_000).frame_bytes(WavFormat(True, 4, 2, 96_000))) == PRE_ROLL
    for holders in (3, 66):
        lengths = Lengths().capped(frame, holders)
        assert lengths.shortest <= lengths.longest
        assert (lengths.longest + UNIT + LOOK_AHEAD) * frame < 90 * 2**20


def test_a_cut_segment_has_its_pre_roll_and_look_ahead_and_no_more() -> None:
    data = tone(1152 * 1000)
    first = Segment(Grid(44100), STEREO)
    first.samples.append(data)
    assert first.complete == (1000 - LOOK_AHEAD) // UNIT * UNIT == 980
    second = first.cut(490)
    third = second.cut(98)
    try:
        assert contents(first.samples) == data[: (490 + LOOK_AHEAD) * 1152 * 4]
        begin = (490 - PRE_ROLL) * 1152 * 4
        assert contents(second.samples) == data[begin : (588 + LOOK_AHEAD) * 1152 * 4]
        assert contents(third.samples) == data[(588 - PRE_ROLL) * 1152 * 4 :]
        assert (third.first, third.pre_roll, third.drop) == (588, PRE_ROLL, 0)
    finally:
        for segment in (first, second, third):
            segment.close()


def test_memory_that_is_used_again_holds_nothing_of_before() -> None:
    memory = Memory("one")
    memory.append(b"long ago")
    again = memory.emptied()
    memory.close()
    try:
        again.append(b"now")
        again.rewind()
        assert contents(again) == os.read(again.fd, 100) == b"now"
    finally:
        again.close()


def test_memory_is_copied_to_the_end_of_another() -> None:
    one, other = Memory("one"), Memory("other")
    one.append(b"abcdef")
    other.append(b"xyz")
    one.copy(2, other)
    other.append(b"!")
    assert contents(other) == b"xyzcdef!"
    one.close()
    other.close()


def test_memory_is_given_back() -> None:
    memory = Memory("test")
    memory.append(b"abc")
    memory.append(b"def")
    assert (contents(memory), memory.size) == (b"abcdef", 6)
    descriptor = memory.fd
    memory.close()
    memory.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)
