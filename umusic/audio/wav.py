"""A push parser of WAV: feed it bytes as they come, get sample frames back. No I/O.

It reads RIFF and RF64/BW64 with PCM and float samples. It holds at most one chunk head or one
`fmt `/`ds64` body at a time; the bodies of other chunks are skipped as they pass. It decodes
nothing: the samples leave as they came, to be read as raw PCM of the `WavFormat` told.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, fmt), Microsoft's
WAVEFORMATEXTENSIBLE, EBU Tech 3306 (RF64, ds64), ITU-R BS.2088 (BW64).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from umusic.errors import BrokenWav, CodecUnsupported, NoSound, NotWav, UmusicError

MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 384_000
MAX_CHANNELS = 8

#: Writers that cannot seek back leave these as the size of `data`: all that follows is sound.
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
#: arecord (0x80000000) and sox (0x7FFFF000) promise about 2 GiB to a pipe and stop when they
#: like, so a body may end early when its declared size is one of these.
_PROMISED_SIZES = range(0x7FFFF000, 0x80000001)

_FMT_BYTES = range(16, 1025)
_DS64_BYTES = range(28, 65_537)

_TAG_PCM = 0x0001
_TAG_FLOAT = 0x0003
_TAG_EXTENSIBLE = 0xFFFE
#: What follows the format tag in the SubFormat GUID of every WAVE_FORMAT tag.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")

_CODECS = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "µ-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0050: "MPEG audio layer I/II",
    0x0055: "MP3",
    0x00FF: "AAC",
    0x0161: "Windows Media Audio",
    0x2000: "AC-3",
}

_KINDS = (
    (b"RIFX", "a big-endian WAV (RIFX)"),
    (b"riff", "a Sony Wave64 file"),
    (b"ID3", "an MP3"),
    (b"\xff\xfb", "an MP3"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"FORM", "an AIFF file"),
    (b"caff", "a CAF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"#EXTM3U", "a playlist"),
    (b"<", "HTML or XML"),
    (b"{", "JSON"),
)


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What the sample frames of a WAV are.

    `sample_bytes` is the container of one sample, `channel_mask` the speakers as in
    WAVEFORMATEXTENSIBLE (0: not told), `sample_rate` in Hz.
    """

    floating: bool
    sample_bytes: int
    channels: int
    sample_rate: int
    channel_mask: int = 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample frame: a sample of each channel."""
        return self.sample_bytes * self.channels

    @property
    def sample_format(self) -> str:
        """The samples' format as ffmpeg names its raw demuxers: u8, s16le, f32le…"""
        if self.sample_bytes == 1:
            return "u8"
        return f"{'f' if self.floating else 's'}{8 * self.sample_bytes}le"


class WavReader:
    """Turns the bytes of a WAV, in pieces of any size, into whole sample frames.

    Errors are `NotWav`, `CodecUnsupported`, `BrokenWav` and `NoSound`; after one of them the
    reader is of no more use.
    """

    def __init__(self, *, max_header_bytes: int = 16 * 2**20, max_chunks: int = 1000) -> None:
        self.format: WavFormat | None = None
        #: Sample frames handed out so far.
        self.frames = 0
        #: Sample frames that the header promises, once it is read; None if it leaves that open.
        self.declared_frames: int | None = None
        self._max_header_bytes = max_header_bytes
        self._max_chunks = max_chunks
        self._chunks = 0
        self._header_bytes = 0
        self._riff_size = 0
        self._ds64_size: int | None = None
        self._stage: Literal["header", "data", "trailer"] = "header"
        self._next: Callable[[bytes], None] = self._on_riff
        self._need = 12
        self._head = bytearray()
        self._skip = 0
        #: Bytes of `data` still to come; None: until the body ends.
        self._left: int | None = None
        self._may_end_early = False
        self._pad_due = False
        self._partial_frame = b""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the WAV and returns the whole sample frames among them."""
        frames = b""
        view = memoryview(data)
        while view:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
            elif self._stage == "data":
                passed = len(view) if self._left is None else min(self._left, len(view))
                frames = self._take_frames(view[:passed])
            else:
                passed = min(self._need - len(self._head), len(view))
                self._head += view[:passed]
                if len(self._head) == self._need:
                    head, self._head = bytes(self._head), bytearray()
                    self._next(head)
            view = view[passed:]
        return frames

    def finish(self) -> None:
        """Says that the body has ended; raises if it may not end here."""
        if self._stage == "header":
            raise self._headless()
        if self._stage == "data" and not self._may_end_early:
            raise BrokenWav(
                f"The WAV is cut short: its header declares {self._left} more bytes of sound "
                "than were sent."
            )
        if self._stage == "trailer" and (self._skip > 1 or any(self._head)):
            raise BrokenWav("The WAV is cut short in a chunk after its sound.")
        if not self.frames:
            raise NoSound("The WAV holds no sound: its data chunk is empty.")

    # --- the header ---------------------------------------------------------------------------

    def _on_riff(self, head: bytes) -> None:
        if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
            raise NotWav(_not_wav(head))
        self._riff_size = int.from_bytes(head[4:8], "little")
        self._header_bytes = len(head)
        self._expect(8, self._on_chunk)

    def _on_chunk(self, head: bytes) -> None:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        self._chunks += 1
        self._header_bytes += 8
        if name == b"data":
            self._on_data(size)
            return
        if not _is_chunk_name(name):
            raise BrokenWav(f"The WAV is broken: {name!r} stands where a chunk should begin.")
        self._header_bytes += size + (size & 1)
        if self._chunks > self._max_chunks or self._header_bytes > self._max_header_bytes:
            raise BrokenWav(
                f"The WAV's header is too long: more than {self._max_header_bytes} bytes or "
                f"{self._max_chunks} chunks before its data chunk (at chunk {_text(name)} of "
                f"{size} bytes)."
            )
        if name == b"fmt ":
            self._expect_body(size, _FMT_BYTES, "fmt", self._on_fmt)
        elif name == b"ds64":
            self._expect_body(size, _DS64_BYTES, "ds64", self._on_ds64)
        else:
            self._skip = size + (size & 1)

    def _on_fmt(self, body: bytes) -> None:
        if self.format is not None:
            raise BrokenWav("The WAV is broken: it has two fmt chunks.")
        self.format = parse_format(body)
        self._expect(8, self._on_chunk)
        self._skip = len(body) & 1

    def _on_ds64(self, body: bytes) -> None:
        self._ds64_size = struct.unpack_from("<Q", body, 8)[0]
        self._expect(8, self._on_chunk)
        self._skip = len(body) & 1

    def _on_data(self, size: int) -> None:
        if self.format is None:
            raise BrokenWav("The WAV is broken: its data chunk comes before its fmt chunk.")
        unknown = size in _UNKNOWN_SIZES
        if size == 0xFFFFFFFF and self._ds64_size is not None:
            size = self._ds64_size
            unknown = size in (0, 2**64 - 1)
        if size == 0 and self._declares_more():
            raise NoSound("The WAV holds no sound: its data chunk is empty.")
        self._stage = "data"
        self._left = None if unknown else size
        self._may_end_early = unknown or size in _PROMISED_SIZES
        if not self._may_end_early:
            self.declared_frames = size // self.format.frame_bytes
        self._pad_due = bool(size & 1)
        self._expect(8, self._on_trailing_chunk)

    def _declares_more(self) -> bool:
        """Whether the RIFF size tells of chunks behind an empty `data`: then it is truly empty,
        not left open by a writer that could not seek."""
        return self._header_bytes < self._riff_size + 8 and self._riff_size < 0xFFFFFFFF

    # --- the sound and what follows it --------------------------------------------------------

    def _take_frames(self, view: memoryview) -> bytes:
        assert self.format is not None
        if self._left is not None:
            self._left -= len(view)
            if not self._left:
                self._stage = "trailer"
        partial = (len(self._partial_frame) + len(view)) % self.format.frame_bytes
        if partial > len(view):
            self._partial_frame += view
            return b""
        whole = len(view) - partial
        data = b"".join((self._partial_frame, view[:whole]))
        self._partial_frame = bytes(view[whole:])
        self.frames += len(data) // self.format.frame_bytes
        return data

    def _on_trailing_chunk(self, head: bytes) -> None:
        if self._pad_due:
            self._pad_due = False
            # Some writers leave the pad byte out, so it is looked at, not skipped blindly.
            if not _is_chunk_name(head[:4]):
                self._head = bytearray(head[1:])
                return
        if not _is_chunk_name(head[:4]):
            raise BrokenWav(
                "More bytes follow the WAV's data chunk, and they are no chunks. Is it larger "
                "than 4 GiB, so that its size wrapped? Send it as RF64, or with a data size of "
                "0xFFFFFFFF."
            )
        size = int.from_bytes(head[4:], "little")
        self._skip = size + (size & 1)

    def _headless(self) -> UmusicError:
        if self._next != self._on_riff:
            return BrokenWav("The WAV is cut short: it ends before its data chunk.")
        if not self._head:
            return NoSound("The body is empty: there is no WAV in it.")
        return NotWav(_not_wav(bytes(self._head)))

    # --- small parts --------------------------------------------------------------------------

    def _expect(self, count: int, then: Callable[[bytes], None]) -> None:
        self._need, self._next = count, then

    def _expect_body(
        self, size: int, sizes: range, name: str, then: Callable[[bytes], None]
    ) -> None:
        if size not in sizes:
            raise BrokenWav(f"The WAV is broken: its {name} chunk has {size} bytes.")
        self._expect(size, then)


def parse_format(body: bytes) -> WavFormat:
    """Reads the body of a `fmt ` chunk: WAVEFORMAT, WAVEFORMATEX or WAVEFORMATEXTENSIBLE.

    Raises:
        CodecUnsupported: a codec that is not taken; the sentence names it.
        BrokenWav: values that contradict each other or that no recording has.
    """
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    mask = 0
    if tag == _TAG_EXTENSIBLE:
        if len(body) < 40:
            raise BrokenWav("The WAV is broken: its extensible fmt chunk is too short.")
        _, mask = struct.unpack_from("<HI", body, 18)
        if body[26:40] != _GUID_TAIL:
            raise CodecUnsupported(f"WAV of the codec {body[24:40].hex()} is not taken.")
        tag = struct.unpack_from("<H", body, 24)[0]
    if tag not in (_TAG_PCM, _TAG_FLOAT):
        name = _CODECS.get(tag, "an unknown codec")
        raise CodecUnsupported(
            f"The WAV holds {name} (format tag 0x{tag:04X}); PCM and float are taken."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise BrokenWav(f"The WAV declares {channels} channels; 1 to {MAX_CHANNELS} are taken.")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise BrokenWav(
            f"The WAV declares a sample rate of {rate} Hz; {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE} Hz are taken."
        )
    floating = tag == _TAG_FLOAT
    sample_bytes = (bits + 7) // 8
    if sample_bytes not in ((4, 8) if floating else (1, 2, 3, 4)):
        raise CodecUnsupported(
            f"{bits}-bit {'float' if floating else 'PCM'} is not taken: PCM of 8 to 32 bits and "
            "float of 32 or 64 bits are."
        )
    if frame_bytes != sample_bytes * channels:
        raise BrokenWav(
            f"The WAV is broken: {channels} channels of {bits} bits make a block align of "
            f"{sample_bytes * channels}, but its header says {frame_bytes}."
        )
    return WavFormat(floating, sample_bytes, channels, rate, mask)


def _is_chunk_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _text(name: bytes) -> str:
    return name.decode("ascii").strip()


def _not_wav(head: bytes) -> str:
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return f"The body is not a WAV: it is a RIFF file of the kind {head[8:]!r}."
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return f"The body is not a WAV: it looks like {kind}."
    return f"The body is not a WAV: it begins with {head[:4]!r}, not with RIFF."
