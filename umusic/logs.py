"""How umusic logs: lines for people on a terminal, JSON for programs elsewhere.

The only importer of structlog, which here only formats: whoever logs uses the standard library's
loggers, as Tornado, asyncio and Alembic do.
"""

import datetime
import logging
import sys
from contextlib import AbstractContextManager
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

Format = Literal["auto", "json", "text"]


def configure(format: Format) -> None:
    """Sends all logs to the standard error. `auto` is text if that is a terminal, else JSON."""
    on_terminal = sys.stderr.isatty()
    is_json = format == "json" or (format == "auto" and not on_terminal)
    handler = logging.StreamHandler()
    handler.setFormatter(json_lines() if is_json else text_lines(colors=on_terminal))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def of_request(request_id: str) -> AbstractContextManager[None]:
    """All that is logged inside bears this id, in the tasks that begin there as well."""
    return structlog.contextvars.bound_contextvars(request_id=request_id)


def bind_request(request_id: str) -> None:
    """All that is logged in this task from here on bears this id."""
    structlog.contextvars.bind_contextvars(request_id=request_id)


def json_lines() -> logging.Formatter:
    """Formats each record as one line of JSON, with all that was given as `extra`."""
    return _formatter(
        _described,
        structlog.stdlib.ExtraAdder(),
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    )


def text_lines(*, colors: bool) -> logging.Formatter:
    """Formats records for people: time of the day here, message, logger and request."""
    return _formatter(
        _described,
        _on_a_clock,
        _printable,
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.dev.ConsoleRenderer(
            colors=colors,
            pad_event_to=0,
            # Its default shows the values of all variables: tokens are among them.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    )


def _formatter(*processors: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(processors=processors)


def _described(_: object, level: str, event: EventDict) -> EventDict:
    """When it was logged, how serious it is, and by whom."""
    record: logging.LogRecord = event["_record"]
    time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return {
        "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": record.name,
        **event,
    }


def _on_a_clock(_: object, __: str, event: EventDict) -> EventDict:
    time = datetime.datetime.fromtimestamp(event["_record"].created)
    return {**event, "timestamp": f"{time:%Y-%m-%d %H:%M:%S}"}


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Spells out what would be a command to a terminal; a path may hold some."""
    shown = (
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode()
        for character in event["event"]
    )
    return {**event, "event": "".join(shown)}
