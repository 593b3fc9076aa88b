"""The length headers of a request."""

import pytest
from tornado.httputil import HTTPHeaders

from umusic.errors import MalformedFraming
from umusic.web.framing import Framing


@pytest.mark.parametrize(
    ("headers", "framing", "has_body"),
    [
        ({}, Framing(None, False), False),
        ({"Content-Length": "0"}, Framing(0, False), False),
        ({"Content-Length": "12"}, Framing(12, False), True),
        ({"Content-Length": "12, 12"}, Framing(12, False), True),
        ({"Transfer-Encoding": "Chunked"}, Framing(None, True), True),
    ],
)
def test_a_length_or_chunks(headers: dict[str, str], framing: Framing, has_body: bool) -> None:
    assert Framing.of(HTTPHeaders(headers)) == framing
    assert framing.has_body == has_body
    assert framing.told == bool(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "-1"},
        {"Content-Length": "+1"},
        {"Content-Length": "1_0"},
        {"Content-Length": "0x10"},
        {"Content-Length": "٣"},
        {"Content-Length": ""},
        {"Content-Length": "1, 2"},
        {"Content-Length": "9" * 30},
        {"Content-Length": "1", "Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "gzip"},
        {"Transfer-Encoding": "gzip, chunked"},
        {"Transfer-Encoding": ""},
    ],
)
def test_anything_else_is_malformed(headers: dict[str, str]) -> None:
    with pytest.raises(MalformedFraming):
        Framing.of(HTTPHeaders(headers))
