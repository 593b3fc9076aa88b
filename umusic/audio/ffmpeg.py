"""ffmpeg's command lines and limits. Pure functions, but for `probe`, which runs it once.

ffmpeg never guesses: it reads raw samples of a format told to it, from its standard input only,
and its environment is empty.
"""

import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from umusic.audio.mp3 import SAMPLE_RATES
from umusic.audio.wav import WavFormat
from umusic.errors import StartError

#: Speakers when a WAV does not tell them, by number of channels (WAVEFORMATEXTENSIBLE's bits).
_DEFAULT_MASKS = {
    1: 0x4,
    2: 0x3,
    3: 0x7,
    4: 0x33,
    5: 0x37,
    6: 0x3F,
    7: 0x70F,
    8: 0x63F,
}

_PROBE_SECONDS = 20
_ADDRESS_SPACE = 2**30
#: No MP3 needs more per second of sound than 320 kbit/s; twice that leaves room for tags.
_FILE_BYTES_PER_SECOND = 80_000


@dataclass(frozen=True, slots=True)
class Mp3Settings:
    """How to encode: VBR of a `quality` 0 (best) to 9, or a constant `bitrate` in kbit/s."""

    quality: int = 2
    bitrate: int | None = None


def mp3_sample_rate(rate: int) -> int:
    """The rate in Hz that MP3 has and that is nearest to `rate`."""
    return min(SAMPLE_RATES, key=lambda known: (abs(known - rate), known))


def encode_args(binary: Path, wav: WavFormat, mp3: Mp3Settings, output: Path) -> list[str]:
    """The command line that reads raw samples of `wav` from stdin and writes the MP3 `output`.

    `output` has to be a seekable file, because the Xing/LAME tag of its first frame is filled in
    at the end. It begins with that frame: no ID3 tag.
    """
    # LAME aborts on float samples that are NaN or infinite: it is given integers.
    sample_format = "s16p" if wav.sample_bytes <= 2 else "s32p"
    layout = "mono" if wav.channels == 1 else "stereo"
    rate = mp3_sample_rate(wav.sample_rate)
    return [
        str(binary),
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-xerror", "-y"),
        *("-protocol_whitelist", "pipe", "-probesize", "32"),
        *("-f", wav.sample_format, "-ar", str(wav.sample_rate)),
        *("-ch_layout", f"0x{_channel_mask(wav):X}", "-i", "pipe:0"),
        *("-map", "0:a:0", "-map_metadata", "-1"),
        *(
            "-af",
            f"aformat=sample_fmts={sample_format}:sample_rates={rate}:channel_layouts={layout}",
        ),
        *("-c:a", "libmp3lame", "-threads", "1"),
        *_rate_control(mp3),
        *("-f", "mp3", "-id3v2_version", "0", "-write_xing", "1", f"file:{output}"),
    ]


def _rate_control(mp3: Mp3Settings) -> tuple[str, str]:
    if mp3.bitrate is not None:
        return ("-b:a", f"{mp3.bitrate}k")
    return ("-q:a", str(mp3.quality))


def _channel_mask(wav: WavFormat) -> int:
    told = wav.channels > 2 and wav.channel_mask.bit_count() == wav.channels
    return wav.channel_mask if told else _DEFAULT_MASKS[wav.channels]


def limits(max_seconds: int) -> dict[int, int]:
    """The resource limits (RLIMIT_… to bytes) of an ffmpeg that encodes at most `max_seconds`."""
    return {
        resource.RLIMIT_AS: _ADDRESS_SPACE,
        resource.RLIMIT_FSIZE: max_seconds * _FILE_BYTES_PER_SECOND + 2**20,
        resource.RLIMIT_CORE: 0,
    }


def probe(binary: Path) -> str:
    """Runs ffmpeg once and returns the first line of its `-version`. Blocks; meant for the start.

    Raises:
        StartError: it cannot be run, or has no libmp3lame.
    """
    version = _ask(binary, "-version")
    if " libmp3lame " not in _ask(binary, "-encoders"):
        raise StartError(f"{binary} has no libmp3lame: set UMUSIC_FFMPEG to one that has.")
    return version.partition("\n")[0]


def _ask(binary: Path, question: str) -> str:
    try:
        done = subprocess.run(
            [str(binary), "-hide_banner", question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            env={},
            timeout=_PROBE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise StartError(
            f"ffmpeg cannot be run ({exc}): set UMUSIC_FFMPEG to a working one."
        ) from exc
    return done.stdout.decode(errors="replace")
