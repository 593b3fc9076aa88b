"""Title, artist and the like: out of a WAV's LIST INFO and bext chunks, into an ID3v2 tag.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (LIST INFO), EBU Tech 3285
(bext), ID3v2.4.0 (frames). The tag itself is written by mutagen.
"""

import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Literal

from mutagen import id3

#: Longer chunks are passed over.
MAX_CHUNK_BYTES = 64 * 2**10
#: Of a chunk, those known and unknown; there are some forty names.
_MAX_FIELDS = 100
#: Of a field, in characters.
_MAX_LENGTH = 500
_MAX_ROOM = 8 * 2**10

#: The ID3 frames for the fields of LIST INFO.
_INFO = {
    b"INAM": id3.TIT2,
    b"IART": id3.TPE1,
    b"IPRD": id3.TALB,
    b"ICRD": id3.TDRC,
    b"IGNR": id3.TCON,
    b"ITRK": id3.TRCK,
    b"IPRT": id3.TRCK,
    b"ICOP": id3.TCOP,
    b"ICMT": id3.COMM,
}
#: Where they are in a bext chunk: Description, Originator, OriginationDate.
_BEXT = {id3.TIT2: slice(256), id3.TPE1: slice(256, 288), id3.TDRC: slice(320, 330)}
_DATE = re.compile(r"\d{4}([-/.:_ ]\d\d([-/.:_ ]\d\d)?)?")


class Tags:
    """What the chunks of a WAV say of its sound. The first to tell a field is believed, LIST INFO
    before bext."""

    def __init__(self, *, big_endian: bool = False) -> None:
        self._big_endian = big_endian
        self._info: dict[type[id3.Frame], str] = {}
        self._bext: dict[type[id3.Frame], str] = {}

    @property
    def parsers(self) -> Mapping[bytes, Callable[[bytes], None]]:
        """What reads the body of a chunk, by its name. None of them raises."""
        return {b"LIST": self._add_list, b"bext": self._add_bext}

    def room(self, more: int) -> int:
        """Bytes that the tag will need if chunks of `more` bytes are still to come."""
        now = len(_tag(self._fields)) if self._fields or more else 0
        return min(now + 2 * more, max(now, _MAX_ROOM))

    def encoded(self, size: int) -> bytes:
        """The ID3v2.4 tag, padded to `size` bytes; what does not fit in is left out. None for 0."""
        if not size:
            return b""
        fields = self._fields
        while fields and len(_tag(fields)) > size:
            del fields[max(fields, key=lambda frame: len(fields[frame].encode()))]
        return _tag(fields, size)

    @property
    def _fields(self) -> dict[type[id3.Frame], str]:
        return self._bext | self._info

    def _add_list(self, body: bytes) -> None:
        if body[:4] != b"INFO":
            return
        fields = _info_fields(body, "big" if self._big_endian else "little")
        for name, value in islice(fields, _MAX_FIELDS):
            frame = _INFO.get(name)
            if frame is not None:
                _add(self._info, frame, value)

    def _add_bext(self, body: bytes) -> None:
        for frame, place in _BEXT.items():
            _add(self._bext, frame, body[place])


def _info_fields(body: bytes, order: Literal["big", "little"]) -> Iterator[tuple[bytes, bytes]]:
    """Names and values; ends where they make no sense any more."""
    at = 4
    while at + 8 <= len(body):
        size = int.from_bytes(body[at + 4 : at + 8], order)
        yield body[at : at + 4], body[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _add(fields: dict[type[id3.Frame], str], frame: type[id3.Frame], value: bytes) -> None:
    if frame in fields:
        return
    text = _text(value)
    if frame is id3.TDRC:
        date = _DATE.match(text)
        text = re.sub(r"\D", "-", date[0]) if date else ""
    if text:
        fields[frame] = text


def _text(value: bytes) -> str:
    """Nothing tells the character set: it is UTF-8 if it can be, else that of a Western or, where
    most letters are not ASCII, of a Russian Windows."""
    value = value.partition(b"\0")[0][: 4 * _MAX_LENGTH]
    try:
        text = value.decode()
    except UnicodeDecodeError as exc:
        text = _cut_short(value, exc) or value.decode(_code_page(value), errors="replace")
    printable = "".join(character for character in text if character.isprintable())
    # Cut before: with the square of their number grows how long it takes to sort accents.
    return unicodedata.normalize("NFC", printable.strip()[:_MAX_LENGTH])


def _cut_short(value: bytes, fault: UnicodeDecodeError) -> str:
    """UTF-8 but for a last character that did not fit into the field; nothing if it is none."""
    whole = value[: fault.start]
    return "" if whole.isascii() or fault.end < len(value) else whole.decode()


def _code_page(value: bytes) -> str:
    cyrillic, latin = re.findall(rb"[\xC0-\xFF]", value), re.findall(rb"[A-Za-z]", value)
    return "cp1251" if len(cyrillic) > len(latin) else "cp1252"


def _tag(fields: Mapping[type[id3.Frame], str], size: int | None = None) -> bytes:
    tag = id3.ID3()
    # A tag has to have one frame at least.
    tag.add(id3.TSSE(encoding=id3.Encoding.UTF8, text="umusic"))
    for frame, text in fields.items():
        tag.add(frame(encoding=id3.Encoding.UTF8, text=text))
    file = io.BytesIO()
    tag.save(file, v2_version=4, padding=lambda info: size + info.padding if size else 0)
    return file.getvalue()
