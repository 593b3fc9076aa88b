"""The Xing/LAME tag, which the first frame of an MP3 holds instead of sound. No I/O.

It makes players gapless and lets them seek. Every field is written here, since no encoder sees
the whole MP3.

Sources: the "MP3 Info Tag revision 1" specification, LAME's VbrTag.c.
"""

import struct
from bisect import bisect_left
from dataclasses import dataclass

from fastcrc.crc16 import arc as crc16

from umusic.audio.mp3 import Stream

_TAG_BYTES = 156
#: Name, flags, frames, bytes, table of contents, quality; encoder, revision and VBR method,
#: lowpass, peak, two gains, encoding flags, bit rate, delays, misc, MP3 gain, preset, music length,
#: music CRC. The CRC of all this comes last.
_TAG = struct.Struct(">4sIII100sI9sBB4s2s2sBB3sBBHIH")
#: frames, bytes, table of contents and quality are all there.
_ALL_FLAGS = 0xF
_ENCODER = b"LAME3.100"
#: Numbers of the tag's fields: VBR method (vbr_mtrh), "NSPsyTune and ATH type 4/5", noise shaping.
_CBR, _VBR = 1, 4
_NSPSY_ATH = {_CBR: 0x14, _VBR: 0x15}
_NOISE_SHAPING = 1
_JOINT_STEREO = 3
#: LAME's quality level, and what it takes for the VBR quality when it makes a constant bit rate.
_LAME_QUALITY = 3
_CBR_QUALITY = 4

#: Samples that LAME puts before the sound (decoders add 529 of their own), and that it appends at
#: least, so that its last frame is decoded whole (lame_encode_flush).
ENCODER_DELAY = 576
MIN_PADDING = 576


class SeekTable:
    """Where frames begin, for the tag's table of contents; as coarse as it gets long."""

    _MOST = 400

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._frames = 0
        self._step = 1

    def add(self, position: int) -> None:
        """Says where the next frame begins, in bytes."""
        if self._frames % self._step == 0:
            self._positions.append(position)
            if len(self._positions) == self._MOST:
                self._positions = self._positions[::2]
                self._step *= 2
        self._frames += 1

    def contents(self, size: int) -> bytes:
        """For each hundredth of the duration, how many 256ths of `size` bytes lie before it."""
        known = self._positions
        places = (percent * self._frames // (100 * self._step) for percent in range(100))
        return bytes(
            min(255, 256 * known[min(place, len(known) - 1)] // size) if known else 0
            for place in places
        )


@dataclass(frozen=True, slots=True)
class InfoTag:
    """What the tag tells.

    `quality` is that of VBR, 0 to 9, or None for a constant bit rate. `frames` counts those of
    sound, `size` all bytes of the MP3, this frame's included; `padding` is in samples.
    """

    stream: Stream
    quality: int | None
    #: kbit/s; of VBR the lowest that there is.
    bitrate: int
    frames: int
    size: int
    contents: bytes
    padding: int
    music_crc: int

    def frame(self) -> bytes:
        """The whole frame, as long as `info_frame_size` tells."""
        stream = self.stream
        index = _bitrate_index(stream, self.bitrate)
        head = (stream.header | (index + 1) << 12).to_bytes(4, "big")
        tagged = head + bytes(stream.side_bytes) + self._fields()
        return (tagged + crc16(tagged).to_bytes(2, "big")).ljust(stream.sizes[index], b"\0")

    def _fields(self) -> bytes:
        method = _CBR if self.quality is None else _VBR
        quality = _CBR_QUALITY if self.quality is None else self.quality
        rate = self.stream.sample_rate
        stereo = _JOINT_STEREO if self.stream.channels == 2 else 0
        source = 0 if rate <= 32000 else 1 if rate == 44100 else 2
        return _TAG.pack(
            b"Info" if self.quality is None else b"Xing",
            _ALL_FLAGS,
            min(self.frames, 2**32 - 1),
            min(self.size, 2**32 - 1),
            self.contents,
            100 - 10 * quality - _LAME_QUALITY,
            _ENCODER,
            method,
            0,
            b"",
            b"",
            b"",
            _NSPSY_ATH[method],
            min(self.bitrate, 255),
            (ENCODER_DELAY << 12 | self.padding).to_bytes(3, "big"),
            _NOISE_SHAPING | stereo << 2 | source << 6,
            0,
            self.bitrate if self.quality is None else 500 - 10 * self.quality,
            min(self.size, 2**32 - 1),
            self.music_crc,
        )


def info_frame_size(stream: Stream, bitrate: int) -> int:
    """Bytes of the frame that holds the tag: it has the `bitrate` (kbit/s) of the rest, or the
    lowest above it that has the room."""
    return stream.sizes[_bitrate_index(stream, bitrate)]


def _bitrate_index(stream: Stream, bitrate: int) -> int:
    lowest = bisect_left(stream.sizes, stream.main_data + _TAG_BYTES)
    return max(lowest, stream.bitrates.index(bitrate))
