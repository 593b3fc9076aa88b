"""The operations of uploads that survive a broken line: tus 1.0.0."""

from umusic.errors import (
    BrokenWav,
    CodecUnsupported,
    CommitUncertain,
    ContentEncoded,
    DatabaseUnavailable,
    Draining,
    EncoderFailed,
    FilingForOthersOff,
    InvalidField,
    MediaAway,
    MethodUnknown,
    NoSound,
    NoSpace,
    NotWav,
    QuotaExceeded,
    RecordNameTaken,
    TokenMissing,
    TokenUnknown,
    TooManyUploads,
    UserUnknown,
)
from umusic.resumable_errors import (
    ChecksumMismatch,
    LengthExceeded,
    NotOffsetStream,
    OffsetUnknown,
    ResumptionExpired,
    ResumptionFailed,
    ResumptionGone,
    ResumptionLocked,
    ResumptionStalled,
    ResumptionTerminated,
    ResumptionUnknown,
    VersionUnsupported,
    WrongOffset,
)
from umusic.upload_errors import MalformedHeader, TooManyOfOneUser
from umusic.web import tus_headers as tus
from umusic.web.api.examples import LINK, METADATA
from umusic.web.api.terms import (
    NO_STORE,
    STRING,
    UUID,
    Content,
    Header,
    Kind,
    Operation,
    Parameter,
    Reply,
    json,
)
from umusic.web.dialects import RECORD
from umusic.web.schemas import Metadata, UploadState

_BYTES = {"type": "integer", "minimum": 0}
_URI = {"type": "string", "format": "uri"}
_DATE = {"type": "string", "example": "Sat, 21 Nov 2026 09:21:39 GMT"}

_VERSION = Parameter(
    tus.RESUMABLE, "The version of tus.", {"const": tus.VERSION}, "header", required=True
)
_UPLOAD = Parameter(
    "upload", "The upload. Who knows it can go on with it, or end it.", UUID, "path", required=True
)
_OVERRIDE = Parameter(
    tus.OVERRIDE,
    "The method that is meant, for those who cannot send it.",
    {"enum": ["PATCH", "DELETE"]},
    "header",
    required=True,
)
_CHECKSUM = Parameter(
    tus.CHECKSUM,
    f"{' or '.join(tus.ALGORITHMS)} of the body, in base64. If another one arrives, the body does "
    "not count.",
    STRING,
    "header",
)
_LENGTH = Parameter(tus.LENGTH, "How many bytes the WAV has.", _BYTES, "header")
_PREFER = Parameter(
    "Prefer",
    "`return=representation`: the last reply has the receipt in it. So it does for an Accept that "
    "names application/json.",
    STRING,
    "header",
)
_CREATION = (
    _VERSION,
    _LENGTH,
    Parameter(
        tus.DEFER_LENGTH,
        f"In place of {tus.LENGTH}: that comes with a PATCH.",
        {"const": "1"},
        "header",
    ),
    Parameter(
        tus.METADATA,
        "`filename` (or `name`): what to call the record. `user_id`: in whose library to file it, "
        "if not in one's own. Values in base64.",
        STRING,
        "header",
    ),
    _CHECKSUM,
    _PREFER,
)
_PIECE = (Content(tus.CONTENT_TYPE, {"type": "string", "format": "binary"}),)

_RESUMABLE = Header(tus.RESUMABLE, "The version of tus.", {"const": tus.VERSION})
_ALWAYS = (_RESUMABLE, NO_STORE)
_OFFSET = Header(tus.OFFSET, "How many bytes count.", _BYTES)
_EXPIRES = Header(
    tus.EXPIRES,
    "Until when the upload waits for more: an hour at most as long as nothing has come.",
    _DATE,
    always=False,
)
_RECORD_LINK = Header(
    "Content-Location", "The record's link, once it is there.", _URI, always=False
)
_APPLIED = Header("Preference-Applied", "`return=representation`.", STRING)
_SHOWN_LENGTH = (
    Header(tus.LENGTH, "How many bytes it will have.", _BYTES, always=False),
    Header(tus.DEFER_LENGTH, "`1`: that is open.", STRING, always=False),
    Header(tus.METADATA, "As it was told.", STRING, always=False),
)
_LINK = {**_URI, "description": "The record's link, as `link`."}
_MEMBERS = RECORD.link_members or ()
_RECEIPT = json(
    {
        "allOf": [
            Metadata,
            {
                "type": "object",
                "properties": dict.fromkeys(_MEMBERS, _LINK),
                "required": [*_MEMBERS],
            },
        ]
    },
    {**METADATA, **dict.fromkeys(_MEMBERS, LINK)},
)
_STATE = {
    "state": "done",
    "offset": 1058444,
    "length": 1058444,
    "name": "take.wav",
    "created_at": "2026-11-21T09:21:38.918095Z",
    "expires_at": "2026-11-22T09:21:38.918095Z",
    "link": LINK,
    "record": METADATA,
    "problem": None,
}

_OF_ITS_STATE: tuple[Kind, ...] = (
    ContentEncoded,
    ResumptionUnknown,
    ResumptionExpired,
    ResumptionTerminated,
    ResumptionFailed,
    ResumptionGone,
)
_OF_UPLOAD: tuple[Kind, ...] = (DatabaseUnavailable, *_OF_ITS_STATE, MediaAway, NoSpace)
#: What may become of bytes that are sent.
_OF_PIECE: tuple[Kind, ...] = (
    VersionUnsupported,
    MalformedHeader,
    NotOffsetStream,
    WrongOffset,
    LengthExceeded,
    ChecksumMismatch,
    ResumptionLocked,
    QuotaExceeded,
    RecordNameTaken,
    NotWav,
    CodecUnsupported,
    BrokenWav,
    NoSound,
    TooManyOfOneUser,
    TooManyUploads,
    Draining,
    EncoderFailed,
    CommitUncertain,
    FilingForOthersOff,
    UserUnknown,
)


def _options(name: str) -> Operation:
    return Operation(
        id=name,
        tag="Uploads",
        summary="What there is of tus",
        text="Versions, extensions and limits.",
        replies={
            204: Reply(
                "They are in the headers.",
                (),
                (
                    *_ALWAYS,
                    Header("Allow", "The methods of this path.", STRING),
                    Header("Tus-Version", "Which versions there are.", STRING),
                    Header("Tus-Extension", "Which extensions.", STRING),
                    Header("Tus-Max-Size", "How many bytes a WAV may have.", _BYTES),
                    Header("Tus-Checksum-Algorithm", "Which checksums.", STRING),
                ),
            )
        },
        problems=(ContentEncoded,),
        parameters=() if name == "uploadsOptions" else (_UPLOAD,),
    )


_CREATE = Operation(
    id="createUpload",
    tag="Uploads",
    summary="Begin an upload that survives a broken line",
    text="By tus 1.0.0 (https://tus.io), so any client of it does. The reply's Location is the "
    "upload's URL, which is all that it takes to go on with it. The first bytes, or all of them, "
    "may come along.",
    replies={
        201: Reply(
            "It has begun; with the receipt, if all has come and that is asked for.",
            _RECEIPT,
            (
                *_ALWAYS,
                Header("Location", "The upload's URL.", _URI),
                _OFFSET,
                _EXPIRES,
                _RECORD_LINK,
                Header("Preference-Applied", "`return=representation`.", STRING, always=False),
            ),
        )
    },
    problems=(
        DatabaseUnavailable,
        ContentEncoded,
        *_OF_PIECE,
        TokenMissing,
        TokenUnknown,
        InvalidField,
        MediaAway,
        NoSpace,
    ),
    parameters=_CREATION,
    security=(("Bearer",),),
)
_PATCH = Operation(
    id="appendToUpload",
    tag="Uploads",
    summary="Send more of an upload",
    text="From the byte on that HEAD tells. What has come counts, however the request ends, unless "
    "it has a checksum. A second one takes the place of one that hangs. The last one waits for the "
    "record.",
    replies={
        204: Reply(
            "It has come, and is on disk, or has become a record.",
            (),
            (*_ALWAYS, _OFFSET, _EXPIRES, _RECORD_LINK),
        ),
        200: Reply(
            "The receipt, if all has come and that is asked for.",
            _RECEIPT,
            (
                *_ALWAYS,
                _OFFSET,
                Header("Content-Location", "The record's link.", _URI),
                _APPLIED,
            ),
        ),
    },
    problems=(*_OF_UPLOAD, *_OF_PIECE, ResumptionStalled),
    parameters=(
        _UPLOAD,
        _VERSION,
        Parameter(tus.OFFSET, "Where the body begins.", _BYTES, "header", required=True, example=0),
        _LENGTH,
        _CHECKSUM,
        _PREFER,
    ),
    body=_PIECE,
)
_HEAD = Operation(
    id="headUpload",
    tag="Uploads",
    summary="How many bytes of an upload are there",
    text="What it tells stays, whatever happens to umusic. 423: it cannot be told at the moment, "
    "but nothing is lost.",
    replies={
        200: Reply(
            "It is in the headers.",
            (),
            (*_ALWAYS, _OFFSET, *_SHOWN_LENGTH, _EXPIRES, _RECORD_LINK),
        )
    },
    problems=(*_OF_ITS_STATE, OffsetUnknown, VersionUnsupported),
    parameters=(_UPLOAD, _VERSION),
)
_GET = Operation(
    id="getUpload",
    tag="Uploads",
    summary="How far an upload is, and what has come of it",
    text="Also for whoever lost the last reply. No part of tus.",
    replies={200: Reply("How far it is.", json(UploadState, _STATE), _ALWAYS)},
    problems=_OF_UPLOAD,
    parameters=(_UPLOAD,),
)
_DELETE = Operation(
    id="deleteUpload",
    tag="Uploads",
    summary="Give up an upload",
    text="What there is of it is removed. A record that has come of it stays.",
    replies={204: Reply("It is gone.", (), _ALWAYS)},
    problems=(*_OF_UPLOAD, VersionUnsupported),
    parameters=(_UPLOAD, _VERSION),
)
_POST = Operation(
    id="overrideUpload",
    tag="Uploads",
    summary="Any of the others, for those who cannot send its method",
    text=f"{tus.OVERRIDE} has the method that is meant, and all is as it would be by that.",
    replies={
        204: Reply("As by PATCH or DELETE.", (), _ALWAYS),
        200: Reply("As by PATCH.", _RECEIPT, _ALWAYS),
    },
    problems=(*_OF_UPLOAD, *_OF_PIECE, ResumptionStalled, MethodUnknown),
    parameters=(_UPLOAD, _VERSION, _OVERRIDE),
)

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/uploads": {"POST": _CREATE, "OPTIONS": _options("uploadsOptions")},
    "/uploads/{upload}": {
        "HEAD": _HEAD,
        "GET": _GET,
        "PATCH": _PATCH,
        "DELETE": _DELETE,
        "POST": _POST,
        "OPTIONS": _options("uploadOptions"),
    },
}
