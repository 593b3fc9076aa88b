"""The way to Postgres: connections by libpq's URI, direct or through a pooler that lends them for
one transaction at a time.

Such a pooler knows no session: what one transaction leaves behind on a connection, another client
finds. So whatever umusic does lasts for one transaction only, locks included, and behind a pooler
no statement is prepared under a name.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy import Pool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

#: Seconds that a new connection gets, and an answer.
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 30.0
#: asyncpg then sends the text of a statement along with its parameters, in one go and without a
#: name. What SQLAlchemy remembers of statements are their types, and may stay.
_UNNAMED = {"statement_cache_size": 0}


def pooled_engine(url: str, **options: Any) -> AsyncEngine:
    """An engine that keeps its connections; for the options see SQLAlchemy."""
    return _engine(_Entrance(url), **options)


def single_engine(url: str, pool: type[Pool]) -> AsyncEngine:
    """An engine for what is done once and may take its time: it prepares nothing."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS, **_UNNAMED)

    return _engine(connect, poolclass=pool)


def _engine(connect: Callable[[], Awaitable[asyncpg.Connection]], **options: Any) -> AsyncEngine:
    # The URL is asyncpg's to read: it knows libpq's parameters, several hosts among them.
    return create_async_engine("postgresql+asyncpg://", async_creator=connect, **options)


class _Entrance:
    """Opens connections, and finds out whether there is a pooler in between: such a one tells
    another number than that of the process which does the work."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pooler = False

    async def __call__(self) -> asyncpg.Connection:
        if not self._pooler:
            connection = await self._connect()
            if await _is_direct(connection):
                return connection
            connection.terminate()
            self._pooler = True
        return await self._connect(**_UNNAMED)

    async def _connect(self, **caching: int) -> asyncpg.Connection:
        seconds = {"timeout": _CONNECT_SECONDS, "command_timeout": _COMMAND_SECONDS}
        return await asyncpg.connect(self._url, **seconds, **caching)


async def _is_direct(connection: asyncpg.Connection) -> bool:
    """Whether there is nothing in between; asked by a simple query, which leaves no statement
    behind."""
    query = f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}"
    try:
        return bool(await connection.execute(query, timeout=_CONNECT_SECONDS) == "SELECT 1")
    except BaseException:
        connection.terminate()
        raise
