"""Leases on what is in a store without a row of `records`, or may be.

They are rows of `claims`, so a claim ends in the very transaction that inserts a record, and begins
in the one that deletes it: never are both there, nor neither while the file is. Who holds one says
so every few seconds; after `LEASE` without that whoever comes first takes it over. Time is
Postgres's. Who has lost a claim finds out when it is to end, and cannot commit: so nobody has to
be sure that another process is dead.
"""

import asyncio
import datetime
import logging
import uuid
from collections.abc import AsyncIterator, Collection

from sqlalchemy import ColumnElement, Interval, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from umusic.errors import MediaAway, Unavailable
from umusic.library.database import Database
from umusic.library.models import Claim

log = logging.getLogger(__name__)

#: How long a claim lasts after its last renewal.
LEASE = datetime.timedelta(seconds=30)
_BATCH = 200


class Held:
    """Claims of one user's records that are held here, until `drop` or `release`."""

    def __init__(self, claims: "Claims", user_id: uuid.UUID, record_ids: Collection[uuid.UUID]):
        self._claims = claims
        self.user_id = user_id
        self.record_ids = list(record_ids)
        self.holder = uuid.uuid4()
        self._renewing: asyncio.Task[None] | None = None

    async def take(self, session: AsyncSession) -> None:
        """Makes the claims, in a transaction; they are held once it is committed. Who copies such a
        file (`move`) loses its claim by that."""
        for record_id in self.record_ids:
            await session.execute(self._taking(record_id))

    async def seize(self, session: AsyncSession) -> bool:
        """The same, but only if nobody else has them."""
        for record_id in self.record_ids:
            taking = self._taking(record_id, where=_run_out()).returning(Claim.record_id)
            if await session.scalar(taking) is None:
                return False
        return True

    async def take_over(self, session: AsyncSession) -> bool:
        """The same, but only if there are some, and nobody holds them any more."""
        held = (Claim.store == self._claims.store, Claim.record_id.in_(self.record_ids))
        taking = update(Claim).where(*held, _run_out()).returning(Claim.record_id)
        taken = await session.scalars(taking.values(holder=self.holder, until=_until()))
        return len(taken.all()) == len(self.record_ids)

    def renew(self) -> None:
        """Renews them from here on, on its own."""
        self._renewing = self._renewing or asyncio.create_task(self._renew())

    async def end_in(self, session: AsyncSession) -> None:
        """Ends the claims, in a transaction that inserts their records.

        Raises:
            MediaAway: somebody has taken one over.
        """
        ended = delete(Claim).where(*self._mine()).returning(Claim.record_id)
        if len((await session.scalars(ended)).all()) != len(self.record_ids):
            raise MediaAway("Publishing took so long that it was taken for given up.")

    async def drop(self) -> None:
        """Ends them: there is nothing left to be removed, or nothing to remove."""
        self.release()
        if self.record_ids:
            async with self._claims.database.transaction() as session:
                await session.execute(delete(Claim).where(*self._mine()))

    def release(self) -> None:
        """Renews them no more, so that a sweep will take them over."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def give_back(self) -> None:
        """Ends them in that they run out at once: whoever sweeps next takes them over."""
        self.release()
        async with self._claims.database.transaction() as session:
            await session.execute(update(Claim).where(*self._mine()).values(until=func.now()))

    def _taking(self, record_id: uuid.UUID, where: ColumnElement[bool] | None = None) -> Insert:
        row = {"user_id": self.user_id, "holder": self.holder, "until": _until()}
        taking = insert(Claim).values(store=self._claims.store, record_id=record_id, **row)
        return taking.on_conflict_do_update(constraint="pk_claims", set_=row, where=where)

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return (
            Claim.store == self._claims.store,
            Claim.record_id.in_(self.record_ids),
            Claim.holder == self.holder,
        )

    async def _renew(self) -> None:
        renewal = update(Claim).where(*self._mine()).values(until=_until())
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                async with self._claims.database.transaction() as session:
                    await session.execute(renewal)
            except Unavailable as exc:
                log.warning("a claim could not be renewed: %r", exc.__cause__ or exc)


class Claims:
    """The claims on files of one store, by its URL."""

    def __init__(self, database: Database, store: str) -> None:
        self.database = database
        self.store = store

    def on(self, user_id: uuid.UUID, record_ids: Collection[uuid.UUID]) -> Held:
        """Claims that are not made yet."""
        return Held(self, user_id, record_ids)

    async def seize(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Held | None:
        """Makes a claim, or takes over one that has run out, and renews it; None if somebody has
        it."""
        held = self.on(user_id, [record_id])
        async with self.database.transaction() as session:
            if not await held.seize(session):
                return None
        held.renew()
        return held

    async def take_over(self, user_id: uuid.UUID, record_id: uuid.UUID) -> Held | None:
        """Takes over a claim that has run out, and renews it; None if there is none."""
        held = self.on(user_id, [record_id])
        async with self.database.transaction() as session:
            if not await held.take_over(session):
                return None
        held.renew()
        return held

    async def run_out(
        self, user_id: uuid.UUID | None = None
    ) -> AsyncIterator[tuple[uuid.UUID, uuid.UUID]]:
        """The claims that have run out, of one user or of all: user and record."""
        after = uuid.UUID(int=0)
        while True:
            query = select(Claim.user_id, Claim.record_id).where(
                Claim.store == self.store, Claim.record_id > after, _run_out()
            )
            if user_id is not None:
                query = query.where(Claim.user_id == user_id)
            async with self.database.reading() as session:
                found = (await session.execute(query.order_by(Claim.record_id).limit(_BATCH))).all()
            for user, record in found:
                yield user, record
            if len(found) < _BATCH:
                return
            after = found[-1].record_id

    async def among(self, record_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of the records on which there is a claim, whether it has run out or not."""
        query = select(Claim.record_id).where(
            Claim.store == self.store, Claim.record_id.in_(record_ids)
        )
        async with self.database.reading() as session:
            return set((await session.scalars(query)).all())


def _until() -> ColumnElement[datetime.datetime]:
    return func.now() + literal(LEASE, Interval())


def _run_out() -> ColumnElement[bool]:
    return Claim.until <= func.now()
