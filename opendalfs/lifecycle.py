"""The life of a process that uses OpenDAL: forks are refused, exits wait for what is under way.

Two facts about the wheel make this module necessary. A process that exits right after an awaited call
aborts now and then, because a worker thread of OpenDAL still wants the interpreter. And after any use in
the parent every call in a forked child hangs for ever, because the worker threads did not come along.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from typing import Final

__all__ = ["ForkError", "begin", "check_fork", "end", "used"]

_DRAIN_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 0.05

_lock = threading.Lock()
_owner: int | None = None
_closing = False
_awaited = False
_active = 0
_tasks: dict[asyncio.Task[object], int] = {}
"""Tasks with calls under way, and how many: one may ask for a size while it streams."""


class ForkError(RuntimeError):
    """Storage was used before this process was forked, so it cannot be used here."""


def used() -> bool:
    """Tell whether storage was asked anything since the interpreter started, here or in a parent."""
    return _owner is not None


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
        While the interpreter exits.
    """
    global _owner, _active, _awaited
    if _owner != os.getpid():
        check_fork()
        _claim()
    if _closing:
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


def _claim() -> None:
    global _owner
    with _lock:
        if _owner is None:
            _owner = os.getpid()
            atexit.register(_drain)


def _drain() -> None:
    """Let calls under way end before the interpreter goes."""
    global _closing
    if _owner != os.getpid():
        return
    _closing = True
    with _lock:
        pending = list(_tasks)
    for task in pending:
        loop = task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while _active and time.monotonic() < deadline:
        time.sleep(0.005)
    if _awaited or pending:
        # OpenDAL's worker hands the result over before it lets go of the interpreter.
        time.sleep(_SETTLE_SECONDS)
