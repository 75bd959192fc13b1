"""The one memory budget: its limit, its shares, and its reservations in threads, finalizers and forks."""

from __future__ import annotations

import gc
import importlib
import os
import threading

import pytest

from opendalfs.budget import LIMIT, PROCESS, Budget, Reservation


def test_a_reservation_grows_up_to_the_limit() -> None:
    budget = Budget(10)
    first, second = Reservation(budget), Reservation(budget)
    assert first.try_grow(6)
    assert not second.try_grow(5)
    assert second.try_grow(4)
    assert (budget.held, first.size, second.size) == (10, 6, 4)


def test_what_a_reader_waits_for_is_reserved_beyond_the_limit() -> None:
    budget = Budget(0)
    held = Reservation(budget)
    held.grow(5)
    assert budget.held == 5
    assert not held.fits(1)


def test_bytes_given_back_twice_count_once() -> None:
    budget = Budget(10)
    held = Reservation(budget)
    held.grow(5)
    held.shrink(3)
    held.shrink(3)
    held.release()
    held.release()
    assert (budget.held, held.size) == (0, 0)


def test_the_bytes_of_a_lost_reservation_come_back() -> None:
    budget = Budget(10)
    held = Reservation(budget)
    held.grow(5)
    del held
    gc.collect()
    assert budget.held == 0


def test_shares_are_limited_together() -> None:
    whole = Budget(10)
    held = [Reservation(whole.share(8)) for _ in range(2)]
    assert held[0].try_grow(8)
    assert not held[1].try_grow(3)
    assert held[1].try_grow(2)
    assert whole.held == 10


def test_no_share_takes_the_guaranteed_bytes_of_another() -> None:
    whole = Budget(10)
    small, large = whole.share(10, guaranteed=4), whole.share(10)
    greedy, modest = Reservation(large), Reservation(small)
    assert not greedy.try_grow(7)
    assert greedy.try_grow(6)
    assert modest.try_grow(4)
    assert not modest.try_grow(1)
    modest.release()
    assert not greedy.try_grow(1)


def test_guaranteed_bytes_are_there_when_others_exceed_the_whole() -> None:
    whole = Budget(10)
    due, mine = Reservation(whole.share(8)), Reservation(whole.share(6, guaranteed=4))
    due.grow(20)
    assert mine.try_grow(4)
    assert not mine.fits(1)


def test_more_than_there_is_cannot_be_guaranteed() -> None:
    whole = Budget(10)
    whole.share(10, guaranteed=6)
    with pytest.raises(ValueError, match="5 bytes cannot be guaranteed"):
        whole.share(10, guaranteed=5)
    with pytest.raises(ValueError, match="4 bytes cannot be guaranteed"):
        whole.share(3, guaranteed=4)


def test_every_share_of_the_process_can_be_used_to_its_limit_by_itself() -> None:
    users = ("opendalfs.read.readahead", "opendalfs_arrow.scan", "opendalfs_gateway.server")
    for name in users:
        importlib.import_module(name)
    shares = PROCESS._shares
    assert len(shares) >= len(users)
    for share in shares:
        others = sum(other.guaranteed for other in shares if other is not share)
        assert share.limit + others <= LIMIT


def test_threads_lose_no_bytes() -> None:
    budget = Budget(1_000)

    def work() -> None:
        held = Reservation(budget)
        for _ in range(2_000):
            if held.try_grow(7):
                held.shrink(7)
        held.grow(3)
        held.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert budget.held == 0


def test_a_reservation_may_be_collected_while_its_thread_counts() -> None:
    budget = Budget(10)
    held = [Reservation(budget)]
    held[0].grow(5)

    def collect() -> None:
        with Budget._lock:
            held.clear()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert budget.held == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_an_empty_budget_and_a_free_lock() -> None:
    budget = Budget(10)
    held = Reservation(budget)
    held.grow(8)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with Budget._lock:
            locked.set()
            done.wait(60)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert locked.wait(30)
    child = os.fork()
    if not child:
        status = 1
        try:
            fresh = held.size == 0 and budget.held == 0
            held.release()
            grown = held.try_grow(10) and budget.held == 10
            held.release()
            status = 0 if fresh and grown and budget.held == 0 else 2
        finally:
            os._exit(status)
    done.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join(30)
    assert (held.size, budget.held) == (8, 8)
