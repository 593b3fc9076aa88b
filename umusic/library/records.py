"""The records' rows."""

import uuid
from collections.abc import Collection

from sqlalchemy import select

from umusic.errors import RecordNameTaken, RecordUnknown, TokenUnknown
from umusic.library.database import ConstraintBroken, Database
from umusic.library.models import Record, User


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

    async def add(self, record: Record) -> None:
        """Commits a record.

        Raises:
            RecordNameTaken: the name was taken since it was checked.
            CommitUncertain: the database went away; the row may be there.
        """
        try:
            async with self._database.transaction() as session:
                session.add(record)
        except ConstraintBroken as exc:
            if exc.name == "uq_records_user_id_name":
                await self.check_name_free(record.user_id, record.name)
                raise RecordNameTaken from exc
            if exc.name.startswith("fk_"):
                raise TokenUnknown from exc  # the user was deleted while the body came in
            raise

    async def knows_user(self, user_id: uuid.UUID) -> bool:
        """Whether the library of this user is in this database."""
        async with self._database.reading() as session:
            return await session.get(User, user_id) is not None

    async def existing(self, record_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of the ids that have a row."""
        async with self._database.reading() as session:
            return set(await session.scalars(select(Record.id).where(Record.id.in_(record_ids))))
