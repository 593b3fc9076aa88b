"""The tables. Only `migrations/` changes them; a test holds the two equal."""

import datetime
import decimal
import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Constraints have names, because errors and migrations speak of them.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """What the tables have in common."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it off the class
        datetime.datetime: DateTime(timezone=True),
        uuid.UUID: Uuid(),
        str: Text(),
        bytes: LargeBinary(),
        float: Double(),
    }


class User(Base):
    """Someone with a library. The token itself is kept nowhere.

    `records`, `size` (bytes of MP3) and `duration` (s) say how much is in the library; triggers
    of the table `records` keep them (migration 0002), and nobody else may write them.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("name"),
        UniqueConstraint("token_sha256"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 250", name="name_length"),
        CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256_length"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    token_sha256: Mapped[bytes]
    created_at: Mapped[datetime.datetime]
    records: Mapped[int] = mapped_column(BigInteger, server_default="0")
    size: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Exact, so that what was added can be taken off again.
    duration: Mapped[decimal.Decimal] = mapped_column(Numeric, server_default="0")


class Record(Base):
    """One MP3 in a user's library, and what is known of the WAV it was made from.

    `duration` is in seconds, `sample_rate` in Hz, `bitrate` the average in bit/s without
    the tags, `size` in bytes, `samples` per channel; the `source_` columns say the same of the WAV.
    `uploader_id` is None once the uploader, if another than the user, is gone.
    """

    __tablename__ = "records"
    __table_args__ = (
        # Records without a name do not collide: NULLs are distinct.
        UniqueConstraint("user_id", "name"),
        # The order of `GET /records`.
        Index(None, "user_id", "created_at", "id"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 250", name="name_length"),
        CheckConstraint("samples > 0 AND source_samples > 0", name="samples_positive"),
        CheckConstraint("size > 0 AND source_size > 0", name="sizes_positive"),
        CheckConstraint(
            "octet_length(sha256) = 32 AND octet_length(source_sha256) = 32", name="sha256_length"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    uploader_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    name: Mapped[str | None]
    created_at: Mapped[datetime.datetime]
    duration: Mapped[float]
    sample_rate: Mapped[int] = mapped_column(Integer)
    channels: Mapped[int] = mapped_column(SmallInteger)
    bitrate: Mapped[int] = mapped_column(Integer)
    samples: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes]
    source_format: Mapped[str]
    source_sample_rate: Mapped[int] = mapped_column(Integer)
    source_channels: Mapped[int] = mapped_column(SmallInteger)
    source_samples: Mapped[int] = mapped_column(BigInteger)
    source_size: Mapped[int] = mapped_column(BigInteger)
    source_sha256: Mapped[bytes]


class IdempotencyKey(Base):
    """The key that an upload bore and the record it became, for a day: `user_id` sent it, `length`
    is its Content-Length, None if it came in chunks, `name` what it was to be called."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),)

    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int | None] = mapped_column(BigInteger)
    name: Mapped[str | None]
    record_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("records.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime.datetime] = mapped_column(index=True)


class ResumableUpload(Base):
    """A WAV that comes in several requests, from its creation on, and what became of it.

    `told` is what its client said of it, for that client alone. `length` is its bytes in all, None
    while that is open. How many there are the part-file knows (`wav_part`); `received` is what it
    was when a request last ended, for the quota alone.
    `pending_from` is the size from which on the part-file's bytes do not count yet, `revision` how
    often that has changed. `wanted`: another process would like to go on with it. `site` is the
    directory that has the part-file, where each process has one of its own. At its end it has
    a `record_id` or a `problem` (as `uploads.written` has it), and stays until `expires_at` to tell
    of it.
    """

    __tablename__ = "uploads"
    __table_args__ = (CheckConstraint("length > 0", name="length_positive"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    uploader_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str | None]
    told: Mapped[str]
    length: Mapped[int | None] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime.datetime]
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)
    pending_from: Mapped[int | None] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    wanted: Mapped[bool] = mapped_column(Boolean, server_default=false())
    record_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("records.id", ondelete="CASCADE"), index=True
    )
    problem: Mapped[str | None]
    site: Mapped[uuid.UUID | None]

    @property
    def is_open(self) -> bool:
        """Whether it has not come to an end."""
        return self.record_id is None and self.problem is None


class Claim(Base):
    """What is in a store without a row of `records`, or may be: it is being published, or removed,
    by `holder`, who has until `until` to say that it goes on; after that whoever comes first may
    take it over and remove it. `store` is the URL of the store (`claims`)."""

    __tablename__ = "claims"

    store: Mapped[str] = mapped_column(primary_key=True)
    record_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    holder: Mapped[uuid.UUID]
    until: Mapped[datetime.datetime] = mapped_column(index=True)
