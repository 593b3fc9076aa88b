"""What umusic logs: JSON lines for programs, text for people."""

import contextlib
import datetime
import json
import logging
import os
import pty
import signal
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests import leaks
from tests.process import ROOT, Process, umusic
from tests.stores import kept_beside
from tests.warm import Forked
from umusic import logs

EVERYBODY = """
import asyncio, logging, warnings
from umusic import logs
logs.configure("auto")
for name in ("umusic.x", "tornado.general", "tornado.application", "asyncio", "alembic"):
    logging.getLogger(name).warning("%s speaks", name)
logging.getLogger("alembic").info("alembic chats")
warnings.warn("old ways")
async def fail():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.01)
asyncio.run(fail())
"""


def record(message: str, *args: object, **members: object) -> logging.LogRecord:
    made = logging.LogRecord("umusic.x", logging.WARNING, "x.py", 1, message, args, None)
    made.__dict__.update(members)
    return made


def failure(secret: str) -> logging.LogRecord:
    """A record with an exception, raised where a variable has a secret."""
    made = record("it failed")
    try:
        raise ValueError(f"{len(secret)} characters\nin two lines")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


class TestJson:
    def test_a_record_is_one_line_with_time_level_logger_and_message(self) -> None:
        line = logs.json_lines().format(record("%d of\n%s", 3, "Егор\u2028"))
        assert len(line.splitlines()) == 1
        told = json.loads(line)
        assert (told["level"], told["logger"]) == ("warning", "umusic.x")
        assert told["event"] == "3 of\nЕгор\u2028"
        time = datetime.datetime.fromisoformat(told["timestamp"])
        assert time.utcoffset() == datetime.timedelta()
        assert abs(time - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(seconds=10)

    def test_what_is_given_as_extra_is_a_member(self) -> None:
        told = json.loads(logs.json_lines().format(record("x", status=201, odd={Path("/")})))
        assert told["status"] == 201
        assert "PosixPath" in told["odd"]

    def test_an_exception_is_one_member_and_tells_no_variables(self) -> None:
        line = logs.json_lines().format(failure("wherefore"))
        assert len(line.splitlines()) == 1
        exception = json.loads(line)["exception"]
        assert exception.startswith("Traceback")
        assert exception.endswith("ValueError: 9 characters\nin two lines")
        assert "wherefore" not in line

    def test_a_request_is_named_inside_its_bounds_only(self) -> None:
        lines = logs.json_lines()
        with logs.of_request("outer-id"):
            with logs.of_request("inner-id"):
                assert json.loads(lines.format(record("x")))["request_id"] == "inner-id"
            assert json.loads(lines.format(record("x")))["request_id"] == "outer-id"
        assert "request_id" not in json.loads(lines.format(record("x")))


class TestText:
    def test_it_tells_the_same_for_people(self) -> None:
        with logs.of_request("some-id-1"):
            line = logs.text_lines(colors=False).format(record("%d requests", 3, status=201))
        assert all(part in line for part in ("warning", "3 requests", "umusic.x", "some-id-1"))
        assert "\x1b" not in line
        assert "status" not in line

    def test_an_exception_tells_no_variables(self) -> None:
        text = logs.text_lines(colors=True).format(failure("wherefore"))
        assert "ValueError: 9 characters" in text
        assert "wherefore" not in text

    def test_what_would_command_a_terminal_is_spelled_out(self) -> None:
        line = logs.text_lines(colors=False).format(record("GET /\x9b2J\x1b[0m"))
        assert "GET /\\x9b2J\\x1b[0m" in line


def test_all_loggers_and_warnings_go_the_same_way(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYBODY],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in told] == [
        *("umusic.x", "tornado.general", "tornado.application", "asyncio", "alembic"),
        *("py.warnings", "asyncio"),
    ]
    assert "old ways" in told[-2]["event"]
    assert "ZeroDivisionError" in told[-1]["exception"]


def lines_of(umusic: Process) -> list[str]:
    """Serves two requests, stops, and returns what was logged."""
    umusic.upload(umusic.register("Ann"))
    status, log = umusic.stop()
    assert status == 0
    return log.splitlines()


def test_a_server_that_nobody_watches_logs_json(start: Any) -> None:
    told = [json.loads(line) for line in lines_of(start())]
    access = [line for line in told if line["logger"] == "umusic.access"]
    assert [line["path"] for line in access] == ["/user", "/record"]


def test_text_can_be_had_without_a_terminal(start: Any) -> None:
    lines = lines_of(start(log_format="text"))
    assert any("PUT /record 201" in line and "\x1b" not in line for line in lines)


def test_on_a_terminal_it_is_text_with_colours_unless_json_is_set(directory: Path) -> None:
    assert "\x1b[" in on_a_terminal(directory)
    line = on_a_terminal(directory, UMUSIC_LOG_FORMAT="json").splitlines()[0]
    assert json.loads(line)["path"] == "/healthz"


def on_a_terminal(directory: Path, **environment: str) -> str:
    """What a server whose standard error is a terminal logs of one request."""
    (directory / "media").mkdir(exist_ok=True)
    ours, theirs = pty.openpty()
    settings = {"PORT": "0", "DATA_DIR": directory / "data", "MEDIA_DIR": directory / "media"}
    environment |= kept_beside(directory / "media").environment
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        told, telling = os.pipe()
        environment |= {f"UMUSIC_{name}": str(value) for name, value in settings.items()}
        serving = Forked(
            ["serve"],
            directory,
            {"PATH": os.environ["PATH"], **environment},
            (theirs, telling, theirs),
        )
        stack.callback(serving.kill)
        for number in (theirs, telling):
            os.close(number)
        site = stack.enter_context(os.fdopen(told)).readline().split()[3]
        urllib.request.urlopen(f"{site}/healthz").close()
        serving.send_signal(signal.SIGTERM)
        serving.wait(30)
        text = b""
        with contextlib.suppress(OSError):  # at the end, as nobody holds the other side
            while block := os.read(ours, 65536):
                text += block
        return text.decode()


@pytest.mark.gen_test
async def test_the_other_commands_speak_to_people_and_so_do_faults(
    tmp_path: Path, database_url: str
) -> None:
    known = {"UMUSIC_DATABASE_URL": database_url, "UMUSIC_LOG_FORMAT": "json"}
    done = await umusic("user", "show", "Ann", directory=tmp_path, **known)
    assert done.errors.startswith("umusic: There is no user")
    for command in (("serve",), ("user", "list")):
        done = await umusic(*command, directory=tmp_path, UMUSIC_LOG_FORMAT="xml")
        assert (done.status, done.errors[:26]) == (1, "umusic: UMUSIC_LOG_FORMAT:")


@pytest.mark.parametrize("formatter", [logs.json_lines(), logs.text_lines(colors=False)])
def test_secrets_in_either_format_are_seen(formatter: logging.Formatter) -> None:
    token = leaks.issued(str(uuid.uuid4()))
    with pytest.raises(AssertionError, match="holds a token"):
        leaks.assert_none_in_log(formatter.format(record("POST %s", token)), "a log")
    with pytest.raises(AssertionError, match="holds a link"):
        leaks.assert_none_in_log(formatter.format(record("GET /record?id=1&user=2")), "a log")
    with pytest.raises(AssertionError, match="holds a token"):
        leaks.assert_none_in_records([record("x", path=token)])
