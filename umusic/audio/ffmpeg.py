"""ffmpeg's command lines and limits. Pure functions, but for `probe`, which runs it once.

ffmpeg never guesses: it reads samples of a format told to it, from its standard input only,
writes to its standard output only, and its environment is empty.
"""

import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from umusic.audio.mp3 import SAMPLE_RATES
from umusic.audio.wav_format import WavFormat
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

#: Left and right of back, front centre, side, top front and top back.
_PAIRS = [(0x10, 0x20), (0x40, 0x80), (0x200, 0x400), (0x1000, 0x4000), (0x8000, 0x20000)]
#: Above top back right there are no speakers of WAVEFORMATEXTENSIBLE.
_MASK_END = 0x40000

_PROBE_SECONDS = 10
_ADDRESS_SPACE = 2**30
#: It opens none after its libraries.
_OPEN_FILES = 64
#: On a core that is so slow that nobody would run it, an MP3 takes as long as it plays.
_CPU_SECONDS = 60
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


def encode_args(
    binary: Path,
    wav: WavFormat,
    mp3: Mp3Settings,
    *,
    skip: int = 0,
    keep: int | None = None,
    drop: int = 0,
) -> list[str]:
    """The command line that reads blocks of samples of `wav` from stdin, after its `header`, and
    writes bare MP3 frames to stdout: no tags, and no bit reservoir, so that each frame stands
    alone. Of the sample frames read it leaves out the first `skip` and what is after `keep`, and
    the first `drop` after resampling.
    """
    # LAME aborts on float samples that are NaN or infinite: it is given integers.
    sample_format = "s16p" if wav.sample_bytes <= 2 else "s32p"
    layout = "mono" if wav.channels == 1 else "stereo"
    rate = mp3_sample_rate(wav.sample_rate)
    filters = [f"aformat=sample_fmts={sample_format}:sample_rates={rate}:channel_layouts={layout}"]
    if skip or keep is not None:
        end = "" if keep is None else f":end_sample={keep}"
        filters.insert(0, f"atrim=start_sample={skip}{end}")
    if drop:
        filters.append(f"atrim=start_sample={drop}")
    return [
        str(binary),
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-xerror"),
        *("-protocol_whitelist", "pipe", *_demuxer(wav), "-i", "pipe:0"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-af", ",".join(filters)),
        *("-c:a", "libmp3lame", "-threads", "1", *_rate_control(mp3), "-reservoir", "0"),
        *("-f", "mp3", "-id3v2_version", "0", "-write_xing", "0", "pipe:1"),
    ]


def peaks_args(binary: Path, samples: int, window: int) -> list[str]:
    """The command line that decodes an MP3 of so many samples per channel from stdin and writes to
    stdout, for each `window` of them, the lowest and the highest sample of all channels:
    `….Min_level=` and `….Max_level=`, each on a line of its own, with 1.0 as full scale. No sound
    leaves it."""
    filters = (
        # From a pipe the end is not cut to what the LAME tag tells, only the start is.
        f"atrim=end_sample={samples}",
        f"asetnsamples=n={window}:p=0",
        # These two measures alone go a short way within the filter.
        "astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=Min_level+Max_level",
        "ametadata=mode=print:file=-",
    )
    return [
        str(binary),
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-xerror"),
        *("-protocol_whitelist", "pipe", "-threads", "1", "-f", "mp3", "-i", "pipe:0"),
        *("-map", "0:a:0", "-af", ",".join(filters), "-f", "null", "-"),
    ]


def _demuxer(wav: WavFormat) -> list[str]:
    if wav.adpcm:
        return ["-f", "wav"]
    layout = f"0x{_channel_mask(wav):X}"
    rate = str(wav.sample_rate)
    return ["-probesize", "32", "-f", wav.sample_format, "-ar", rate, "-ch_layout", layout]


def _rate_control(mp3: Mp3Settings) -> tuple[str, str]:
    if mp3.bitrate is not None:
        return ("-b:a", f"{mp3.bitrate}k")
    return ("-q:a", str(mp3.quality))


def _channel_mask(wav: WavFormat) -> int:
    mask = wav.channel_mask
    told = wav.channels > 2 and mask.bit_count() == wav.channels and _is_mixable(mask)
    return mask if told else _DEFAULT_MASKS[wav.channels]


def _is_mixable(mask: int) -> bool:
    """Whether swresample can mix these speakers to stereo: front left and right are there, and of
    the other pairs both or none."""
    pairs = [bool(mask & left) == bool(mask & right) for left, right in _PAIRS]
    return mask & 0x3 == 0x3 and all(pairs) and mask < _MASK_END


def limits(seconds: float) -> dict[int, int]:
    """The resource limits (RLIMIT_… to bytes, seconds or a number) of an ffmpeg that encodes so
    many seconds."""
    return {
        resource.RLIMIT_AS: _ADDRESS_SPACE,
        resource.RLIMIT_CPU: round(2 * seconds) + _CPU_SECONDS,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: round(seconds * _FILE_BYTES_PER_SECOND) + 2**20,
        resource.RLIMIT_CORE: 0,
    }


def probe(binary: Path) -> None:
    """Lets ffmpeg encode a moment of silence. Blocks; meant for the start.

    Raises:
        StartError: it cannot.
    """
    wav = WavFormat(floating=False, sample_bytes=2, channels=2, sample_rate=44_100)
    reason = "it writes nothing"
    try:
        done = subprocess.run(
            encode_args(binary, wav, Mp3Settings()),
            input=bytes(wav.block_bytes * wav.sample_rate),
            capture_output=True,
            check=True,
            env={},
            timeout=_PROBE_SECONDS,
        )
        if done.stdout:
            return
    except subprocess.TimeoutExpired:
        reason = f"it does not end within {_PROBE_SECONDS} s"
    except subprocess.CalledProcessError as exc:
        reason = _last_words(exc)
    except OSError as exc:
        reason = exc.strerror or str(exc)
    raise StartError(
        f"ffmpeg at {binary} cannot encode MP3 ({reason}): set UMUSIC_FFMPEG to one of "
        "version 5.1 or newer with libmp3lame."
    )


def _last_words(exc: subprocess.CalledProcessError) -> str:
    """Why it failed: its line about the encoder, as what comes after says less, or the last."""
    stderr: bytes = exc.stderr
    lines = stderr.decode(errors="replace").strip().splitlines() or [f"status {exc.returncode}"]
    return next((line for line in lines if "libmp3lame" in line), lines[-1])
