"""Reads what the first frame of an MP3 tells of the whole: its header and its Xing/LAME tag.

Sources: ISO/IEC 11172-3 2.4.2.3 and 13818-3 2.4.2.3 (frame header), LAME's VbrTag.c and the
"MP3 Info Tag revision 1" specification (Xing/Info tag, encoder delay and padding).
"""

import struct
from dataclasses import dataclass

#: Enough of the start of a file for a frame with a whole Xing/LAME tag.
INFO_TAG_BYTES = 4 + 32 + 156

_MPEG1 = 3
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
#: Rates that MPEG-1, MPEG-2 and MPEG-2.5 Layer III have, in Hz.
SAMPLE_RATES = tuple(sorted(rate for rates in _SAMPLE_RATES.values() for rate in rates))
_LAYER_III = 1
_MONO = 3
#: frames, bytes, table of contents and quality are all there.
_ALL_FLAGS = 0xF


class InfoTagMissing(ValueError):
    """The bytes do not begin with a Layer III frame that holds a Xing/LAME tag."""


@dataclass(frozen=True, slots=True)
class InfoTag:
    """What the first frame says. `encoder_delay` and `padding` are in samples."""

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


def read_info_tag(head: bytes) -> InfoTag:
    """Reads the tag from the first `INFO_TAG_BYTES` of an MP3 that begins with a frame.

    Raises:
        InfoTagMissing: there is no such frame, or no complete tag in it.
    """
    if len(head) < INFO_TAG_BYTES:
        raise InfoTagMissing(f"only {len(head)} bytes")
    word = int.from_bytes(head[:4], "big")
    version, layer, rate_index = (word >> 19) & 3, (word >> 17) & 3, (word >> 10) & 3
    if word >> 21 != 0x7FF or layer != _LAYER_III or version == 1 or rate_index == 3:
        raise InfoTagMissing("no Layer III frame header")
    mono = (word >> 6) & 3 == _MONO
    side_information = (17 if mono else 32) if version == _MPEG1 else (9 if mono else 17)
    offset = 4 + side_information
    name, flags, frames = struct.unpack_from(">4sII", head, offset)
    if name not in (b"Xing", b"Info") or flags & _ALL_FLAGS != _ALL_FLAGS:
        raise InfoTagMissing("no Xing tag")
    # 4 name + 4 flags + 4 frames + 4 bytes + 100 TOC + 4 quality + 21 into the LAME part.
    delays = int.from_bytes(head[offset + 141 : offset + 144], "big")
    return InfoTag(
        sample_rate=_SAMPLE_RATES[version][rate_index],
        channels=1 if mono else 2,
        samples_per_frame=1152 if version == _MPEG1 else 576,
        frames=frames,
        encoder_delay=delays >> 12,
        padding=delays & 0xFFF,
    )
