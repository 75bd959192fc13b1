"""A limit on requests in flight that threads and coroutines share.

OpenDAL's own ConcurrentLimitLayer does the same below our deadlines, where the wait for a slot would count as
a wait for the server: many large requests over a slow link would then time out in the queue.

A server that has more requests in flight than it can answer in time answers none: all of them time out, are
sent again, and time out again. So a timeout halves the number of slots, and successes restore it one by one.
TCP does the same with segments in flight (RFC 5681, "congestion avoidance").
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from . import workers

__all__ = ["ConcurrencyLimit"]

_CHECK_SECONDS: Final = 0.5
"""Seconds between two looks at the queue, and seconds that an event loop has to answer."""


class _Waiter:
    """One call that waits for a slot: the event loop of its task, None for a thread, and what wakes it."""

    __slots__ = ("grant", "loop", "retried")

    def __init__(
        self, grant: Callable[[], object], loop: asyncio.AbstractEventLoop | None, retried: bool
    ) -> None:
        self.grant = grant
        self.loop = loop
        self.retried = retried


class ConcurrencyLimit:
    """A number of slots, one for each call in flight; further calls wait in the order in which they came.

    Calls that return their slot before they are retried go before new ones when they need one again.

    A coroutine that has a slot returns it when its event loop resumes it. While that loop is blocked, as by
    an engine's query in ``async def``, it returns none, and the query might wait for one forever. So while
    calls wait, event loops that do not answer lose their slots; the limit is then exceeded for a while.

    Parameters
    ----------
    limit : int
        Calls at a time, at least 1.

    Attributes
    ----------
    reduced : int
        Calls at a time after `halve`; 0 when `grow` has restored the limit.
    """

    def __init__(self, limit: int) -> None:
        # Reentrant: the garbage collector may close a suspended coroutine, which returns its slot, anywhere.
        self._lock = threading.RLock()
        self._limit = limit
        # Negative while more calls are in flight than a reduced limit allows.
        self._free = limit
        self.reduced = 0
        self._successes = 0
        self._waiting: deque[_Waiter] = deque()
        self._held: dict[asyncio.AbstractEventLoop, int] = {}
        self._watched = False

    def acquire(self, retried: bool = False) -> None:
        """Wait in this thread for a slot; `retried`: whether the call had one before."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            granted = threading.Lock()
            granted.acquire()
            waiter = _Waiter(granted.release, None, retried)
            self._enqueue(waiter)
        self._watch()
        try:
            # In slices, so that Ctrl-C ends the wait; see `workers.WAIT_SECONDS`.
            while not granted.acquire(timeout=workers.WAIT_SECONDS):
                pass
        except BaseException:
            self._cancel(waiter)
            raise

    def try_acquire(self) -> bool:
        """Return whether a slot was free; then it is taken until `release()`, which any thread may call."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            return False

    async def acquire_async(self, retried: bool = False) -> asyncio.AbstractEventLoop:
        """Wait in this task for a slot; return the argument for `release`. See `acquire`."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                self._held[loop] = self._held.get(loop, 0) + 1
                return loop
            granted = loop.create_future()
            waiter = _Waiter(lambda: loop.call_soon_threadsafe(_resolve, granted), loop, retried)
            self._enqueue(waiter)
        self._watch()
        try:
            await granted
        except BaseException:
            self._cancel(waiter)
            raise
        return loop

    def _enqueue(self, waiter: _Waiter) -> None:
        """Put a call into the queue: at its end, or after the last retried one; only with the lock."""
        if not waiter.retried:
            self._waiting.append(waiter)
            return
        place = next((i for i, other in enumerate(self._waiting) if not other.retried), len(self._waiting))
        self._waiting.insert(place, waiter)

    def release(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Return a slot; the next call in line gets it.

        Parameters
        ----------
        loop : AbstractEventLoop, optional
            What `acquire_async` returned.
        """
        with self._lock:
            if loop is not None:
                held = self._held.get(loop, 0)
                if not held:
                    # The slot was taken from the loop, which did not answer.
                    return
                if held == 1:
                    del self._held[loop]
                else:
                    self._held[loop] = held - 1
            self._grant_next()

    def halve(self) -> None:
        """Halve the number of slots; calls in flight are not ended."""
        with self._lock:
            slots = self.reduced or self._limit
            if slots == 1:
                return
            self.reduced = (slots + 1) // 2
            self._free -= slots - self.reduced
            self._successes = 0

    def grow(self) -> None:
        """Count a successful call: as many as there are slots add one slot, up to the initial number."""
        with self._lock:
            self._successes += 1
            if not self.reduced or self._successes < self.reduced:
                return
            self._successes = 0
            self.reduced = self.reduced + 1 if self.reduced + 1 < self._limit else 0
            self._grant_next()

    def _grant_next(self) -> None:
        """Grant a slot to the next call in line, or count it as free; only with the lock."""
        while self._waiting and self._free >= 0:
            waiter = self._waiting.popleft()
            try:
                waiter.grant()
            except RuntimeError:
                # The loop of the next call is closed, so that no task waits there.
                continue
            if waiter.loop is not None:
                self._held[waiter.loop] = self._held.get(waiter.loop, 0) + 1
            return
        self._free += 1

    def _cancel(self, waiter: _Waiter) -> None:
        """Stop waiting; a slot that was granted in the same moment is returned."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self.release(waiter.loop)

    def _watch(self) -> None:
        """Start to look for blocked event loops, for as long as calls wait."""
        with self._lock:
            if self._watched:
                return
            self._watched = True
        workers.start(self._find_blocked_loops)

    def _find_blocked_loops(self) -> None:
        while True:
            time.sleep(_CHECK_SECONDS)
            with self._lock:
                if not self._waiting:
                    self._watched = False
                    return
                loops = list(self._held)
            answers = [(loop, _ping(loop)) for loop in loops]
            time.sleep(_CHECK_SECONDS)
            self._take_slots({loop for loop, answer in answers if not answer.is_set()})

    def _take_slots(self, blocked: set[asyncio.AbstractEventLoop]) -> None:
        """Reclaim the slots of blocked event loops, and grant them to calls that wait elsewhere."""
        if not blocked:
            return
        with self._lock:
            self._waiting = deque(sorted(self._waiting, key=lambda waiter: waiter.loop in blocked))
            for _ in range(sum(self._held.pop(loop, 0) for loop in blocked)):
                self._grant_next()


def _ping(loop: asyncio.AbstractEventLoop) -> threading.Event:
    """Return an event that an event loop sets as soon as it runs."""
    answer = threading.Event()
    # A closed loop never returns the slots of tasks that are still referenced.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(answer.set)
    return answer


def _resolve(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)
