"""The words in which operations are described: parameters, bodies, replies, problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from umusic.errors import (
    BodyStalled,
    ExpectationUnknown,
    InvalidRequest,
    MalformedFraming,
    OutOfResources,
    TooLarge,
    UmusicError,
    Unavailable,
)
from umusic.upload_errors import TooManyRequests

#: A JSON Schema, or a pydantic model that has one.
Schema = type[BaseModel] | Mapping[str, Any]
Kind = type[UmusicError]
Tag = Literal["Users", "Uploads", "Records", "Older services", "Operation"]

STRING = {"type": "string"}
UUID = {"type": "string", "format": "uuid"}

#: What may become of any request, whatever it asks.
ALWAYS: tuple[Kind, ...] = (
    InvalidRequest,
    MalformedFraming,
    BodyStalled,
    TooLarge,
    ExpectationUnknown,
    TooManyRequests,
    UmusicError,
    Unavailable,
    OutOfResources,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What an operation reads from the query, the path or the headers."""

    name: str
    text: str
    schema: Mapping[str, Any]
    place: Literal["query", "path", "header"] = "query"
    required: bool = False
    #: Swagger UI fills it in, so only what is required has one.
    example: object = None
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a reply. One that is not `always` there depends on the case."""

    name: str
    text: str
    schema: Mapping[str, Any]
    always: bool = True


@dataclass(frozen=True, slots=True)
class Content:
    """A body: its media type, its schema and one that is whole."""

    media_type: str
    schema: Schema
    example: object = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is no problem. `links` are the operations that its members lead to, each with
    its parameters as runtime expressions."""

    text: str
    content: tuple[Content, ...] = ()
    headers: tuple[Header, ...] = ()
    links: Mapping[str, Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What a path does by one of its methods."""

    id: str
    tag: Tag
    summary: str
    text: str
    replies: Mapping[int, Reply]
    problems: tuple[Kind, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    #: Any of these is taken; a body is needed if there is one.
    body: tuple[Content, ...] = ()
    #: Each a way to say who sends, by the names of the security schemes that it takes.
    security: tuple[tuple[str, ...], ...] = ()
    deprecated: bool = False


def json(schema: Schema, example: object = None) -> tuple[Content, ...]:
    """A body of JSON."""
    return (Content("application/json", schema, example),)


NO_STORE = Header("Cache-Control", "`no-store`: it is nobody else's.", {"const": "no-store"})
REVALIDATE = Header("Cache-Control", "Asked again before it is shown again.", STRING)
ETAG = Header("ETag", "Changes with the reply; for If-None-Match.", STRING)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "304 instead of a reply that has this ETag.", STRING, "header"
)
NOT_MODIFIED = Reply("What If-None-Match or If-Modified-Since tells of is still so.")


def readable(reply: Reply) -> dict[int, Reply]:
    """The replies of a GET whose reply has an ETag."""
    headers = reply.headers if ETAG in reply.headers else (*reply.headers, ETAG)
    return {200: Reply(reply.text, reply.content, headers, reply.links), 304: NOT_MODIFIED}
