"""Requests to a server that refuses some are spaced, and nothing else waits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from opendalfs.runtime import workers
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.runtime.pace import Pace


def refusing(accepted: int = 0) -> Pace:
    """Return the pace of a server that has just accepted some requests and refused one."""
    pace = Pace()
    now = time.monotonic()
    for _ in range(accepted):
        pace.accept(now)
    pace.refuse(now)
    return pace


def test_the_rate_follows_that_of_the_accepted_requests() -> None:
    pace = Pace()
    for second in range(100, 110):
        for i in range(50):
            pace.accept(second + i / 50)
    assert not pace.active
    pace.refuse(110.0)
    assert pace.active
    assert pace.rate(110.0) == pytest.approx(1.5 * 50 + 4)
    assert pace.rate(110.5) == pytest.approx(1.5 * 25 + 4)
    assert pace.rate(113.0) == 4


def test_the_pace_ends_when_the_server_refuses_nothing_for_a_while() -> None:
    pace = Pace()
    pace.refuse(100.0)
    for second in range(101, 105):
        pace.accept(float(second))
        assert pace.active
    pace.accept(106.0)
    assert not pace.active


def test_an_outage_counts_from_the_first_refusal_and_ends_with_the_first_success() -> None:
    pace = Pace()
    assert pace.outage(99.0) == 0
    for second in range(100, 140):
        pace.refuse(float(second))
    assert pace.outage(140.0) == 40
    pace.accept(141.0)
    assert pace.outage(142.0) == 1
    # A refusal long after the last one begins another outage.
    pace.refuse(500.0)
    assert pace.outage(501.0) == 1


def test_nothing_waits_when_the_refusals_are_long_ago() -> None:
    pace = Pace()
    pace.refuse(time.monotonic() - 60)
    begun = time.monotonic()
    for _ in range(1000):
        pace.wait()
    assert time.monotonic() - begun < 5
    assert not pace.active


def test_all_that_wait_start_together_when_nothing_was_accepted_for_long() -> None:
    pace = refusing()
    pace._outage -= 31
    begun = time.monotonic()
    for _ in range(100):
        pace.wait()
    # At 4 a second it would take 25 s.
    assert time.monotonic() - begun < 10


def test_threads_and_coroutines_share_one_pace() -> None:
    pace = refusing(accepted=20)
    starts: list[float] = []

    async def many() -> None:
        async def one() -> None:
            await pace.wait_async()
            starts.append(time.monotonic())

        await asyncio.gather(*(one() for _ in range(15)))

    def blocking(_: int) -> None:
        pace.wait()
        starts.append(time.monotonic())

    begun = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        waits = [threads.submit(blocking, i) for i in range(15)]
        asyncio.run(many())
        for wait in waits:
            wait.result()
    assert len(starts) == 30
    # 34 a second at first, then 4: never as fast as without a pace.
    assert max(starts) - begun > 0.5
    assert not pace._new


def test_a_request_that_was_refused_before_goes_first() -> None:
    pace = refusing()
    pace.wait()
    order: list[str] = []
    started = threading.Barrier(5)

    def wait(name: str, retried: bool) -> None:
        started.wait()
        if retried:
            time.sleep(0.1)
        pace.wait(retried)
        order.append(name)

    names = [("new", False)] * 4 + [("retried", True)]
    with ThreadPoolExecutor(5) as threads:
        for future in [threads.submit(wait, *name) for name in names]:
            future.result()
    assert order.index("retried") <= 1


def test_a_cancelled_wait_leaves_the_queue() -> None:
    async def main() -> None:
        pace = refusing()
        await pace.wait_async()
        tasks = [asyncio.ensure_future(pace.wait_async()) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not pace._new
        # It waits for one start, not for fifty.
        begun = time.monotonic()
        await pace.wait_async()
        assert time.monotonic() - begun < 6

    asyncio.run(main())


async def test_a_slot_goes_to_a_retried_call_before_a_new_one() -> None:
    limit = ConcurrencyLimit(1)
    loop = await limit.acquire_async()
    order: list[str] = []

    async def call(name: str, retried: bool) -> None:
        held = await limit.acquire_async(retried)
        order.append(name)
        limit.release(held)

    tasks = [asyncio.ensure_future(call(f"new {i}", False)) for i in range(3)]
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(call(f"retried {i}", True)) for i in range(3)]
    await asyncio.sleep(0)
    limit.release(loop)
    await asyncio.gather(*tasks)
    assert order == ["retried 0", "retried 1", "retried 2", "new 0", "new 1", "new 2"]


def wait_in_a_full_queue() -> None:
    pace = refusing()
    pace._next = time.monotonic() + 60
    pace.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals between processes")
@pytest.mark.parametrize("wait", [lambda: workers.sleep(60), wait_in_a_full_queue], ids=["delay", "pace"])
def test_ctrl_c_ends_the_wait_for_a_retry(wait: Callable[[], None]) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait()
    timer.join()
    assert time.monotonic() - begun < 20
    assert not workers.abandoned()


def test_the_delay_of_a_retry_lasts_as_long_as_it_should() -> None:
    begun = time.monotonic()
    workers.sleep(0.2)
    assert time.monotonic() - begun >= 0.2
