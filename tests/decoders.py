"""Decoders that know nothing of umusic: ffmpeg, and mpg123 as libsndfile has it built in.

Where the mpg123 program is on the PATH it decodes as well.
"""

import shutil
import subprocess
from pathlib import Path

import soundfile


def decoded_samples(mp3: Path, ffmpeg: Path, channels: int) -> dict[str, int]:
    """Samples per channel that each decoder gives back."""
    found = {
        "ffmpeg": _ffmpeg(mp3, ffmpeg) // (2 * channels),
        "libmpg123": soundfile.info(mp3).frames,
    }
    program = shutil.which("mpg123")
    if program:
        pcm = subprocess.run([program, "-q", "-s", str(mp3)], capture_output=True, check=True)
        found["mpg123"] = len(pcm.stdout) // (2 * channels)
    return found


def _ffmpeg(mp3: Path, ffmpeg: Path) -> int:
    args = [ffmpeg, "-v", "error", "-xerror", "-i", mp3, "-f", "s16le", "-"]
    done = subprocess.run(args, capture_output=True, check=True)
    assert not done.stderr, done.stderr
    return len(done.stdout)
