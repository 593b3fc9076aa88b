"""What is ordered, and what may be: an upload as its sender wants it, and the limits of all."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from umusic.errors import QuotaExceeded, RecordNameTaken


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken: bytes of one WAV and of one library, uploads at once, of all users and of one,
    and whether an upload may be filed in the library of another user than its sender."""

    upload_bytes: int
    quota_bytes: int | None
    uploads: int
    uploads_per_user: int
    file_for_others: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Who files what, under which name, in whose library; with which Idempotency-Key, if any, and
    how many bytes were announced with it; by which resumable upload, if it is one."""

    user_id: uuid.UUID
    uploader_id: uuid.UUID
    name: str | None
    key: str | None = None
    length: int | None = None
    upload_id: uuid.UUID | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether the library is another user's than the uploader."""
        return self.user_id != self.uploader_id

    @contextlib.contextmanager
    def discretion(self) -> Iterator[None]:
        """Lets no error tell what is in a foreign library: its links are secrets."""
        try:
            yield
        except (RecordNameTaken, QuotaExceeded) as exc:
            if not self.is_foreign:
                raise
            raise type(exc) from exc
