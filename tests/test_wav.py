"""The WAV reader."""

import itertools
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wavs import chunk, float_tone, fmt, fmt_extensible, pieces, rf64, take, tone, wav
from umusic.audio.wav import WavFormat, WavReader
from umusic.errors import BrokenWav, CodecUnsupported, NoSound, NotWav, UmusicError


def read(data: bytes, parts: Iterator[bytes] | None = None) -> tuple[WavFormat, bytes]:
    reader = WavReader()
    frames = b"".join(reader.feed(part) for part in (parts or [data]))
    reader.finish()
    assert reader.format is not None
    assert reader.frames * reader.format.frame_bytes == len(frames)
    return reader.format, frames


PCM = tone(50)


@pytest.mark.parametrize(
    ("format", "data", "expected", "name"),
    [
        (fmt(1, 1, 8000, 8), tone(9, 1, bits=8), WavFormat(False, 1, 1, 8000), "u8"),
        (fmt(1, 2, 44100, 16), PCM, WavFormat(False, 2, 2, 44100), "s16le"),
        (fmt(1, 2, 48000, 24), tone(9, bits=24), WavFormat(False, 3, 2, 48000), "s24le"),
        (fmt(1, 2, 96000, 32), tone(9, bits=32), WavFormat(False, 4, 2, 96000), "s32le"),
        (fmt(3, 2, 44100, 32), float_tone(9), WavFormat(True, 4, 2, 44100), "f32le"),
        (fmt(3, 1, 44100, 64), float_tone(9, 1, bits=64), WavFormat(True, 8, 1, 44100), "f64le"),
        (fmt(1, 2, 44100, 12), PCM, WavFormat(False, 2, 2, 44100), "s16le"),
        (
            fmt_extensible(1, 6, 48000, 16, 0x3F),
            tone(8, 6),
            WavFormat(False, 2, 6, 48000, 0x3F),
            "s16le",
        ),
        (
            fmt_extensible(3, 2, 48000, 32, 3),
            float_tone(9),
            WavFormat(True, 4, 2, 48000, 3),
            "f32le",
        ),
    ],
)
def test_it_tells_the_format_and_gives_the_samples_as_they_are(
    format: bytes, data: bytes, expected: WavFormat, name: str
) -> None:
    assert read(wav(data, format=format)) == (expected, data)
    assert expected.sample_format == name


JUNK = (
    chunk(b"JUNK", bytes(27)) + chunk(b"LIST", b"INFOIART\x05\0\0\0Egor\0\0") + chunk(b"bext", b"x")
)
STREAMED = [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (36, 0), (0, 0xFFFFFFFF)]

WHOLE = {
    "plain": wav(PCM),
    "chunks before data": wav(PCM, before=JUNK),
    "chunks after data": wav(PCM, after=JUNK),
    "odd data, padded": wav(tone(9, 1, bits=8), format=fmt(1, 1, 8000, 8), after=JUNK),
    "odd data, not padded": wav(tone(9, 1, bits=8), format=fmt(1, 1, 8000, 8)).removesuffix(b"\0"),
    "pad left out before a chunk": wav(tone(9, 1, bits=8), format=fmt(1, 1, 8000, 8)).removesuffix(
        b"\0"
    )
    + chunk(b"LIST", b"x"),
    "rf64": rf64(PCM),
    "rf64, chunks after data": rf64(PCM, after=JUNK),
    "bw64": b"BW64" + rf64(PCM)[4:],
    "arecord to a pipe": wav(PCM, data_size=0x80000000, riff_size=0x80000024),
    "sox to a pipe": wav(PCM, data_size=0x7FFFF000, riff_size=0x7FFFF024),
    **{f"streamed {sizes}": wav(PCM, riff_size=sizes[0], data_size=sizes[1]) for sizes in STREAMED},
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE.keys())
def test_whole_wavs_of_all_kinds_are_read(body: bytes) -> None:
    assert read(body)[1] in (PCM, tone(9, 1, bits=8))


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE.keys())
def test_a_split_at_every_byte_changes_nothing(body: bytes) -> None:
    whole = read(body)
    assert read(body, pieces(body, 1)) == whole
    for cut in range(1, len(body)):
        assert read(body, iter([body[:cut], body[cut:]])) == whole


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 400), max_size=8))
def test_any_split_gives_the_same(name: str, cuts: list[int]) -> None:
    body = WHOLE[name]
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    parts = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert read(body, iter(parts)) == read(body)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_give_an_error_of_ours_or_samples(data: bytes) -> None:
    for body in (data, b"RIFF\0\0\0\0WAVE" + data, take(0.001)[:36] + data):
        try:
            read(body)
        except UmusicError as exc:
            assert exc.detail


def test_a_last_sample_frame_that_is_not_whole_is_left_out() -> None:
    assert read(wav(PCM + b"\x01\x02\x03"))[1] == PCM
    assert read(wav(PCM + b"\x01", data_size=0, riff_size=0).removesuffix(b"\0"))[1] == PCM


def test_a_streamed_wav_may_be_longer_than_any_size_field() -> None:
    reader = WavReader()
    reader.feed(wav(b"", data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF))
    for _ in range(3):
        assert len(reader.feed(bytes(2**20))) == 2**20
    reader.finish()
    assert reader.frames == 3 * 2**18


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", NoSound, "empty"),
        (b"RI", NotWav, "begins with"),
        (b"hello, world!", NotWav, "hell"),
        (b"ID3\x04" + bytes(20), NotWav, "an MP3"),
        (b"RIFF\0\0\0\0AVI LIST", NotWav, "AVI"),
        (b"RIFX\0\0\0\0WAVE", NotWav, "RIFX"),
        (b"RIFF\0\0\0\0WAVE", BrokenWav, "ends before its data chunk"),
        (wav(PCM)[:40], BrokenWav, "ends before its data chunk"),
        (wav(PCM)[:-4], BrokenWav, "4 more bytes"),
        (rf64(PCM)[:-4], BrokenWav, "4 more bytes"),
        (wav(b""), NoSound, "no sound"),
        (wav(b"", after=JUNK), NoSound, "empty"),
        (wav(b"\1\2\3"), NoSound, "no sound"),
        (wav(PCM, after=b"\x01\x02\x03\x04\x05\x06\x07\x08"), BrokenWav, "no chunks"),
        (wav(PCM, after=b"LIST\x09\0\0\0abc"), BrokenWav, "cut short in a chunk"),
        (wav(PCM, after=b"\x01"), BrokenWav, "after its sound"),
        (wav(PCM, data_size=len(PCM) - 40), BrokenWav, "no chunks"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", BrokenWav, "before its fmt"),
        (wav(PCM, before=chunk(b"fmt ", fmt())), BrokenWav, "two fmt"),
        (wav(PCM, format=b"\1\0\2\0"), BrokenWav, "fmt chunk has 4 bytes"),
        (wav(PCM, before=b"JUNK" + struct.pack("<I", 2**31)), BrokenWav, "JUNK"),
        (wav(PCM, before=chunk(b"a   ", b"") * 2000), BrokenWav, "too long"),
        (wav(PCM, before=b"\x01\x02\x03\x04" + bytes(4)), BrokenWav, "chunk should begin"),
        (wav(PCM, format=fmt(1, 0, 44100, 16)), BrokenWav, "0 channels"),
        (wav(PCM, format=fmt(1, 65535, 44100, 16, frame_bytes=4)), BrokenWav, "65535 channels"),
        (wav(PCM, format=fmt(1, 2, 1, 16)), BrokenWav, "1 Hz"),
        (wav(PCM, format=fmt(1, 2, 400_000, 16)), BrokenWav, "400000 Hz"),
        (wav(PCM, format=fmt(frame_bytes=0)), BrokenWav, "block align"),
        (wav(PCM, format=fmt(0x55, 2, 44100, 16)), CodecUnsupported, "MP3 (format tag 0x0055)"),
        (wav(PCM, format=fmt(0x11, 2, 44100, 4)), CodecUnsupported, "IMA ADPCM"),
        (wav(PCM, format=fmt(0x4242, 2, 44100, 16)), CodecUnsupported, "0x4242"),
        (wav(PCM, format=fmt(1, 2, 44100, 64)), CodecUnsupported, "64-bit PCM"),
        (wav(PCM, format=fmt(3, 2, 44100, 16)), CodecUnsupported, "16-bit float"),
        (wav(PCM, format=fmt_extensible(0x55, 2, 44100, 16)), CodecUnsupported, "MP3"),
        (
            wav(PCM, format=fmt_extensible(1, 2, 44100, 16)[:-8] + bytes(8)),
            CodecUnsupported,
            "codec",
        ),
        (wav(PCM, format=fmt(0xFFFE, 2, 44100, 16)), BrokenWav, "extensible"),
    ],
)
def test_what_cannot_be_taken_is_told_in_a_sentence(
    body: bytes, kind: type[UmusicError], words: str
) -> None:
    with pytest.raises(UmusicError) as caught:
        read(body)
    assert type(caught.value) is kind
    assert words in caught.value.detail


def test_a_header_that_never_ends_is_refused_at_once() -> None:
    reader = WavReader(max_header_bytes=1000)
    with pytest.raises(BrokenWav, match="more than 1000 bytes"):
        reader.feed(wav(PCM, before=b"JUNK" + struct.pack("<I", 2**31))[:60])


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (wav(PCM), 50),
        (rf64(PCM), 50),
        (wav(PCM, data_size=0, riff_size=0), None),
        (wav(PCM, data_size=0xFFFFFFFF), None),
        (wav(PCM, data_size=0x80000000), None),
    ],
)
def test_it_tells_how_much_sound_the_header_promises(body: bytes, declared: int | None) -> None:
    reader = WavReader()
    assert reader.declared_frames is None
    reader.feed(body)
    assert reader.declared_frames == declared
