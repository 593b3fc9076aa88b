"""The operations that take a WAV: umusic's own, and those of the older services."""

from dataclasses import replace
from typing import Any

from umusic.errors import (
    BrokenWav,
    CodecUnsupported,
    CommitUncertain,
    ContentEncoded,
    CredentialsAfterFile,
    DatabaseUnavailable,
    Draining,
    EncoderFailed,
    FilingForOthersOff,
    InvalidField,
    LengthMissing,
    MalformedForm,
    MalformedJson,
    MediaAway,
    NoSound,
    NoSpace,
    NotWav,
    PairUnknown,
    QuotaExceeded,
    RecordNameTaken,
    TokenMissing,
    TokenUnknown,
    TooManyUploads,
    UserUnknown,
)
from umusic.upload_errors import (
    DigestMismatch,
    KeyInUse,
    KeyReused,
    MalformedHeader,
    TooManyOfOneUser,
)
from umusic.web.api.examples import LINK, METADATA
from umusic.web.api.terms import (
    STRING,
    UUID,
    Content,
    Header,
    Kind,
    Operation,
    Parameter,
    Reply,
    Tag,
    json,
)
from umusic.web.dialects import RECORD as OWN
from umusic.web.dialects import UPLOADING, Uploading
from umusic.web.schemas import Metadata

_PROBLEMS: tuple[Kind, ...] = (
    MalformedHeader,
    MalformedForm,
    MalformedJson,
    CredentialsAfterFile,
    TokenMissing,
    TokenUnknown,
    FilingForOthersOff,
    PairUnknown,
    UserUnknown,
    RecordNameTaken,
    KeyInUse,
    KeyReused,
    LengthMissing,
    QuotaExceeded,
    NotWav,
    CodecUnsupported,
    ContentEncoded,
    InvalidField,
    BrokenWav,
    NoSound,
    DigestMismatch,
    TooManyOfOneUser,
    Draining,
    TooManyUploads,
    MediaAway,
    DatabaseUnavailable,
    CommitUncertain,
    EncoderFailed,
    NoSpace,
)
#: A dictionary of byte sequences (RFC 9651), as far as it matters.
_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?"
_MEMBER = f"[a-z][a-z0-9-]*=:{_BASE64}:"
_DIGEST = {"type": "string", "pattern": f"^({_MEMBER}(, {_MEMBER})?)?$"}
_PARAMETERS = (
    Parameter(
        "name",
        "What to call the record; else the filename of Content-Disposition or of the form's file "
        "does. Only what follows the last slash counts.",
        STRING,
    ),
    Parameter(
        "user_id",
        "With Bearer: in whose library to file it, if not in one's own. With `token`: whose token "
        "it is.",
        UUID,
    ),
    Parameter(
        "Idempotency-Key",
        "The same key from the same user within 24 hours gets the first reply again: who lost it "
        "can simply ask again.",
        {"type": "string", "pattern": r'^([!#-~][ -~]{0,254}|"[ !#-\[\]-~]{1,255}")$'},
        "header",
    ),
    Parameter(
        "Content-Digest",
        "Digest of the body (RFC 9530), `sha-256=:BASE64:` or sha-512. If another one arrives, "
        "nothing is kept.",
        _DIGEST,
        "header",
    ),
    Parameter("Repr-Digest", "As Content-Digest.", _DIGEST, "header"),
    Parameter(
        "Content-Disposition",
        'Of a raw body: its filename is the record\'s name, `attachment; filename="take.wav"`.',
        STRING,
        "header",
    ),
)
_FILE_NAME = Parameter(
    "filename",
    "The record's name, as `curl -T take.wav …/record/` puts it there.",
    {"type": "string", "minLength": 1},
    "path",
    required=True,
    example="take.wav",
)
_FORM = {
    "type": "object",
    "description": "Exactly one part with a filename, under any name; the other fields before it.",
    "properties": {
        "user_id": {
            "type": "string",
            "format": "uuid",
            "description": "With Bearer: in whose library to file it. With token: whose it is.",
        },
        "token": {"type": "string", "description": "Instead of Authorization: Bearer."},
        "data": {
            "type": "string",
            "description": 'Service D\'s way: a JSON object with "user_id" and "access_token".',
        },
        "file": {
            "type": "string",
            "format": "binary",
            "contentMediaType": "audio/wav",
            "description": "The WAV. The older services call it wav_file or audio_file.",
        },
    },
    "required": ["file"],
}
_WAV = {"type": "string", "format": "binary", "contentMediaType": "audio/wav"}
_BODY = (Content("audio/wav", _WAV), Content("multipart/form-data", _FORM))
#: The way of all services, and that of A and C.
_SECURITY = (("Bearer",), ("UserId", "UserToken"))
_LOCATION = Header("Location", "The record's link.", {"type": "string", "format": "uri"})
_NAMED = {"id": "$response.body#/id", "user": "$response.body#/user"}
_LINKS = dict.fromkeys(("downloadRecord", "getRecord", "renameRecord", "deleteRecord"), _NAMED)
_WORDS: dict[str, tuple[str, Tag, str, str]] = {
    "/record": (
        "upload",
        "Uploads",
        "Send a WAV, get the link of an MP3",
        "The MP3 is made while the bytes come in, and nothing of the WAV is kept. The body is the "
        "WAV itself, whatever Content-Type says, or a form with one file; with Content-Length or "
        "in chunks. What can be refused by the headers is refused before the body is read. Where "
        "UMUSIC_RESUMABLE_DRAFT is set, draft-ietf-httpbis-resumable-upload is spoken as well, "
        "which has a text of its own.",
    ),
    "/audio": (
        "uploadAudio",
        "Older services",
        "Send a WAV, as the service A does",
        "As `/record`, but the reply is the bare link, as a JSON string.",
    ),
    "/users/wav": (
        "uploadUsersWav",
        "Older services",
        "Send a WAV, as the service D does",
        "As `/record`; the credentials of D are in the form field `data`.",
    ),
    "/audiotrack": (
        "uploadAudiotrack",
        "Older services",
        "Send a WAV, as the service E does",
        "As `/record`, but the link is called `audiotrack_url`.",
    ),
}


def _receipt(dialect: Uploading) -> tuple[Content, ...]:
    """What the link comes in."""
    if dialect.link_members is None:
        return json({"type": "string", "format": "uri"}, LINK)
    members = dialect.link_members
    link = {"type": "string", "format": "uri", "description": "The record's link, as `link`."}
    more = {"type": "object", "properties": dict.fromkeys(members, link), "required": [*members]}
    schema: dict[str, Any] = {"allOf": [Metadata, more]} if members else {"allOf": [Metadata]}
    return json(schema, {**METADATA, **dict.fromkeys(members, LINK)})


def _uploading(dialect: Uploading, method: str) -> Operation:
    name, tag, summary, text = _WORDS[dialect.path]
    has_members = dialect.link_members is not None
    return Operation(
        id=name if method == "POST" else f"{name}ByPut",
        tag=tag,
        summary=summary if method == "POST" else f"{summary}; by PUT, as `curl -T` does",
        text=text,
        replies={
            201: Reply(
                "The receipt: the link, what arrived and what was kept.",
                _receipt(dialect),
                (_LOCATION,),
                _LINKS if has_members else None,
            )
        },
        problems=_PROBLEMS,
        parameters=_PARAMETERS,
        body=_BODY,
        security=_SECURITY,
        deprecated=dialect is not OWN,
    )


OPERATIONS: dict[str, dict[str, Operation]] = {
    dialect.path: {method: _uploading(dialect, method) for method in ("POST", "PUT")}
    for dialect in UPLOADING
}
_NAMED_PUT = replace(
    OPERATIONS[OWN.path]["PUT"],
    summary="Send a WAV under the name in the path",
    parameters=(_FILE_NAME, *_PARAMETERS),
)
OPERATIONS["/record/{filename}"] = {"PUT": replace(_NAMED_PUT, id="uploadNamed")}
# These match before the template, so that their PUT has to be told of apart.
for _name in ("info", "peaks", "waveform"):
    OPERATIONS[f"/record/{_name}"] = {
        "PUT": replace(
            _NAMED_PUT,
            id=f"uploadNamed{_name.capitalize()}",
            summary=f"Send a WAV that is called {_name}",
            parameters=_PARAMETERS,
        )
    }
