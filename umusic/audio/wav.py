"""A push parser of WAV: feed it bytes as they come, get blocks of samples back. No I/O.

It reads RIFF, RIFX, RF64/BW64 and Wave64. It holds at most one chunk head, one block of samples or
one chunk that it reads (`fmt `, `ds64`, `fact` and those with tags, all limited) at a time; the
bodies of other chunks are skipped as they pass. It decodes nothing: the samples leave as they came,
to be read as the `WavFormat` tells.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, RIFX, fmt), EBU Tech
3306 (RF64, ds64), ITU-R BS.2088 (BW64), Sony Pictures Digital's Wave64 (2006).
"""

import struct
from collections.abc import Callable
from typing import Literal

from umusic.audio.chunks import RIFF, RIFX, W64, W64_CHUNK, W64_FILE, is_chunk_name
from umusic.audio.tags import MAX_CHUNK_BYTES, Tags
from umusic.audio.wav_format import WavFormat, parse_format
from umusic.errors import BrokenWav, NoSound, NotWav, UmusicError

#: Writers that cannot seek back leave these as the size of `data`: all that follows is sound.
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
#: What is beyond is unknown, too: of 64 bits ffmpeg leaves half of the greatest, others all.
_MAX_SIZE = 2**60
#: arecord (0x80000000) and sox (0x7FFFF000) promise about 2 GiB to a pipe, and stop when they like.
_PROMISED_SIZES = range(0x7FFFF000, 0x80000001)

_FMT_BYTES = range(16, 1025)
_DS64_BYTES = range(28, 65_537)
_FACT_BYTES = range(4, 1025)


_KINDS = (
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


class WavReader:
    """Turns the bytes of a WAV, in pieces of any size, into whole blocks of samples.

    Errors are `NotWav`, `CodecUnsupported`, `BrokenWav` and `NoSound`; after one of them the
    reader is of no more use.
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        max_header_bytes: int = 16 * 2**20,
        max_chunks: int = 1000,
    ) -> None:
        """`total` is how many bytes the whole WAV has, if that is known."""
        self.format: WavFormat | None = None
        #: Sample frames handed out so far.
        self.frames = 0
        #: Sample frames that the header promises, once it is read; None if it leaves that open.
        self.declared_frames: int | None = None
        #: What the chunks so far say of the sound.
        self.tags = Tags()
        #: Bytes that will follow the sound; 0 if that is open.
        self.trailer_bytes = 0
        self._total = total
        self._max_header_bytes = max_header_bytes
        self._max_chunks = max_chunks
        self._number = 0
        self._header_bytes = 0
        self._file_size = 0
        self._ds64_size: int | None = None
        #: Sample frames as the `fact` chunk has them; 0 if it leaves that open.
        self._fact = 0
        self._chunks = RIFF
        self._stage: Literal["header", "data", "trailer"] = "header"
        self._next: Callable[[bytes], None] = self._on_riff
        self._need = 12
        self._head = bytearray()
        self._skip = 0
        #: Whether the body of a chunk is read.
        self._in_chunk = False
        #: Bytes of `data` still to come; None: until the body ends.
        self._left: int | None = None
        self._pad_due = 0
        #: What is held back of the sound: less than a block, or for ADPCM the last one.
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the WAV and returns the whole blocks among them."""
        blocks = b""
        view = memoryview(data)
        while view:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
            elif self._stage == "data":
                passed = len(view) if self._left is None else min(self._left, len(view))
                blocks = self._take(view[:passed])
            else:
                passed = min(self._need - len(self._head), len(view))
                self._head += view[:passed]
                if len(self._head) == self._need:
                    head, self._head = bytes(self._head), bytearray()
                    self._next(head)
            view = view[passed:]
        return blocks

    def finish(self) -> bytes:
        """Says that the body has ended, and returns the last block if it was held back; raises if
        the body may not end here."""
        if self._stage == "header":
            raise self._headless()
        if self._stage == "data" and self._left is not None:
            raise BrokenWav(
                f"The WAV is cut short: its header declares {self._left} more bytes of sound "
                "than were sent."
            )
        padding = self._skip < self._chunks.padding and not self._in_chunk and not any(self._head)
        if self._stage == "trailer" and not padding:
            raise BrokenWav("The WAV is cut short in a chunk after its sound.")
        last = self._last_block()
        if not self.frames:
            raise NoSound("The WAV holds no sound: its data chunk is empty.")
        return last

    # --- the header ---------------------------------------------------------------------------

    def _on_riff(self, head: bytes) -> None:
        if head == W64_FILE[:12]:
            self._expect(28, lambda rest: self._on_wave64(head + rest))
            return
        if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or head[8:] != b"WAVE":
            raise NotWav(_not_wav(head))
        if head[:4] == b"RIFX":
            self._chunks, self.tags = RIFX, Tags(big_endian=True)
        size = self._chunks.head(head[:8])[1]
        self._file_size = size + 8 if size != 0xFFFFFFFF else 0
        self._header_bytes = len(head)
        self._expect_chunk()

    def _on_wave64(self, head: bytes) -> None:
        if head[:16] != W64_FILE or head[24:] != b"wave" + W64_CHUNK:
            raise NotWav("The body is not a WAV: it looks like a Wave64 file, but holds no sound.")
        self._chunks = W64
        self._file_size = int.from_bytes(head[16:24], "little")
        self._header_bytes = len(head)
        self._expect_chunk()

    def _on_chunk(self, head: bytes) -> None:
        name, size = self._chunks.head(head)
        self._number += 1
        self._header_bytes += len(head)
        if name == b"data":
            self._on_data(size)
            return
        if not is_chunk_name(name):
            raise BrokenWav(f"The WAV is broken: {name!r} stands where a chunk should begin.")
        self._header_bytes += size + self._chunks.pad(size)
        if self._number > self._max_chunks or self._header_bytes > self._max_header_bytes:
            raise BrokenWav(
                f"The WAV's header is too long: more than {self._max_header_bytes} bytes or "
                f"{self._max_chunks} chunks before its data chunk (at chunk {_text(name)} of "
                f"{size} bytes)."
            )
        if name == b"fmt ":
            self._expect_body(size, _FMT_BYTES, "fmt", self._on_fmt)
        elif name == b"ds64":
            self._expect_body(size, _DS64_BYTES, "ds64", self._on_ds64)
        elif name == b"fact":
            self._expect_body(size, _FACT_BYTES, "fact", self._on_fact)
        else:
            self._pass(name, size)

    def _on_fmt(self, body: bytes) -> None:
        if self.format is not None:
            raise BrokenWav("The WAV is broken: it has two fmt chunks.")
        self.format = parse_format(body, big_endian=self._chunks.big_endian)

    def _on_ds64(self, body: bytes) -> None:
        self._file_size, self._ds64_size = struct.unpack_from("<QQ", body)
        self._file_size += 8

    def _on_fact(self, body: bytes) -> None:
        self._fact = int.from_bytes(body[:4], "little")

    def _on_data(self, size: int) -> None:
        if self.format is None:
            raise BrokenWav("The WAV is broken: its data chunk comes before its fmt chunk.")
        if size == 0xFFFFFFFF and self._ds64_size is not None:
            size = self._ds64_size
        if size == 0 and self._declares_more():
            raise NoSound("The WAV holds no sound: its data chunk is empty.")
        self._stage = "data"
        if not self._is_open(size):
            size += self._wrapped(size)
            self._left = size
            self.declared_frames = self._length(self.format.frames_in(size))
            whole = self._file_size if self._total is None else self._total
            after = whole - self._header_bytes - size - self._chunks.pad(size)
            self.trailer_bytes = max(after, 0)
        self._pad_due = self._chunks.pad(size)
        self._expect(self._chunks.head_bytes, self._on_trailing_chunk)

    def _is_open(self, size: int) -> bool:
        """Whether sound of this size may be shorter or longer. Recorders begin a new file at 2 GiB:
        if the body is as long as its header says, it is meant."""
        if size in _PROMISED_SIZES:
            return not self._header_bytes + size <= self._file_size == self._total
        return size in _UNKNOWN_SIZES or size > _MAX_SIZE

    def _declares_more(self) -> bool:
        """Whether the file's size tells of chunks behind an empty `data`: then it is truly empty,
        not left open by a writer that could not seek."""
        return self._header_bytes < self._file_size

    def _wrapped(self, size: int) -> int:
        """What is missing from the size of a `data` chunk that passed 4 GiB: it is plain if the
        rest of the body is longer by a multiple of 4 GiB to the byte."""
        if self._total is None or self._ds64_size is not None or self._chunks is W64:
            return 0
        rest = max(self._total - self._header_bytes - size, 0)
        whole = rest - rest % 2**32
        return whole if rest - whole <= self._chunks.pad(size) else 0

    # --- the sound and what follows it --------------------------------------------------------

    def _take(self, view: memoryview) -> bytes:
        assert self.format is not None
        if self._left is not None:
            self._left -= len(view)
            if not self._left:
                self._stage = "trailer"
        size, block = len(self._held) + len(view), self.format.block_bytes
        # The last block of ADPCM may be longer than the sound: what it is shows at the end.
        held = (size - 1) % block + 1 if self.format.adpcm else size % block
        if held > len(view):
            self._held += view
            return b""
        whole = len(view) - held
        blocks = b"".join((self._held, view[:whole]))
        self._held = bytes(view[whole:])
        self._count(blocks)
        return blocks

    def _last_block(self) -> bytes:
        assert self.format is not None
        last = self._held[: self.format.sound_bytes(len(self._held))]
        if last:
            self._count(last)
            self.frames = self._length(self.frames)
        return last

    def _count(self, blocks: bytes) -> None:
        assert self.format is not None
        broken = self.format.broken_block(blocks)
        if broken is not None:
            number = self.frames // self.format.block_frames + broken
            raise BrokenWav(f"The WAV is broken: its block {number} is no ADPCM.")
        self.frames += self.format.frames_in(len(blocks))

    def _length(self, frames: int) -> int:
        """The length of the sound if its blocks hold so many sample frames: the last one may hold
        more than belongs to it."""
        assert self.format is not None
        if self._fact and 0 < frames - self._fact < self.format.block_frames:
            return self._fact
        return frames

    def _on_trailing_chunk(self, head: bytes) -> None:
        if self._pad_due:
            pad, self._pad_due = self._pad_due, 0
            # Some writers leave the padding out, so it is looked at, not skipped blindly.
            if not is_chunk_name(head[:4]):
                self._head = bytearray(head[pad:])
                return
        if not is_chunk_name(head[:4]):
            raise BrokenWav(
                "More bytes follow the WAV's data chunk, and they are no chunks. Is it larger "
                "than 4 GiB, so that its size wrapped? Send it as RF64, or with a data size of "
                "0xFFFFFFFF."
            )
        self._number += 1
        if self._number > self._max_chunks:
            raise BrokenWav(f"The WAV is broken: it has more than {self._max_chunks} chunks.")
        self._pass(*self._chunks.head(head))

    def _pass(self, name: bytes, size: int) -> None:
        """Reads the tags of a chunk that has some, and skips any other."""
        parse = self.tags.parsers.get(name)
        if parse is None or not 0 < size <= MAX_CHUNK_BYTES:
            self._skip = size + self._chunks.pad(size)
        else:
            self._expect_body(size, range(MAX_CHUNK_BYTES + 1), _text(name), parse)

    def _headless(self) -> UmusicError:
        if self._next != self._on_riff:
            return BrokenWav("The WAV is cut short: it ends before its data chunk.")
        if not self._head:
            return NoSound("The body is empty: there is no WAV in it.")
        return NotWav(_not_wav(bytes(self._head)))

    # --- small parts --------------------------------------------------------------------------

    def _expect(self, count: int, then: Callable[[bytes], None]) -> None:
        self._need, self._next = count, then

    def _expect_chunk(self) -> None:
        trailing = self._stage == "trailer"
        self._expect(
            self._chunks.head_bytes, self._on_trailing_chunk if trailing else self._on_chunk
        )

    def _expect_body(
        self, size: int, sizes: range, name: str, then: Callable[[bytes], None]
    ) -> None:
        if size not in sizes:
            raise BrokenWav(f"The WAV is broken: its {name} chunk has {size} bytes.")

        def take(body: bytes) -> None:
            self._in_chunk = False
            self._expect_chunk()
            self._skip = self._chunks.pad(size)
            then(body)

        self._in_chunk = True
        self._expect(size, take)


def _text(name: bytes) -> str:
    return name.decode("ascii").strip()


def _not_wav(head: bytes) -> str:
    kind, form = (ascii(part.decode("latin-1")) for part in (head[:4], head[8:]))
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return f"The body is not a WAV: it is a RIFF file of the kind {form}."
    for magic, likely in _KINDS:
        if head.startswith(magic):
            return f"The body is not a WAV: it looks like {likely}."
    return f"The body is not a WAV: it begins with {kind}, not with RIFF."
