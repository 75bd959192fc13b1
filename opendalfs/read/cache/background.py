"""Writes of a cache, in one thread for the process, so that no read waits for them.

What is to be written is collected for a while, so that many small records take one write, and that a short
program has read all before it begins.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final, NamedTuple, Protocol

from opendalfs.budget import PROCESS, Reservation
from opendalfs.runtime import process

__all__ = ["BUDGET", "Target", "flush", "submit"]

BUDGET: Final = PROCESS.share(128 << 20)
"""Bytes that wait to be written; what exceeds them is not kept."""

_COLLECT_SECONDS: Final = 0.25
"""How long writes are collected."""

_MOST_SECONDS: Final = 2.0
"""How long they wait while reads are in flight, which need the processor."""

_COLLECT_BYTES: Final = BUDGET.limit // 2
"""Bytes from which they are written at once."""

_POLL_SECONDS: Final = 0.02

_PAUSE: Final = 10.0
"""Seconds without writes after one that failed, as on a full disk."""

_EXIT_SECONDS: Final = 2.0
"""How long the exit of the interpreter waits for writes."""

_log = logging.getLogger("opendalfs")


class Target(Protocol):
    """What writes items."""

    def write(self, items: list[Any], /) -> None:
        """Write items that were submitted together, in their order."""


class _Item(NamedTuple):
    target: Target
    content: object
    size: int


class _Background:
    """The queue and its thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all writes, in a forked child."""
        self._changed = threading.Condition()
        self._queue: list[_Item] = []
        self._memory = Reservation(BUDGET)
        self._busy = False
        self._flushing = 0
        self._started = False
        self._resume_at = 0.0

    def submit(self, size: int, target: Target, content: object) -> bool:
        """Write later; return whether there is memory for it."""
        if time.monotonic() < self._resume_at or not self._memory.try_grow(size):
            return False
        with self._changed:
            if not self._started and not self._start():
                self._memory.shrink(size)
                return False
            self._queue.append(_Item(target, content, size))
            # Each wake-up takes the GIL from a reader.
            if len(self._queue) == 1 or self._memory.size >= _COLLECT_BYTES:
                self._changed.notify_all()
        return True

    def _start(self) -> bool:
        """Start the thread; return whether that is possible: not at exit, nor with too many threads."""
        try:
            threading.Thread(target=self._run, name="opendalfs-cache", daemon=True).start()
        except RuntimeError:
            self._resume_at = time.monotonic() + _PAUSE
            return False
        self._started = True
        process.at_exit(_flush_at_exit)
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; return whether it was within a time."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
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
                self._collect()
                self._busy = True
                items, self._queue = self._queue, []
            self._write(items)
            # Before the next wait, as they hold the bytes.
            del items

    def _collect(self) -> None:
        """Wait for more writes, and for the end of reads in flight, while the lock is held."""
        deadline = time.monotonic() + _MOST_SECONDS
        self._changed.wait_for(self._is_urgent, _COLLECT_SECONDS)
        while process.calls_in_flight() and not self._is_urgent() and time.monotonic() < deadline:
            self._changed.wait(_POLL_SECONDS)

    def _is_urgent(self) -> bool:
        return self._flushing > 0 or self._memory.size >= _COLLECT_BYTES

    def _write(self, items: list[_Item]) -> None:
        by_target: dict[int, list[_Item]] = {}
        for item in items:
            by_target.setdefault(id(item.target), []).append(item)
        items.clear()
        for group in by_target.values():
            try:
                if time.monotonic() >= self._resume_at:
                    group[0].target.write([item.content for item in group])
            except OSError as exc:
                _log.debug("the cache was not written: %s", type(exc).__name__)
                self._resume_at = time.monotonic() + _PAUSE
            except Exception:
                _log.exception("the cache was not written")
            size = sum(item.size for item in group)
            group.clear()
            self._memory.shrink(size)


_background: Final = _Background()
process.after_fork(_background.reset)


def submit(size: int, target: Target, content: object) -> bool:
    """Write content later, in the thread of the cache.

    Parameters
    ----------
    size : int
        Bytes of memory that it holds.
    target : Target
        What writes it; errors are logged.
    content : object
        Passed to it, in a list with what else is written then.

    Returns
    -------
    bool
        Whether it will be written: not if too many bytes wait, and not shortly after a failure.
    """
    return _background.submit(size, target, content)


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
