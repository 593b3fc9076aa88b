"""How long a request's body is, by its headers (RFC 9112, 6), and what else is looked at first.

Tornado checks this only after `prepare()`; umusic wants to know before it does anything.
"""

import re
from dataclasses import dataclass

from tornado.httputil import HTTPHeaders

from umusic.errors import ExpectationUnknown, InvalidRequest, MalformedFraming

#: What nginx takes by default as well, the path included. Names and searches need 3000 at most.
MAX_QUERY_BYTES = 8 * 1024

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


def check_expectation(headers: HTTPHeaders) -> None:
    """Raises ExpectationUnknown for any but 100-continue, and has Tornado know that one, which it
    compares case-sensitively."""
    expectation = headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise ExpectationUnknown
    headers["Expect"] = "100-continue"


def check_query(query: str) -> None:
    """Raises InvalidRequest for a query string that is too long."""
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidRequest(f"At most {MAX_QUERY_BYTES} bytes of a query are taken.")
