"""The records' rows."""

import datetime
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, Text, delete, func, literal, literal_column, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import (
    QuotaExceeded,
    RecordNameTaken,
    RecordUnknown,
    TokenUnknown,
    UserUnknown,
)
from umusic.library.database import ConstraintBroken, Database
from umusic.library.models import IdempotencyKey, Record, User
from umusic.library.uploads import complete
from umusic.upload_errors import KeyInUse


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of a library, which is newest first: that of the record named."""

    created_at: datetime.datetime
    record_id: uuid.UUID


class Records:
    """The records in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, record_id: uuid.UUID, user_id: uuid.UUID) -> Record:
        """The record of this id in this user's library.

        Raises:
            RecordUnknown: there is none.
        """
        async with self._database.reading() as session:
            record = await session.get(Record, record_id)
        if record is None or record.user_id != user_id:
            raise RecordUnknown
        return record

    async def check_name_free(self, user_id: uuid.UUID, name: str | None) -> None:
        """Looks whether a record of this name could be added now.

        Raises:
            RecordNameTaken: it could not; `record` and `user` tell the one that has the name.
        """
        if name is None:
            return
        async with self._database.reading() as session:
            record_id = await session.scalar(
                select(Record.id).where(Record.user_id == user_id, Record.name == name)
            )
        if record_id is not None:
            raise RecordNameTaken(record=str(record_id), user=str(user_id))

    async def add(
        self,
        record: Record,
        *,
        quota: int | None = None,
        key: IdempotencyKey | None = None,
        upload_id: uuid.UUID | None = None,
        also: Callable[[AsyncSession], Awaitable[None]],
    ) -> None:
        """Commits a record together with the key it was uploaded with, or with the end of the
        resumable upload that it came of, if the library then has no more than `quota` bytes.
        `also` is done in the same transaction.

        Raises:
            KeyInUse: another process was faster with an upload of this key.
            ResumptionGone: the resumable upload has come to an end.
            RecordNameTaken: the name was taken since it was checked.
            QuotaExceeded: the room was taken since it was checked.
            UserUnknown, TokenUnknown: the library, or the uploader, is gone.
            CommitUncertain: the database went away; the row may be there.
        """
        try:
            async with self._database.transaction() as session:
                user = await _locked_library(session, record.user_id)
                if user is None:
                    own = record.user_id == record.uploader_id
                    raise TokenUnknown if own else UserUnknown
                if quota is not None and user.size + record.size > quota:
                    raise QuotaExceeded(
                        f"With this record the library would have more than its {quota} bytes.",
                        quota=quota,
                    )
                # Looked at under the lock and before the name, which the faster one has as well.
                if key and await session.get(IdempotencyKey, (key.user_id, key.key)):
                    raise KeyInUse
                if upload_id:
                    await complete(session, upload_id, record)
                await also(session)
                session.add(record)
                if key:
                    await session.flush()  # a key refers to its record
                    session.add(key)
        except ConstraintBroken as exc:
            if exc.name == "pk_idempotency_keys":
                raise KeyInUse from exc
            await self._check_name_broken(exc, record.user_id, record.name)
            if exc.name == "fk_records_uploader_id_users":
                raise TokenUnknown from exc
            raise

    async def rename(self, record_id: uuid.UUID, user_id: uuid.UUID, name: str | None) -> Record:
        """Gives the record another name, or none. Returns it as it is then.

        Raises:
            RecordUnknown: there is no such record in this user's library.
            RecordNameTaken: another one has the name.
        """
        renaming = (
            update(Record)
            .where(Record.id == record_id, Record.user_id == user_id)
            .values(name=name)
            .returning(Record)
        )
        try:
            async with self._database.transaction() as session:
                await _locked_library(session, user_id)
                record = await session.scalar(renaming)
        except ConstraintBroken as exc:
            await self._check_name_broken(exc, user_id, name)
            raise
        if record is None:
            raise RecordUnknown
        return record

    async def remove(
        self,
        user_id: uuid.UUID,
        record_ids: Collection[uuid.UUID],
        also: Callable[[AsyncSession, Collection[uuid.UUID]], Awaitable[None]],
    ) -> int:
        """Removes those of the records that are in this user's library; returns how many. `also` is
        done with them in the same transaction."""
        removal = delete(Record).where(Record.user_id == user_id, Record.id.in_(record_ids))
        async with self._database.transaction() as session:
            await _locked_library(session, user_id)
            removed = (await session.scalars(removal.returning(Record.id))).all()
            await also(session, removed)
        return len(removed)

    async def page(
        self, user_id: uuid.UUID, *, limit: int, after: Position | None = None, text: str = ""
    ) -> tuple[Sequence[Record], Position | None]:
        """Up to `limit` records of a library, newest first, from the one after the position;
        only those that have `text` in their name, in capitals or not. And where the next page
        begins, if there is one.
        """
        async with self._database.reading() as session:
            found = (await session.scalars(page_query(user_id, limit + 1, after, text))).all()
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        return found[:limit], Position(last.created_at, last.id)

    async def walk(self, after: uuid.UUID, limit: int) -> Sequence[Record]:
        """Up to `limit` records of all libraries, by their ids, from the one after `after`."""
        query = select(Record).where(Record.id > after).order_by(Record.id).limit(limit)
        async with self._database.reading() as session:
            return (await session.scalars(query)).all()

    async def count(self) -> int:
        """How many records all libraries have, as their users' counters say."""
        async with self._database.reading() as session:
            return int(await session.scalar(select(func.sum(User.records))) or 0)

    async def size(self) -> int:
        """The bytes of all their MP3s, likewise."""
        async with self._database.reading() as session:
            return int(await session.scalar(select(func.sum(User.size))) or 0)

    async def confirm(
        self,
        user_id: uuid.UUID,
        record_id: uuid.UUID,
        also: Callable[[AsyncSession], Awaitable[None]],
    ) -> bool:
        """Whether the record is in this user's library. If so `also` is done in a transaction in
        which nobody can remove it."""
        query = select(Record.id).where(Record.id == record_id, Record.user_id == user_id)
        async with self._database.transaction() as session:
            found = await session.scalar(query.with_for_update(read=True, key_share=True))
            if found is not None:
                await also(session)
        return found is not None

    async def as_json(self, record_id: uuid.UUID) -> str | None:
        """The row as PostgreSQL writes it in JSON; json_populate_record() reads it again."""
        query = select(literal_column("row_to_json(records)::text", Text())).select_from(Record)
        async with self._database.reading() as session:
            return await session.scalar(query.where(Record.id == record_id))

    async def holds(self, user_id: uuid.UUID, record_id: uuid.UUID) -> bool | None:
        """Whether the record is in the library of this user, once all that is being done there has
        come to its end; None if this database does not know the user."""
        async with self._database.transaction() as session:
            if await _locked_library(session, user_id) is None:
                return None
            record = await session.get(Record, record_id)
            return record is not None and record.user_id == user_id

    async def owners(self, record_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Those of the ids that have a row, each with the user in whose library it is."""
        query = select(Record.id, Record.user_id).where(Record.id.in_(record_ids))
        async with self._database.reading() as session:
            return {row.id: row.user_id for row in await session.execute(query)}

    async def _check_name_broken(
        self, broken: ConstraintBroken, user_id: uuid.UUID, name: str | None
    ) -> None:
        if broken.name == "uq_records_user_id_name":
            await self.check_name_free(user_id, name)
            raise RecordNameTaken from broken


async def _locked_library(session: AsyncSession, user_id: uuid.UUID) -> User | None:
    """The user, who is locked: all that changes a library waits for each other here, and so never
    crosswise, at a name or at the counters. And nobody can tell of a row that may yet be committed.
    """
    locked = select(User).where(User.id == user_id).with_for_update(key_share=True)
    user: User | None = await session.scalar(locked)
    return user


def page_query(user_id: uuid.UUID, limit: int, after: Position | None, text: str) -> Select[Record]:
    """The query of a page, in the order of the index ix_records_user_id_created_at_id."""
    query = select(Record).where(Record.user_id == user_id)
    if after is not None:
        place = tuple_(
            literal(after.created_at, Record.created_at.type),
            literal(after.record_id, Record.id.type),
        )
        query = query.where(tuple_(Record.created_at, Record.id) < place)
    if text:
        query = query.where(Record.name.icontains(text, autoescape=True))
    return query.order_by(Record.created_at.desc(), Record.id.desc()).limit(limit)
