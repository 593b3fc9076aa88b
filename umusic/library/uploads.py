"""The rows of uploads that come in several requests (tus 1.0.0), and what they say.

What is in the part-files is not known here, nor who is sending.
"""

import datetime
import json
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Update, and_, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import QuotaExceeded, TokenUnknown, UmusicError, UserUnknown
from umusic.library.database import ConstraintBroken, Database
from umusic.library.models import Record, ResumableUpload, User
from umusic.library.orders import Order
from umusic.resumable_errors import (
    ResumptionExpired,
    ResumptionFailed,
    ResumptionGone,
    ResumptionLocked,
    ResumptionTerminated,
    ResumptionUnknown,
)

_OPEN = and_(ResumableUpload.record_id.is_(None), ResumableUpload.problem.is_(None))
_OWN_ENDS = {kind.code: kind for kind in (ResumptionExpired, ResumptionTerminated)}
#: Rows that one look at many of them brings.
_BATCH = 500
#: How long one is kept, at most, of which no byte has come. Whoever lost the answer to its creation
#: does not know it, and it reserves its length in the quota.
_EMPTY_EXPIRY = datetime.timedelta(hours=1)


class Uploads:
    """The resumable uploads in the database. `expiry` is how long each is kept after its last
    progress, and then for as long what became of it; without a byte it is an hour at most. `site`
    is the directory of this process's part-files, None if that is everybody's."""

    def __init__(
        self, database: Database, expiry: datetime.timedelta, site: uuid.UUID | None = None
    ) -> None:
        self._database = database
        self.expiry = expiry
        self.site = site

    def is_elsewhere(self, row: ResumableUpload) -> bool:
        """Whether the part-file that counts is in another directory: what is in this one does not.
        Nobody here can read it, so whoever goes on here goes on from nothing."""
        return self.site is not None and row.site not in (None, self.site)

    async def add(
        self, order: Order, length: int | None, told: str, *, quota: int | None
    ) -> ResumableUpload:
        """Makes a new one, of `length` bytes if that is known, if the library has room for it
        beside what is on its way already. `told` is what its client says of it.

        Raises:
            QuotaExceeded: it has not. UserUnknown, TokenUnknown: library or uploader are gone.
        """
        now = _now()
        row = ResumableUpload(
            id=uuid.uuid4(),
            user_id=order.user_id,
            uploader_id=order.uploader_id,
            name=order.name,
            told=told,
            length=length,
            received=0,
            created_at=now,
            expires_at=self._due(now, received=0),
            revision=0,
            wanted=False,
        )
        try:
            async with self._database.transaction() as session:
                if quota is not None:
                    await self._check_quota(session, order, length or 0, quota)
                session.add(row)
        except ConstraintBroken as exc:
            if exc.name == "fk_uploads_user_id_users" and order.is_foreign:
                raise UserUnknown from exc
            if exc.name in ("fk_uploads_user_id_users", "fk_uploads_uploader_id_users"):
                raise TokenUnknown from exc
            raise
        return row

    async def find(self, upload_id: uuid.UUID) -> ResumableUpload:
        """The row of this id.

        Raises:
            ResumptionUnknown: there is none.
        """
        async with self._database.reading() as session:
            row = await session.get(ResumableUpload, upload_id)
        if row is None:
            raise ResumptionUnknown
        return row

    async def reserved(self, user_id: uuid.UUID, *, but: uuid.UUID | None) -> int:
        """The bytes that the open uploads into a library have, or will have; `but` one of them."""
        async with self._database.reading() as session:
            return await _reserved(session, user_id, but)

    async def set_length(self, upload_id: uuid.UUID, length: int) -> None:
        """Says how many bytes it has in all. Raises ResumptionLocked as `suspect` does."""
        await self._change_own(upload_id, length=length)

    async def suspect(self, upload_id: uuid.UUID, offset: int) -> None:
        """Says that bytes from here on do not count before `trust` says so.

        Raises:
            ResumptionLocked: its part-file is elsewhere by now.
        """
        revision = ResumableUpload.revision + 1
        await self._change_own(upload_id, pending_from=offset, revision=revision)

    async def trust(self, upload_id: uuid.UUID, received: int) -> datetime.datetime:
        """Says that all of the part-file's bytes count, and that there was progress. Returns when
        it expires now. Raises what `suspect` does."""
        revision = ResumableUpload.revision + 1
        return await self._progress(upload_id, received, pending_from=None, revision=revision)

    async def touch(self, upload_id: uuid.UUID, received: int) -> datetime.datetime:
        """Says that there was progress. Returns when it expires now. Raises what `suspect` does."""
        return await self._progress(upload_id, received)

    async def want(self, upload_id: uuid.UUID) -> None:
        """Asks whoever holds it to let go."""
        await self._change(upload_id, wanted=True)

    async def take(self, upload_id: uuid.UUID) -> None:
        """Says that it is held by who wanted it, and that its part-file, which is here, has been
        cut."""
        revision = ResumableUpload.revision + 1
        await self._change(
            upload_id, wanted=False, pending_from=None, revision=revision, site=self.site
        )

    async def end(self, upload_id: uuid.UUID, error: UmusicError) -> bool:
        """Says why nothing more comes of it. False if it had come to an end already, which a
        termination alone overrules."""
        fits = ResumableUpload.id == upload_id
        if not isinstance(error, ResumptionTerminated):
            fits = and_(fits, _OPEN)
        return bool(await self._end(fits, error))

    async def end_all(self, user_id: uuid.UUID) -> None:
        """Terminates all that is open, into a library and by its user."""
        of_user = (ResumableUpload.user_id == user_id) | (ResumableUpload.uploader_id == user_id)
        await self._end(and_(of_user, _OPEN), ResumptionTerminated())

    async def expire(self) -> Sequence[ResumableUpload]:
        """Ends those that have had no progress for too long; returns them. And forgets those whose
        end has been told for long enough."""
        now = _now()
        forgetting = delete(ResumableUpload).where(ResumableUpload.expires_at <= now, ~_OPEN)
        expiring = (
            update(ResumableUpload)
            .where(ResumableUpload.expires_at <= now, _OPEN)
            .values(problem=written(ResumptionExpired()), expires_at=now + self.expiry)
            .returning(ResumableUpload)
        )
        async with self._database.transaction() as session:
            await session.execute(forgetting)
            return (await session.scalars(expiring)).all()

    async def whole(self, after: uuid.UUID, limit: int = _BATCH) -> Sequence[ResumableUpload]:
        """Open ones whose length is known, by their ids, from the one after `after`: those of
        which all may be there."""
        query = (
            select(ResumableUpload)
            .where(_OPEN, ResumableUpload.length.is_not(None), ResumableUpload.id > after)
            .order_by(ResumableUpload.id)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return (await session.scalars(query)).all()

    async def among(self, upload_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, ResumableUpload]:
        """Those of the ids that have a row."""
        query = select(ResumableUpload).where(ResumableUpload.id.in_(upload_ids))
        async with self._database.reading() as session:
            return {row.id: row for row in await session.scalars(query)}

    async def _progress(
        self, upload_id: uuid.UUID, received: int, **values: Any
    ) -> datetime.datetime:
        expires_at = self._due(_now(), received)
        await self._change_own(upload_id, received=received, expires_at=expires_at, **values)
        return expires_at

    def _due(self, now: datetime.datetime, received: int) -> datetime.datetime:
        """When one that has come so far expires."""
        return now + (self.expiry if received else min(self.expiry, _EMPTY_EXPIRY))

    async def _change_own(self, upload_id: uuid.UUID, **values: Any) -> None:
        here = true() if self.site is None else ResumableUpload.site == self.site
        if not await self._change(upload_id, here, **values) and self.site is not None:
            raise ResumptionLocked

    async def _change(
        self, upload_id: uuid.UUID, fits: ColumnElement[bool] = _OPEN, **values: Any
    ) -> int:
        change = update(ResumableUpload).where(ResumableUpload.id == upload_id, _OPEN, fits)
        async with self._database.transaction() as session:
            done = await session.execute(change.values(**values))
            assert isinstance(done, CursorResult)
            return done.rowcount

    async def _end(self, fits: Any, error: UmusicError) -> int:
        values = {"problem": written(error), "expires_at": _now() + self.expiry}
        ending: Update = update(ResumableUpload).where(fits).values(**values)
        async with self._database.transaction() as session:
            done = await session.execute(ending)
            assert isinstance(done, CursorResult)
            return done.rowcount

    async def _check_quota(
        self, session: AsyncSession, order: Order, length: int, quota: int
    ) -> None:
        locked = select(User).where(User.id == order.user_id).with_for_update(key_share=True)
        user = await session.scalar(locked)
        if user is None:
            return  # the constraint will say so
        left = max(quota - user.size - await _reserved(session, order.user_id, None), 0)
        with order.discretion():
            check_room(length, left, quota)


def check_room(size: int, left: int, quota: int) -> None:
    """Looks whether a WAV of `size` bytes fits into what is `left` of a library's quota.

    Raises:
        QuotaExceeded: it does not.
    """
    if size > left:
        raise QuotaExceeded(
            f"The library has {left} of its {quota} bytes left, and the WAV is larger. Delete "
            "records, or send a shorter one.",
            quota=quota,
            left=left,
        )


async def complete(session: AsyncSession, upload_id: uuid.UUID, record: Record) -> None:
    """Adds the record that came of an upload, and says so in its row, in one transaction.

    Raises:
        ResumptionGone: it has come to an end already.
    """
    row = await session.get(ResumableUpload, upload_id, with_for_update=True)
    if row is None or not row.is_open:
        raise ResumptionGone
    session.add(record)
    await session.flush()  # the row refers to it
    row.record_id = record.id
    row.length = record.source_size


def written(error: UmusicError) -> str:
    """An error as it is kept in a row."""
    return json.dumps({"code": error.code, "detail": error.detail, "members": error.members})


def end_of(row: ResumableUpload) -> ResumptionGone | None:
    """How an upload without a record has ended; None if it has not. `cause` and the members are
    those of what it failed by."""
    if row.problem is None:
        return None
    told = json.loads(row.problem)
    if kind := _OWN_ENDS.get(told["code"]):
        return kind()
    return ResumptionFailed(
        f"This upload has failed for good: {told['detail']}", cause=told["code"]
    )


def check_open(row: ResumableUpload) -> None:
    """Raises ResumptionGone if an upload has come to an end, or has become a record."""
    if error := end_of(row):
        raise error
    if row.record_id is not None:
        raise ResumptionGone("This upload has become a record.")


async def _reserved(session: AsyncSession, user_id: uuid.UUID, but: uuid.UUID | None) -> int:
    size = func.coalesce(ResumableUpload.length, ResumableUpload.received)
    query = select(func.sum(size)).where(ResumableUpload.user_id == user_id, _OPEN)
    if but is not None:
        query = query.where(ResumableUpload.id != but)
    return int(await session.scalar(query) or 0)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
