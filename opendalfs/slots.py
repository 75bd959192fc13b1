"""A limit on requests in flight that threads and coroutines share.

OpenDAL's own ConcurrentLimitLayer does the same below our deadlines, where the wait for a turn would count as
a wait for the server: many large requests over a slow link would then time out in the queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Slots"]


class Slots:
    """So many calls at a time; the others wait in the order in which they came.

    Parameters
    ----------
    count : int
        Calls at a time, at least 1.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[Callable[[], object]] = deque()

    def take(self) -> None:
        """Wait in this thread for a slot, and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            grant = turn.release
            self._waiting.append(grant)
        try:
            turn.acquire()
        except BaseException:
            self._leave(grant)
            raise

    async def take_async(self) -> None:
        """Wait in this task for a slot, and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            turn = loop.create_future()

            def grant() -> None:
                loop.call_soon_threadsafe(_resolve, turn)

            self._waiting.append(grant)
        try:
            await turn
        except BaseException:
            self._leave(grant)
            raise

    def give_back(self) -> None:
        """Return a slot; the next in line gets it."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                grant = self._waiting.popleft()
            try:
                grant()
            except RuntimeError:
                # The loop of the next in line is closed, so that nobody waits there.
                continue
            return

    def _leave(self, grant: Callable[[], object]) -> None:
        """Stop waiting; a slot that was granted in the same moment goes on to the next."""
        with self._lock:
            waited = grant in self._waiting
            if waited:
                self._waiting.remove(grant)
        if not waited:
            self.give_back()


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
