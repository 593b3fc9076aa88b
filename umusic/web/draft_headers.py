"""What draft-ietf-httpbis-resumable-upload says in headers (structured fields, RFC 9651), read and
written. docs/decisions.md says which version of it.

Knows no request: headers in, values out. What cannot be read counts as not there, as it has it.
"""

from dataclasses import dataclass

from tornado.httputil import HTTPHeaders

from umusic.library.turns import Checksum
from umusic.resumable_errors import InconsistentLength
from umusic.upload_errors import MalformedHeader
from umusic.web import tus_headers as tus
from umusic.web.digests import announced_check
from umusic.web.headers import IDEMPOTENCY_KEY, structured

CONTENT_TYPE = "application/partial-upload"

VERSION = "Upload-Draft-Interop-Version"
COMPLETE = "Upload-Complete"
OFFSET = "Upload-Offset"
LENGTH = "Upload-Length"
LIMIT = "Upload-Limit"

#: Interop versions, between which nothing differs that is done here: 9 is that of the draft's -12,
#: 8 of those before it, and what Apple's systems of 2025 send.
_VERSIONS = (8, 9)
#: What a whole upload can promise and one in pieces cannot.
_OF_WHOLE = (IDEMPOTENCY_KEY, "Repr-Digest")
#: By these a proxy says that it is one.
_OF_PROXIES = ("Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")


def version_of(headers: HTTPHeaders) -> int | None:
    """The interop version that a request and we speak; None if it does not speak the draft."""
    version = _integer(headers, VERSION)
    return version if version in _VERSIONS and tus.RESUMABLE not in headers else None


def is_creation(headers: HTTPHeaders, *, announced: bool) -> bool:
    """Whether an upload is to be resumable, for whose URL there is an interim answer or not. If it
    would be whole, one that could not be resumed, or that promises more, is better a plain one."""
    last = _boolean(headers, COMPLETE)
    form = headers.get("Content-Type", "").strip().lower().startswith("multipart/form-data")
    if version_of(headers) is None or last is None or form:
        return False
    promises = (*_OF_WHOLE, "Content-Digest")
    return not last or (announced and not any(name in headers for name in promises))


def hears_interim(version: str, headers: HTTPHeaders, *, relayed: bool) -> bool:
    """Whether an interim answer reaches whoever sent the request, of this version of HTTP. Of the
    proxies nginx takes it for the answer; `relayed`: all that are there let it pass."""
    passed_on = any(name in headers for name in _OF_PROXIES)
    return version == "HTTP/1.1" and (relayed or not passed_on)


@dataclass(frozen=True, slots=True)
class Piece:
    """What a request says of the bytes that it brings: whether they are the `last` ones, how many
    the upload has in all and where they begin, if it says so, and which digest they have."""

    last: bool
    length: int | None
    offset: int | None
    check: Checksum | None

    @classmethod
    def of(cls, headers: HTTPHeaders) -> "Piece":
        """Reads the headers.

        Raises:
            MalformedHeader: whether it is the last is missing, or it promises too much.
        """
        last = _boolean(headers, COMPLETE)
        if last is None:
            raise MalformedHeader(f"{COMPLETE} is needed: ?1 or ?0.", header=COMPLETE)
        for name in _OF_WHOLE:
            if name in headers:
                raise MalformedHeader(
                    f"An upload in pieces takes no {name}; but each piece takes a Content-Digest.",
                    header=name,
                )
        length, offset = _integer(headers, LENGTH), _integer(headers, OFFSET)
        return cls(last, length, offset, announced_check(headers))

    def length_from(self, offset: int, size: int | None) -> int | None:
        """How many bytes the upload has, if this begins at `offset` and is of `size`.

        Raises:
            InconsistentLength: it says two things.
        """
        end = offset + size if self.last and size is not None else None
        if None not in (end, self.length) and end != self.length:
            raise InconsistentLength
        return self.length if end is None else end


def boolean(value: bool) -> str:
    """A boolean as it is written."""
    return "?1" if value else "?0"


def limits(max_size: int, max_age: float | None = None) -> str:
    """Upload-Limit: bytes that an upload may have, and seconds that it waits for more."""
    age = "" if max_age is None else f", max-age={max(int(max_age), 0)}"
    return f"max-size={max_size}{age}"


def interim(url: str, version: int, limit: str) -> bytes:
    """The interim answer that tells the upload's URL, as it goes over the line."""
    lines = (
        "HTTP/1.1 104 Upload Resumption Supported",
        f"{VERSION}: {version}",
        f"Location: {url}",
        f"{LIMIT}: {limit}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def is_partial(content_type: str) -> bool:
    """Whether a body is a piece of an upload, by its Content-Type."""
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE


def _boolean(headers: HTTPHeaders, name: str) -> bool | None:
    value = _item(headers, name)
    return value if isinstance(value, bool) else None


def _integer(headers: HTTPHeaders, name: str) -> int | None:
    value = _item(headers, name)
    return value if type(value) is int and value >= 0 else None


def _item(headers: HTTPHeaders, name: str) -> object:
    try:
        value, _ = structured(name, headers.get(name, ""), "item")
    except MalformedHeader:
        return None
    return value
