"""Headers that an upload may bear, read as the standards write them."""

import re
from typing import Any

import http_sf
from tornado.httputil import HTTPHeaders

from umusic.upload_errors import MalformedHeader

IDEMPOTENCY_KEY = "Idempotency-Key"

_PRINTABLE = re.compile(r"[ -~]{1,255}")


def idempotency_key(headers: HTTPHeaders) -> str | None:
    """The Idempotency-Key, if there is one: bare, or as the string in quotes that
    draft-ietf-httpapi-idempotency-key-header asks for.

    Raises:
        MalformedHeader: it cannot be a key.
    """
    told = headers.get_list(IDEMPOTENCY_KEY)
    if not told:
        return None
    key = ", ".join(told).strip()
    if key.startswith('"'):
        key, _ = structured(IDEMPOTENCY_KEY, key, "item")
    if len(told) > 1 or not _PRINTABLE.fullmatch(key):
        raise MalformedHeader(
            f"{IDEMPOTENCY_KEY} is one key of 1 to 255 printable ASCII characters.",
            header=IDEMPOTENCY_KEY,
        )
    return key


def structured(name: str, text: str, kind: str) -> Any:
    """The value of a structured field (RFC 9651), an "item" or a "dictionary".

    Raises:
        MalformedHeader: it is none.
    """
    try:
        return http_sf.parse(text.encode("latin-1"), tltype=kind)
    except ValueError as exc:
        raise MalformedHeader(f"{name} is no structured field (RFC 9651).", header=name) from exc
