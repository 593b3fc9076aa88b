"""The operations on records: download, list, look, rename, remove."""

from dataclasses import replace

from umusic.errors import (
    DatabaseUnavailable,
    Forbidden,
    InvalidField,
    MalformedJson,
    MediaAway,
    PreconditionFailed,
    RangeUnsatisfiable,
    RecordBusy,
    RecordNameTaken,
    RecordUnknown,
)
from umusic.library.names import MAX_CHARACTERS
from umusic.web.api.accounts import BEARER, OF_BEARER, OF_CHANGE
from umusic.web.api.examples import INFO, METADATA, PAGE, RECORD, USER
from umusic.web.api.terms import (
    ETAG,
    IF_NONE_MATCH,
    NO_STORE,
    NOT_MODIFIED,
    REVALIDATE,
    STRING,
    UUID,
    Content,
    Header,
    Kind,
    Operation,
    Parameter,
    Reply,
    json,
    readable,
)
from umusic.web.dialects import DOWNLOAD_PATHS, OWNER_PARAMETERS
from umusic.web.library import DEFAULT_LIMIT, MAX_LIMIT
from umusic.web.schemas import Metadata, Page, PublicMetadata, Renaming

_OWNER, _OLDER_OWNER = OWNER_PARAMETERS
#: Which record is meant, as its link says it.
NAMED = (
    Parameter("id", "The record.", UUID, required=True, example=RECORD),
    Parameter(_OWNER, "In whose library it is.", UUID, required=True, example=USER),
    Parameter(
        _OLDER_OWNER,
        f"What some older clients call `{_OWNER}`, which they leave out; else it does not count.",
        STRING,
        deprecated=True,
    ),
)
#: What a link may be answered with.
OF_LINK: tuple[Kind, ...] = (InvalidField, RecordUnknown, DatabaseUnavailable)

_DATE = {"type": "string", "example": "Sat, 21 Nov 2026 09:21:39 GMT"}
#: Headers by which a part is asked for, or only what is new.
CONDITIONS = (
    Parameter("Range", "The part that is wanted, as in `bytes=0-99`.", STRING, "header"),
    Parameter("If-Range", "ETag or date: Range counts only if it is still so.", STRING, "header"),
    IF_NONE_MATCH,
    Parameter("If-Modified-Since", "304 if the file is no newer.", STRING, "header"),
    Parameter("If-Match", "412 unless the file has this ETag.", STRING, "header"),
    Parameter("If-Unmodified-Since", "412 if the file is newer.", STRING, "header"),
)
_FILE_HEADERS = (
    Header("Content-Disposition", "`attachment` with the filename ID.mp3.", STRING),
    Header("Last-Modified", "When the record was made.", _DATE),
    Header("Repr-Digest", "SHA-256 of the whole MP3 (RFC 9530).", STRING),
    ETAG,
    REVALIDATE,
)
ACCEPT_RANGES = Header("Accept-Ranges", "`bytes`.", {"const": "bytes"})
CONTENT_RANGE = Header("Content-Range", "Which part it is, and of how many bytes.", STRING)
_MP3 = (Content("audio/mpeg", {"type": "string", "format": "binary"}),)

_DOWNLOAD = Operation(
    id="downloadRecord",
    tag="Records",
    summary="Download the MP3",
    text="This is what links lead to. It needs no token: who has the link has the record. Behind "
    "nginx it is nginx that sends the file.",
    replies={
        200: Reply("The MP3.", _MP3, (*_FILE_HEADERS, ACCEPT_RANGES)),
        206: Reply("The part of it that Range asks for.", _MP3, (*_FILE_HEADERS, CONTENT_RANGE)),
        304: NOT_MODIFIED,
    },
    problems=(*OF_LINK, PreconditionFailed, RangeUnsatisfiable, MediaAway),
    parameters=(*NAMED, *CONDITIONS),
)
_OLDER_DOWNLOAD = replace(
    _DOWNLOAD,
    id="downloadAudiotrack",
    tag="Older services",
    summary="Download the MP3, as from the service E",
    text="As `GET /record`.",
    deprecated=True,
)
_LIST = Operation(
    id="listRecords",
    tag="Records",
    summary="List one's own records, newest first",
    text="A page at a time: `next`, or the URL in the Link header, is where the next one begins.",
    replies=readable(
        Reply(
            "A page.",
            json(Page, PAGE),
            (NO_STORE, Header("Link", 'The next page, `rel="next"`.', STRING, always=False)),
            {"listRecords": {"cursor": "$response.body#/next"}},
        )
    ),
    problems=(*OF_BEARER, InvalidField),
    parameters=(
        Parameter(
            "limit",
            "So many records at most.",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        Parameter(
            "cursor",
            "`next` of the page before; none, or an empty one, is the first page.",
            {"type": "string", "pattern": "^([A-Za-z0-9_-]{32})?$"},
        ),
        Parameter(
            "q",
            "A part of the name; case and accents make no difference.",
            {"type": "string", "maxLength": MAX_CHARACTERS},
        ),
        IF_NONE_MATCH,
    ),
    security=BEARER,
)
_INFO = Operation(
    id="getRecord",
    tag="Records",
    summary="Tell what is known of a record",
    text="As public as the link: it needs no token, and does not tell who uploaded it.",
    replies=readable(Reply("What is known.", json(PublicMetadata, INFO), (REVALIDATE,))),
    problems=OF_LINK,
    parameters=(*NAMED, IF_NONE_MATCH),
)
_RENAME = Operation(
    id="renameRecord",
    tag="Records",
    summary="Rename a record",
    text="Only in one's own library. `null` takes the name away.",
    replies={200: Reply("What is known of it now.", json(Metadata, METADATA), (NO_STORE,))},
    problems=(*OF_BEARER, *OF_LINK, Forbidden, MalformedJson, RecordNameTaken, *OF_CHANGE),
    parameters=NAMED,
    body=json(Renaming, {"name": "Take one.wav"}),
    security=BEARER,
)
_DELETE = Operation(
    id="deleteRecord",
    tag="Records",
    summary="Delete a record and its MP3",
    text="Only from one's own library. The second time it is 404.",
    replies={204: Reply("Record and file are gone.", headers=(NO_STORE,))},
    problems=(*OF_BEARER, *OF_LINK, Forbidden, RecordBusy, MediaAway, *OF_CHANGE),
    parameters=NAMED,
    security=BEARER,
)


def _head(operation: Operation) -> Operation:
    """HEAD where this is GET."""
    replies = {status: replace(reply, content=()) for status, reply in operation.replies.items()}
    return replace(
        operation,
        id=f"{operation.id}Head",
        summary=f"{operation.summary}: its headers alone",
        text="As GET, without the MP3: its size, its digest, whether it is there.",
        replies=replies,
    )


OPERATIONS: dict[str, dict[str, Operation]] = {
    path: {"GET": found, "HEAD": _head(found)}
    for path, found in zip(DOWNLOAD_PATHS, (_DOWNLOAD, _OLDER_DOWNLOAD), strict=True)
}
OPERATIONS["/record"] |= {"PATCH": _RENAME, "DELETE": _DELETE}
OPERATIONS["/record/info"] = {"GET": _INFO}
OPERATIONS["/records"] = {"GET": _LIST}
