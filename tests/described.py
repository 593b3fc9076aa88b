"""What /openapi.json says, held against what comes back: the clients of all tests do that."""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
from tornado.httpclient import HTTPResponse

from umusic.web.api.document import document

DOCUMENT: dict[str, Any] = json.loads(document())
#: Answered where no operation is; the last by nginx, when umusic is away.
_NOWHERE = {400, 404, 405, 503}


@dataclass(frozen=True)
class Replies:
    """What an operation may answer."""

    path: str
    by_status: dict[str, Any]

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.by_status}

    @property
    def successes(self) -> set[int]:
        return {status for status in self.statuses if status < 400}

    @property
    def problems(self) -> set[str]:
        """The codes of the problems."""
        contents = (reply.get("content", {}) for reply in self.by_status.values())
        told = (content.get("application/problem+json", {}) for content in contents)
        return {code for problem in told for code in problem.get("examples", {})}


@functools.cache
def path_of(path: str) -> str | None:
    """The path of the document that a request's path is; the first that fits, templates last."""
    slashless = path[:-1] if path.endswith("/") and path != "/" else path
    for told in sorted(DOCUMENT["paths"], key=lambda told: "{" in told):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", told), slashless):
            return str(told)
    return None


def replies_of(method: str, path: str) -> Replies:
    """What an operation may answer; HEAD as GET where it is not told of."""
    found = path_of(path)
    methods = DOCUMENT["paths"].get(found, {})
    told = methods.get(method.lower()) or (methods.get("get") if method == "HEAD" else None) or {}
    return Replies(found or path, told.get("responses", {}))


@functools.cache
def _validator(path: str, method: str, status: str, kind: str) -> Any:
    schema = DOCUMENT["paths"][path][method]["responses"][status]["content"][kind]["schema"]
    return jsonschema_rs.validator_for(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )


def check(method: str, response: HTTPResponse) -> None:
    """Fails unless the document has such a reply."""
    path, status = urlsplit(response.request.url).path, response.code
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    replies = replies_of(method, path)
    what = f"{method} {path} gives {status}"
    if "X-Accel-Redirect" in response.headers:
        return  # an order to nginx
    if method == "OPTIONS" and status == 204:
        return  # a browser that asks whether it may: the Fetch standard describes that
    if not replies.by_status:
        assert status in _NOWHERE and kind == "application/problem+json", what
        return
    told = replies.by_status.get(str(status))
    assert told is not None, f"{what}, which /openapi.json does not say: {response.body!r}"
    for name, header in told.get("headers", {}).items():
        assert not header["required"] or name in response.headers, f"{what} without {name}"
    if method == "HEAD" or not response.body:
        return
    assert kind in told.get("content", {}), f"{what} as {kind}"
    if kind.endswith("json") and status != 206:
        validator = _validator(replies.path, method.lower(), str(status), kind)
        errors = [error.message for error in validator.iter_errors(json.loads(response.body))]
        assert not errors, f"{what}: {errors}: {response.body!r}"
