"""The encoder: sample frames in, an MP3 of exactly their length out, from ffmpegs side by side."""

import asyncio
import contextlib
import errno
import os
import random
import resource
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tornado.ioloop import IOLoop

from tests.conftest import children, stopped_ffmpeg, wait_for
from tests.decoders import decoded, decoded_samples
from tests.wavs import fmt, sound, tone, wav
from umusic.audio import encoder as encoder_module
from umusic.audio import process
from umusic.audio.encoder import Encoded, Encoder
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.mp3 import SAMPLE_RATES
from umusic.audio.pool import Pool
from umusic.audio.segments import UNIT, Lengths
from umusic.audio.tags import Tags
from umusic.audio.wav import WavReader
from umusic.audio.wav_format import WavFormat
from umusic.errors import EncoderFailed, NoSound, NoSpace

STEREO = WavFormat(False, 2, 2, 44100)
V2 = Mp3Settings()
#: Segments of 2.6 s, each due as soon as it can be.
SHORT = Lengths(shortest=2 * UNIT, longest=2 * UNIT, patience=0)
#: Long enough for an ffmpeg to be seen while it runs.
LONG = Lengths(shortest=20 * UNIT, longest=20 * UNIT, patience=0)
BLOCK = bytes(64 * 1024)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out.mp3"
    path.touch()
    return path


Begin = Callable[..., Encoder]


@pytest.fixture
def begin(ffmpeg: Path, output: Path, io_loop: IOLoop) -> Iterator[Begin]:
    """Begins the encoding of a stereo recording; what the test leaves running is aborted."""
    begun = []

    def begin(pool: Pool | Path = ffmpeg, target: Path = output, **options: Any) -> Encoder:
        lengths = options.pop("lengths", SHORT)
        shared = Pool(pool, 2, lengths) if isinstance(pool, Path) else pool
        begun.append(Encoder(shared, STEREO, V2, target, **options))
        return begun[-1]

    yield begin
    for encoder in begun:
        io_loop.run_sync(encoder.abort)


async def encode(
    pool: Pool,
    output: Path,
    wav: WavFormat,
    data: bytes,
    mp3: Mp3Settings = V2,
    *,
    told: bool = True,
) -> Encoded:
    expected = len(data) // wav.block_bytes if told else None
    encoder = Encoder(pool, wav, mp3, output, expected=expected)
    for begin in range(0, len(data), 60_000 * wav.block_bytes):
        await encoder.write(data[begin : begin + 60_000 * wav.block_bytes])
    return await encoder.finish()


def descriptors() -> list[str]:
    """The memory files that are open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith("/memfd:umusic")]


def assert_nothing_held(encoder: Encoder, before: list[str]) -> None:
    assert descriptors() == before
    assert not encoder._pool._held
    assert not encoder._pool._waiting
    assert encoder._pool.members == 0


async def write_for_ever(encoder: Encoder) -> None:
    while True:
        await encoder.write(BLOCK)
        await asyncio.sleep(0)


# --- length -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 46, 47, 1152, 1153, 1198, 44100, 100_003])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [32000, 44100, 48000])
@pytest.mark.gen_test
async def test_the_decoded_length_is_the_sources_to_the_sample(
    ffmpeg: Path, output: Path, rate: int, channels: int, frames: int
) -> None:
    source = WavFormat(False, 2, channels, rate)
    encoded = await encode(Pool(ffmpeg, 2), output, source, tone(frames, channels, rate))
    assert encoded == Encoded(rate, channels, frames)
    assert set(decoded_samples(output, ffmpeg, channels).values()) == {frames}


@pytest.mark.parametrize("seed", range(14))
@pytest.mark.gen_test
async def test_any_length_rate_and_format_in_any_number_of_segments_keeps_its_length(
    ffmpeg: Path, output: Path, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        rate = chance.choice([*SAMPLE_RATES, 6000, 37800, 44056, 88200, 96000, 192000, 384000])
        channels, bits = chance.choice([1, 2, 2, 3, 6, 8]), chance.choice([8, 16, 24, 32])
        frames = chance.randrange(1024, chance.choice([2_000, 20_000, 6 * rate]))
        lengths = Lengths(shortest=2 * UNIT, longest=chance.choice([2, 3, 5]) * UNIT, patience=0)
        source = WavFormat(False, bits // 8, channels, rate)
        mp3 = Mp3Settings(chance.randrange(10), chance.choice([None, None, 48, 128, 320]))
        data = tone(frames, channels, rate, bits=bits)
        output.write_bytes(b"")
        encoded = await encode(
            Pool(ffmpeg, 2, lengths), output, source, data, mp3, told=chance.random() < 0.5
        )
        case = (seed, source, frames, lengths, mp3)
        assert encoded.samples == round(frames * encoded.sample_rate / rate), case
        assert encoded.channels == min(channels, 2)
        heard = set(decoded_samples(output, ffmpeg, encoded.channels).values())
        assert heard == {encoded.samples}, case


@pytest.mark.parametrize("rate", [4000, 6000, 37800, 88200, 96000, 192000, 384000])
@pytest.mark.gen_test
async def test_resampled_sound_keeps_its_duration(ffmpeg: Path, output: Path, rate: int) -> None:
    for frames in (rate + 7, 4068, 4096):
        output.write_bytes(b"")
        source = WavFormat(False, 2, 1, rate)
        encoded = await encode(Pool(ffmpeg, 2), output, source, tone(frames, 1, rate))
        assert encoded.samples == round(frames * encoded.sample_rate / rate)
        assert set(decoded_samples(output, ffmpeg, 1).values()) == {encoded.samples}


@pytest.mark.gen_test
async def test_too_little_sound_to_be_resampled_is_no_sound(ffmpeg: Path, output: Path) -> None:
    for rate in (384_000, 96_000, 37_800, 4000):
        for frames in (1, 5, 20, 100):
            output.write_bytes(b"")
            source = WavFormat(False, 2, 1, rate)
            try:
                encoded = await encode(Pool(ffmpeg, 2), output, source, tone(frames, 1, rate))
                assert encoded.samples == round(frames * encoded.sample_rate / rate) > 0
            except NoSound as exc:
                assert frames < 176, exc


# --- what is heard ----------------------------------------------------------------------------


KINDS = ["music", "silence", "speech", "clicks", "loud, then clicks"]


@pytest.mark.parametrize(
    ("rate", "channels", "kind"),
    [  # each kind at each rate, and both of them with one channel and with two
        (rate, 1 + (row + column) % 2, kind)
        for row, rate in enumerate(SAMPLE_RATES)
        for column, kind in enumerate(KINDS)
    ],
)
@pytest.mark.gen_test
async def test_segments_sound_to_the_bit_like_one_ffmpeg_without_a_reservoir(
    ffmpeg: Path, output: Path, tmp_path: Path, rate: int, channels: int, kind: str
) -> None:
    # What falls slowly takes longer to be at its lowest.
    frames = (20 if kind == KINDS[-1] else 12) * min(rate, 24_000) + 777
    data = sound(kind, frames, channels, rate)
    await encode(Pool(ffmpeg, 2, SHORT), output, WavFormat(False, 2, channels, rate), data)
    whole = tmp_path / "whole.wav"
    whole.write_bytes(wav(data, format=fmt(channels=channels, rate=rate)))
    alone = await ffmpeg_alone(ffmpeg, whole, "-q:a", "2", "-reservoir", "0")
    for ours, theirs in zip(decoded(output, ffmpeg), decoded(alone, ffmpeg), strict=True):
        assert len(ours) == frames
        assert np.array_equal(ours, theirs[:frames])


@pytest.mark.parametrize(
    ("rate", "channels", "bits", "mp3"),
    [
        (96_000, 2, 24, V2),
        (88_200, 2, 16, V2),
        (37_800, 1, 16, V2),
        (44_099, 2, 16, V2),
        (6_000, 1, 8, V2),
        (44_100, 6, 24, V2),
        (192_000, 8, 32, V2),
        (44_100, 2, 16, Mp3Settings(bitrate=128)),
        (22_050, 1, 16, Mp3Settings(bitrate=56)),
        (48_000, 2, 16, Mp3Settings(bitrate=320)),
        (44_100, 2, 16, Mp3Settings(quality=0)),
        (44_100, 2, 16, Mp3Settings(quality=9)),
    ],
)
@pytest.mark.gen_test
async def test_segments_make_the_same_file_as_one_piece(
    ffmpeg: Path, output: Path, rate: int, channels: int, bits: int, mp3: Mp3Settings
) -> None:
    source = WavFormat(False, bits // 8, channels, rate)
    data = tone(7 * rate + 101, channels, rate, bits=bits)
    await encode(Pool(ffmpeg, 2), output, source, data, mp3)
    whole = output.read_bytes()
    output.write_bytes(b"")
    await encode(Pool(ffmpeg, 2, SHORT), output, source, data, mp3)
    assert output.read_bytes() == whole


@pytest.mark.parametrize(
    ("codec", "rate", "channels"),
    [
        ("adpcm_ms", 44_100, 2),
        ("adpcm_ima_wav", 44_100, 2),
        ("adpcm_ima_wav", 22_050, 1),
        ("adpcm_ms", 37_800, 1),
        ("pcm_alaw", 8_000, 1),
        ("pcm_mulaw", 48_000, 2),
    ],
)
@pytest.mark.gen_test
async def test_segments_of_coded_sound_make_the_same_file_as_one_piece(
    ffmpeg: Path, output: Path, tmp_path: Path, codec: str, rate: int, channels: int
) -> None:
    plain, coded = tmp_path / "plain.wav", tmp_path / "coded.wav"
    frames = 7 * rate + 101
    data = sound("music", frames, channels, rate)
    plain.write_bytes(wav(data, format=fmt(channels=channels, rate=rate)))
    subprocess.run([ffmpeg, "-v", "error", "-i", plain, "-c:a", codec, coded], check=True)
    reader = WavReader()
    blocks = reader.feed(coded.read_bytes()) + reader.finish()
    assert reader.format is not None
    assert reader.format.sample_format.removeprefix("pcm_") == codec.removeprefix("pcm_")
    assert reader.frames == frames
    made = []
    for lengths in (SHORT, LONG):
        output.write_bytes(b"")
        encoder = Encoder(
            Pool(ffmpeg, 2, lengths), reader.format, V2, output, expected=frames, room=100
        )
        size = 100 * reader.format.block_bytes
        for begin in range(0, len(blocks), size):
            await encoder.write(blocks[begin : begin + size])
        encoded = await encoder.finish(frames=frames, lead=Tags().encoded(100))
        assert encoded.samples == round(frames * encoded.sample_rate / rate)
        assert set(decoded_samples(output, ffmpeg, channels).values()) == {encoded.samples}
        made.append(output.read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("frames", [131_058, 131_100, 200_000])
@pytest.mark.gen_test
async def test_a_last_block_that_is_mostly_filling_makes_no_segment_too_many(
    ffmpeg: Path, output: Path, frames: int
) -> None:
    block = 65_535  # the longest: 33 seconds
    adpcm = struct.pack("<HHIIHHH", 2, 1, 4000, 0, block, 4, 0)
    encoder = Encoder(Pool(ffmpeg, 2, SHORT), WavFormat(False, 2, 1, 4000, adpcm=adpcm), V2, output)
    await encoder.write(bytes(block))
    encoded = await encoder.finish(bytes(block), frames=frames)
    assert encoded.samples == 2 * frames
    assert set(decoded_samples(output, ffmpeg, 1).values()) == {encoded.samples}


@pytest.mark.gen_test
async def test_an_abort_while_the_end_gives_memory_back_closes_nothing_twice(begin: Begin) -> None:
    closed = []

    class Spare:
        def close(self) -> None:
            time.sleep(0.05)
            closed.append(self)

    encoder = begin()
    encoder._spare = Spare()  # type: ignore[assignment]
    await asyncio.gather(encoder._close_spare(), encoder.abort())
    assert len(closed) == 1


@pytest.mark.gen_test
async def test_the_mp3_is_no_larger_than_that_of_ffmpeg_alone(
    ffmpeg: Path, output: Path, tmp_path: Path
) -> None:
    data = sound("music", 60 * 44100, 2, 44100)
    await encode(Pool(ffmpeg, 2, LONG), output, STEREO, data)
    whole = tmp_path / "whole.wav"
    whole.write_bytes(wav(data))
    alone = await ffmpeg_alone(ffmpeg, whole, "-q:a", "2")
    assert output.stat().st_size <= alone.stat().st_size


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.gen_test
async def test_floats_that_are_no_sound_do_not_break_it(
    ffmpeg: Path, output: Path, value: float
) -> None:
    data = np.full((5000, 2), value, dtype="<f4").tobytes()
    source = WavFormat(True, 4, 2, 44100)
    assert (await encode(Pool(ffmpeg, 2), output, source, data)).samples == 5000


@pytest.mark.parametrize(
    "mask", [0x3F, 0x60F, 0x38, 0x1F, 0xFC0, 0xFF000000, 0x3, 0xFFFFFFFF, 0x70F]
)
@pytest.mark.gen_test
async def test_any_channel_mask_is_mixed(ffmpeg: Path, output: Path, mask: int) -> None:
    channels = min(max(mask.bit_count(), 3), 8)
    source = WavFormat(False, 2, channels, 44100, mask)
    assert (await encode(Pool(ffmpeg, 2), output, source, tone(3000, channels))).samples == 3000


@pytest.mark.gen_test
async def test_a_constant_bit_rate_is_kept(ffmpeg: Path, output: Path) -> None:
    await encode(Pool(ffmpeg, 2, SHORT), output, STEREO, tone(441_000), Mp3Settings(bitrate=128))
    assert output.stat().st_size * 8 / 10 == pytest.approx(128_000, rel=0.02)


# --- how much runs and waits ------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_mp3_grows_while_the_sound_comes_in(output: Path, begin: Begin) -> None:
    running = begin()
    for _ in range(8):
        await running.write(tone(441_000))
    await wait_for(lambda: output.stat().st_size > 100_000)
    await running.abort()


@pytest.mark.gen_test
async def test_a_slow_ffmpeg_holds_the_writer_back(begin: Begin) -> None:
    running = begin(lengths=LONG)
    writing = asyncio.ensure_future(write_for_ever(running))
    stopped, before = await stopped_ffmpeg(), -1
    # It holds up the joining of the others, of which only so many may wait.
    while running._frames > before:
        before = running._frames
        await asyncio.sleep(1)
    assert not writing.done()
    assert running._frames < 6 * 20 * UNIT * 1152
    os.kill(stopped, signal.SIGCONT)
    await wait_for(lambda: running._frames > before)
    writing.cancel()
    await running.abort()


@pytest.mark.gen_test
async def test_never_more_ffmpegs_run_than_there_are_slots(ffmpeg: Path, tmp_path: Path) -> None:
    pool = Pool(ffmpeg, 2, LONG)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(children("ffmpeg")))
            await asyncio.sleep(0.002)

    watching = asyncio.ensure_future(watch())
    outputs = [tmp_path / f"{number}.mp3" for number in range(4)]
    for output in outputs:
        output.touch()
    data = tone(30 * 44100)
    done = await asyncio.gather(*(encode(pool, output, STEREO, data) for output in outputs))
    watching.cancel()
    assert most == 2
    assert {encoded.samples for encoded in done} == {30 * 44100}
    assert len({output.read_bytes() for output in outputs}) == 1


@pytest.mark.gen_test
async def test_a_lone_recording_uses_all_slots(ffmpeg: Path, begin: Begin) -> None:
    running = begin(lengths=LONG)
    writing = asyncio.ensure_future(write_for_ever(running))
    await wait_for(lambda: len(children("ffmpeg")) == 2)
    writing.cancel()
    await running.abort()


@pytest.mark.gen_test
async def test_a_short_recording_does_not_wait_for_a_long_one(
    ffmpeg: Path, output: Path, tmp_path: Path, begin: Begin
) -> None:
    pool = Pool(ffmpeg, 2, LONG)
    long = begin(pool)
    writing = asyncio.ensure_future(write_for_ever(long))
    await wait_for(lambda: output.stat().st_size > 0)
    short = tmp_path / "short.mp3"
    short.touch()
    encoded = await encode(pool, short, STEREO, tone(60 * 44100))
    assert encoded.samples == 60 * 44100
    assert not writing.done()
    writing.cancel()
    await long.abort()


@pytest.mark.gen_test
async def test_a_short_recording_is_encoded_in_one_piece(ffmpeg: Path, begin: Begin) -> None:
    running = begin(Pool(ffmpeg, 2), expected=18 * 44100)
    for _ in range(18):
        await running.write(tone(44100))
        await asyncio.sleep(0.01)
    assert not children("ffmpeg")
    assert (await running.finish()).samples == 18 * 44100
    assert running._cut == 1


@pytest.mark.gen_test
async def test_on_a_slow_link_little_is_left_to_be_encoded_at_the_end(
    ffmpeg: Path, begin: Begin
) -> None:
    running = begin(Pool(ffmpeg, 2), expected=60 * 44100)
    for _ in range(60):
        await running.write(tone(44100))
        await wait_for(lambda: running._pool.is_idle)
        await asyncio.sleep(0.02)
    # The shortest, its pre-roll, and what comes in while an idle encoder waits.
    assert running._segment.seconds < 25
    assert running._cut >= 2
    assert (await running.finish()).samples == 60 * 44100


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_died_is_noticed_by_a_later_write(ffmpeg: Path, begin: Begin) -> None:
    running = begin(lengths=LONG)
    writing = asyncio.ensure_future(write_for_ever(running))
    os.kill(await stopped_ffmpeg(), signal.SIGKILL)
    with pytest.raises(EncoderFailed):
        await writing
    await running.abort()
    assert not children("ffmpeg")


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_died_is_noticed_at_the_end(ffmpeg: Path, begin: Begin) -> None:
    running = begin(lengths=LONG)
    await running.write(tone(60 * 44100))
    ending = asyncio.ensure_future(running.finish())
    os.kill(await stopped_ffmpeg(), signal.SIGKILL)
    with pytest.raises(EncoderFailed):
        await ending
    await running.abort()
    assert not children("ffmpeg")


@pytest.mark.expects_log("ffmpeg was stopped: it took more than")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_hangs_is_killed_in_time(ffmpeg: Path, begin: Begin) -> None:
    hasty = begin(Pool(ffmpeg, 1, SHORT), grace_seconds=0.5)
    writing = asyncio.ensure_future(write_for_ever(hasty))
    await stopped_ffmpeg()
    began = time.monotonic()
    with pytest.raises(EncoderFailed):
        await writing
    assert time.monotonic() - began < 10
    await hasty.abort()
    assert not children("ffmpeg")


@pytest.mark.gen_test
async def test_abort_kills_all_that_runs_and_may_be_called_more_than_once(
    ffmpeg: Path, begin: Begin
) -> None:
    before = descriptors()
    running = begin(lengths=LONG)
    writing = asyncio.ensure_future(write_for_ever(running))
    await wait_for(lambda: len(children("ffmpeg")) == 2)
    aborts = []
    for _ in range(5):
        aborts.append(asyncio.ensure_future(running.abort()))
        await asyncio.sleep(0)
    for abort in aborts:
        await abort
        assert not children("ffmpeg")
    with pytest.raises(EncoderFailed):
        await writing
    with pytest.raises(EncoderFailed):
        await running.write(BLOCK)
    assert_nothing_held(running, before)


@pytest.mark.parametrize("ticks", range(8))
@pytest.mark.gen_test
async def test_abort_at_once_after_a_segment_was_cut_loses_nothing(
    begin: Begin, ticks: int
) -> None:
    before = descriptors()
    running = begin(lengths=LONG)
    await running.write(tone(60 * 44100))
    for _ in range(ticks):
        await asyncio.sleep(0)
    await running.abort()
    assert not children("ffmpeg")
    assert_nothing_held(running, before)


@pytest.mark.parametrize("wanted", range(1, 4))
@pytest.mark.gen_test
async def test_no_memory_is_a_failure_that_loses_nothing(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    create, before = os.memfd_create, descriptors()
    running = begin(lengths=LONG)
    left = wanted

    def memfd_create(name: str, flags: int) -> int:
        nonlocal left
        left -= 1
        if not left:
            raise OSError(errno.EMFILE, "Too many open files")
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", memfd_create)
    with pytest.raises(EncoderFailed):
        await running.write(tone(60 * 44100))
        await running.finish()
    monkeypatch.undo()
    await running.abort()
    assert_nothing_held(running, before)


@pytest.mark.gen_test
async def test_abort_ends_a_recording_that_waits_for_its_turn(
    ffmpeg: Path, tmp_path: Path, begin: Begin
) -> None:
    pool = Pool(ffmpeg, 1, LONG)
    running = begin(pool)
    await running.write(tone(60 * 44100))
    await stopped_ffmpeg()
    other = tmp_path / "other.mp3"
    other.touch()
    waiting = begin(pool, other)
    await waiting.write(tone(1000))
    ending = asyncio.ensure_future(waiting.finish())
    await asyncio.sleep(0.1)
    await waiting.abort()
    with pytest.raises(EncoderFailed):
        await ending
    assert pool._waiting == {}
    await running.abort()
    assert pool.is_idle


@pytest.mark.gen_test
async def test_inherited_limits_and_niceness_are_no_hindrance(
    ffmpeg: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module.ffmpeg, "limits", lambda _: {resource.RLIMIT_CORE: 2**62})
    hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard[1]))
    assert (await encode(Pool(ffmpeg, 2), output, STEREO, tone(1000))).samples == 1000


@pytest.mark.expects_log("ffmpeg was stopped")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_cannot_be_limited_is_not_left_running(
    ffmpeg: Path, monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    def refused(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(process.resource, "prlimit", refused)
    running = begin()
    await running.write(tone(1000))
    with pytest.raises(EncoderFailed):
        await running.finish()
    await running.abort()
    assert not children("ffmpeg")


@pytest.mark.expects_log("could not be encoded or joined")
@pytest.mark.gen_test
async def test_an_output_that_is_gone_is_a_failure(output: Path, begin: Begin) -> None:
    running = begin()
    await running.write(tone(1000))
    output.unlink()
    with pytest.raises(EncoderFailed):
        await running.finish()
    await running.abort()


@pytest.mark.gen_test
async def test_a_full_disk_is_told_from_other_failures(begin: Begin) -> None:
    running = begin(target=Path("/dev/full"))
    await running.write(tone(44100))
    with pytest.raises(NoSpace):
        await running.finish()
    await running.abort()


@pytest.mark.expects_log("ffmpeg cannot be started")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_cannot_be_started_is_a_failure(tmp_path: Path, begin: Begin) -> None:
    running = begin(tmp_path / "missing")
    await running.write(tone(1000))
    with pytest.raises(EncoderFailed):
        await running.finish()
    await running.abort()


@pytest.mark.expects_log("boom")
@pytest.mark.gen_test
async def test_an_ffmpeg_that_complains_has_failed(complaining_ffmpeg: Path, begin: Begin) -> None:
    running = begin(complaining_ffmpeg)
    await running.write(tone(1000))
    with pytest.raises(EncoderFailed):
        await running.finish()
    await running.abort()


@pytest.mark.gen_test
async def test_ffmpeg_runs_apart_with_limits_and_an_empty_environment(begin: Begin) -> None:
    running = begin(lengths=LONG)
    await running.write(tone(60 * 44100))
    pid = await stopped_ffmpeg()
    await wait_for(lambda: os.sched_getscheduler(pid) == os.SCHED_BATCH)
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0 " in limits
    assert f"Max address space         {2**30} " in limits
    assert "Max cpu time              1" in limits  # a hundred and something seconds
    assert "Max open files            64 " in limits
    assert os.getpriority(os.PRIO_PROCESS, pid) == 10
    opened = {Path(f"/proc/{pid}/fd/{number}").readlink() for number in (0, 1)}
    assert {str(name).split()[0] for name in opened} == {
        "/memfd:umusic-segment",
        "/memfd:umusic-mp3",
    }
    await running.abort()


async def ffmpeg_alone(ffmpeg: Path, source: Path, *options: str) -> Path:
    """What ffmpeg makes of a WAV by itself."""
    target = source.with_name("alone.mp3")
    command = [ffmpeg, "-v", "error", "-i", source, "-c:a", "libmp3lame", *options, target]
    done = await asyncio.create_subprocess_exec(*command)
    assert await done.wait() == 0
    return target
