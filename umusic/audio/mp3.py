"""What the first frame of an MP3 tells of the whole: its header and its Xing/LAME tag.

Sources: ISO/IEC 11172-3 2.4.2.3 and 13818-3 2.4.2.3 (frame header), LAME's VbrTag.c and the
"MP3 Info Tag revision 1" specification (Xing/Info tag, encoder delay and padding).
"""

import dataclasses
import struct
from dataclasses import dataclass

_TAG_BYTES = 156
#: Enough of the start of a file for a frame header, side information and a whole Xing/LAME tag.
INFO_TAG_BYTES = 4 + 32 + _TAG_BYTES

_MPEG1 = 3
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
#: Rates that MPEG-1, MPEG-2 and MPEG-2.5 Layer III have, in Hz.
SAMPLE_RATES = tuple(sorted(rate for rates in _SAMPLE_RATES.values() for rate in rates))
_LAYER_III = 1
_MONO = 3
#: From the start of the tag: after name, flags, frames, bytes, TOC, quality and 21 bytes of LAME's
#: part come 12 bits of encoder delay and 12 of padding; the tag's own CRC is its end.
_DELAYS = 141
_TAG_CRC = 154
#: Zeros that LAME appends at least, so that its last frame is decoded whole (lame_encode_flush).
MIN_PADDING = 576
#: frames, bytes, table of contents and quality are all there.
_ALL_FLAGS = 0xF


class InfoTagMissing(ValueError):
    """The bytes do not begin with a Layer III frame that holds a Xing/LAME tag."""


@dataclass(frozen=True, slots=True)
class InfoTag:
    """What the first frame says. `encoder_delay` and `padding` are in samples.

    `offset` is where the tag begins in the frame, in bytes.
    """

    offset: int
    sample_rate: int
    channels: int
    samples_per_frame: int
    frames: int
    encoder_delay: int
    padding: int

    @property
    def samples(self) -> int:
        """Samples per channel that a gapless decoder gives back."""
        return self.frames * self.samples_per_frame - self.encoder_delay - self.padding

    def padded_to(self, samples: int) -> "InfoTag":
        """The same tag with the padding that makes `samples` of the frames."""
        return dataclasses.replace(self, padding=self.padding + self.samples - samples)

    def write_into(self, head: bytes) -> bytes:
        """`head`, from which the tag was read, with its delay and padding and a CRC to match.

        The CRC is CRC-16/ARC over all bytes of the frame before it, as in LAME's PutLameVBR.
        """
        changed = bytearray(head)
        delays = self.encoder_delay << 12 | self.padding
        changed[self.offset + _DELAYS : self.offset + _DELAYS + 3] = delays.to_bytes(3, "big")
        crc = _crc16(changed[: self.offset + _TAG_CRC])
        changed[self.offset + _TAG_CRC : self.offset + _TAG_CRC + 2] = crc.to_bytes(2, "big")
        return bytes(changed)


def read_info_tag(head: bytes) -> InfoTag:
    """Reads the tag from the first `INFO_TAG_BYTES` of an MP3 that begins with a frame.

    Raises:
        InfoTagMissing: there is no such frame, or no complete tag in it.
    """
    word = int.from_bytes(head[:4], "big")
    version, layer, rate_index = (word >> 19) & 3, (word >> 17) & 3, (word >> 10) & 3
    if word >> 21 != 0x7FF or layer != _LAYER_III or version == 1 or rate_index == 3:
        raise InfoTagMissing("no Layer III frame header")
    mono = (word >> 6) & 3 == _MONO
    side_information = (17 if mono else 32) if version == _MPEG1 else (9 if mono else 17)
    offset = 4 + side_information
    if len(head) < offset + _TAG_BYTES:
        raise InfoTagMissing(f"only {len(head)} bytes")
    name, flags, frames = struct.unpack_from(">4sII", head, offset)
    if name not in (b"Xing", b"Info") or flags & _ALL_FLAGS != _ALL_FLAGS:
        raise InfoTagMissing("no Xing tag")
    delays = int.from_bytes(head[offset + _DELAYS : offset + _DELAYS + 3], "big")
    return InfoTag(
        offset=offset,
        sample_rate=_SAMPLE_RATES[version][rate_index],
        channels=1 if mono else 2,
        samples_per_frame=1152 if version == _MPEG1 else 576,
        frames=frames,
        encoder_delay=delays >> 12,
        padding=delays & 0xFFF,
    )


def _crc16(data: bytes | bytearray) -> int:
    """CRC-16/ARC: polynomial 0x8005, reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
