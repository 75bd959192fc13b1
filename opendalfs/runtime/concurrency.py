"""A limit on requests in flight that threads and coroutines share.

OpenDAL's own ConcurrentLimitLayer does the same below our deadlines, where the wait for a turn would count as
a wait for the server: many large requests over a slow link would then time out in the queue.
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

__all__ = ["Slots"]

_PATIENCE: Final = 0.5
"""Seconds between two looks at the queue, and that an event loop has to answer."""


class _Waiter:
    """One call that waits for a slot: the loop of its task, None for a thread, and what wakes it."""

    __slots__ = ("grant", "loop")

    def __init__(self, grant: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> None:
        self.grant = grant
        self.loop = loop


class Slots:
    """So many calls at a time; the others wait in the order in which they came.

    A coroutine that has a slot returns it when its event loop resumes it. While that loop is blocked, as by a
    query of an engine in ``async def``, it returns none, and the query might wait for one for ever. So while
    calls wait, event loops that do not answer lose their slots; the limit is then exceeded for a while.

    Parameters
    ----------
    count : int
        Calls at a time, at least 1.
    """

    def __init__(self, count: int) -> None:
        # Reentrant: the garbage collector may close a suspended coroutine, which returns its slot, anywhere.
        self._lock = threading.RLock()
        self._free = count
        self._waiting: deque[_Waiter] = deque()
        self._held: dict[asyncio.AbstractEventLoop, int] = {}
        self._watched = False

    def take(self) -> None:
        """Wait in this thread for a slot, and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            waiter = _Waiter(turn.release, None)
            self._waiting.append(waiter)
        self._watch()
        try:
            # In slices, so that Ctrl-C ends the wait; see `workers.SLICE`.
            while not turn.acquire(timeout=workers.SLICE):
                pass
        except BaseException:
            self._leave(waiter)
            raise

    async def take_async(self) -> asyncio.AbstractEventLoop:
        """Wait in this task for a slot, and take it; return what `give_back` needs."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free:
                self._free -= 1
                self._held[loop] = self._held.get(loop, 0) + 1
                return loop
            turn = loop.create_future()
            waiter = _Waiter(lambda: loop.call_soon_threadsafe(_resolve, turn), loop)
            self._waiting.append(waiter)
        self._watch()
        try:
            await turn
        except BaseException:
            self._leave(waiter)
            raise
        return loop

    def give_back(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Return a slot; the next in line gets it.

        Parameters
        ----------
        loop : AbstractEventLoop, optional
            What `take_async` returned.
        """
        with self._lock:
            if loop is not None:
                held = self._held.get(loop, 0)
                if not held:
                    # It was taken from the loop, which did not answer.
                    return
                if held == 1:
                    del self._held[loop]
                else:
                    self._held[loop] = held - 1
            self._pass_on()

    def _pass_on(self) -> None:
        """Give a slot to the next in line, or count it as free; only with the lock."""
        while self._waiting:
            waiter = self._waiting.popleft()
            try:
                waiter.grant()
            except RuntimeError:
                # The loop of the next in line is closed, so that nobody waits there.
                continue
            if waiter.loop is not None:
                self._held[waiter.loop] = self._held.get(waiter.loop, 0) + 1
            return
        self._free += 1

    def _leave(self, waiter: _Waiter) -> None:
        """Stop waiting; a slot that was granted in the same moment goes on to the next."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self.give_back(waiter.loop)

    def _watch(self) -> None:
        """Start to look for blocked loops, for as long as calls wait."""
        with self._lock:
            if self._watched:
                return
            self._watched = True
        workers.start(self._look)

    def _look(self) -> None:
        while True:
            time.sleep(_PATIENCE)
            with self._lock:
                if not self._waiting:
                    self._watched = False
                    return
                loops = list(self._held)
            answers = [(loop, _ask(loop)) for loop in loops]
            time.sleep(_PATIENCE)
            self._take_from({loop for loop, answer in answers if not answer.is_set()})

    def _take_from(self, blocked: set[asyncio.AbstractEventLoop]) -> None:
        """Take the slots of loops that are blocked, for those who wait elsewhere."""
        if not blocked:
            return
        with self._lock:
            self._waiting = deque(sorted(self._waiting, key=lambda waiter: waiter.loop in blocked))
            for _ in range(sum(self._held.pop(loop, 0) for loop in blocked)):
                self._pass_on()


def _ask(loop: asyncio.AbstractEventLoop) -> threading.Event:
    """Return an event that a loop sets as soon as it runs."""
    answer = threading.Event()
    # A closed one never returns the slots of tasks that somebody still holds.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(answer.set)
    return answer


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
