"""What an ffmpeg takes for a segment, begun as umusic begins it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.rounds import Scale, quartiles
from bench.sides import CORES, FFMPEG
from bench.watch import Watch
from bench.wavs import music
from umusic.audio import ffmpeg
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.segments import UNIT, Grid, Lengths
from umusic.audio.wav_format import WavFormat

RATE = 44_100
#: Bytes of CD sound that an MP3 frame stands for.
FRAME_BYTES = 4 * Grid(RATE).samples_per_frame
#: Of segments, in MP3 frames.
_SHORTEST, _LONGEST = UNIT, Lengths().longest
_SOUND = WavFormat(floating=False, sample_bytes=2, channels=2, sample_rate=RATE)


def encoding(scratch: Path, scale: Scale) -> dict[str, float]:
    """Seconds of processor for the start of one and for a MB of CD sound, and how much more it is
    with one on each core; seconds that pass besides; memory; bytes of the MP3 of an hour."""
    wav = music(scratch / "segment.wav", _LONGEST * FRAME_BYTES / 176_400 + 1)
    sound = wav.read_bytes()[44:]
    short, long = sound[: _SHORTEST * FRAME_BYTES], sound[: _LONGEST * FRAME_BYTES]
    times = 2 * scale.rounds
    with ThreadPoolExecutor(CORES) as cores:
        shorts = [_segment(short) for _ in range(4 * times)]
        alone: list[_Segment] = []
        crowded: list[_Segment] = []
        for _ in range(times):
            alone.append(_segment(long))
            crowded += cores.map(_segment, [long] * CORES)
    spent = [undisturbed(one.cpu for one in segments) for segments in (shorts, alone)]
    each = (spent[1] - spent[0]) / (len(long) - len(short)) * 1e6
    return {
        "s a segment": max(spent[0] - each * len(short) / 1e6, 0.0),
        "s a MB": each,
        "all cores ÷ one": max(undisturbed(one.cpu for one in crowded) / spent[1], 1.0),
        "s of waiting a segment": undisturbed(one.seconds - one.cpu for one in shorts),
        "bytes of memory": _memory(long),
        "MP3 bytes an hour": alone[0].size / (len(long) / 176_400) * 3600,
    }


def undisturbed(values: Iterable[float]) -> float:
    """The lower quartile: what else runs on a machine only ever adds to what a thing takes."""
    return quartiles([*values])[0]


@dataclass(frozen=True)
class _Segment:
    """Seconds, seconds of processor, and the size of the MP3."""

    seconds: float
    cpu: float
    size: int


def _segment(sound: bytes) -> _Segment:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(_SOUND.header(len(sound)) + sound)
        began = time.perf_counter()
        process = _begun(source, target)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        size = os.fstat(target.fileno()).st_size
    return _Segment(seconds, usage.ru_utime + usage.ru_stime, size)


def _memory(sound: bytes) -> int:
    """The most that one has while it encodes."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(_SOUND.header(len(sound)) + sound)
        process = _begun(source, target)
        watch = Watch(process.pid)
        assert process.wait() == 0
        return watch.stop().memory


def _begun(source: IO[bytes], target: IO[bytes]) -> "subprocess.Popen[bytes]":
    source.seek(0)
    command = ffmpeg.encode_args(Path(FFMPEG), _SOUND, Mp3Settings())
    return subprocess.Popen(command, stdin=source, stdout=target, env={})
