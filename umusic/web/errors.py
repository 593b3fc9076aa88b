"""The one table from umusic's errors to HTTP statuses, and problem details (RFC 9457)."""

import http
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from tornado.web import HTTPError

from umusic import errors, resumable_errors, upload_errors, waveform_errors
from umusic.web.schemas import ProblemDetails

T = TypeVar("T")

#: Looked up along the MRO of an error's class. No status is chosen anywhere else.
STATUSES: dict[type[errors.UmusicError], int] = {
    errors.UmusicError: 500,
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodUnknown: 405,
    errors.BodyStalled: 408,
    errors.Conflict: 409,
    resumable_errors.ResumptionGone: 410,
    errors.LengthMissing: 411,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.RangeUnsatisfiable: 416,
    errors.ExpectationUnknown: 417,
    errors.Unprocessable: 422,
    resumable_errors.ResumptionLocked: 423,
    upload_errors.TooManyRequests: 429,
    resumable_errors.ChecksumMismatch: 460,
    errors.Unavailable: 503,
    errors.NoSpace: 507,
}

#: Headers that an error calls for (RFC 9110, 11.6.1 and 10.2.3), looked up in the same way.
_HEADERS: dict[type[errors.UmusicError], dict[str, str]] = {
    errors.UmusicError: {},
    errors.Unauthenticated: {"WWW-Authenticate": "Bearer"},
    upload_errors.KeyInUse: {"Retry-After": "2"},
    resumable_errors.ResumptionLocked: {"Retry-After": "1"},
    resumable_errors.NotPartialUpload: {"Accept-Patch": "application/partial-upload"},
    resumable_errors.OffsetUnknown: {"Retry-After": "5"},
    resumable_errors.VersionUnsupported: {"Tus-Version": "1.0.0"},
    upload_errors.TooManyRequests: {"Retry-After": "5"},
    waveform_errors.WaveformPending: {"Retry-After": "2"},
    errors.Unavailable: {"Retry-After": "5"},
}

#: tus has a status of its own (1.0.0, "Checksum").
_PHRASES = {460: "Checksum Mismatch"}

_TORNADO = {
    400: errors.InvalidRequest,
    403: errors.Forbidden,
    404: errors.PathUnknown,
    405: errors.MethodUnknown,
}

CONTENT_TYPE = "application/problem+json"
#: Where what a problem's `type` means is told.
PROBLEMS = "/problems/"
#: Types that a standard has named, with what these begin with (RFC 9457, 4.2).
_REGISTERED = ("inconsistent-upload-length", "mismatching-upload-offset")
_REGISTRY = "https://iana.org/assignments/http-problem-types#"


class Problem:
    """What a client is told of an error: a status, headers and a JSON body."""

    def __init__(self, error: errors.UmusicError) -> None:
        self.status = status_of(type(error))
        self.headers = {"Content-Type": CONTENT_TYPE, **headers_of(type(error))}
        members: dict[str, Any] = dict(error.members)
        self._details = ProblemDetails(
            type=type_of(error.code),
            title=phrase_of(self.status),
            status=self.status,
            detail=error.detail,
            **members,
        )

    def body(self) -> bytes:
        """The problem details as JSON."""
        return json.dumps(self.members(), ensure_ascii=False).encode()

    def members(self) -> dict[str, Any]:
        """The problem details."""
        return self._details.model_dump(exclude_unset=True)


def type_of(code: str) -> str:
    """The problem type of a code."""
    return f"{_REGISTRY if code in _REGISTERED else PROBLEMS}{code}"


def status_of(kind: type[errors.UmusicError]) -> int:
    """The HTTP status of a class of errors."""
    return _of(kind, STATUSES)


def phrase_of(status: int) -> str:
    """What a status is called."""
    return _PHRASES.get(status) or http.HTTPStatus(status).phrase


def headers_of(kind: type[errors.UmusicError]) -> Mapping[str, str]:
    """The headers that a class of errors calls for."""
    return _of(kind, _HEADERS)


def _of(kind: type[errors.UmusicError], table: Mapping[type[errors.UmusicError], T]) -> T:
    """What the table has for the nearest of its base classes."""
    return next(table[base] for base in kind.__mro__ if base in table)


def as_umusic_error(exc: BaseException) -> errors.UmusicError:
    """`exc` itself, or what stands for it towards a client if it is none of ours."""
    if isinstance(exc, errors.UmusicError):
        return exc
    if isinstance(exc, HTTPError):
        return _TORNADO.get(exc.status_code, errors.UmusicError)()
    error = (errors.lacking(exc) or errors.UmusicError)()
    error.__cause__ = exc
    return error


def problem_types() -> dict[str, type[errors.UmusicError]]:
    """All kinds of errors by their code."""
    found: dict[str, type[errors.UmusicError]] = {}
    waiting: list[type[errors.UmusicError]] = [errors.UmusicError]
    while waiting:
        kind = waiting.pop()
        found[kind.code] = kind
        waiting += kind.__subclasses__()
    return found
