"""What tus 1.0.0 says in headers (https://tus.io/protocols/resumable-upload), read and written.

Knows no request: text in, values out.
"""

import base64
import binascii
import re

from umusic.library.turns import Checksum
from umusic.upload_errors import MalformedHeader

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "termination",
    "checksum",
)
#: As the protocol and hashlib call them.
ALGORITHMS = ("sha1", "sha256")
CONTENT_TYPE = "application/offset+octet-stream"

RESUMABLE = "Tus-Resumable"
OFFSET = "Upload-Offset"
LENGTH = "Upload-Length"
DEFER_LENGTH = "Upload-Defer-Length"
METADATA = "Upload-Metadata"
CHECKSUM = "Upload-Checksum"
CONCAT = "Upload-Concat"
EXPIRES = "Upload-Expires"
OVERRIDE = "X-HTTP-Method-Override"

#: What scripts of other sites have to be allowed to send, and to read, for tus to work there. A
#: preflight comes to `TusHandler.options`, as OPTIONS is a method of these paths.
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Prefer",
    RESUMABLE,
    OFFSET,
    LENGTH,
    DEFER_LENGTH,
    METADATA,
    CHECKSUM,
    CONCAT,
    OVERRIDE,
    "X-Request-ID",
    "X-Requested-With",
)
CORS_RESPONSE_HEADERS = (
    "Location",
    "Content-Location",
    RESUMABLE,
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    OFFSET,
    LENGTH,
    DEFER_LENGTH,
    METADATA,
    EXPIRES,
    "Retry-After",
    "X-Request-ID",
)

_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]+")


def number(name: str, text: str) -> int:
    """A count of bytes.

    Raises:
        MalformedHeader: it is none.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise MalformedHeader(f"{name} is a number of bytes.", header=name)
    return int(text)


def metadata(text: str) -> dict[str, str]:
    """The pairs of Upload-Metadata: keys of ASCII without space and comma, values in base64, which
    may be missing.

    Raises:
        MalformedHeader: it is not written like that, or the values are not UTF-8.
    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode()
        except ValueError as exc:
            raise _malformed_metadata() from exc
        if not _KEY.fullmatch(key) or key in found:
            raise _malformed_metadata()
        found[key] = decoded
    return found


def checksum(text: str) -> Checksum:
    """What Upload-Checksum announces: an algorithm and a digest in base64.

    Raises:
        MalformedHeader: the algorithm is not known, or it is no digest.
    """
    algorithm, _, value = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise MalformedHeader(
            f"{CHECKSUM} is by one of {', '.join(ALGORITHMS)}, and its digest in base64.",
            header=CHECKSUM,
        )
    try:
        return Checksum(algorithm, base64.b64decode(value.strip(), validate=True))
    except binascii.Error as exc:
        raise MalformedHeader(f"The digest of {CHECKSUM} is not base64.", header=CHECKSUM) from exc


def is_offset_stream(content_type: str) -> bool:
    """Whether a body is a piece of an upload, by its Content-Type."""
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE


def wants_record(prefer: str, accept: str) -> bool:
    """Whether a request asks for the record in the reply: by Prefer: return=representation (RFC
    7240, 4.2), or by an Accept that names application/json."""
    preferences = (part.strip().lower().replace('"', "") for part in re.split("[,;]", prefer))
    types = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return "return=representation" in preferences or "application/json" in types


def _malformed_metadata() -> MalformedHeader:
    return MalformedHeader(
        f"{METADATA} is a list of a key and a value in base64 each, with commas between.",
        header=METADATA,
    )
