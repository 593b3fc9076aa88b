"""The outline of a sound: its lowest and highest samples, as numbers and as a picture.

Both are made for eyes. What is kept is JSON of the form that audiowaveform (BBC), peaks.js and
wavesurfer.js read.
"""

import asyncio
import contextlib
import json
import math
import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

from PIL import Image, ImageDraw

from umusic.audio import process
from umusic.audio.ffmpeg import limits, peaks_args
from umusic.audio.segments import Memory
from umusic.errors import EncoderFailed
from umusic.waveform_errors import RecordDamaged, WaveformFailed

#: As many pairs a record has at most: a picture that fills a large screen has one for each pixel.
MAX_PAIRS = 4096
#: A sample of full scale, in 8 bits.
_LOWEST, _HIGHEST = -128, 127
#: What ffmpeg may write; it is some 130 for each pair.
_OUTPUT_BYTES = MAX_PAIRS * 1024
#: A decoder is hundreds of times as fast as the sound plays: this is for one that hangs.
_SECONDS = 60.0
_SECONDS_PER_SECOND = 0.2

_PAIR = re.compile(rb"Min_level=(\S+)\s+\S*Max_level=(\S+)")

#: A blue that stands out from white (3.7 to 1) as from black (5.7 to 1).
_COLOUR = (0x3B, 0x82, 0xF6)
#: Columns that become one of the picture, so that steep slopes are smooth.
_FINENESS = 3


@dataclass(frozen=True, slots=True)
class Peaks:
    """Lowest and highest samples in turn, -128 to 127, a pair for each `samples_per_pixel` samples
    at `sample_rate` Hz; of all channels together."""

    sample_rate: int
    samples_per_pixel: int
    data: Sequence[int]

    def to_json(self) -> bytes:
        """The form of audiowaveform's JSON, version 2."""
        members = {
            "version": 2,
            "channels": 1,
            "sample_rate": self.sample_rate,
            "samples_per_pixel": self.samples_per_pixel,
            "bits": 8,
            "length": len(self.data) // 2,
            "data": self.data,
        }
        return json.dumps(members, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What `to_json` wrote. Raises ValueError if it is something else."""
        try:
            said = json.loads(text)
            peaks = cls(said["sample_rate"], said["samples_per_pixel"], said["data"])
            if said["length"] < 1 or len(peaks.data) != 2 * said["length"]:
                raise ValueError("a wrong number of pairs")
        except (KeyError, TypeError) as exc:
            raise ValueError("no peaks") from exc
        return peaks


def samples_per_pixel(samples: int) -> int:
    """How many samples make one pair, of a record of so many samples per channel."""
    return max(-(-samples // MAX_PAIRS), 1)


async def measure(ffmpeg: Path, mp3: int, *, samples: int, sample_rate: int) -> Peaks:
    """Has ffmpeg decode an MP3 (an open file) of so many samples per channel, at `sample_rate` Hz.

    Raises:
        RecordDamaged: it is no such MP3.
        WaveformFailed: ffmpeg could not be run to its end.
    """
    window = samples_per_pixel(samples)
    duration = samples / sample_rate
    bounds = {**limits(duration), resource.RLIMIT_FSIZE: _OUTPUT_BYTES}
    try:
        output = Memory("umusic-peaks")
    except OSError as exc:
        raise WaveformFailed from exc
    with contextlib.closing(output):
        try:
            await process.run(
                peaks_args(ffmpeg, samples, window),
                stdin=mp3,
                stdout=output.fd,
                limits=bounds,
                seconds=_SECONDS + _SECONDS_PER_SECOND * duration,
            )
        except EncoderFailed as exc:
            raise (RecordDamaged if exc.complained else WaveformFailed) from exc
        data = await asyncio.to_thread(_pairs, output)
    if len(data) != 2 * -(-samples // window):
        raise RecordDamaged from ValueError(f"{len(data) // 2} pairs of {window} for {samples}")
    return Peaks(sample_rate, window, data)


def _pairs(output: Memory) -> list[int]:
    with output.mapped() as text:
        return [_as_8_bits(float(level)) for pair in _PAIR.findall(text) for level in pair]


def _as_8_bits(level: float) -> int:
    """A sample of which 1.0 is full scale. What is louder has been clipped."""
    return max(_LOWEST, min(_HIGHEST, int(level * -_LOWEST))) if math.isfinite(level) else 0


def draw(peaks: Peaks, width: int, height: int) -> bytes:
    """A PNG of so many pixels: the outline, filled, on nothing. Blocks for some milliseconds."""
    mask = Image.new("L", (width * _FINENESS, height))
    pen = ImageDraw.Draw(mask)
    for x, (low, high) in enumerate(_columns(peaks.data, mask.width)):
        _fill(pen, x, *_span(low, high, height))
    mask = mask.reduce((_FINENESS, 1))
    # One colour, and how much of it: a quarter of what four channels take.
    picture = Image.frombytes("P", mask.size, mask.tobytes())
    picture.putpalette(bytes(_COLOUR) * 256)
    png = BytesIO()
    picture.save(png, "PNG", transparency=bytes(range(256)))
    return png.getvalue()


def _columns(data: Sequence[int], count: int) -> list[tuple[float, float]]:
    """Low and high of each column: of all pairs that it covers, or, if there are more columns than
    pairs, between the two that are nearest."""
    lows, highs = data[::2], data[1::2]
    pairs = len(lows)
    columns: list[tuple[float, float]] = []
    for column in range(count):
        if pairs > count:
            start, end = column * pairs // count, -(-(column + 1) * pairs // count)
            columns.append((min(lows[start:end]), max(highs[start:end])))
        else:
            place = min(max((column + 0.5) * pairs / count - 0.5, 0.0), pairs - 1.0)
            left = int(place)
            right, part = min(left + 1, pairs - 1), place - left
            low = lows[left] + (lows[right] - lows[left]) * part
            columns.append((low, highs[left] + (highs[right] - highs[left]) * part))
    return columns


def _span(low: float, high: float, height: int) -> tuple[float, float]:
    """Where a column begins and ends, in pixels from the top; silence is a line."""
    middle = height / 2
    top, bottom = middle * (1 - high / _HIGHEST), middle * (1 + low / _LOWEST)
    missing = max(1.0 - (bottom - top), 0.0) / 2
    top, bottom = top - missing, bottom + missing
    # Full scale all the time is a line at the edge, not beyond it.
    shift = max(-top, 0.0) - max(bottom - height, 0.0)
    return top + shift, bottom + shift


def _fill(pen: ImageDraw.ImageDraw, x: int, top: float, bottom: float) -> None:
    """Fills a column from `top` to `bottom`; a pixel that is covered in part gets that part."""
    first, last = int(top), min(math.ceil(bottom), int(pen.im.size[1])) - 1
    pen.line((x, first, x, last), fill=255)
    for y in {first, last}:
        covered = min(bottom, y + 1) - max(top, y)
        pen.point((x, y), fill=round(255 * covered))
