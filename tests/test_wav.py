"""The WAV reader."""

import io
import itertools
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutagen.id3 import ID3

from tests.wavs import (
    adpcm,
    chunk,
    float_tone,
    fmt,
    fmt_extensible,
    info,
    pieces,
    rf64,
    rifx,
    take,
    tone,
    w64,
    w64_chunk,
    wav,
)
from umusic.audio.wav import WavReader
from umusic.audio.wav_format import WavFormat
from umusic.errors import BrokenWav, CodecUnsupported, NoSound, NotWav, UmusicError

#: What becomes of the `fmt ` chunk of ADPCM: nothing of the sender's but numbers that were checked.
OWN_MS = struct.pack("<HHIIHHH", 2, 2, 44100, 0, 512, 4, 0)
OWN_IMA = struct.pack("<HHIIHHH", 0x11, 2, 44100, 0, 512, 4, 0)


def read(data: bytes, parts: Iterator[bytes] | None = None) -> tuple[WavFormat, bytes]:
    reader = WavReader()
    frames = b"".join(reader.feed(part) for part in (parts or [data])) + reader.finish()
    assert reader.format is not None
    assert reader.frames == reader.format.frames_in(len(frames))
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
            fmt_extensible(1, 2, 48000, 24, 3)[:18]
            + struct.pack("<H", 20)
            + fmt_extensible(1, 2, 48000, 24, 3)[20:],
            tone(9, bits=24),
            WavFormat(False, 3, 2, 48000, 3),
            "s24le",
        ),
        (fmt(1, 2, 48000, 20), tone(9, bits=24), WavFormat(False, 3, 2, 48000), "s24le"),
        (fmt(6, 1, 8000, 8), bytes(9), WavFormat(False, 1, 1, 8000, logarithmic="alaw"), "alaw"),
        (fmt(7, 2, 8000, 8), bytes(8), WavFormat(False, 1, 2, 8000, logarithmic="mulaw"), "mulaw"),
        (
            adpcm(2),
            bytes(1024),
            WavFormat(False, 2, 2, 44100, adpcm=OWN_MS),
            "adpcm_ms",
        ),
        (
            adpcm(0x11),
            bytes(1024),
            WavFormat(False, 2, 2, 44100, adpcm=OWN_IMA),
            "adpcm_ima_wav",
        ),
        (
            adpcm(0x11)[:8] + b"\xff" * 4 + adpcm(0x11)[12:16] + b"\xff" * 9,
            bytes(1024),
            WavFormat(False, 2, 2, 44100, adpcm=OWN_IMA),
            "adpcm_ima_wav",
        ),
        (
            b"\xfe\xff" + adpcm(0x11)[2:16] + fmt_extensible(0x11, 2, 44100, 4, 0x3000)[16:],
            bytes(1024),
            WavFormat(False, 2, 2, 44100, adpcm=OWN_IMA),
            "adpcm_ima_wav",
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


@pytest.mark.parametrize(
    ("tag", "channels", "size", "whole"),
    [
        (0x11, 2, 512 + 8 + 15, 512 + 8 + 8),
        (0x11, 1, 512 + 7, 512 + 4),
        (0x11, 2, 512 + 7, 512),
        (2, 2, 512 + 15, 512 + 15),
        (2, 2, 512 + 13, 512),
    ],
)
def test_of_a_short_last_block_only_what_is_sound_is_given(
    tag: int, channels: int, size: int, whole: int
) -> None:
    body = wav(bytes(size), format=adpcm(tag, channels))
    assert read(body)[1] == read(body, pieces(body, 5))[1] == bytes(whole)


def test_the_first_broken_block_is_told_whatever_its_channel() -> None:
    body = bytearray(512 * 9)
    body[512 * 7 + 2] = body[512 * 4 + 6] = 89
    coded = wav(bytes(body), format=adpcm(0x11))
    for parts in ([coded], pieces(coded, 600)):
        with pytest.raises(BrokenWav, match="its block 4 "):
            read(coded, iter(parts))


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
    "rifx": rifx(PCM),
    "rifx, chunks after data": rifx(PCM, after=b"LIST\0\0\0\x04INFO"),
    "wave64": w64(PCM),
    "wave64, chunks after data": w64(PCM, after=w64_chunk(b"JUNK", b"abc")),
    "wave64, odd data": w64(PCM + b"x", after=w64_chunk(b"JUNK", b"abc")),
    "wave64 to a pipe": w64(PCM, size=2**63 - 1),
    "wave64 left open": w64(PCM, size=24)[:16] + bytes(8) + w64(PCM, size=24)[24:],
    "arecord to a pipe": wav(PCM, data_size=0x80000000, riff_size=0x80000024),
    "sox to a pipe": wav(PCM, data_size=0x7FFFF000, riff_size=0x7FFFF024),
    **{f"streamed {sizes}": wav(PCM, riff_size=sizes[0], data_size=sizes[1]) for sizes in STREAMED},
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE.keys())
def test_whole_wavs_of_all_kinds_are_read(body: bytes) -> None:
    format, frames = read(body)
    if format.big_endian:
        frames = np.frombuffer(frames, ">i2").astype("<i2").tobytes()
    assert frames in (PCM, tone(9, 1, bits=8))


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


def test_a_short_last_block_of_adpcm_counts_for_what_it_holds() -> None:
    for tag, head, whole in ((2, 14, 500), (0x11, 8, 505)):
        body = wav(bytes(512 * 3 + head + 16), format=adpcm(tag))
        short = 18 if tag == 2 else 17
        for parts in (None, pieces(body, 100)):
            reader = WavReader()
            for part in parts or [body]:
                reader.feed(part)
            assert len(reader.finish()) == head + 16
            assert reader.frames == reader.declared_frames == 3 * whole + short


@pytest.mark.parametrize(
    ("fact", "frames"), [(1010, 1010), (505, 1010), (1009, 1009), (506, 506), (2**31, 1010)]
)
def test_a_fact_chunk_is_believed_only_within_the_last_block(fact: int, frames: int) -> None:
    body = wav(bytes(1024), format=adpcm(0x11), before=chunk(b"fact", struct.pack("<I", fact)))
    reader = WavReader()
    assert len(reader.feed(body)) == 512  # the last block is held back till the end
    assert len(reader.finish()) == 512
    assert reader.frames == reader.declared_frames == frames


def test_a_fact_chunk_that_was_left_open_says_nothing_of_a_single_short_block() -> None:
    reader = WavReader()
    reader.feed(wav(bytes(24), format=adpcm(0x11), before=chunk(b"fact", bytes(4))))
    reader.finish()
    assert reader.frames == reader.declared_frames == 17


def test_a_fact_chunk_of_pcm_is_not_believed_at_all() -> None:
    body = wav(PCM, before=chunk(b"fact", struct.pack("<I", 7)))
    assert read(body)[1] == PCM


def test_a_size_that_wrapped_at_4_gib_is_mended_if_the_body_is_longer_by_just_that() -> None:
    head = wav(b"", data_size=4000, riff_size=4036)
    block = bytes(2**20)
    reader = WavReader(total=len(head) + 4000 + 2**32)
    reader.feed(head)
    assert reader.declared_frames == 1000 + 2**30
    for _ in range(2**12):
        reader.feed(block)
    reader.feed(bytes(4000))
    assert reader.finish() == b""
    assert reader.frames == 1000 + 2**30


@pytest.mark.parametrize("more", [2, 2**31, 2**32 + 2])
def test_a_size_that_cannot_have_wrapped_is_not_mended(more: int) -> None:
    head = wav(b"", data_size=4000, riff_size=4036)
    reader = WavReader(total=len(head) + 4000 + more)
    reader.feed(head)
    assert reader.declared_frames == 1000


def test_it_tells_how_much_follows_the_sound() -> None:
    for body in (wav(PCM, after=JUNK), rf64(PCM, after=JUNK), rifx(PCM, after=JUNK)):
        reader = WavReader()
        reader.feed(body[:100])
        assert reader.trailer_bytes == len(JUNK)
    reader = WavReader()
    reader.feed(wav(PCM, data_size=0, riff_size=0))
    assert reader.trailer_bytes == 0


@pytest.mark.parametrize("riff_size", [0, 100, 0xFFFFFFFF])
def test_the_length_of_the_body_tells_what_follows_better_than_the_header(riff_size: int) -> None:
    body = wav(PCM, after=JUNK, riff_size=riff_size)
    reader = WavReader(total=len(body))
    reader.feed(body[:100])
    assert reader.trailer_bytes == len(JUNK)


def test_two_gib_are_meant_if_the_body_has_what_its_header_tells() -> None:
    size = 0x7FFFFF00
    head = wav(b"", data_size=size, riff_size=36 + size + 100)
    whole = len(head) + size + 100
    for total, declared in ((whole, size // 4), (whole - 4, None), (2 * whole, None), (None, None)):
        reader = WavReader(total=total)
        reader.feed(head)
        assert reader.declared_frames == declared


def test_tags_in_rifx_are_read_in_its_byte_order() -> None:
    fields = b"INFOINAM\0\0\0\x04TakeIART\0\0\0\x04Egor"
    body = rifx(PCM, before=b"LIST\0\0\0\x1c" + fields)
    reader = WavReader()
    reader.feed(body)
    found = ID3(io.BytesIO(reader.tags.encoded(300)))
    assert (found["TIT2"], found["TPE1"]) == ("Take", "Egor")


def test_tags_are_read_before_and_after_the_sound_and_long_chunks_passed_over() -> None:
    long = chunk(b"LIST", b"INFO" + chunk(b"IGNR", bytes(100_000)))
    body = wav(PCM, before=info(INAM="Take") + long, after=info(IART="Egor"))
    for parts in ([body], pieces(body, 7)):
        reader = WavReader()
        for part in parts:
            reader.feed(part)
        reader.finish()
        found = ID3(io.BytesIO(reader.tags.encoded(300)))
        assert (found["TIT2"], found["TPE1"], "TCON" in found) == ("Take", "Egor", False)


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
        (b"RIFX\0\0\0\0AVI LIST", NotWav, "AVI"),
        (b"RIFX\0\0\0\0WAVE", BrokenWav, "ends before its data chunk"),
        (w64(PCM)[:16] + bytes(24), NotWav, "Wave64"),
        (w64(PCM)[:-8], BrokenWav, "more bytes"),
        (wav(PCM, after=chunk(b"LIST", b"INFO\0\0\0\0")[:-4]), BrokenWav, "cut short in a chunk"),
        (wav(PCM, after=chunk(b"LIST", b"INFO")[:-4]), BrokenWav, "cut short in a chunk"),
        (wav(b"\0\0\x59" + bytes(509), format=adpcm(0x11)), BrokenWav, "block 0 is no ADPCM"),
        (wav(bytes(513) + b"\x07" + bytes(510), format=adpcm(2)), BrokenWav, "block 1 is no ADPCM"),
        (wav(bytes(7), format=adpcm(0x11)), NoSound, "no sound"),
        (wav(PCM, format=adpcm(0x11, 2, 508 + 2)), BrokenWav, "no blocks of 510 bytes"),
        (wav(PCM, format=adpcm(2, 2, 14)), BrokenWav, "no blocks of 14 bytes"),
        (wav(PCM, format=adpcm(2, coefficients=bytes(28))), CodecUnsupported, "of its own"),
        (wav(PCM, format=adpcm(2, 4)), CodecUnsupported, "4 channels"),
        (wav(PCM, format=fmt(0x11, 2, 44100, 3, frame_bytes=512)), CodecUnsupported, "3 bits"),
        (
            b"RIFX" + struct.pack(">I4s4sIHHIIHH", 0, b"WAVE", b"fmt ", 16, 2, 2, 44100, 0, 512, 4),
            CodecUnsupported,
            "RIFX",
        ),
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
        (wav(PCM, format=fmt(0x31, 1, 8000, 0)), CodecUnsupported, "GSM"),
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
