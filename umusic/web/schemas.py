"""The JSON that comes in and goes out, as pydantic models."""

import datetime
import uuid

from pydantic import BaseModel, ConfigDict

from umusic.library.models import Record


class Registration(BaseModel):
    """The body of POST /user."""

    model_config = ConfigDict(strict=True)

    name: str


class NewUser(BaseModel):
    """The reply to a registration; the token is told only here."""

    id: uuid.UUID
    name: str
    token: str
    created_at: datetime.datetime


class Source(BaseModel):
    """What arrived: `samples` per channel, `sample_rate` in Hz, `size` in bytes, hex SHA-256."""

    format: str
    sample_rate: int
    channels: int
    samples: int
    size: int
    sha256: str


class Receipt(BaseModel):
    """The reply to an upload: where the MP3 is, what arrived and what was kept.

    `duration` is in seconds, `sample_rate` in Hz, `bitrate` in bit/s, `size` in bytes.
    """

    id: uuid.UUID
    user: uuid.UUID
    uploader: uuid.UUID
    name: str | None
    link: str
    download_link: str
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
    def of(cls, record: Record, link: str) -> "Receipt":
        """The receipt of a record that is downloaded at `link`."""
        return cls(
            id=record.id,
            user=record.user_id,
            uploader=record.uploader_id,
            name=record.name,
            link=link,
            download_link=link,
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


class Health(BaseModel):
    """The reply of /healthz and /readyz."""

    status: str
