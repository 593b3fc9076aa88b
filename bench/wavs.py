"""WAVs to measure with: synthetic music, which is neither silence nor noise to an encoder."""

import shutil
import struct
import subprocess
from pathlib import Path

from bench.sides import FFMPEG

_MUSIC = (
    "aevalsrc='0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(440+50*sin(t))*t)+0.1*random(0)"
    "|0.3*sin(2*PI*330*t)+0.2*sin(2*PI*110*t)+0.1*random(1)':s={rate}:d={seconds}"
)
#: What is computed of it; what is longer repeats that.
_LOOP_SECONDS = 30
_CHANNELS = 2
#: Bytes of a sample, and the format tag of WAVEFORMATEX.
_CODECS = {"pcm_s16le": (2, 1), "pcm_s24le": (3, 1), "pcm_f32le": (4, 3)}


def music(path: Path, seconds: float, *, rate: int = 44100, codec: str = "pcm_s16le") -> Path:
    """Writes a stereo WAV."""
    loop = path.with_suffix(".loop")
    source = _MUSIC.format(seconds=min(seconds, _LOOP_SECONDS), rate=rate)
    subprocess.run(
        [
            *(FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source),
            *("-c:a", codec, "-f", codec.removeprefix("pcm_"), str(loop)),
        ],
        check=True,
    )
    sample_bytes, tag = _CODECS[codec]
    block = sample_bytes * _CHANNELS
    length = round(seconds * rate) * block
    with path.open("wb") as wav:
        wav.write(struct.pack("<4sI4s4sI", b"RIFF", 36 + length, b"WAVE", b"fmt ", 16))
        wav.write(
            struct.pack("<HHIIHH", tag, _CHANNELS, rate, rate * block, block, 8 * sample_bytes)
        )
        wav.write(struct.pack("<4sI", b"data", length))
        while wav.tell() < 44 + length:
            with loop.open("rb") as samples:
                shutil.copyfileobj(samples, wav)
        wav.truncate(44 + length)
    loop.unlink()
    return path
