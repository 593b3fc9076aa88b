"""The outline of a sound: its peaks by ffmpeg, against what decoders say, and its picture."""

import asyncio
import json
import os
import signal
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import children, stopped_ffmpeg
from tests.decoders import decoded
from tests.wavs import fmt, sound, tone, wav
from umusic import embedded
from umusic.audio import waveform
from umusic.audio.ffmpeg import peaks_args
from umusic.audio.waveform import MAX_PAIRS, Peaks, draw, samples_per_pixel
from umusic.waveform_errors import RecordDamaged, WaveformFailed

FFMPEGS = [embedded.ffmpeg_binary(), *filter(Path.exists, [Path("/usr/bin/ffmpeg")])]
every_ffmpeg = pytest.mark.parametrize("ffmpeg", FFMPEGS, ids=["wheel", "system"][: len(FFMPEGS)])


def encoded(pcm: bytes, channels: int, rate: int, path: Path) -> Path:
    """An MP3 of these samples of 16 bit, by ffmpeg alone."""
    whole = wav(pcm, format=fmt(channels=channels, rate=rate))
    args = [FFMPEGS[0], "-v", "error", "-i", "-", "-q:a", "0", "-f", "mp3", "-y", path]
    subprocess.run(args, input=whole, check=True)
    return path


async def peaks_of(mp3: Path, ffmpeg: Path, samples: int, rate: int = 44100) -> Peaks:
    with mp3.open("rb") as file:
        return await waveform.measure(ffmpeg, file.fileno(), samples=samples, sample_rate=rate)


def test_the_command_line_has_ffmpeg_do_all_of_it() -> None:
    assert peaks_args(Path("/bin/ffmpeg"), 2_620_000, 640) == [
        *("/bin/ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error"),
        *("-xerror", "-protocol_whitelist", "pipe", "-threads", "1", "-f", "mp3", "-i", "pipe:0"),
        *("-map", "0:a:0", "-af"),
        "atrim=end_sample=2620000,"
        "asetnsamples=n=640:p=0,"
        "astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=Min_level+Max_level,"
        "ametadata=mode=print:file=-",
        *("-f", "null", "-"),
    ]


@every_ffmpeg
@pytest.mark.parametrize(
    ("kind", "frames", "channels", "rate"),
    [
        ("music", 400_000, 2, 44100),
        ("speech", 123_457, 1, 16000),
        ("clicks", 96_001, 2, 48000),
        ("silence", 50_000, 2, 44100),
        ("music", 4096, 2, 44100),
        ("music", 1, 1, 8000),
    ],
)
@pytest.mark.gen_test
async def test_peaks_are_what_a_decoder_hears_and_cover_exactly_the_sound(
    tmp_path: Path, ffmpeg: Path, kind: str, frames: int, channels: int, rate: int
) -> None:
    mp3 = encoded(sound(kind, frames, channels, rate), channels, rate, tmp_path / "a.mp3")
    peaks = await peaks_of(mp3, ffmpeg, frames, rate)
    window = peaks.samples_per_pixel
    assert window == max(-(-frames // MAX_PAIRS), 1)
    assert len(peaks.data) == 2 * -(-frames // window)
    pcm, _ = decoded(mp3, ffmpeg)
    pcm = pcm[:frames]  # the tag that ffmpeg writes may leave 46 too many
    assert len(pcm) == frames
    due = [
        level
        for start in range(0, frames, window)
        for level in (pcm[start : start + window].min(), pcm[start : start + window].max())
    ]
    assert np.abs(np.array(peaks.data) - np.array(due) / 256).max() < 1.1


@every_ffmpeg
@pytest.mark.gen_test
async def test_a_square_wave_of_full_scale_reaches_both_ends(tmp_path: Path, ffmpeg: Path) -> None:
    square = np.where(np.arange(44100) // 100 % 2, 32767, -32768).astype("<i2")
    mp3 = encoded(square.tobytes(), 1, 44100, tmp_path / "a.mp3")
    peaks = await peaks_of(mp3, ffmpeg, 44100)
    assert (min(peaks.data), max(peaks.data)) == (-128, 127)


@every_ffmpeg
@pytest.mark.gen_test
async def test_channels_that_cancel_each_other_are_not_silent(tmp_path: Path, ffmpeg: Path) -> None:
    left = np.frombuffer(tone(44100, 1), "<i2")
    both = np.stack([left, -left], 1).astype("<i2")
    mp3 = encoded(both.tobytes(), 2, 44100, tmp_path / "a.mp3")
    peaks = await peaks_of(mp3, ffmpeg, 44100)
    assert max(peaks.data) > 45
    assert min(peaks.data) < -45


@every_ffmpeg
@pytest.mark.parametrize("damage", ["empty", "no MP3", "half", "a hole"])
@pytest.mark.gen_test
async def test_a_damaged_mp3_is_told_from_a_failing_ffmpeg(
    tmp_path: Path, ffmpeg: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    mp3 = encoded(tone(441_000), 2, 44100, tmp_path / "a.mp3")
    whole = mp3.read_bytes()
    half = len(whole) // 2
    mp3.write_bytes(
        {
            "empty": b"",
            "no MP3": bytes(5000),
            "half": whole[:half],
            "a hole": whole[:half] + bytes(20_000) + whole[half + 20_000 :],
        }[damage]
    )
    with pytest.raises(RecordDamaged):
        await peaks_of(mp3, ffmpeg, 441_000)
    caplog.clear()  # what ffmpeg says of it differs


@pytest.mark.expects_log("cannot be started")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_is_not_there_says_nothing_of_the_mp3(tmp_path: Path) -> None:
    mp3 = encoded(tone(44100), 2, 44100, tmp_path / "a.mp3")
    with pytest.raises(WaveformFailed):
        await peaks_of(mp3, tmp_path / "no ffmpeg", 44100)


@pytest.mark.expects_log("status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_is_killed_says_nothing_of_the_mp3(
    tmp_path: Path, halting_ffmpeg: Path
) -> None:
    mp3 = encoded(tone(441_000), 2, 44100, tmp_path / "a.mp3")
    measuring = asyncio.ensure_future(peaks_of(mp3, halting_ffmpeg, 441_000))
    os.kill(await stopped_ffmpeg(), signal.SIGKILL)
    with pytest.raises(WaveformFailed):
        await measuring


@pytest.mark.gen_test
async def test_who_gives_up_leaves_no_ffmpeg(tmp_path: Path, halting_ffmpeg: Path) -> None:
    mp3 = encoded(tone(441_000), 2, 44100, tmp_path / "a.mp3")
    measuring = asyncio.ensure_future(peaks_of(mp3, halting_ffmpeg, 441_000))
    await stopped_ffmpeg()
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert not children("ffmpeg")


def test_a_record_has_as_many_pairs_as_a_large_screen_has_columns() -> None:
    assert [samples_per_pixel(samples) for samples in (1, 4096, 4097, 8192, 264_600_000)] == [
        *(1, 1, 2, 2),
        64_600,
    ]


def test_peaks_are_read_as_they_were_written() -> None:
    peaks = Peaks(44100, 256, [-128, 127, 0, 0, -1, 5])
    assert json.loads(peaks.to_json()) == {
        "version": 2,
        "channels": 1,
        "sample_rate": 44100,
        "samples_per_pixel": 256,
        "bits": 8,
        "length": 3,
        "data": [-128, 127, 0, 0, -1, 5],
    }
    assert Peaks.from_json(peaks.to_json()) == peaks


@pytest.mark.parametrize(
    "torn", [b"", b'{"version":2', b"[]", b"{}", b'{"length": 1, "data": [1]}']
)
def test_what_is_no_peaks_is_told(torn: bytes) -> None:
    with pytest.raises(ValueError):
        Peaks.from_json(torn)


def pixels(peaks: Peaks, width: int, height: int) -> "np.ndarray[Any, Any]":
    """How opaque each pixel of the picture is: 0 to 255, rows first."""
    picture = Image.open(BytesIO(draw(peaks, width, height)))
    assert picture.size == (width, height)
    return np.array(picture.convert("RGBA"))[:, :, 3]


@pytest.mark.parametrize(("width", "height"), [(16, 16), (1200, 200), (4096, 1024), (333, 77)])
def test_silence_is_a_thin_line_in_the_middle(width: int, height: int) -> None:
    seen = pixels(Peaks(44100, 1, [0, 0] * 50), width, height)
    assert seen.sum() / 255 == pytest.approx(width, rel=0.02)
    rows = seen.any(axis=1).nonzero()[0]
    assert (height - 1) / 2 - 0.5 <= rows.min() <= rows.max() <= height / 2


def test_full_scale_fills_the_picture_and_half_of_it_the_half() -> None:
    assert (pixels(Peaks(44100, 1, [-128, 127] * 50), 300, 100) == 255).all()
    half = pixels(Peaks(44100, 1, [-64, 64] * 50), 300, 100)
    assert half.sum() / 255 == pytest.approx(300 * 50, rel=0.02)
    assert not half[:20].any()


def test_one_click_among_thousands_of_pairs_is_seen_in_a_narrow_picture() -> None:
    data = [0, 0] * MAX_PAIRS
    data[2 * 3000 + 1] = 127
    columns = pixels(Peaks(44100, 1, data), 64, 64)[:10].any(axis=0).nonzero()[0]
    assert list(columns) == [3000 * 64 // MAX_PAIRS]


def test_a_lone_pair_fills_any_width() -> None:
    assert pixels(Peaks(8000, 1, [-128, 127]), 500, 20).all()
