"""The encoder: sample frames in, an MP3 of exactly their length out."""

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import children
from tests.decoders import decoded_samples
from tests.wavs import float_tone, tone
from umusic.audio import encoder as encoder_module
from umusic.audio.encoder import Encoder
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.mp3 import InfoTag
from umusic.audio.wav import WavFormat
from umusic.errors import EncoderFailed, NoSound, NoSpace

STEREO = WavFormat(False, 2, 2, 44100)
HOUR = 3600 * 44100


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.mp3"


async def start(ffmpeg: Path, output: Path, wav: WavFormat = STEREO, **options: float) -> Encoder:
    mp3 = Mp3Settings()
    return await Encoder.start(ffmpeg, wav, mp3, output, max_frames=HOUR, **options)  # type: ignore[arg-type]


async def encode(
    ffmpeg: Path, output: Path, wav: WavFormat, data: bytes, mp3: Mp3Settings | None = None
) -> InfoTag:
    encoder = await Encoder.start(ffmpeg, wav, mp3 or Mp3Settings(), output, max_frames=HOUR)
    for begin in range(0, len(data), 60_000 * wav.frame_bytes):
        await encoder.write(data[begin : begin + 60_000 * wav.frame_bytes])
    return await encoder.finish()


@pytest.mark.parametrize("frames", [1, 46, 47, 1152, 1153, 1198, 44100, 100_003])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [32000, 44100, 48000])
@pytest.mark.gen_test
async def test_the_decoded_length_is_the_sources_to_the_sample(
    ffmpeg: Path, output: Path, rate: int, channels: int, frames: int
) -> None:
    wav = WavFormat(False, 2, channels, rate)
    tag = await encode(ffmpeg, output, wav, tone(frames, channels, rate))
    assert tag.samples == frames
    assert set(decoded_samples(output, ffmpeg, channels).values()) == {frames}


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000])
@pytest.mark.gen_test
async def test_low_rates_keep_their_length_as_well(ffmpeg: Path, output: Path, rate: int) -> None:
    for frames in (20_001, 576 * 30 + 20):
        tag = await encode(ffmpeg, output, WavFormat(False, 2, 1, rate), tone(frames, 1, rate))
        assert (tag.sample_rate, tag.samples) == (rate, frames)
        assert set(decoded_samples(output, ffmpeg, 1).values()) == {frames}


@pytest.mark.parametrize(
    ("wav", "data"),
    [
        (WavFormat(False, 1, 2, 44100), tone(30_000, bits=8)),
        (WavFormat(False, 3, 2, 44100), tone(30_000, bits=24)),
        (WavFormat(False, 4, 2, 44100), tone(30_000, bits=32)),
        (WavFormat(True, 4, 2, 44100), float_tone(30_000)),
        (WavFormat(True, 8, 2, 44100), float_tone(30_000, bits=64)),
        (WavFormat(False, 2, 6, 44100, 0x3F), tone(30_000, 6)),
        (WavFormat(False, 2, 8, 44100), tone(30_000, 8)),
    ],
)
@pytest.mark.gen_test
async def test_all_sample_formats_and_channel_counts_become_stereo_of_the_same_length(
    ffmpeg: Path, output: Path, wav: WavFormat, data: bytes
) -> None:
    tag = await encode(ffmpeg, output, wav, data)
    assert (tag.channels, tag.samples) == (2, 30_000)
    assert set(decoded_samples(output, ffmpeg, 2).values()) == {30_000}


@pytest.mark.parametrize("rate", [4000, 6000, 37800, 88200, 96000, 192000, 384000])
@pytest.mark.gen_test
async def test_resampled_sound_keeps_its_duration(ffmpeg: Path, output: Path, rate: int) -> None:
    for frames in (rate + 7, 4068, 4096):
        tag = await encode(ffmpeg, output, WavFormat(False, 2, 1, rate), tone(frames, 1, rate))
        assert tag.samples == round(frames * tag.sample_rate / rate)
        assert set(decoded_samples(output, ffmpeg, 1).values()) == {tag.samples}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.gen_test
async def test_floats_that_are_no_sound_do_not_break_it(
    ffmpeg: Path, output: Path, value: float
) -> None:
    data = np.full((5000, 2), value, dtype="<f4").tobytes()
    assert (await encode(ffmpeg, output, WavFormat(True, 4, 2, 44100), data)).samples == 5000


@pytest.mark.gen_test
async def test_a_constant_bit_rate_is_kept(ffmpeg: Path, output: Path) -> None:
    tag = await encode(ffmpeg, output, STEREO, tone(441_000), Mp3Settings(bitrate=128))
    assert tag.samples == 441_000
    assert output.stat().st_size * 8 / 10 == pytest.approx(128_000, rel=0.02)


@pytest.mark.gen_test
async def test_the_mp3_grows_while_the_sound_comes_in(ffmpeg: Path, output: Path) -> None:
    encoder = await start(ffmpeg, output)
    block = tone(441_000)
    for _ in range(4):
        await encoder.write(block)
    assert output.stat().st_size > 100_000
    await encoder.finish()


@pytest.mark.gen_test
async def test_a_slow_ffmpeg_holds_the_writer_back(ffmpeg: Path, output: Path) -> None:
    encoder = await start(ffmpeg, output)
    os.kill(children("ffmpeg")[0], signal.SIGSTOP)
    taken = 0
    block = bytes(64 * 1024)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            while True:
                await encoder.write(block)
                taken += len(block)
    assert taken < 2**20
    os.kill(children("ffmpeg")[0], signal.SIGCONT)
    await encoder.abort()


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_died_is_noticed_by_the_next_write(ffmpeg: Path, output: Path) -> None:
    encoder = await start(ffmpeg, output)
    await encoder.write(tone(1000))
    os.kill(children("ffmpeg")[0], signal.SIGKILL)
    await asyncio.sleep(0.1)
    with pytest.raises(EncoderFailed):
        await encoder.write(tone(44100))
    assert not children("ffmpeg")


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_died_is_noticed_at_the_end(ffmpeg: Path, output: Path) -> None:
    encoder = await start(ffmpeg, output)
    await encoder.write(tone(1000))
    os.kill(children("ffmpeg")[0], signal.SIGKILL)
    with pytest.raises(EncoderFailed):
        await encoder.finish()


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_hangs_is_killed_in_time(ffmpeg: Path, output: Path) -> None:
    encoder = await start(ffmpeg, output, stall_seconds=0.5)
    os.kill(children("ffmpeg")[0], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EncoderFailed):
        for _ in range(100):
            await encoder.write(bytes(64 * 1024))
    assert time.monotonic() - began < 10
    assert not children("ffmpeg")


@pytest.mark.parametrize("left", [1000, 100_000])
@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_hangs_at_the_end_is_killed_in_time(
    ffmpeg: Path, output: Path, left: int
) -> None:
    encoder = await start(ffmpeg, output, stall_seconds=0.5)
    os.kill(children("ffmpeg")[0], signal.SIGSTOP)
    await encoder.write(bytes(left // 4 * 4))
    with pytest.raises(EncoderFailed):
        await encoder.finish()
    await encoder.abort()
    assert not children("ffmpeg")


@pytest.mark.parametrize(
    "mask", [0x3F, 0x60F, 0x38, 0x1F, 0xFC0, 0xFF000000, 0x3, 0xFFFFFFFF, 0x70F]
)
@pytest.mark.gen_test
async def test_any_channel_mask_is_mixed(ffmpeg: Path, output: Path, mask: int) -> None:
    channels = min(max(mask.bit_count(), 3), 8)
    wav = WavFormat(False, 2, channels, 44100, mask)
    assert (await encode(ffmpeg, output, wav, tone(3000, channels))).samples == 3000


@pytest.mark.gen_test
async def test_too_little_sound_to_be_resampled_is_no_sound(ffmpeg: Path, output: Path) -> None:
    for rate in (384_000, 96_000, 37_800, 4000):
        for frames in (1, 5, 20, 100):
            wav = WavFormat(False, 2, 1, rate)
            try:
                tag = await encode(ffmpeg, output, wav, tone(frames, 1, rate))
                assert tag.samples == round(frames * tag.sample_rate / rate) > 0
            except NoSound as exc:
                assert frames < 176, exc


@pytest.mark.gen_test
async def test_inherited_limits_and_niceness_are_no_hindrance(
    ffmpeg: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module.ffmpeg, "limits", lambda _: {resource.RLIMIT_CORE: 2**62})
    hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard[1]))
    assert (await encode(ffmpeg, output, STEREO, tone(1000))).samples == 1000


@pytest.mark.gen_test
async def test_an_ffmpeg_that_cannot_be_limited_is_not_left_running(
    ffmpeg: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "prlimit", refused)
    with pytest.raises(EncoderFailed):
        await start(ffmpeg, output)
    assert not children("ffmpeg")


@pytest.mark.gen_test
async def test_abort_may_be_called_at_any_time_and_more_than_once(
    ffmpeg: Path, output: Path
) -> None:
    encoder = await start(ffmpeg, output)
    await encoder.write(tone(44100))
    await asyncio.gather(encoder.abort(), encoder.abort())
    await encoder.abort()
    assert not children("ffmpeg")


@pytest.mark.expects_log("ffmpeg failed")
@pytest.mark.gen_test
async def test_an_output_that_cannot_be_written_is_a_failure(ffmpeg: Path, tmp_path: Path) -> None:
    encoder = await start(ffmpeg, tmp_path / "missing" / "out.mp3")
    with pytest.raises(EncoderFailed):
        await encoder.write(tone(44100))
        await encoder.finish()


@pytest.mark.expects_log("No space left on device")
@pytest.mark.gen_test
async def test_a_full_disk_is_told_from_other_failures(ffmpeg: Path) -> None:
    encoder = await start(ffmpeg, Path("/dev/full"))
    with pytest.raises(NoSpace):
        for _ in range(20):
            await encoder.write(tone(44100))
        await encoder.finish()


@pytest.mark.gen_test
async def test_an_ffmpeg_that_cannot_be_started_is_a_failure(tmp_path: Path, output: Path) -> None:
    with pytest.raises(EncoderFailed):
        await start(tmp_path / "missing", output)


@pytest.mark.gen_test
async def test_ffmpeg_runs_apart_with_limits_and_an_empty_environment(
    ffmpeg: Path, output: Path
) -> None:
    encoder = await start(ffmpeg, output)
    pid = children("ffmpeg")[0]
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0 " in limits
    assert f"Max address space         {2**30} " in limits
    assert os.getpriority(os.PRIO_PROCESS, pid) == 10
    await encoder.abort()
