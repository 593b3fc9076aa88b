"""Tokens and links are secrets: what the tests make umusic or nginx write is searched for them.

Used by the fixtures and processes of the tests themselves, so that no test has to think of it.
"""

import logging
import re
from collections.abc import Iterable

from umusic import logs

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What only a query string or a header with credentials looks like.
_MARK = re.compile(r"[?&](?:id|user|user_id|token|access_token)=|Bearer\s+[0-9a-f]{8}-")
#: A bytea as Postgres shows it.
_BYTES = re.compile(r"\\x([0-9a-f]{32,})")
#: Loggers of clients that run in the tests' own process.
_CLIENTS = ("httpx", "httpcore", "urllib3")

#: Every token that was issued in this process, or told to it.
_issued: set[str] = set()
#: What no log may show, though the database has it: the ids of resumable uploads.
_unshown: set[str] = set()


def issued(token: str) -> str:
    """Takes note of a token."""
    _issued.add(token)
    return token


def unshown(upload_id: str) -> str:
    """Takes note of the id of a resumable upload: who knows it can go on with that."""
    _unshown.add(upload_id)
    return upload_id


def tokens_in(text: str) -> set[str]:
    """The tokens that stand in a text."""
    return _issued.intersection(_UUID.findall(text))


def assert_none_in_log(text: str, where: object) -> None:
    """Fails if a log holds a token or a link."""
    assert not tokens_in(text), f"{where} holds a token"
    assert not _unshown.intersection(_UUID.findall(text)), f"{where} holds an upload's id"
    mark = _MARK.search(text)
    assert mark is None, f"{where} holds a link: {text[max(mark.start() - 200, 0) : mark.end()]}"


def assert_none_in_records(records: Iterable[logging.LogRecord]) -> None:
    """Fails if what was logged in this process, tracebacks and members included, holds a token or a
    link."""
    lines = logs.json_lines()
    for record in records:
        if not record.name.startswith(_CLIENTS):
            assert_none_in_log(lines.format(record), f"the log of {record.name}")


def assert_none_in_row(row: str) -> None:
    """Fails if a row, as Postgres casts it to text, holds a token, as text or as bytes."""
    found = [bytes.fromhex(digits) for digits in _BYTES.findall(row) if len(digits) % 2 == 0]
    plain = [data.decode("latin-1") for data in found]
    raw = [_dashed(data.hex()) for data in found if len(data) == 16]
    assert not tokens_in(" ".join([row, *plain, *raw])), "a row holds a token"


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
