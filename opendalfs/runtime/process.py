"""The life of a process that uses OpenDAL: forks are refused, exits wait for what is in flight.

Two facts about the wheel make this module necessary. A process that exits right after an awaited call
aborts now and then, because a worker thread of OpenDAL still wants the interpreter. And after any use in
the parent every call in a forked child hangs for ever, because the worker threads did not come along.

At exit `leave` cancels awaited calls, gives the others a moment to end, fails those that wait on, and refuses
new ones, which the end of the interpreter would overtake. `atexit` handlers that were registered before it
run after it, and may use storage: the main thread is then marked with a context variable, which event loops
and `workers.Pool` pass on to what they do for it. Such a call waits for the wheel by itself when it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

__all__ = ["ForkError", "at_exit", "begin", "check_fork", "closing", "end", "leave", "used"]

_GRACE_SECONDS: Final = 0.3
"""How long blocking calls in flight may take to end at exit before they fail."""

_DRAIN_SECONDS: Final = 1.0
"""How long they may take to fail: with the grace, Ctrl-C ends a process within 2 s."""

_SETTLE_SECONDS: Final = 0.05

# Reentrant: the garbage collector may close a suspended coroutine, which ends its call, anywhere.
_lock = threading.RLock()
_owner: int | None = None
_closing = False
_awaited = False
_active = 0
_late = ContextVar("_late", default=False)
"""Whether an `atexit` handler that runs after `leave` made the call."""

_callbacks: list[Callable[[], object]] = []
_tasks: dict[asyncio.Task[object], int] = {}
"""Tasks with calls under way, and how many: one may ask for a size while it streams."""


class ForkError(RuntimeError):
    """Storage was used before this process was forked, so it cannot be used here."""


def used() -> bool:
    """Tell whether storage was asked anything since the interpreter started, here or in a parent."""
    return _owner is not None


def closing() -> bool:
    """Whether the interpreter exits, so that only calls for `atexit` handlers are still made."""
    return _closing


def check_fork() -> None:
    """Raise when this process was forked from one that had used storage.

    Raises
    ------
    ForkError
        With the ways out; without it the call would hang for ever.
    """
    if _owner is not None and _owner != os.getpid():
        raise ForkError(
            f"opendalfs was used in process {_owner} before it forked process {os.getpid()}, and "
            "OpenDAL's threads do not survive a fork. Start workers with "
            "multiprocessing.get_context('spawn') or 'forkserver', or use no storage before the fork."
        )


def begin(task: asyncio.Task[object] | None = None) -> None:
    """Note that a call to storage starts.

    Parameters
    ----------
    task : asyncio.Task, optional
        The task that awaits it; it is cancelled when the interpreter exits.

    Raises
    ------
    ForkError
        In a forked child of a process that had used storage.
    RuntimeError
        While the interpreter exits, but for `atexit` handlers.
    """
    global _owner, _active, _awaited
    if _owner != os.getpid():
        check_fork()
        _claim()
    if _closing and not _late.get():
        raise RuntimeError("storage cannot be used while the interpreter exits")
    with _lock:
        _active += 1
        if task is not None:
            _awaited = True
            _tasks[task] = _tasks.get(task, 0) + 1


def end(task: asyncio.Task[object] | None = None) -> None:
    """Note that a call to storage has ended."""
    global _active
    with _lock:
        _active -= 1
        if task is not None:
            left = _tasks.pop(task) - 1
            if left:
                _tasks[task] = left
    if _closing and task is not None:
        _settle()


def _claim() -> None:
    global _owner
    with _lock:
        if _owner is None:
            _owner = os.getpid()
            atexit.register(leave)


def at_exit(callback: Callable[[], object]) -> None:
    """Register a function that makes callers who wait for storage fail; it is called at exit."""
    _callbacks.append(callback)


def leave() -> None:
    """End calls in flight and refuse new ones, as the interpreter exits; any number of times."""
    global _closing
    if _owner != os.getpid() or _closing:
        return
    _closing = True
    _late.set(True)
    with _lock:
        pending = list(_tasks)
    for task in pending:
        loop = task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
    _wait(_GRACE_SECONDS)
    for callback in _callbacks:
        callback()
    _wait(_DRAIN_SECONDS)
    if _awaited or pending:
        _settle()


def _wait(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _active and time.monotonic() < deadline:
        time.sleep(0.005)


def _settle() -> None:
    """Wait until OpenDAL's worker, which has handed a result over, has let go of the interpreter."""
    time.sleep(_SETTLE_SECONDS)
