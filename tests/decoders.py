"""Decoders that know nothing of umusic: ffmpeg, and mpg123 as libsndfile has it built in.

Where the mpg123 program is on the PATH it decodes as well.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Samples = np.ndarray[Any, Any]


def decoded(mp3: Path, ffmpeg: Path) -> tuple[Samples, Samples]:
    """The samples, a row for each moment, as ffmpeg and as libmpg123 give them back."""
    channels = soundfile.info(mp3).channels
    pcm = np.frombuffer(_ffmpeg(mp3, ffmpeg), dtype="<i2").reshape(-1, channels)
    return pcm, soundfile.read(mp3, dtype="float32", always_2d=True)[0]


def decoded_samples(mp3: Path, ffmpeg: Path, channels: int) -> dict[str, int]:
    """Samples per channel that each decoder gives back."""
    found = {
        "ffmpeg": len(_ffmpeg(mp3, ffmpeg)) // (2 * channels),
        "libmpg123": soundfile.info(mp3).frames,
    }
    program = shutil.which("mpg123")
    if program:
        pcm = subprocess.run([program, "-q", "-s", str(mp3)], capture_output=True, check=True)
        found["mpg123"] = len(pcm.stdout) // (2 * channels)
    return found


def _ffmpeg(mp3: Path, ffmpeg: Path) -> bytes:
    # Told what it is: the few frames of a very short MP3 may look like H.263 to it.
    args = [ffmpeg, "-v", "error", "-xerror", "-f", "mp3", "-i", mp3, "-f", "s16le", "-"]
    done = subprocess.run(args, capture_output=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout
