"""A timeout halves the slots of a filesystem, and successful calls restore them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hypothesis import example, given, settings
from hypothesis import strategies as st

from opendalfs.runtime.concurrency import ConcurrencyLimit


def free(limit: ConcurrencyLimit) -> int:
    """Return the number of free slots, which are all free afterwards."""
    count = 0
    while limit.try_acquire():
        count += 1
    for _ in range(count):
        limit.release()
    return count


def test_a_limit_is_halved_to_one_and_grows_back_by_one_for_each_round_of_successes() -> None:
    limit = ConcurrencyLimit(10)
    seen = []
    for _ in range(5):
        limit.halve()
        seen.append((limit.reduced, free(limit)))
    assert seen == [(5, 5), (3, 3), (2, 2), (1, 1), (1, 1)]
    rounds = 0
    while limit.reduced:
        slots = limit.reduced
        for _ in range(slots - 1):
            limit.grow()
            assert limit.reduced == slots
        limit.grow()
        rounds += 1
        assert free(limit) == slots + 1
    assert rounds == 9
    limit.grow()
    assert free(limit) == 10


def test_slots_in_use_are_not_taken_and_none_is_granted_until_they_are_few_enough() -> None:
    limit = ConcurrencyLimit(4)
    for _ in range(4):
        limit.acquire()
    limit.halve()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(limit.acquire)
        for _ in range(2):
            limit.release()
            assert not limit.try_acquire()
            assert not waiting.done()
        limit.release()
        waiting.result(60)
    limit.release()
    limit.release()
    assert free(limit) == 2


def test_a_slot_that_grows_is_granted_to_a_task_that_waits() -> None:
    async def work() -> None:
        limit = ConcurrencyLimit(2)
        limit.halve()
        loop = await limit.acquire_async()
        waiting = asyncio.create_task(limit.acquire_async())
        await asyncio.sleep(0)
        assert not waiting.done()
        limit.grow()
        limit.release(await asyncio.wait_for(waiting, 60))
        limit.release(loop)
        assert free(limit) == 2

    asyncio.run(work())


@settings(deadline=None)
@example(1, ["halve", "grow"])
@given(st.integers(1, 20), st.lists(st.sampled_from(["acquire", "release", "halve", "grow"]), max_size=60))
def test_no_slot_is_lost_or_added_in_any_order_of_changes(most: int, steps: list[str]) -> None:
    limit = ConcurrencyLimit(most)
    used = 0
    for step in steps:
        if step == "acquire":
            allowed = limit.reduced or most
            assert limit.try_acquire() == (used < allowed)
            used += used < allowed
        elif step == "release" and used:
            limit.release()
            used -= 1
        elif step in ("halve", "grow"):
            getattr(limit, step)()
    for _ in range(used):
        limit.release()
    assert free(limit) == (limit.reduced or most)
