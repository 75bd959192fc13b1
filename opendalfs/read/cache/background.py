"""Writes of a cache, in one thread for the process, so that no read waits for them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from opendalfs.budget import PROCESS, Reservation
from opendalfs.runtime import process

__all__ = ["BUDGET", "flush", "submit"]

BUDGET: Final = PROCESS.share(128 << 20)
"""Bytes that wait to be written; what exceeds them is not kept."""

_PAUSE: Final = 10.0
"""Seconds without writes after one that failed, as on a full disk."""

_LONGEST_WAIT: Final = 0.25
"""Seconds that a write waits for reads in flight, which need the processor, at most."""

_POLL_SECONDS: Final = 0.005

_EXIT_SECONDS: Final = 2.0
"""How long the exit of the interpreter waits for writes."""

_log = logging.getLogger("opendalfs")


class _Write(NamedTuple):
    write: Callable[[], object]
    memory: Reservation


class _Background:
    """The queue and its thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all writes, in a forked child."""
        self._changed = threading.Condition()
        self._queue: deque[_Write] = deque()
        self._busy = False
        self._flushing = 0
        self._started = False
        self._resume_at = 0.0

    def submit(self, size: int, write: Callable[[], object]) -> bool:
        """Write later; return whether there is memory for it."""
        memory = Reservation(BUDGET)
        if time.monotonic() < self._resume_at or not memory.try_grow(size):
            return False
        with self._changed:
            self._queue.append(_Write(write, memory))
            if not self._started:
                self._started = True
                process.at_exit(_flush_at_exit)
                threading.Thread(target=self._run, name="opendalfs-cache", daemon=True).start()
            self._changed.notify_all()
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; return whether it was within a time."""
        with self._changed:
            self._flushing += 1
            try:
                return self._changed.wait_for(lambda: not self._queue and not self._busy, seconds)
            finally:
                self._flushing -= 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue)
                self._busy = True
            self._wait_for_reads()
            with self._changed:
                job = self._queue.popleft()
            self._write(job)
            # Before the next wait, as it holds the bytes.
            del job

    def _wait_for_reads(self) -> None:
        """Wait while reads are in flight, unless much waits to be written, or somebody waits for it."""
        deadline = time.monotonic() + _LONGEST_WAIT
        while process.calls_in_flight() and not self._flushing and BUDGET.held < BUDGET.limit // 4:
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)

    def _write(self, job: _Write) -> None:
        try:
            job.write()
        except OSError as exc:
            _log.debug("the cache was not written: %s", type(exc).__name__)
            self._resume_at = time.monotonic() + _PAUSE
            with self._changed:
                self._queue.clear()
        except Exception:
            _log.exception("the cache was not written")
        job.memory.release()


_background: Final = _Background()
process.after_fork(_background.reset)


def submit(size: int, write: Callable[[], object]) -> bool:
    """Call a function that writes, in the thread of the cache.

    Parameters
    ----------
    size : int
        Bytes of memory that it holds.
    write : callable
        What it raises is logged.

    Returns
    -------
    bool
        Whether it will be called: not if too many bytes wait, and not shortly after a failure.
    """
    return _background.submit(size, write)


def flush(seconds: float = 60.0) -> bool:
    """Wait until all is written that was submitted before.

    Parameters
    ----------
    seconds : float
        How long to wait at most.

    Returns
    -------
    bool
        Whether all is written.
    """
    return _background.flush(seconds)


def _flush_at_exit() -> None:
    _background.flush(_EXIT_SECONDS)
