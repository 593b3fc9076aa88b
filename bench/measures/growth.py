"""A library that grows: an upload of a second of sound, a link, a page of the list, with 10³, 10⁵
and 10⁶ records in it (rows made in bulk)."""

import asyncio
import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import text

from bench.alone import main
from bench.load import Load, loading
from bench.rounds import Rounds, Row, Scale, Turn, run, tell
from bench.sides import Bench, Server
from bench.wavs import music
from tests.rows import add_rows
from umusic.library.database import Database
from umusic.library.records import Position
from umusic.web.cursors import cursor_of

_RECORDS, _QUICK_RECORDS = (1_000, 100_000, 1_000_000), (1_000, 10_000)
_TURNS, _QUICK_TURNS = 11, 3
_LIMIT = 100

_FILL_BASELINE = text(
    """
    INSERT INTO records (id, user_id, name, size, created_at)
    SELECT gen_random_uuid(), :user, 'take ' || n || '.wav', 16000,
        timestamp '2026-01-01' + n / 10 * interval '1 second'
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
    """
)


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Four rows a number of records."""
    wav = music(bench.scratch / "take.wav", 1)
    with bench.umusic() as umusic, bench.baseline() as baseline, loading() as load:
        there = 0
        for count in _QUICK_RECORDS if scale.quick else _RECORDS:
            for server in (umusic, baseline):
                asyncio.run(_fill(server, there, count))
            there = count
            sides: dict[str, Turn] = {
                server.name: partial(_ask, server, load, wav, count)
                for server in (umusic, baseline)
            }
            rounds = run(sides, _QUICK_TURNS if scale.quick else _TURNS)
            yield from _rows(rounds, count)


def _rows(rounds: Rounds, count: int) -> Iterator[Row]:
    for what, measure in (
        ("upload", "An upload of a second of sound"),
        ("link", "Following a link"),
        ("first", "The newest 100 records"),
        ("deep", "100 records in the middle of the list"),
    ):
        why = (
            "Each of umusic's records has 18 members and a link, the baseline's four members."
            if what in ("first", "deep")
            else ""
        )
        yield tell(rounds.row(what, measure, f"{count:,} records", "ms", why=why))


def _ask(server: Server, load: Load, wav: Path, count: int) -> dict[str, float]:
    sent = load.upload(server.uploading(), wav)[0]
    began = time.perf_counter()
    with urllib.request.urlopen(json.loads(sent.body)["link"]) as reply:
        reply.read()
    link = time.perf_counter() - began
    if server.name == "umusic":
        middle = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + count / 20
        position = Position(datetime.fromtimestamp(middle, UTC), uuid.UUID(int=0))
        deep = f"/records?limit={_LIMIT}&cursor={cursor_of(position)}"
    else:
        deep = f"/records?limit={_LIMIT}&offset={count // 2}"
    found = {
        "upload": sent.seconds,
        "link": link,
        "first": server.get(f"/records?limit={_LIMIT}")[1],
        "deep": server.get(deep)[1],
    }
    return {what: 1e3 * seconds for what, seconds in found.items()}


async def _fill(server: Server, there: int, count: int) -> None:
    """Adds rows to the user's library, after those that are there."""
    database = Database(server.database_url)
    try:
        if server.name == "umusic":
            await add_rows(database, server.user, count - there, after=there)
            return
        async with database.transaction() as session:
            numbers = {"first": there + 1, "last": count}
            await session.execute(_FILL_BASELINE, {"user": uuid.UUID(server.user), **numbers})
        async with database.reading() as session:
            await session.execute(text("VACUUM ANALYZE records"))
    finally:
        await database.close()


if __name__ == "__main__":
    main(measure)
