"""The operations about umusic itself: its health, its problems and these descriptions."""

from dataclasses import replace

from umusic.errors import DatabaseUnavailable, Draining, MediaAway, PathUnknown
from umusic.metrics import CONTENT_TYPE as METRICS_TYPE
from umusic.web.api.terms import (
    IF_NONE_MATCH,
    REVALIDATE,
    STRING,
    Content,
    Header,
    Kind,
    Operation,
    Parameter,
    Reply,
    json,
    readable,
)
from umusic.web.schemas import Health

_KINDS = ("text/html", "text/css", "text/javascript", "text/plain", "image/png", "image/svg+xml")
_CSP = Header("Content-Security-Policy", "Nothing but umusic's own files.", STRING)


def _told(name: str, summary: str, reply: Reply, *problems: Kind) -> Operation:
    """An operation that tells something, and takes nothing."""
    return Operation(
        id=name,
        tag="Operation",
        summary=summary,
        text=reply.text,
        replies=readable(reply),
        problems=problems,
        parameters=(IF_NONE_MATCH,),
    )


def _file(name: str, summary: str, text: str, *kinds: str) -> Operation:
    """An operation that gives a file of a page."""
    return Operation(
        id=name,
        tag="Operation",
        summary=summary,
        text=text,
        replies=readable(
            Reply(
                "The file.",
                tuple(Content(kind, STRING) for kind in kinds),
                (REVALIDATE, _CSP),
            )
        ),
        parameters=(IF_NONE_MATCH,),
    )


def _file_by_name(page: Operation, example: str) -> Operation:
    """An operation that gives one of the files of a page by its name."""
    parameter = Parameter(
        "file",
        "Its name.",
        {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$"},
        "path",
        required=True,
        example=example,
    )
    reply = page.replies[200]
    kinds = tuple(Content(kind, STRING) for kind in _KINDS)
    return replace(
        page,
        id=f"{page.id}File",
        summary="Get a file of that page",
        replies={**page.replies, 200: replace(reply, content=kinds)},
        problems=(PathUnknown,),
        parameters=(parameter, *page.parameters),
    )


_PAGE = _file("getPage", "Get the page for people", "Upload, listen, share.", "text/html")
_DOCS = _file(
    "getDocs",
    "Read this description in a browser",
    "Swagger UI, from umusic's own files.",
    "text/html",
)

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/healthz": {
        "GET": _told(
            "health",
            "Tell whether the process is alive",
            Reply("It is. Nobody else is asked.", json(Health, {"status": "ok"})),
        )
    },
    "/readyz": {
        "GET": _told(
            "readiness",
            "Tell whether uploads would be taken now",
            Reply(
                "They would: database and media directory are there.",
                json(Health, {"status": "ready"}),
            ),
            Draining,
            MediaAway,
            DatabaseUnavailable,
        )
    },
    "/metrics": {
        "GET": Operation(
            id="metrics",
            tag="Operation",
            summary="Tell how umusic fares, for Prometheus",
            text="Not through nginx: there it is 404.",
            replies={
                200: Reply("The metrics.", (Content(METRICS_TYPE.partition(";")[0], STRING),))
            },
            problems=(PathUnknown,),
        )
    },
    "/problems/{code}": {
        "GET": Operation(
            id="getProblem",
            tag="Operation",
            summary="Tell what a problem's type means",
            text="`type` of a problem is a path under `/problems/`; this is what is there.",
            replies=readable(Reply("Its status and a sentence.", (Content("text/plain", STRING),))),
            problems=(PathUnknown,),
            parameters=(
                Parameter(
                    "code",
                    "The end of the `type`.",
                    {"type": "string", "pattern": "^[a-z0-9-]+$"},
                    "path",
                    required=True,
                    example="not-a-wav",
                ),
                IF_NONE_MATCH,
            ),
        )
    },
    "/openapi.json": {
        "GET": _told(
            "openapi",
            "Get this description",
            Reply("OpenAPI 3.1.", json({"type": "object"}), (REVALIDATE,)),
        )
    },
    "/docs": {"GET": _DOCS},
    "/docs/{file}": {"GET": _file_by_name(_DOCS, "docs.css")},
    "/": {"GET": _PAGE},
    "/static/{file}": {"GET": _file_by_name(_PAGE, "page.css")},
}
