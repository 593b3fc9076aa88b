"""What the `fmt ` chunk of a WAV says: how its samples are coded. Pure functions on bytes.

Sources: Microsoft's WAVEFORMATEX and WAVEFORMATEXTENSIBLE; for the ADPCM kinds, Multimedia Data
Standards Update 3.0 (1994): ADPCMWAVEFORMAT and IMAADPCMWAVEFORMAT.
"""

import struct
from dataclasses import dataclass

from umusic.errors import BrokenWav, CodecUnsupported

MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 384_000
MAX_CHANNELS = 8

_TAG_PCM = 0x0001
_TAG_MS_ADPCM = 0x0002
_TAG_FLOAT = 0x0003
_TAG_ALAW = 0x0006
_TAG_MULAW = 0x0007
_TAG_IMA_ADPCM = 0x0011
_TAG_EXTENSIBLE = 0xFFFE
#: What follows the format tag in the SubFormat GUID of every WAVE_FORMAT tag.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")

_LOGARITHMIC = {_TAG_ALAW: "alaw", _TAG_MULAW: "mulaw"}
_ADPCM = {_TAG_MS_ADPCM: "Microsoft ADPCM", _TAG_IMA_ADPCM: "IMA ADPCM"}
#: Codecs that are not taken.
_CODECS = {
    0x0010: "OKI ADPCM",
    0x0014: "G.723 ADPCM",
    0x0020: "Yamaha ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0045: "G.726 ADPCM",
    0x0050: "MPEG audio layer I/II",
    0x0055: "MP3",
    0x0064: "G.726 ADPCM",
    0x0092: "Dolby AC-3 (S/PDIF)",
    0x00FF: "AAC",
    0x0160: "Windows Media Audio 1",
    0x0161: "Windows Media Audio",
    0x0162: "Windows Media Audio Pro",
    0x0163: "Windows Media Audio lossless",
    0x1610: "AAC",
    0x2000: "AC-3",
    0x2001: "DTS",
    0x674F: "Ogg Vorbis",
    0xF1AC: "FLAC",
}

#: The seven pairs of coefficients of Microsoft ADPCM; a file may bring others, decoders do not.
_MS_COEFFICIENTS = struct.pack(
    "<14h", 256, 0, 512, -256, 0, 0, 192, 64, 240, 0, 460, -208, 392, -232
)
_MAX_ADPCM_CHANNELS = 2
#: The last index of the table of step sizes of IMA ADPCM, and of the pairs of coefficients.
_MAX_STEP_INDEX = 88
_MAX_PREDICTOR = 6


@dataclass(frozen=True, slots=True)
class WavFormat:
    """How the sound of a WAV is coded.

    `sample_bytes` is the container of one sample, `channel_mask` the speakers as in
    WAVEFORMATEXTENSIBLE (0: not told), `sample_rate` in Hz, `logarithmic` "alaw" or "mulaw" for
    G.711. Sound comes in blocks of `block_bytes` for `block_frames` sample frames each: of PCM and
    G.711 a block is one sample frame. For ADPCM `adpcm` is the body of a `fmt ` chunk: one of our
    own, of which nothing but its numbers is the sender's.
    """

    floating: bool
    sample_bytes: int
    channels: int
    sample_rate: int
    channel_mask: int = 0
    big_endian: bool = False
    logarithmic: str = ""
    adpcm: bytes = b""

    @property
    def sample_format(self) -> str:
        """The coding as ffmpeg names it: u8, s16le, f32be, alaw, adpcm_ms…"""
        if self.adpcm:
            return "adpcm_ms" if self._is_microsofts else "adpcm_ima_wav"
        if self.logarithmic:
            return self.logarithmic
        if self.sample_bytes == 1:
            return "u8"
        kind = "f" if self.floating else "s"
        return f"{kind}{8 * self.sample_bytes}{'be' if self.big_endian else 'le'}"

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""
        if self.adpcm:
            return int.from_bytes(self.adpcm[12:14], "little")
        return self.sample_bytes * self.channels

    @property
    def block_frames(self) -> int:
        """Sample frames in a block."""
        return self._adpcm_frames(self.block_bytes) if self.adpcm else 1

    def header(self, size: int) -> bytes:
        """What goes before blocks of `size` bytes in all so that they are a WAV: a RIFF header for
        ADPCM, nothing for what can be read raw. Its length is always the same."""
        if not self.adpcm:
            return b""
        fmt = self.adpcm
        return struct.pack(
            f"<4sI8sI{len(fmt)}s4sI",
            *(b"RIFF", 20 + len(fmt) + size, b"WAVEfmt ", len(fmt), fmt, b"data", size),
        )

    def frames_in(self, size: int) -> int:
        """Sample frames in `size` bytes that begin with a block. The last block may be short."""
        blocks, rest = divmod(size, self.block_bytes)
        return blocks * self.block_frames + (self._adpcm_frames(rest) if self.adpcm else 0)

    def sound_bytes(self, size: int) -> int:
        """How many of `size` bytes that begin with a block hold sound. ffmpeg would take what a
        short last block has beyond that for another block, and fail."""
        rest = size % self.block_bytes
        if self.adpcm and not self._is_microsofts:
            return size - rest % (4 * self.channels)
        return size if self.adpcm and rest >= 7 * self.channels else size - rest

    def broken_block(self, blocks: bytes) -> int | None:
        """The number of the first of `blocks` that no encoder has made, if there is one."""
        if not self.adpcm:
            return None
        if self._is_microsofts:
            starts, most = range(self.channels), _MAX_PREDICTOR
        else:
            starts, most = range(2, 4 * self.channels, 4), _MAX_STEP_INDEX
        broken = (
            next(number for number, value in enumerate(values) if value > most)
            for values in (blocks[start :: self.block_bytes] for start in starts)
            if values and max(values) > most
        )
        return min(broken, default=None)

    @property
    def _is_microsofts(self) -> bool:
        return int.from_bytes(self.adpcm[:2], "little") == _TAG_MS_ADPCM

    def _adpcm_frames(self, size: int) -> int:
        """Sample frames in a block of ADPCM of `size` bytes."""
        if self._is_microsofts:
            head = 7 * self.channels
            return 2 + (size - head) * 2 // self.channels if size >= head else 0
        head = 4 * self.channels
        return 1 + (size - head) // head * 8 if size >= head else 0


def parse_format(body: bytes, *, big_endian: bool = False) -> WavFormat:
    """Reads the body of a `fmt ` chunk: WAVEFORMAT, WAVEFORMATEX or WAVEFORMATEXTENSIBLE.

    Raises:
        CodecUnsupported: a codec that is not taken; the sentence names it.
        BrokenWav: values that contradict each other or that no recording has.
    """
    order = ">" if big_endian else "<"
    tag, channels, rate, _, block, bits = struct.unpack_from(f"{order}HHIIHH", body)
    mask = None
    if tag == _TAG_EXTENSIBLE:
        if len(body) < 40:
            raise BrokenWav("The WAV is broken: its extensible fmt chunk is too short.")
        _, mask = struct.unpack_from(f"{order}HI", body, 18)
        tag = _sub_format(body[24:40], order)
    _check_codec(tag, big_endian=big_endian)
    _check_shape(channels, rate)
    if tag in _ADPCM:
        return _adpcm(body if mask is None else body[:16], tag)
    if tag in _LOGARITHMIC:
        bits = 8
    floating = tag == _TAG_FLOAT
    sample_bytes = (bits + 7) // 8
    if sample_bytes not in ((4, 8) if floating else (1, 2, 3, 4)):
        raise CodecUnsupported(
            f"{bits}-bit {'float' if floating else 'PCM'} is not taken: PCM of 8 to 32 bits and "
            "float of 32 or 64 bits are."
        )
    if block != sample_bytes * channels:
        raise BrokenWav(
            f"The WAV is broken: {channels} channels of {bits} bits make a block align of "
            f"{sample_bytes * channels}, but its header says {block}."
        )
    return WavFormat(
        floating=floating,
        sample_bytes=sample_bytes,
        channels=channels,
        sample_rate=rate,
        channel_mask=mask or 0,
        big_endian=big_endian,
        logarithmic=_LOGARITHMIC.get(tag, ""),
    )


def _sub_format(guid: bytes, order: str) -> int:
    # sox turns round the bytes of the tag alone in RIFX, not those of the rest.
    if guid[2:] != _GUID_TAIL:
        raise CodecUnsupported(f"WAV of the codec {guid.hex()} is not taken.")
    tag: int = struct.unpack_from(f"{order}H", guid)[0]
    return tag


def _check_codec(tag: int, *, big_endian: bool) -> None:
    if tag in _ADPCM and big_endian:
        raise CodecUnsupported(f"{_ADPCM[tag]} in a RIFX file is not taken; in a RIFF file it is.")
    if tag not in (_TAG_PCM, _TAG_FLOAT, *_LOGARITHMIC, *_ADPCM):
        name = _CODECS.get(tag, "an unknown codec")
        raise CodecUnsupported(
            f"The WAV holds {name} (format tag 0x{tag:04X}); PCM, float, A-law, µ-law and the "
            "ADPCM of Microsoft and IMA are taken."
        )


def _check_shape(channels: int, rate: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise BrokenWav(f"The WAV declares {channels} channels; 1 to {MAX_CHANNELS} are taken.")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise BrokenWav(
            f"The WAV declares a sample rate of {rate} Hz; {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE} Hz are taken."
        )


def _adpcm(body: bytes, tag: int) -> WavFormat:
    """`body` of an extensible chunk has to end where that differs from that of ADPCM."""
    _, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    name = _ADPCM[tag]
    if channels > _MAX_ADPCM_CHANNELS:
        raise CodecUnsupported(f"{name} of {channels} channels is not taken; of one or two it is.")
    if bits != 4:
        raise CodecUnsupported(f"{name} of {bits} bits a sample is not taken; of 4 bits it is.")
    if tag == _TAG_MS_ADPCM:
        if body[20:50] not in (b"", struct.pack("<H", 7) + _MS_COEFFICIENTS):
            raise CodecUnsupported(f"{name} with coefficients of its own is not taken.")
        whole = block > 7 * channels
    else:
        whole = block > 4 * channels and block % (4 * channels) == 0
    if not whole:
        raise BrokenWav(f"The WAV is broken: {name} has no blocks of {block} bytes.")
    fmt = struct.pack("<HHIIHHH", tag, channels, rate, 0, block, bits, 0)
    return WavFormat(floating=False, sample_bytes=2, channels=channels, sample_rate=rate, adpcm=fmt)
