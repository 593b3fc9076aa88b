"""From the body of a request to the bytes of the WAV in it: raw, or multipart/form-data.

Both kinds turn pieces of the body into the same events, and hold none of the file's bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    content_disposition_unquote,
    parse_options_header,
)

from umusic.errors import InvalidField, MalformedForm

MAX_PARTS = 32
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4 * 1024
MAX_FIELD_BYTES = 16 * 1024
#: What a form may have besides its file: fields, headers, and what no parser looks at, before the
#: first boundary and after the last.
MAX_FORM_BYTES = 64 * 1024
#: RFC 2046, 5.1.1.
_MAX_BOUNDARY = 70


#: RFC 8187, 3.2.1: charset'language'percent-encoded.
_EXTENDED = re.compile(r"; *filename\* *= *(utf-8|iso-8859-1)'[^']{0,32}'([^;\s\"]*)", re.I | re.A)


@dataclass(frozen=True, slots=True)
class Field:
    """A form field that is no file."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileStart:
    """The form's file begins; bytes of it follow. `filename` is what the client calls it."""

    filename: str | None


Event = Field | FileStart | bytes


class Body(Protocol):
    """A kind of body."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Takes a piece of the body. Raises MalformedForm."""
        ...

    def close(self) -> None:
        """Says that the body has ended. Raises MalformedForm if it may not end here."""
        ...


class RawBody:
    """The body is the WAV."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The piece itself."""
        yield data

    def close(self) -> None:
        """A raw body may end anywhere: its framing has been checked."""


class MultipartBody:
    """The body is a form (RFC 7578) with exactly one file, under any name."""

    def __init__(self, boundary: str) -> None:
        try:
            self._parser = PushMultipartParser(
                boundary,
                max_segment_count=MAX_PARTS,
                max_header_count=MAX_PART_HEADERS,
                max_header_size=MAX_PART_HEADER_BYTES,
            )
        except MultipartError as exc:
            raise MalformedForm("The multipart boundary is not usable.") from exc
        if len(boundary) > _MAX_BOUNDARY:
            raise MalformedForm(f"A multipart boundary has at most {_MAX_BOUNDARY} characters.")
        self._segment: MultipartSegment | None = None
        self._value = bytearray()
        self._files = 0
        self._besides = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The fields, the start of the file and its bytes, in the order of the form."""
        self._besides += len(data)
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    yield from self._on_part(event)
                elif event is None:
                    yield from self._on_part_end()
                elif self._is_file():
                    self._besides -= len(event)
                    yield bytes(event)
                else:
                    self._on_value(event)
        except MultipartError as exc:
            raise MalformedForm from exc
        if self._besides > MAX_FORM_BYTES:
            raise MalformedForm(
                f"The form has more than {MAX_FORM_BYTES} bytes besides its file. If they are the "
                "file, send it with a filename, as curl -F file=@take.wav does."
            )

    def close(self) -> None:
        """Raises MalformedForm if the form is cut short or holds no file."""
        try:
            self._parser.close()
        except MultipartError as exc:
            raise MalformedForm("The multipart/form-data body is cut short.") from exc
        if not self._files:
            raise MalformedForm("The form holds no file: send one, as with curl -F file=@take.wav.")

    def _is_file(self) -> bool:
        return self._segment is not None and self._segment.filename is not None

    def _on_part(self, segment: MultipartSegment) -> Iterator[Event]:
        self._segment = segment
        self._value.clear()
        # The parser does not know filename*, which some clients send for other than ASCII, some
        # beside a plain one.
        filename = filename_of(dict(segment.headerlist)["Content-Disposition"])
        segment.filename = segment.filename if filename is None else filename
        if self._is_file():
            self._files += 1
            if self._files > 1:
                raise MalformedForm("The form holds more than one file; send one at a time.")
            yield FileStart(segment.filename)

    def _on_value(self, data: bytes | bytearray) -> None:
        self._value += data
        if len(self._value) > MAX_FIELD_BYTES:
            raise MalformedForm(
                f"A form field is longer than {MAX_FIELD_BYTES} bytes. If it is the file, send it "
                "with a filename, as curl -F file=@take.wav does."
            )

    def _on_part_end(self) -> Iterator[Event]:
        if self._segment is not None and not self._is_file():
            try:
                yield Field(self._segment.name or "", self._value.decode())
            except UnicodeDecodeError as exc:
                raise MalformedForm("A form field is not UTF-8.") from exc
        self._segment = None


def body_of(content_type: str) -> Body:
    """The kind of body that the Content-Type tells of: multipart if it says so, else raw.

    Raises:
        MalformedForm: multipart without a usable boundary.
    """
    kind, options = parse_options_header(content_type)
    return (
        MultipartBody(options.get("boundary", "")) if kind == "multipart/form-data" else RawBody()
    )


def as_utf8(header: str) -> str:
    """A header value as its sender meant it: Tornado reads headers as Latin-1, curl sends UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def filename_of(content_disposition: str) -> str | None:
    """The filename that a Content-Disposition tells (RFC 6266); filename* goes before filename."""
    extended = _EXTENDED.search(content_disposition)
    if extended:
        try:
            return unquote(extended[2], extended[1], "strict")
        except UnicodeDecodeError:
            return None
    _, options = parse_options_header(content_disposition, unquote=content_disposition_unquote)
    filename: str | None = options.get("filename")
    return filename


def filename_in(path: str, below: str) -> str | None:
    """NAME of PUT /record/NAME, where that is below /record; None if there is none.

    Raises:
        InvalidField: it is not UTF-8.
    """
    try:
        return unquote_to_bytes(path.removeprefix(below).strip("/")).decode()
    except UnicodeDecodeError as exc:
        raise InvalidField("The name in the path is not UTF-8.", field="name") from exc
