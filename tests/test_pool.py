"""The slots for encoder processes, and in which order they are given away."""

import asyncio
from pathlib import Path

import pytest

from umusic.audio.pool import Pool, Slot


def pool(size: int) -> Pool:
    return Pool(Path("ffmpeg"), size)


def waits(pool: Pool, owner: object) -> "asyncio.Task[Slot]":
    return asyncio.ensure_future(pool.acquire(owner))


async def granted(*waiting: "asyncio.Task[Slot]") -> list[bool]:
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in waiting]


@pytest.mark.gen_test
async def test_there_are_only_so_many_slots() -> None:
    shared = pool(2)
    tasks = [waits(shared, "a") for _ in range(3)]
    assert await granted(*tasks) == [True, True, False]
    tasks[0].result().close()
    assert await granted(*tasks) == [True, True, True]


@pytest.mark.gen_test
async def test_a_slot_is_given_back_once() -> None:
    shared = pool(1)
    slot = await shared.acquire("a")
    slot.close()
    slot.close()
    assert shared.is_idle
    first, second = waits(shared, "a"), waits(shared, "b")
    assert await granted(first, second) == [True, False]
    second.cancel()


@pytest.mark.gen_test
async def test_who_has_fewest_comes_first_and_of_equals_who_has_waited_longest() -> None:
    shared = pool(2)
    held = [await shared.acquire("long"), await shared.acquire("long")]
    order = [waits(shared, owner) for owner in ("long", "long", "short", "third")]
    assert await granted(*order) == [False] * 4
    held[0].close()
    assert await granted(*order) == [False, False, True, False]
    held[1].close()
    assert await granted(*order) == [True, False, True, False]
    order[0].result().close()
    order[2].result().close()
    assert await granted(*order) == [True] * 4


@pytest.mark.gen_test
async def test_who_stops_waiting_gets_none() -> None:
    shared = pool(1)
    held = await shared.acquire("a")
    gone, waiting = waits(shared, "b"), waits(shared, "c")
    await granted(gone)
    gone.cancel()
    held.close()
    assert await granted(waiting) == [True]
    waiting.result().close()
    assert shared.is_idle


@pytest.mark.gen_test
async def test_a_slot_granted_to_who_is_cancelled_in_the_same_moment_is_not_lost() -> None:
    shared = pool(1)
    held = await shared.acquire("a")
    gone = waits(shared, "b")
    await granted(gone)
    held.close()
    gone.cancel()
    await asyncio.wait({gone})
    assert gone.cancelled()
    assert shared.is_idle


@pytest.mark.gen_test
async def test_a_share_is_what_the_busy_leave() -> None:
    shared = pool(4)
    assert shared.share("a") == 4
    slot = await shared.acquire("b")
    assert shared.share("a") == 2
    assert shared.share("b") == 4
    slot.close()
    assert shared.share("a") == 4
    others = [waits(shared, owner) for owner in "cdefg"]
    await granted(*others)
    assert shared.share("a") == 1
    others[-1].cancel()
