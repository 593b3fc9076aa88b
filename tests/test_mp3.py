"""The Xing/LAME tag of an MP3's first frame."""

import subprocess
from pathlib import Path

import pytest

from umusic.audio.mp3 import INFO_TAG_BYTES, InfoTagMissing, _crc16, read_info_tag


def encode(ffmpeg: Path, target: Path, rate: int, channels: int, *options: str) -> bytes:
    source = f"sine=440:sample_rate={rate}:duration=0.8"
    subprocess.run(
        [
            *(ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-ac", str(channels)),
            *("-c:a", "libmp3lame", *options, "-id3v2_version", "0", target),
        ],
        check=True,
    )
    return target.read_bytes()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("options", [("-q:a", "2"), ("-b:a", "64k")], ids=["vbr", "cbr"])
def test_the_tag_tells_rate_channels_and_exact_length(
    ffmpeg: Path, tmp_path: Path, rate: int, channels: int, options: tuple[str, ...]
) -> None:
    tag = read_info_tag(encode(ffmpeg, tmp_path / "a.mp3", rate, channels, *options))
    assert (tag.sample_rate, tag.channels) == (rate, channels)
    assert tag.samples == round(0.8 * rate)


def test_a_tag_is_written_back_as_it_was_read(ffmpeg: Path, tmp_path: Path) -> None:
    head = encode(ffmpeg, tmp_path / "a.mp3", 44100, 2)[:INFO_TAG_BYTES]
    # ffmpeg's CRC is right for MPEG-1 stereo, so all of it is the same again.
    assert read_info_tag(head).write_into(head) == head


@pytest.mark.parametrize(("rate", "channels", "before_crc"), [(44100, 1, 175), (22050, 1, 167)])
def test_another_length_changes_the_padding_and_the_crc_alone(
    ffmpeg: Path, tmp_path: Path, rate: int, channels: int, before_crc: int
) -> None:
    head = encode(ffmpeg, tmp_path / "a.mp3", rate, channels)[:INFO_TAG_BYTES]
    tag = read_info_tag(head)
    changed = tag.padded_to(tag.samples - 20).write_into(head)
    assert read_info_tag(changed).samples == tag.samples - 20
    differing = {index for index in range(len(head)) if head[index] != changed[index]}
    assert differing <= {*range(tag.offset + 141, tag.offset + 144), before_crc, before_crc + 1}


def test_the_crc_is_crc_16_arc() -> None:
    assert _crc16(b"123456789") == 0xBB3D


@pytest.mark.parametrize(
    "head",
    [b"", bytes(INFO_TAG_BYTES), b"ID3" + bytes(INFO_TAG_BYTES), b"\xff\xfb\x90\0" + bytes(300)],
)
def test_bytes_without_a_tag_are_told_apart(head: bytes) -> None:
    with pytest.raises(InfoTagMissing):
        read_info_tag(head)
