"""MPEG audio Layer III as bytes: frames, their headers, side information and main data. No I/O.

It reads what joining and re-packing need and decodes no sound.

Sources: ISO/IEC 11172-3 2.4.1 and 2.4.2 (header, side information, main_data_begin), ISO/IEC
13818-3 2.4 (the low sampling frequencies); MPEG-2.5 is Fraunhofer's, 13818-3 with lower rates.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap

_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0
_LAYER_III = 1
_MONO = 3
_SAMPLE_RATES = {
    _MPEG1: (44100, 48000, 32000),
    _MPEG2: (22050, 24000, 16000),
    _MPEG25: (11025, 12000, 8000),
}
#: Rates that MPEG-1, MPEG-2 and MPEG-2.5 Layer III have, in Hz.
SAMPLE_RATES = tuple(sorted(rate for rates in _SAMPLE_RATES.values() for rate in rates))
#: By bitrate_index from 1; 0 is free format, 15 is forbidden. kbit/s.
_BITRATES_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

_HEADER_BYTES = 4
#: What may differ between the frames of one stream: bitrate_index, padding_bit, private_bit and
#: mode_extension.
_BITRATE, _PADDING = 0xF000, 0x0200
_VARYING = _BITRATE | _PADDING | 0x0100 | 0x0030


class BrokenMp3(ValueError):
    """The bytes are no frames of the stream that they should belong to."""


@dataclass(frozen=True)
class Stream:
    """What all frames of one stream have in common: their header but for its varying bits."""

    header: int

    @classmethod
    def of(cls, data: bytes | mmap) -> "Stream":
        """Reads the header that `data` begins with.

        Raises:
            BrokenMp3: it is not that of a Layer III frame, or one protected by a CRC.
        """
        header = int.from_bytes(data[:_HEADER_BYTES], "big")
        version, layer, rate = (header >> 19) & 3, (header >> 17) & 3, (header >> 10) & 3
        if header >> 21 != 0x7FF or layer != _LAYER_III or version == 1 or rate == 3:
            raise BrokenMp3("no Layer III frame header")
        if not header >> 16 & 1:
            raise BrokenMp3("a protected frame")
        return cls(header & ~_VARYING)

    @cached_property
    def version(self) -> int:
        """The header's ID: 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5."""
        return (self.header >> 19) & 3

    @cached_property
    def sample_rate(self) -> int:
        """In Hz."""
        return _SAMPLE_RATES[self.version][(self.header >> 10) & 3]

    @cached_property
    def channels(self) -> int:
        """1 or 2."""
        return 1 if (self.header >> 6) & 3 == _MONO else 2

    @property
    def samples_per_frame(self) -> int:
        """Per channel: two granules of 576, or one at the low sampling frequencies."""
        return samples_per_frame(self.sample_rate)

    @cached_property
    def side_bytes(self) -> int:
        """Length of the side information."""
        if self.version == _MPEG1:
            return 17 if self.channels == 1 else 32
        return 9 if self.channels == 1 else 17

    @cached_property
    def main_data(self) -> int:
        """Where the main data begins in a frame."""
        return _HEADER_BYTES + self.side_bytes

    @cached_property
    def begin_bits(self) -> int:
        """Length of main_data_begin, the first field of the side information."""
        return 9 if self.version == _MPEG1 else 8

    @cached_property
    def length_shifts(self) -> tuple[int, ...]:
        """How far right each part2_3_length stands, with the side information as one number."""
        if self.version == _MPEG1:
            granules, field = 2, 59
            first = 18 if self.channels == 1 else 20
        else:
            granules, field = 1, 63
            first = 9 if self.channels == 1 else 10
        starts = (first + field * number for number in range(granules * self.channels))
        return tuple(8 * self.side_bytes - 12 - start for start in starts)

    @cached_property
    def bitrates(self) -> tuple[int, ...]:
        """kbit/s by bitrate_index - 1."""
        return _BITRATES_1 if self.version == _MPEG1 else _BITRATES_2

    def bitrate_of(self, frame: bytes) -> int:
        """The bit rate of a frame of this stream, in kbit/s."""
        return self.bitrates[(frame[2] >> 4) - 1]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of a frame without padding, by bitrate_index - 1."""
        slots = self.samples_per_frame // 8 * 1000
        return tuple(slots * bitrate // self.sample_rate for bitrate in self.bitrates)

    def frames(self, data: bytes | mmap) -> Iterator[bytes]:
        """Splits `data`, which is to hold whole frames of this stream.

        Raises:
            BrokenMp3: it does not.
        """
        at = 0
        while at < len(data):
            header = int.from_bytes(data[at : at + _HEADER_BYTES], "big")
            index = (header & _BITRATE) >> 12
            if header & ~_VARYING != self.header or not 1 <= index <= len(self.sizes):
                raise BrokenMp3(f"no frame of the stream at byte {at}")
            end = at + self.sizes[index - 1] + bool(header & _PADDING)
            if end > len(data):
                raise BrokenMp3(f"half a frame at byte {at}")
            yield data[at:end]
            at = end


def samples_per_frame(sample_rate: int) -> int:
    """Samples per channel in a frame of a rate that MP3 has."""
    return 1152 if sample_rate in _SAMPLE_RATES[_MPEG1] else 576


class Repacker:
    """Lays the main data of frames that stand alone end to end, in frames as small as can be.

    Each frame gets the lowest bit rate whose space, with what the frames before it left free (at
    most what main_data_begin can tell), holds its main data. What LAME puts between the main data
    of two frames (ancillary data) goes. The decoded samples stay the same.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        #: Bytes for main data by bitrate_index - 1.
        self._room = [size - stream.main_data for size in stream.sizes]
        self._most_free = 2**stream.begin_bits - 1
        self._side_bits = 8 * stream.side_bytes
        #: How far right main_data_begin stands in header and side information as one number.
        self._begin = self._side_bits - stream.begin_bits
        #: Bytes free for main data in frames that are not full yet.
        self._free = 0
        #: Header and side information of those frames, and their room.
        self._open: deque[tuple[bytes, int]] = deque()
        self._main_data = bytearray()

    def push(self, frame: bytes) -> list[bytes]:
        """Takes the next frame; returns those that are full now.

        Raises:
            BrokenMp3: its main data begins in another frame, or is longer than any frame.
        """
        stream = self._stream
        head = int.from_bytes(frame[: stream.main_data], "big")
        bits = 0
        for shift in stream.length_shifts:
            bits += head >> shift & 0xFFF
        length = (bits + 7) >> 3
        if head >> self._begin & self._most_free:
            raise BrokenMp3("a frame does not stand alone")
        index = bisect_left(self._room, length - self._free)
        if index == len(self._room) or stream.main_data + length > len(frame):
            raise BrokenMp3("main data longer than a frame")
        head &= ~((_BITRATE | _PADDING) << self._side_bits)
        head |= (index + 1) << (12 + self._side_bits) | self._free << self._begin
        room = self._room[index]
        self._open.append((head.to_bytes(stream.main_data, "big"), room))
        self._main_data += frame[stream.main_data : stream.main_data + length]
        self._free += room - length
        if self._free > self._most_free:
            self._main_data += bytes(self._free - self._most_free)
            self._free = self._most_free
        return self._full()

    def flush(self) -> list[bytes]:
        """Fills up what is open, and returns it."""
        self._main_data += bytes(self._free)
        self._free = 0
        return self._full()

    def _full(self) -> list[bytes]:
        full = []
        while self._open and len(self._main_data) >= self._open[0][1]:
            head, room = self._open.popleft()
            full.append(head + self._main_data[:room])
            del self._main_data[:room]
        return full
