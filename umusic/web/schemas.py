"""The JSON that comes in and goes out, as pydantic models."""

import datetime
import uuid
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from umusic.errors import InvalidField, MalformedJson
from umusic.library.models import Record, User
from umusic.library.names import MAX_CHARACTERS, RECORD_NAME, USER_NAME
from umusic.web.dialects import NAME_FIELDS

T = TypeVar("T")

#: What `library.names` takes, as far as JSON Schema can say it.
_UserName = WithJsonSchema(
    {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": USER_NAME}
)
_RecordName = WithJsonSchema(
    {"type": "string", "maxLength": MAX_CHARACTERS, "pattern": RECORD_NAME}
)


def _any_name_field(schema: dict[str, Any]) -> None:
    """Says in a JSON Schema that the name may be in any of NAME_FIELDS."""
    name = schema.pop("properties")[NAME_FIELDS[0]]
    del schema["required"]
    schema["anyOf"] = [{"properties": {field: name}, "required": [field]} for field in NAME_FIELDS]


class Registration(BaseModel):
    """The body of a registration: the name, as `name` or `username`; the first that is there
    counts."""

    model_config = ConfigDict(strict=True, json_schema_extra=_any_name_field)

    name: Annotated[str, _UserName] = Field(validation_alias=AliasChoices(*NAME_FIELDS))


class Renaming(BaseModel):
    """The body of PATCH /record; null takes the name away."""

    model_config = ConfigDict(strict=True)

    name: Annotated[str, _RecordName] | None


class NewToken(BaseModel):
    """The reply to a registration or a change of token; the token is told only here.

    The members that are the same differ in the service that calls them so.
    """

    id: uuid.UUID
    user_id: uuid.UUID
    name: str
    token: str
    access_token: str
    created_at: datetime.datetime

    @classmethod
    def of(cls, user: User, token: str) -> Self:
        """The reply for a user and its token."""
        return cls(
            id=user.id,
            user_id=user.id,
            name=user.name,
            token=token,
            access_token=token,
            created_at=user.created_at,
        )


class Account(BaseModel):
    """The reply of GET /user: who it is, and how many records, bytes of MP3 and seconds the
    library has; `quota` is the bytes that it may have, null if there is no limit."""

    id: uuid.UUID
    name: str
    created_at: datetime.datetime
    records: int
    bytes: int
    seconds: float
    quota: int | None

    @classmethod
    def of(cls, user: User, quota: int | None) -> Self:
        """The reply for a user."""
        return cls(
            id=user.id,
            name=user.name,
            created_at=user.created_at,
            records=user.records,
            bytes=user.size,
            seconds=float(user.duration),
            quota=quota,
        )


class Source(BaseModel):
    """What arrived: `samples` per channel, `sample_rate` in Hz, `size` in bytes, hex SHA-256."""

    format: str
    sample_rate: int
    channels: int
    samples: int
    size: int
    sha256: str


class Metadata(BaseModel):
    """What is known of a record: its link, what arrived (`source`) and what was kept.

    `duration` is in seconds, `sample_rate` in Hz, `bitrate` in bit/s, `size` in bytes, `samples`
    per channel. `uploader` is null once a foreign uploader is gone.
    """

    id: uuid.UUID
    user: uuid.UUID
    uploader: uuid.UUID | None
    name: str | None
    link: str
    created_at: datetime.datetime
    duration: float
    sample_rate: int
    channels: int
    bitrate: int
    samples: int
    size: int
    sha256: str
    source: Source

    @classmethod
    def of(cls, record: Record, link: str) -> Self:
        """The metadata of a record that is downloaded at `link`."""
        return cls(
            id=record.id,
            user=record.user_id,
            uploader=record.uploader_id,
            name=record.name,
            link=link,
            created_at=record.created_at,
            duration=record.duration,
            sample_rate=record.sample_rate,
            channels=record.channels,
            bitrate=record.bitrate,
            samples=record.samples,
            size=record.size,
            sha256=record.sha256.hex(),
            source=Source(
                format=record.source_format,
                sample_rate=record.source_sample_rate,
                channels=record.source_channels,
                samples=record.source_samples,
                size=record.source_size,
                sha256=record.source_sha256.hex(),
            ),
        )


class UploadState(BaseModel):
    """How far a resumable upload is: `offset` bytes of `length`, null while that is open. All being
    there, it is `encoding` until it has a `record`, with its `link`, or has failed with a
    `problem`. It is known until `expires_at`."""

    state: Literal["uploading", "encoding", "done", "failed"]
    offset: int
    length: int | None
    name: str | None
    created_at: datetime.datetime
    expires_at: datetime.datetime
    link: str | None = None
    record: Metadata | None = None
    problem: "ProblemDetails | None" = None


class PublicMetadata(Metadata):
    """What whoever has the link may know of a record: as Metadata, but not who files what with
    whom."""

    uploader: uuid.UUID | None = Field(exclude=True)


class Page(BaseModel):
    """The reply of GET /records: some records, newest first, and the `cursor` of the next page."""

    items: list[Metadata]
    next: str | None


class Outline(BaseModel):
    """The reply of GET /record/peaks, in the form of audiowaveform's JSON, version 2: `data` has
    `length` pairs of a lowest and a highest sample of `bits` bits, each of `samples_per_pixel`
    samples at `sample_rate` Hz."""

    version: Literal[2]
    channels: Literal[1]
    sample_rate: int
    samples_per_pixel: int
    bits: Literal[8]
    length: int
    data: list[Annotated[int, Field(ge=-128, le=127)]]


class Health(BaseModel):
    """The reply of /healthz and /readyz."""

    status: str


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457). `detail` is the sentence to show, `type` what to go by: a path
    that says more. The members after it are there with some types."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        pattern=r"^(/problems/|https://iana\.org/assignments/http-problem-types#)[a-z-]+$"
    )
    title: str
    status: int
    detail: str
    field: str = Field("", description="Which field or parameter is wrong.")
    header: str = Field("", description="Which header is wrong.")
    algorithm: str = Field("", description="Which digest does not fit.")
    limit: int = Field(0, description="How many, or how many bytes, are taken at most.")
    quota: int = Field(0, description="How many bytes the library may have.")
    offset: int = Field(0, description="How many bytes the upload has.")
    cause: str = Field("", description="What an upload failed by: the code of that problem.")
    left: int = Field(0, description="How many bytes it has left.")
    record: str = Field("", description="The record that has this name.")
    user: str = Field("", description="In whose library that is.")
    link: str = Field("", description="The link of that record.")


def parse(kind: type[T], json: bytes | str, *, what: str, like: str) -> T:
    """Reads JSON that a client sent; `what` it is and what it should be `like` is for the errors.

    Raises:
        MalformedJson: it is no JSON object.
        InvalidField: a member is missing or wrong.
    """
    try:
        return TypeAdapter(kind).validate_json(json)
    except ValidationError as exc:
        error = exc.errors()[0]
        if not error["loc"]:
            raise MalformedJson(f"{what} is not a JSON object like {like}.") from exc
        field = str(error["loc"][0])
        raise InvalidField(f'The field "{field}" is wrong: {error["msg"]}.', field=field) from exc
