"""ffmpeg's command lines."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.wavs import adpcm, take
from umusic.audio.ffmpeg import Mp3Settings, encode_args, mp3_sample_rate, probe
from umusic.audio.wav_format import WavFormat
from umusic.errors import StartError


def test_the_command_line_of_a_stereo_wav() -> None:
    args = encode_args(Path("/bin/ffmpeg"), WavFormat(False, 2, 2, 44100), Mp3Settings())
    assert args == [
        *("/bin/ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error"),
        *("-xerror", "-protocol_whitelist", "pipe", "-probesize", "32"),
        *("-f", "s16le", "-ar", "44100", "-ch_layout", "0x3", "-i", "pipe:0"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-af"),
        "aformat=sample_fmts=s16p:sample_rates=44100:channel_layouts=stereo",
        *("-c:a", "libmp3lame", "-threads", "1", "-q:a", "2", "-reservoir", "0"),
        *("-f", "mp3", "-id3v2_version", "0", "-write_xing", "0", "pipe:1"),
    ]


def test_what_a_resampler_gives_before_the_pre_roll_is_dropped() -> None:
    wav = WavFormat(False, 2, 2, 88200)
    args = encode_args(Path("f"), wav, Mp3Settings(), drop=48)
    assert args[args.index("-af") + 1].endswith(":channel_layouts=stereo,atrim=start_sample=48")


def test_adpcm_is_read_as_a_wav_and_cut_within_its_blocks() -> None:
    wav = WavFormat(False, 2, 2, 44100, adpcm=adpcm(2))
    args = encode_args(Path("f"), wav, Mp3Settings(), skip=12, keep=3456)
    assert args[args.index("-f") : args.index("-i")] == ["-f", "wav"]
    assert args[args.index("-af") + 1].startswith("atrim=start_sample=12:end_sample=3456,aformat=")


@pytest.mark.parametrize(
    "wav",
    [WavFormat(False, 2, 2, 44100), WavFormat(False, 2, 2, 44100, adpcm=adpcm(0x11))],
    ids=["raw", "adpcm"],
)
@pytest.mark.parametrize("kind", ["hls", "concat", "wav"])
def test_a_playlist_reaches_neither_a_file_nor_a_socket(
    ffmpeg: Path, tmp_path: Path, wav: WavFormat, kind: str
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(take(5))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        web = f"http://127.0.0.1:{server.getsockname()[1]}/x.wav"
        lists = {
            "hls": f"#EXTM3U\n#EXTINF:5,\nfile://{secret}\n#EXTINF:5,\n{web}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile '{secret}'\nfile '{web}'\n",
            "wav": f"RIFF\0\0\0\0WAVE#EXTM3U\n{web}\n",
        }
        body = lists[kind].encode().ljust(2048, b"\n")
        command = encode_args(ffmpeg, wav, Mp3Settings())
        given = wav.header(len(body)) + body
        done = subprocess.run(command, input=given, capture_output=True, timeout=20)
        with pytest.raises(BlockingIOError):
            server.accept()
    # Of the file's five seconds nothing is heard: at most what the list is as samples.
    assert len(done.stdout) < 20_000


def test_a_constant_bit_rate_takes_the_place_of_the_quality() -> None:
    wav = WavFormat(False, 2, 2, 44100)
    args = encode_args(Path("f"), wav, Mp3Settings(bitrate=128))
    assert args[args.index("-b:a") + 1] == "128k"
    assert "-q:a" not in args


@pytest.mark.parametrize(
    ("wav", "layout", "filters"),
    [
        (WavFormat(False, 1, 1, 8000), "0x4", "s16p:sample_rates=8000:channel_layouts=mono"),
        (WavFormat(True, 8, 2, 96000), "0x3", "s32p:sample_rates=48000:channel_layouts=stereo"),
        (
            WavFormat(False, 3, 4, 48000, 0x107),
            "0x107",
            "s32p:sample_rates=48000:channel_layouts=stereo",
        ),
        (
            WavFormat(False, 3, 4, 48000, 0x3),
            "0x33",
            "s32p:sample_rates=48000:channel_layouts=stereo",
        ),
    ],
)
def test_samples_become_integers_at_a_rate_and_a_layout_that_mp3_has(
    wav: WavFormat, layout: str, filters: str
) -> None:
    args = encode_args(Path("f"), wav, Mp3Settings())
    assert args[args.index("-ch_layout") + 1] == layout
    assert args[args.index("-af") + 1] == f"aformat=sample_fmts={filters}"


@pytest.mark.parametrize(
    ("rate", "nearest"),
    [(4000, 8000), (10000, 11025), (37800, 32000), (44100, 44100), (88200, 48000), (384000, 48000)],
)
def test_rates_that_mp3_lacks_become_the_nearest_it_has(rate: int, nearest: int) -> None:
    assert mp3_sample_rate(rate) == nearest


def test_the_start_is_stopped_by_an_ffmpeg_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="UMUSIC_FFMPEG"):
        probe(tmp_path / "missing")
    without_lame = tmp_path / "ffmpeg"
    without_lame.write_text("#!/bin/sh\necho Unknown encoder libmp3lame >&2; exit 1\n")
    without_lame.chmod(0o755)
    with pytest.raises(StartError, match="libmp3lame"):
        probe(without_lame)


def test_the_wheels_ffmpeg_will_do(ffmpeg: Path) -> None:
    probe(ffmpeg)


@pytest.mark.parametrize(
    ("channels", "mask", "layout"),
    [
        (6, 0x3F, "0x3F"),
        (6, 0x60F, "0x60F"),
        (3, 0xB, "0xB"),
        (3, 0x38, "0x7"),
        (5, 0x1F, "0x37"),
        (8, 0xFF000000, "0x63F"),
        (6, 0xFC0, "0x3F"),
    ],
)
def test_speakers_that_cannot_be_mixed_are_taken_for_the_usual_ones(
    channels: int, mask: int, layout: str
) -> None:
    wav = WavFormat(False, 2, channels, 44100, mask)
    args = encode_args(Path("f"), wav, Mp3Settings())
    assert args[args.index("-ch_layout") + 1] == layout
