"""Where the MP3s are kept: the contract of a store, which `disk` and `bucket` fulfil; `fallback`
makes one of two.

What all stores promise:
- A file is there whole or not at all: `Part.publish` is atomic, and what it has published is
  durable when it returns. A published file never changes.
- Whatever is published without a row, or is about to lose its row, is marked as such: before
  `publish` begins there is a mark, and it goes with or after the commit of the row (`settle_in`,
  `settle`). Before a row is deleted the mark comes back (`Doomed`). So a crash leaves nothing that
  `leftovers` does not list, and never a row without a file.
- Whoever made a mark has a lock on it, or a lease, which ends with the process: nobody else
  touches what is marked meanwhile. Who has lost it cannot commit.
- `settled` lists what is published and not marked, in no order, a page at a time; `leftovers` what
  is marked.

What comes before an MP3 is published is in a directory of this machine (`Directory`), with either
store: the MP3 while it is encoded, and the part-files of resumable uploads.

All methods are coroutines that leave the event loop free. They raise MediaAway where the store does
not do what it should, NoSpace and OutOfResources where it lacks something.
"""

import abc
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncSession

from umusic.library.directory import Directory


@dataclass(frozen=True, slots=True)
class Stored:
    """What was published: its size in bytes and its SHA-256."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there: its size in bytes, and when it was published (s since the epoch)."""

    size: int
    modified: int


class Part(abc.ABC):
    """The MP3 of a new record on its way. `path` is to be written by whoever encodes it; then
    `publish`, and `settle` once the row is committed. Or `discard`; or `release`, if nobody knows
    whether it is."""

    path: Path

    @abc.abstractmethod
    async def publish(self, modified: int) -> Stored:
        """Makes the file durable in the store; `modified` (s since the epoch) is when it was.

        Raises:
            NoSpace, OutOfResources, MediaAway: it cannot be. Call `discard`.
        """

    @abc.abstractmethod
    async def settle_in(self, session: AsyncSession) -> None:
        """Called in the transaction that inserts the row.

        Raises:
            MediaAway: the file has been taken for left by a crash, and may be gone.
        """

    @abc.abstractmethod
    async def settle(self) -> None:
        """The row is committed: the file stays."""

    @abc.abstractmethod
    async def discard(self) -> None:
        """Removes the file, published or not, and whatever was made for it."""

    @abc.abstractmethod
    async def release(self) -> None:
        """Leaves the file as it is, until a sweep decides."""


class Doomed(abc.ABC):
    """The published files of records whose rows are about to be deleted. `mark`; then `discard`,
    `unmark` if the rows stay, or `release` if nobody knows."""

    @abc.abstractmethod
    async def mark(self) -> bool:
        """Marks all of the files, or none: then False, as somebody else has one of them. A missing
        file is no trouble."""

    @abc.abstractmethod
    async def mark_in(self, session: AsyncSession, record_ids: Collection[uuid.UUID]) -> None:
        """Called in the transaction that deletes the rows, with those that are deleted."""

    @abc.abstractmethod
    async def unmark(self) -> None:
        """The rows stay, and so do the files."""

    @abc.abstractmethod
    async def discard(self) -> None:
        """The rows are gone: removes the files. What cannot be removed a sweep will."""

    @abc.abstractmethod
    async def release(self) -> None:
        """Leaves the files as they are, until a sweep decides."""


class Leftover(abc.ABC):
    """Something marked, which a crash may have left."""

    #: Whether it may be of another database than this one.
    may_be_foreign = False

    user_id: uuid.UUID
    record_id: uuid.UUID

    @abc.abstractmethod
    async def claim(self) -> bool:
        """Takes it over; False if somebody has it, or it is gone. Call `release`."""

    @abc.abstractmethod
    async def exists(self) -> bool:
        """Whether it is still there."""

    async def is_empty(self) -> bool:
        """Whether there is a mark, and nothing that it marks."""
        return False

    @abc.abstractmethod
    async def is_published(self) -> bool:
        """Whether a row may stand for it."""

    @abc.abstractmethod
    async def settle(self, expected: Stored) -> None:
        """There is a row, of a file like this: it stays if it is what is there, of which nobody can
        be sure after a copy that was cut short (`move`). Something else goes to the lost-and-found;
        what was never published is removed."""

    @abc.abstractmethod
    async def discard(self) -> None:
        """There is none: removes the file."""

    @abc.abstractmethod
    async def release(self) -> None:
        """Lets go of it."""


class Derived(abc.ABC):
    """What is made of one record's MP3 when somebody asks for it, by name, and can be made again.

    It goes with its MP3. Who removes one removes the MP3 first, then what was made of it; who makes
    something publishes it first, and then looks whether the MP3 is still there. So whichever comes
    last removes it.
    """

    @abc.abstractmethod
    def path(self, name: str) -> str:
        """Where it lies in the store, or would."""

    @abc.abstractmethod
    async def holds(self, name: str) -> bool:
        """Whether it has been made."""

    @abc.abstractmethod
    async def read(self, name: str) -> bytes | None:
        """All of it; None if it has not been made. Raises MediaAway if it cannot be read."""

    @abc.abstractmethod
    def source(self) -> AbstractAsyncContextManager[BinaryIO]:
        """The MP3, in a file that can be read.

        Raises:
            RecordUnknown: it is not there; OutOfResources, MediaAway: it cannot be opened.
        """

    @abc.abstractmethod
    async def keep(self, name: str, data: bytes) -> None:
        """Publishes it whole, in the place of what had the name before.

        Raises:
            RecordUnknown: the record has been removed meanwhile, and so has this.
            NoSpace, OutOfResources, MediaAway: it cannot be written.
        """

    @abc.abstractmethod
    async def trim(self, suffix: str, count: int) -> None:
        """Removes the oldest of those whose names end with `suffix`; `count` of them may stay."""


class LostAndFound(abc.ABC):
    """`lost-and-found/` in the store: where a repair puts what it takes out of the library, so that
    nothing is lost for good. Files keep their `<user>/<record>.mp3`."""

    @abc.abstractmethod
    async def add_row(self, record_id: uuid.UUID, row: str) -> None:
        """Keeps a row, one line of JSON; it is durable when this returns."""

    @abc.abstractmethod
    async def add_file(self, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
        """Takes a published file over, if it is there; one of the same name that came earlier
        stays."""


class Media(abc.ABC):
    """A store of MP3s, each at `<user>/<record>.mp3`."""

    #: As operators know it: a path or a URL.
    name: str
    #: Whether it is elsewhere, and knows only its own ETags and times.
    is_remote = False
    #: Which directory has part-files of resumable uploads; None if that is the store itself.
    site: uuid.UUID | None = None
    #: Whether nginx, where there is one, can send its files.
    by_nginx = True
    lost_and_found: LostAndFound

    def __init__(self, directory: Directory) -> None:
        #: Of this machine.
        self.directory = directory

    def path(self, user_id: uuid.UUID, record_id: uuid.UUID) -> str:
        """Where a published file lies in the store."""
        return f"{user_id}/{record_id}.mp3"

    async def holding(self, path: str) -> "Media":
        """The store that has a file: this one, unless it is made of several (`fallback`)."""
        return self

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Looks at the start whether all that will be done can be done.

        Raises:
            StartError: it cannot; says what to do.
        """

    @abc.abstractmethod
    async def check_present(self) -> None:
        """Looks whether the store is there at all. Raises StartError."""

    @abc.abstractmethod
    async def check_ready(self) -> None:
        """Looks whether uploads can be taken now. Raises MediaAway."""

    @abc.abstractmethod
    async def create(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Part:
        """Begins the MP3 of a new record.

        Raises:
            NoSpace: the volume is full; MediaAway: it is not there, or fails.
        """

    @abc.abstractmethod
    def doomed(self, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]) -> Doomed:
        """The files of records that are to be removed; nothing happens to them yet."""

    @abc.abstractmethod
    async def size(self, user_id: uuid.UUID, record_id: uuid.UUID) -> int | None:
        """The bytes of a published file; None if there is none."""

    @abc.abstractmethod
    async def measure(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Stored | None:
        """Reads a published file to its end; None if there is none."""

    @abc.abstractmethod
    def settled(self) -> AsyncIterator[tuple[uuid.UUID, uuid.UUID]]:
        """All settled files, one at a time, as user and record, in no order."""

    @abc.abstractmethod
    async def is_settled(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool:
        """Whether a file is there that nobody is publishing or removing at the moment."""

    @abc.abstractmethod
    def leftovers(self, user_id: uuid.UUID | None = None) -> AsyncIterator[Leftover]:
        """All that is marked, of one user or of all, one at a time, also of live uploads."""

    @abc.abstractmethod
    def leftover(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Leftover:
        """What may be marked of a record."""

    @abc.abstractmethod
    def derived(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Derived:
        """What has been made of a record's file, and may be."""

    @abc.abstractmethod
    async def drop_orphans(self, user_id: uuid.UUID | None = None, *, thorough: bool) -> None:
        """Removes what was made of files that are gone, of one user or of all, and what is left of
        makings that were cut short. `thorough`: even if it takes a look at all that there is."""

    @abc.abstractmethod
    async def find(self, path: str) -> Found | None:
        """Looks at a file of the store; None if there is none."""

    @abc.abstractmethod
    def read(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` to before `end`, in pieces.

        Raises:
            RecordUnknown: it is not there any more; MediaAway: it cannot be read.
        """

    @abc.abstractmethod
    async def internal_path(self, path: str) -> str:
        """What X-Accel-Redirect says of a file, percent-encoded, below its prefix."""
