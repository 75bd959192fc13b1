"""The one pool of tasks: how many run at a time, tasks that wait for tasks, errors."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from opendalfs.runtime import executor
from opendalfs.runtime.executor import LIMIT, BoundedExecutor, each, submit, to_thread, wait_for_all


class Counter:
    """How many threads are in the block at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *details: object) -> None:
        with self._lock:
            self._now -= 1


def test_no_more_than_the_limit_run_at_a_time() -> None:
    counter = Counter()

    def work(item: int) -> int:
        with counter:
            time.sleep(0.002)
        return item

    # The caller runs tasks that have not begun, too.
    assert each(work, range(300)) == list(range(300))
    assert counter.most <= LIMIT + 1


def test_tasks_that_wait_for_tasks_end_when_the_limit_is_reached() -> None:
    counter = Counter()

    def leaf(item: int) -> int:
        with counter:
            time.sleep(0.001)
        return item

    def branch(item: int) -> int:
        return sum(wait_for_all([submit(leaf, item) for _ in range(4)]))

    def root(item: int) -> int:
        return sum(each(branch, [item] * 3))

    assert each(root, range(2 * LIMIT)) == [12 * item for item in range(2 * LIMIT)]
    assert counter.most <= LIMIT + 1


def test_the_first_error_is_raised_when_no_task_runs() -> None:
    counter = Counter()

    def work(item: int) -> None:
        with counter:
            if item == 3:
                raise KeyError(item)
            time.sleep(0.02)

    with pytest.raises(KeyError, match="3"):
        each(work, range(500))
    assert counter._now == 0


def test_a_task_is_awaited_in_a_coroutine() -> None:
    async def main() -> tuple[str, str]:
        return await to_thread(lambda: threading.current_thread().name), threading.current_thread().name

    worker, own = asyncio.run(main())
    assert (worker, own) == ("opendalfs-worker", "MainThread")


def test_an_executor_of_its_own_has_its_own_limit() -> None:
    counter = Counter()

    def work() -> None:
        with counter:
            time.sleep(0.01)

    own = BoundedExecutor(2)
    for future in [own.submit(work) for _ in range(10)]:
        future.result(20)
    assert counter.most <= 2
    assert executor.SHARED is not own
