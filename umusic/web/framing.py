"""How long a request's body is, by its headers (RFC 9112, 6).

Tornado checks this only after `prepare()`; umusic wants to know before it does anything.
"""

import re
from dataclasses import dataclass

from tornado.httputil import HTTPHeaders

from umusic.errors import MalformedFraming

_DECIMAL = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Framing:
    """The `length` in bytes by Content-Length, if any; whether the body comes in chunks."""

    length: int | None
    chunked: bool

    @classmethod
    def of(cls, headers: HTTPHeaders) -> "Framing":
        """Reads the headers.

        Raises:
            MalformedFraming: they contradict each other, or are no lengths.
        """
        lengths = (
            set(re.split(r",[ \t]*", headers["Content-Length"]))
            if "Content-Length" in headers
            else set()
        )
        coding = headers.get("Transfer-Encoding")
        if coding is not None and (lengths or coding.lower() != "chunked"):
            raise MalformedFraming
        if len(lengths) > 1 or not all(_DECIMAL.fullmatch(length) for length in lengths):
            raise MalformedFraming
        return cls(int(lengths.pop()) if lengths else None, coding is not None)

    @property
    def told(self) -> bool:
        """Whether there is any framing at all."""
        return self.chunked or self.length is not None

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow the headers."""
        return self.chunked or bool(self.length)
