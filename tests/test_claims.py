"""Leases on what is in a store without a row."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text

from umusic.errors import MediaAway
from umusic.library import claims as leases
from umusic.library.claims import Claims, Held
from umusic.library.database import Database
from umusic.library.models import Claim, User

USER, RECORD = uuid.uuid4(), uuid.uuid4()


class Desk:
    """Claims on the files of two stores, and their rows."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.claims = Claims(database, "s3://bucket/one")
        self.elsewhere = Claims(database, "s3://bucket/other")

    async def seize(self) -> Held:
        held = await self.claims.seize(USER, RECORD)
        assert held is not None
        return held

    async def rows(self) -> list[Claim]:
        async with self.database.reading() as session:
            return list(await session.scalars(select(Claim)))

    async def run_out(self) -> list[tuple[uuid.UUID, uuid.UUID]]:
        return [found async for found in self.claims.run_out()]

    async def lapse(self) -> None:
        async with self.database.transaction() as session:
            await session.execute(text("UPDATE claims SET until = now()"))


@contextlib.asynccontextmanager
async def desk(url: str) -> AsyncIterator[Desk]:
    made = Desk(Database(url))
    try:
        yield made
    finally:
        await made.database.close()


def user() -> User:
    now = datetime.datetime.now(datetime.UTC)
    return User(id=USER, name="Ann", token_sha256=b"x" * 32, created_at=now)


@pytest.mark.gen_test
async def test_what_is_held_nobody_else_gets(database_url: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        assert await at.claims.seize(USER, RECORD) is None
        assert await at.claims.take_over(USER, RECORD) is None
        assert await at.run_out() == []
        assert await at.claims.among([RECORD, uuid.uuid4()]) == {RECORD}
        await held.drop()
        assert await at.rows() == []
        again = await at.seize()
        await again.drop()


@pytest.mark.gen_test
async def test_what_has_run_out_goes_to_whoever_comes_first(database_url: str) -> None:
    async with desk(database_url) as at:
        dead = await at.seize()
        dead.release()
        await at.lapse()
        assert await at.run_out() == [(USER, RECORD)]
        assert [found async for found in at.claims.run_out(USER)] == [(USER, RECORD)]
        assert [found async for found in at.claims.run_out(uuid.uuid4())] == []
        tries = [at.claims.take_over(USER, RECORD) for _ in range(5)]
        [held] = [each for each in await asyncio.gather(*tries) if each]
        assert await at.run_out() == []
        await held.drop()


@pytest.mark.gen_test
async def test_of_many_that_seize_one_succeeds(database_url: str) -> None:
    async with desk(database_url) as at:
        for _ in range(3):
            tries = [at.claims.seize(USER, RECORD) for _ in range(5)]
            [held] = [each for each in await asyncio.gather(*tries) if each]
            held.release()
            await at.lapse()


@pytest.mark.gen_test
async def test_nothing_is_taken_over_that_is_not_there(database_url: str) -> None:
    async with desk(database_url) as at:
        assert await at.claims.take_over(USER, RECORD) is None
        assert await at.rows() == []


@pytest.mark.gen_test
async def test_who_holds_one_renews_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", datetime.timedelta(seconds=0.3))
    async with desk(database_url) as at:
        held = await at.seize()
        [before] = await at.rows()
        async with asyncio.timeout(10):
            while (await at.rows())[0].until == before.until:
                await asyncio.sleep(0.05)
        held.release()
        # From here on nobody does.
        async with asyncio.timeout(10):
            while not await at.run_out():
                await asyncio.sleep(0.05)


@pytest.mark.expects_log("a claim could not be renewed")
@pytest.mark.gen_test
async def test_a_database_that_is_away_for_a_moment_ends_no_renewing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE", datetime.timedelta(seconds=0.3))
    async with desk(database_url) as at:
        held = await at.seize()
        with monkeypatch.context() as patch:
            tried = asyncio.Event()

            @contextlib.asynccontextmanager
            async def away() -> AsyncIterator[None]:
                tried.set()
                raise MediaAway
                yield

            patch.setattr(at.database, "transaction", away)
            await asyncio.wait_for(tried.wait(), 10)
        await at.lapse()
        async with asyncio.timeout(10):
            while await at.run_out():
                await asyncio.sleep(0.05)
        await held.drop()


@pytest.mark.gen_test
async def test_a_claim_ends_with_the_row_or_neither_happens(database_url: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        with pytest.raises(ZeroDivisionError):
            async with at.database.transaction() as session:
                session.add(user())
                await held.end_in(session)
                raise ZeroDivisionError
        assert len(await at.rows()) == 1
        async with at.database.transaction() as session:
            session.add(user())
            await held.end_in(session)
        held.release()
        assert await at.rows() == []
        async with at.database.reading() as session:
            assert await session.get(User, USER)


@pytest.mark.parametrize("how", ["seized", "swept"])
@pytest.mark.gen_test
async def test_who_has_lost_a_claim_cannot_commit(database_url: str, how: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        await at.lapse()
        other = await at.claims.take_over(USER, RECORD)
        assert other is not None
        if how == "swept":
            await other.drop()
        with pytest.raises(MediaAway):
            async with at.database.transaction() as session:
                session.add(user())
                await held.end_in(session)
        async with at.database.reading() as session:
            assert await session.get(User, USER) is None
        # Nor does he end that of the other.
        await held.drop()
        assert len(await at.rows()) == (0 if how == "swept" else 1)
        await other.drop()


@pytest.mark.gen_test
async def test_who_takes_over_waits_for_a_commit_that_is_under_way(database_url: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        await at.lapse()
        async with at.database.transaction() as session:
            await held.end_in(session)
            taking = asyncio.ensure_future(at.claims.take_over(USER, RECORD))
            await asyncio.sleep(0.2)
            assert not taking.done()
        assert await taking is None
        held.release()


@pytest.mark.gen_test
async def test_what_is_given_back_has_run_out(database_url: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        await held.give_back()
        assert await at.run_out() == [(USER, RECORD)]


@pytest.mark.gen_test
async def test_several_are_taken_and_ended_together(database_url: str) -> None:
    async with desk(database_url) as at:
        several = [uuid.uuid4() for _ in range(3)]
        held = at.claims.on(USER, several)
        async with at.database.transaction() as session:
            await held.take(session)
        assert await at.claims.among(several) == set(several)
        async with at.database.transaction() as session:
            await held.end_in(session)
        assert await at.rows() == []


@pytest.mark.gen_test
async def test_who_takes_in_a_transaction_gets_it_from_whoever_has_it(database_url: str) -> None:
    async with desk(database_url) as at:
        copying = await at.seize()
        removing = at.claims.on(USER, [RECORD])
        async with at.database.transaction() as session:
            await removing.take(session)
        with pytest.raises(MediaAway):
            async with at.database.transaction() as session:
                await copying.end_in(session)
        copying.release()
        await removing.drop()


@pytest.mark.gen_test
async def test_all_that_has_run_out_is_told_in_batches(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_BATCH", 2)
    async with desk(database_url) as at:
        several = [uuid.uuid4() for _ in range(5)]
        async with at.database.transaction() as session:
            await at.claims.on(USER, several).take(session)
        await at.lapse()
        assert await at.run_out() == sorted((USER, record) for record in several)


@pytest.mark.gen_test
async def test_stores_have_nothing_to_do_with_each_other(database_url: str) -> None:
    async with desk(database_url) as at:
        held = await at.seize()
        other = await at.elsewhere.seize(USER, RECORD)
        assert other is not None
        await held.drop()
        assert await at.claims.among([RECORD]) == set()
        assert await at.elsewhere.among([RECORD]) == {RECORD}
        await other.drop()
