"""Idempotency keys: who lost the answer to an upload asks again, and gets the same record.

A key belongs to who uploads (draft-ietf-httpapi-idempotency-key-header) and is kept in the
transaction that keeps the record, so there is none of an upload that failed. It goes with its
record, or after `LIFETIME`.
"""

import datetime

from sqlalchemy import delete, select, tuple_

from umusic.library.database import Database
from umusic.library.models import IdempotencyKey, Record
from umusic.library.orders import Order
from umusic.upload_errors import KeyReused

LIFETIME = datetime.timedelta(hours=24)


class IdempotencyKeys:
    """The keys in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_of(self, order: Order) -> Record | None:
        """The record that an earlier upload with the order's key became, under the name that it
        had then; None if there is none.

        Raises:
            KeyReused: that upload had another length, name or library.
        """
        query = (
            select(IdempotencyKey, Record)
            .join(Record, Record.id == IdempotencyKey.record_id)
            .where(IdempotencyKey.user_id == order.uploader_id, IdempotencyKey.key == order.key)
        )
        async with self._database.reading() as session:
            found = (await session.execute(query)).one_or_none()
        if found is None:
            return None
        key, record = found
        if key.created_at <= _horizon():
            await self.sweep()
            return None
        lengths = {key.length, order.length}
        if (key.name, record.user_id) != (order.name, order.user_id) or (
            None not in lengths and len(lengths) > 1
        ):
            raise KeyReused
        record.name = key.name
        return record

    async def sweep(self) -> None:
        """Removes the keys that are too old to count. Those that somebody else has in hand (another
        sweep, or a removal) are about to go: to wait for them might be to wait crosswise."""
        columns = (IdempotencyKey.user_id, IdempotencyKey.key)
        old = (
            select(*columns)
            .where(IdempotencyKey.created_at <= _horizon())
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as session:
            await session.execute(delete(IdempotencyKey).where(tuple_(*columns).in_(old)))


def key_row(order: Order, record: Record) -> IdempotencyKey | None:
    """What is to be kept of the order's key, if it has one, together with the record."""
    if order.key is None:
        return None
    return IdempotencyKey(
        user_id=order.uploader_id,
        key=order.key,
        length=order.length,
        name=order.name,
        record_id=record.id,
        created_at=record.created_at,
    )


def _horizon() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - LIFETIME
