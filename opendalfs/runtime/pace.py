"""The pace of requests to a server that refuses some of them, such as with status 503 or 429.

Fewer requests in flight do not help there: on a near network one connection alone sends 500 requests a
second. So requests are started at a rate that follows the rate of those that the server accepts: a little
more than it, so that the rate can grow. Google's clients do the same with a ratio of 2 (Site Reliability
Engineering, chapter 21, "Client-Side Throttling"), and those of AWS limit the rate too ("adaptive" retries).
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

__all__ = ["Pace"]

_RATIO: Final = 1.5
"""Requests started for each one accepted. With 2, a server that takes 50 requests a second and also refuses
30 % got 1,250 requests for 500 objects; with 1.5 it gets 1,000, and with 1.25 the rate does not recover."""

_MIN_RATE: Final = 4.0
"""Requests a second that are started in addition, so that the rate can grow from nothing."""

_QUIET_SECONDS: Final = 5.0
"""Seconds without a refusal after which requests start at once again."""

_OUTAGE_SECONDS: Final = 30.0
"""Seconds without an accepted request after which those that wait start, and fail each for itself."""

_BEHIND_SECONDS: Final = 0.1
"""Starts that a busy machine has missed are made up for within this time."""


class Pace:
    """Spaces the starts of requests to one server, from threads and coroutines, once it refuses some.

    Attributes
    ----------
    active : bool
        Whether requests must `wait` now.
    """

    def __init__(self) -> None:
        self.active = False
        # Reentrant: the garbage collector may close a coroutine that waits, anywhere.
        self._lock = threading.RLock()
        self._retried: deque[Callable[[], object]] = deque()
        self._new: deque[Callable[[], object]] = deque()
        self._granting = False
        self._next = 0.0
        self._second = 0
        self._count = 0
        self._count_before = 0
        self._refused = float("-inf")
        self._outage = float("-inf")

    def accept(self, now: float) -> None:
        """Count a request that the server has accepted, at a time of `time.monotonic`."""
        second = int(now)
        if second != self._second:
            self._begin_second(second)
        # Without a lock: a count that is lost between two threads changes little.
        self._count += 1
        if self.active:
            self._outage = now
            if now - self._refused > _QUIET_SECONDS:
                self._end()

    def refuse(self, now: float) -> None:
        """Count a request that the server has refused; from now on requests `wait`."""
        with self._lock:
            if not self.active or now - self._refused > _QUIET_SECONDS:
                self._outage = now
            self._refused = now
            self.active = True

    def rate(self, now: float) -> float:
        """Return the number of requests that may start in a second."""
        second = int(now)
        if second != self._second:
            self._begin_second(second)
        accepted = self._count_before * (1 - (now - second)) + self._count
        return _RATIO * accepted + _MIN_RATE

    def outage(self, now: float) -> float:
        """Return the seconds for which the server has refused all requests; 0 if it has not."""
        return now - self._outage if self.active else 0.0

    def _begin_second(self, second: int) -> None:
        self._count_before = self._count if second == self._second + 1 else 0
        self._second, self._count = second, 0

    def wait(self, retried: bool = False) -> None:
        """Wait in this thread until a request may start.

        Parameters
        ----------
        retried : bool
            Whether the request was refused before; those go first, so that none starves behind new ones.
        """
        signal = workers.signal()
        if self._start(signal.end, retried):
            return
        try:
            signal.wait(threading.TIMEOUT_MAX)
        except BaseException:
            self._cancel(signal.end)
            raise

    async def wait_async(self, retried: bool = False) -> None:
        """Wait in this task until a request may start; see `wait`."""
        loop = asyncio.get_running_loop()
        started = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(_resolve, started)

        if self._start(wake, retried):
            return
        try:
            await started
        except BaseException:
            self._cancel(wake)
            raise

    def _start(self, wake: Callable[[], object], retried: bool) -> bool:
        """Return whether a request may start now; otherwise put it into the queue."""
        with self._lock:
            now = time.monotonic()
            if self._is_over(now):
                return True
            if not self._retried and not self._new and self._next <= now:
                self._count_start(now)
                return True
            (self._retried if retried else self._new).append(wake)
            if self._granting:
                return False
            self._granting = True
        workers.start(self._grant)
        return False

    def _is_over(self, now: float) -> bool:
        """Whether requests may start at once; only with the lock."""
        if self.active and now - self._refused > _QUIET_SECONDS and not self._retried and not self._new:
            self._end()
        return not self.active or self.outage(now) > _OUTAGE_SECONDS

    def _count_start(self, now: float) -> None:
        self._next = max(self._next, now - _BEHIND_SECONDS) + 1 / self.rate(now)

    def _grant(self) -> None:
        """Wake those that wait, one by one, until none does."""
        while True:
            with self._lock:
                now = time.monotonic()
                over = self._is_over(now)
                while (self._retried or self._new) and (over or self._next <= now):
                    self._count_start(now)
                    # The event loop of a task that waited may be closed, and the garbage collector may have
                    # closed the last task since the check.
                    with suppress(RuntimeError, IndexError):
                        (self._retried or self._new).popleft()()
                if not self._retried and not self._new:
                    self._granting = False
                    return
                seconds = self._next - now
            # In slices, as the rate may grow meanwhile.
            time.sleep(min(seconds, workers.WAIT_SECONDS))

    def _end(self) -> None:
        """Stop to space the requests."""
        with self._lock:
            self.active = False
            self._next = 0.0

    def _cancel(self, wake: Callable[[], object]) -> None:
        with self._lock:
            for queue in (self._retried, self._new):
                with suppress(ValueError):
                    queue.remove(wake)


def _resolve(started: asyncio.Future[None]) -> None:
    if not started.done():
        started.set_result(None)
