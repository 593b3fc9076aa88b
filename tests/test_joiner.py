"""Segments become one MP3, and its tag tells the truth about it."""

import struct
from pathlib import Path

import mutagen.mp3
import pytest
from mutagen.mp3 import BitrateMode

from tests.test_encoder import encode
from tests.test_info_tag import crc16
from tests.test_mp3 import frame, stream
from tests.wavs import tone
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.joiner import Joiner
from umusic.audio.mp3 import SAMPLE_RATES, BrokenMp3, Stream
from umusic.audio.pool import Pool
from umusic.audio.segments import UNIT, Lengths
from umusic.audio.wav_format import WavFormat

SHORT = Lengths(shortest=UNIT, longest=UNIT, patience=0)


def segment(first: int, count: int) -> bytes:
    return b"".join(frame(stream(), bytes([number]) * 50) for number in range(first, first + count))


def test_pre_roll_and_look_ahead_are_left_out() -> None:
    whole, parts = Joiner(2), Joiner(2)
    expected = b"".join(whole.join(segment(0, 60))) + whole.flush()
    joined = b"".join(parts.join(segment(0, 22), count=20))
    joined += b"".join(parts.join(segment(10, 32), skip=10, count=20))
    joined += b"".join(parts.join(segment(30, 30), skip=10))
    assert joined + parts.flush() == expected
    assert parts.tag(59 * 1152) == whole.tag(59 * 1152)


def test_a_constant_bit_rate_is_joined_as_it_is() -> None:
    joiner = Joiner(None)
    joined = list(joiner.join(segment(0, 3)))
    assert b"".join(joined) == bytes(1044) + segment(0, 3)
    assert joiner.flush() == b""


@pytest.mark.parametrize("given", [b"", segment(0, 25)])
def test_a_segment_with_too_few_frames_is_refused(given: bytes) -> None:
    joiner = Joiner(2)
    list(joiner.join(segment(0, 20), count=20))
    with pytest.raises(BrokenMp3):
        list(joiner.join(given, skip=10, count=20))


def test_a_segment_of_another_stream_is_refused() -> None:
    joiner = Joiner(2)
    list(joiner.join(segment(0, 3)))
    with pytest.raises(BrokenMp3):
        list(joiner.join(frame(stream(48000), b"x")))


@pytest.mark.parametrize("samples", [0, 57 * 1152, 58 * 1152, 59 * 1152 + 1, 99 * 1152])
def test_a_length_that_lame_would_not_make_so_many_frames_of_is_refused(samples: int) -> None:
    joiner = Joiner(2)
    list(joiner.join(segment(0, 60)))
    with pytest.raises(BrokenMp3):
        joiner.tag(samples)


def test_nothing_has_no_tag() -> None:
    joiner = Joiner(2)
    assert [*joiner.join(b""), joiner.flush()] == [b""]
    with pytest.raises(BrokenMp3):
        joiner.tag(0)


@pytest.mark.parametrize("mp3", [Mp3Settings(), Mp3Settings(bitrate=64)], ids=["vbr", "cbr"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.gen_test
async def test_the_tag_tells_the_truth(
    ffmpeg: Path, tmp_path: Path, rate: int, channels: int, mp3: Mp3Settings
) -> None:
    output = tmp_path / "out.mp3"
    output.touch()
    source, frames = WavFormat(False, 2, channels, rate), 5 * rate + 123
    await encode(Pool(ffmpeg, 2, SHORT), output, source, tone(frames, channels, rate), mp3)
    whole = output.read_bytes()
    kind = Stream.of(whole)
    first, *others = kind.frames(whole)
    tag = first[kind.main_data :]
    told_frames, told_bytes = struct.unpack(">II", tag[8:16])
    music_length, music_crc, tag_crc = struct.unpack(">IHH", tag[148:156])
    assert (told_frames, told_bytes, music_length) == (len(others), len(whole), len(whole))
    assert music_crc == crc16(b"".join(others))
    assert tag_crc == crc16(first[: kind.main_data + 154])
    info = mutagen.mp3.MP3(output).info
    assert not info.sketchy
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.length == pytest.approx(frames / rate)
    assert info.bitrate_mode is (BitrateMode.CBR if mp3.bitrate else BitrateMode.VBR)
    assert info.encoder_info == "LAME 3.100.0+"
    assert info.encoder_settings == ("-b 64" if mp3.bitrate else "-V 2")
    # Frames begin where the table of contents says, as near as it can tell.
    starts, at = [], len(first)
    for one in others:
        starts.append(at)
        at += len(one)
    for percent, told in enumerate(tag[16:116]):
        assert 256 * starts[percent * len(others) // 100] // at == told
