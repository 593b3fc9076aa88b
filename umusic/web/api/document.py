"""The OpenAPI document of the operations (version 3.1.1 of the specification).

JSON Schemas come from the pydantic models of `web.schemas`, problems from the tree of errors.
"""

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core import to_json

from umusic import __version__
from umusic.web.api.operations import OPERATIONS
from umusic.web.api.terms import (
    ALWAYS,
    STRING,
    Content,
    Header,
    Kind,
    Operation,
    Parameter,
    Reply,
)
from umusic.web.errors import (
    CONTENT_TYPE,
    Problem,
    headers_of,
    phrase_of,
    problem_types,
    status_of,
    type_of,
)
from umusic.web.schemas import ProblemDetails

_ABOUT = """
Send a WAV of any size, get back a link to an MP3.

1. `POST /user` gives a token; *Authorize* with it.
2. `POST /record` takes the WAV and answers with the link.
3. `GET /record?id=…&user=…`, which is the link, gives the MP3.

Every path works with a slash at its end as well, and `HEAD` wherever `GET` does. What goes wrong is
told as problem details (RFC 9457): `detail` is the sentence to show, `type` what to go by. A method
that a path does not take is 405, with `Allow`. Every answer has an `X-Request-ID`, by which the log
knows it.
"""
_TAGS = {
    "Users": "Registering, and one's own account.",
    "Uploads": "A WAV comes in, its link goes out.",
    "Records": "The MP3s, and what is known of them.",
    "Older services": "Paths of the services that umusic stands in for; scripts of theirs work "
    "unchanged. New ones need none of these.",
    "Operation": "For those who run umusic, and these descriptions.",
}
#: Swagger UI asks for the last one first.
_SECURITY = {
    "UserId": {
        "type": "apiKey",
        "in": "query",
        "name": "user_id",
        "description": "As older clients upload: the user's id, together with `token`.",
    },
    "UserToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "As older clients upload: the user's token, together with `user_id`.",
    },
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token that `POST /user` or `POST /user/token` gave.",
    },
}
_REQUEST_ID = Header("X-Request-ID", "By which the log knows the request.", STRING)
#: What the headers of problems are for; and those that only some statuses have.
_HEADER_TEXTS = {
    "WWW-Authenticate": "How to say who one is.",
    "Retry-After": "When to try again, in seconds.",
    "Accept-Patch": "Which kind of body is taken.",
    "Tus-Version": "Which versions of tus there are here.",
}
_OF_STATUS = {
    416: Header("Content-Range", "How many bytes there are: `bytes */90517`.", STRING),
}


class _Untitled(GenerateJsonSchema):
    """Without titles that only repeat the names of the members."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@functools.cache
def document() -> bytes:
    """The document as JSON."""
    return to_json(description())


def description() -> dict[str, Any]:
    """The document."""
    paths = {
        path: {method.lower(): _operation(told) for method, told in methods.items()}
        for path, methods in OPERATIONS.items()
    }
    examples = {
        code: {"summary": code, "value": Problem(kind()).members()}
        for code, kind in sorted(problem_types().items())
    }
    refs, schemas = _models()
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "umusic",
            "version": __version__,
            "description": inspect.cleandoc(_ABOUT),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _referring(paths, refs),
        "components": {"schemas": schemas, "securitySchemes": _SECURITY, "examples": examples},
    }


def _operation(told: Operation) -> dict[str, Any]:
    body = {"requestBody": {"required": True, "content": _content(told.body)}} if told.body else {}
    replies = {str(status): _reply(reply) for status, reply in told.replies.items()}
    with_body = any(reply.content for reply in told.replies.values()) or 204 in told.replies
    problems = _problems((*ALWAYS, *told.problems), with_body=with_body)
    return {
        "operationId": told.id,
        "tags": [told.tag],
        "summary": told.summary,
        "description": told.text,
        "parameters": [_parameter(parameter) for parameter in told.parameters],
        **body,
        "responses": replies | problems,
        "security": [{name: [] for name in names} for names in told.security],
        **({"deprecated": True} if told.deprecated else {}),
    }


def _parameter(told: Parameter) -> dict[str, Any]:
    return {
        "name": told.name,
        "in": told.place,
        "description": told.text,
        "required": told.required,
        "schema": told.schema,
        **({"example": told.example} if told.example is not None else {}),
        **({"deprecated": True} if told.deprecated else {}),
    }


def _content(told: Iterable[Content]) -> dict[str, Any]:
    return {
        content.media_type: {
            "schema": content.schema,
            **({"example": content.example} if content.example is not None else {}),
        }
        for content in told
    }


def _headers(told: Iterable[Header]) -> dict[str, Any]:
    return {
        header.name: {
            "description": header.text,
            "required": header.always,
            "schema": header.schema,
        }
        for header in (*told, _REQUEST_ID)
    }


def _reply(told: Reply) -> dict[str, Any]:
    links = {
        name: {"operationId": name, "parameters": dict(parameters)}
        for name, parameters in (told.links or {}).items()
    }
    return {
        "description": told.text,
        "headers": _headers(told.headers),
        **({"content": _content(told.content)} if told.content else {}),
        **({"links": links} if links else {}),
    }


def _problems(kinds: Iterable[Kind], *, with_body: bool) -> dict[str, Any]:
    """The replies that are problems, by status."""
    found: dict[int, list[Kind]] = {}
    for kind in dict.fromkeys(kinds):
        found.setdefault(status_of(kind), []).append(kind)
    return {
        str(status): _problem(status, of_status, with_body=with_body)
        for status, of_status in sorted(found.items())
    }


def _problem(status: int, kinds: list[Kind], *, with_body: bool) -> dict[str, Any]:
    codes = [kind.code for kind in kinds]
    types = {"type": {"enum": [type_of(code) for code in codes]}, "status": {"const": status}}
    content = {
        "schema": {"allOf": [ProblemDetails, {"type": "object", "properties": types}]},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
    }
    return {
        "description": f"{phrase_of(status)}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _headers(_problem_headers(status, kinds)),
        **({"content": {CONTENT_TYPE: content}} if with_body else {}),
    }


def _problem_headers(status: int, kinds: list[Kind]) -> Iterator[Header]:
    for name, text in _HEADER_TEXTS.items():
        having = [kind for kind in kinds if name in headers_of(kind)]
        if having:
            yield Header(name, text, STRING, always=len(having) == len(kinds))
    if status in _OF_STATUS:
        yield _OF_STATUS[status]


# --- the models -----------------------------------------------------------------------------------


def _models() -> tuple[dict[type, dict[str, str]], dict[str, Any]]:
    """References to the models that the operations name, and the JSON Schemas of these."""
    told = [told for methods in OPERATIONS.values() for told in methods.values()]
    taken = {model for one in told for content in one.body for model in _named(content.schema)}
    given = {
        model
        for one in told
        for reply in one.replies.values()
        for content in reply.content
        for model in _named(content.schema)
    }
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in sorted(taken, key=str)
    ]
    given.add(ProblemDetails)
    wanted += [(model, "serialization") for model in sorted(given, key=str)]
    refs, schemas = models_json_schema(
        wanted,
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    return {model: ref for (model, _), ref in refs.items()}, schemas["$defs"]


def _named(schema: object) -> Iterator[type[BaseModel]]:
    """The models that a schema names."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        yield schema
    elif isinstance(schema, Mapping):
        for member in schema.values():
            yield from _named(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from _named(member)


def _referring(value: Any, refs: Mapping[type, dict[str, str]]) -> Any:
    """The value with references in place of models."""
    if isinstance(value, type):
        return refs[value]
    if isinstance(value, Mapping):
        return {name: _referring(member, refs) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_referring(member, refs) for member in value]
    return value
