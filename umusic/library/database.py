"""The gate to Postgres: transactions, and foreign exceptions turned into ours.

It knows no table; what a broken constraint means is told by whoever writes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.pool import QueuePool

from umusic.errors import CommitUncertain, DatabaseUnavailable
from umusic.library.connecting import pooled_engine

#: Seconds to wait for a connection of the pool, and for a sign of life.
_POOL_SECONDS = 10.0
_PING_SECONDS = 3.0
#: SQLSTATE classes that mean "not now": connection, transaction rollback (deadlocks), resources,
#: operator intervention, system.
_PASSING_STATES = ("08", "40", "53", "57", "58")


class ConstraintBroken(Exception):
    """A statement broke the constraint `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Database:
    """A pool of connections. `url` is libpq's, of the kind postgresql://…"""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._engine = pooled_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            pool_pre_ping=True,
            # Else each ping is a transaction: three round trips to Postgres instead of one.
            isolation_level="AUTOCOMMIT",
        )
        self.size = pool_size
        #: Blocks of `transaction` and `reading` that are open.
        self._open = 0
        transactions = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._sessions = async_sessionmaker(transactions, expire_on_commit=False)
        self._readers = async_sessionmaker(self._engine, expire_on_commit=False)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back if it raises.

        Raises:
            DatabaseUnavailable: Postgres cannot be reached; nothing was committed.
            CommitUncertain: it went away during COMMIT; the rows may be there.
            ConstraintBroken: a statement of the block broke a constraint.
        """
        with _gate(), self._counted():
            async with self._sessions() as session:
                yield session
                await session.flush()
                try:
                    await session.commit()
                except (DBAPIError, OSError, TimeoutError) as exc:
                    raise CommitUncertain from exc

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for single SELECTs, which need no BEGIN and COMMIT on the way to Postgres.

        Raises:
            DatabaseUnavailable: Postgres cannot be reached.
        """
        with _gate(), self._counted():
            async with self._readers() as session:
                yield session

    @property
    def busy(self) -> int:
        """How many connections are in use, or being opened for it."""
        return cast(QueuePool, self._engine.pool).checkedout()

    @property
    def queue(self) -> int:
        """How many wait for a connection."""
        return max(self._open - self.busy, 0)

    async def ping(self) -> None:
        """Asks Postgres for a sign of life.

        Raises:
            DatabaseUnavailable: there was none.
        """
        try:
            async with asyncio.timeout(_PING_SECONDS), self.reading() as session:
                await session.execute(text("SELECT 1"))
        except TimeoutError as exc:
            raise DatabaseUnavailable from exc

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


@contextlib.contextmanager
def _gate() -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise ConstraintBroken(_constraint(exc)) from exc
    except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as exc:
        raise DatabaseUnavailable from exc
    except DBAPIError as exc:
        # Without a statement it was the connecting that failed.
        if (
            exc.statement is None
            or exc.connection_invalidated
            or _state(exc).startswith(_PASSING_STATES)
        ):
            raise DatabaseUnavailable from exc
        raise


def _constraint(exc: IntegrityError) -> str:
    return str(getattr(exc.orig.__cause__, "constraint_name", None)) if exc.orig else ""


def _state(exc: DBAPIError) -> str:
    return str(getattr(exc.orig, "sqlstate", None) or "")
