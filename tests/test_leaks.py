"""What looks for tokens and links in logs and rows: does it see them?"""

import logging
import uuid

import pytest

from tests import leaks


@pytest.fixture
def token() -> str:
    return leaks.issued(str(uuid.uuid4()))


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("umusic.x", logging.INFO, "x.py", 1, message, args, None)


def test_a_token_in_a_log_is_seen(token: str) -> None:
    with pytest.raises(AssertionError, match="holds a token"):
        leaks.assert_none_in_log(f"POST /user {token} 201", "a log")
    with pytest.raises(AssertionError, match="holds a token"):
        leaks.assert_none_in_records([record("%s", token)])


@pytest.mark.parametrize("query", ["?id=1&user=2", "?user_id=1", "?x=&token=1", "?access_token=1"])
def test_a_link_in_a_log_is_seen(query: str) -> None:
    with pytest.raises(AssertionError, match="holds a link"):
        leaks.assert_none_in_log(f'"GET /record{query} HTTP/1.1" 200', "a log")


def test_what_is_no_secret_may_be_logged() -> None:
    leaks.assert_none_in_log(f"GET /record 200 1.0 ms\nleft alone: {uuid.uuid4()}", "a log")
    leaks.assert_none_in_records([record("%d requests", 3)])


def test_a_token_in_a_row_is_seen_in_each_of_its_forms(token: str) -> None:
    for column in (token, rf'"\\x{token.encode().hex()}"', rf"\x{uuid.UUID(token).hex}"):
        with pytest.raises(AssertionError, match="holds a token"):
            leaks.assert_none_in_row(f"({uuid.uuid4()},Ann,{column})")
    leaks.assert_none_in_row(rf"({uuid.uuid4()},Ann,\x{'ab' * 32})")
