"""The life of a process that uses storage: forks are refused, and exits wait for calls in flight.

This is the one fork guard and the one exit drain, for the core and for all engines. Four facts make it
necessary:

- A process that exits right after an awaited call aborts now and then, because a worker thread of OpenDAL
  still needs the interpreter.
- After any use in the parent every call in a forked child hangs forever, because OpenDAL's threads exist only
  in the parent.
- The threads of Arrow and DuckDB run on after the last line of a program, as when a result was not read to
  its end. The interpreter ends a thread that enters Python while it is finalized, with the locks of the
  engine still held, and the process hangs or aborts.
- A thread that has left Python may come back: an engine may run a little before it calls again.

At exit `drain` cancels awaited calls, gives the others a moment to end, fails those that still wait, refuses
new ones, and waits until no engine has called for a while. `atexit` handlers that were registered before it
run after it, and may use storage: the main thread is then marked with a context variable, which event loops
and `executor.BoundedExecutor` pass on. Such a call waits by itself for OpenDAL's worker when it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Final
from weakref import WeakSet

__all__ = [
    "ForkError",
    "after_fork",
    "at_exit",
    "begin_call",
    "begin_engine_call",
    "calls_in_flight",
    "cancelled",
    "check_fork",
    "drain",
    "end_call",
    "end_engine_call",
    "exiting",
    "fail_at_exit",
    "remove_at_exit",
    "used",
]

_GRACE_SECONDS: Final = 0.3
"""How long blocking calls in flight may take to end at exit before they fail."""

_DRAIN_SECONDS: Final = 1.0
"""How long they may take to fail: with the grace, Ctrl-C ends a process within 2 s."""

_SETTLE_SECONDS: Final = 0.05

_QUIET_SECONDS: Final = 0.1
"""Time without a call after which an engine is taken to have stopped."""

_BUSY_SECONDS: Final = 1.0
"""How long the exit waits for other threads that use a processor: one of an engine may be about to call,
which takes longer on a busy machine. They may also be the user's own, and never stop."""

_ENGINE_SECONDS: Final = 5.0
"""How long the exit waits for engines at most."""

_POLL_SECONDS: Final = 0.005

# Reentrant: the garbage collector may close a suspended coroutine, which ends its call, anywhere.
_lock = threading.RLock()
_owner: int | None = None
_registered = False
_exiting = False
_awaited = False
_active = 0
_engine_active = 0
_engine_last = float("-inf")
_late = ContextVar("_late", default=False)
"""Whether an `atexit` handler that runs after `drain` made the call."""

_fail_at_exit: list[Callable[[], object]] = []
_at_exit: list[Callable[[], object]] = []
_tasks: dict[asyncio.Task[object], int] = {}
"""Tasks with calls in flight, and how many: a task may ask for a size while it streams."""
_cancelled: WeakSet[asyncio.Task[object]] = WeakSet()
"""Tasks that Ctrl-C has cancelled."""


class ForkError(RuntimeError):
    """Raised if storage is used in a forked process whose parent has used storage.

    Threads of the parent do not exist in the child, so that calls would never end. Start processes with
    "spawn" or "forkserver", or fork before storage is first used.

    Examples
    --------
    >>> import multiprocessing
    >>> context = multiprocessing.get_context("spawn")
    """


def used() -> bool:
    """Whether this process, or the parent it was forked from, has used storage."""
    return _owner is not None


def exiting() -> bool:
    """Whether the interpreter exits, so that only `atexit` handlers may still use storage."""
    return _exiting


def check_fork() -> None:
    """Raise when this process was forked from one that had used storage.

    Raises
    ------
    ForkError
        Instead of the call, which would hang forever.
    """
    if _owner is not None and _owner != os.getpid():
        raise ForkError(
            f"process {_owner} used storage and then forked process {os.getpid()}: start workers with "
            "'spawn' or 'forkserver'\nOpenDAL's threads do not survive a fork. Use "
            "multiprocessing.get_context('spawn'), or do not use storage before the fork."
        )


def after_fork(callback: Callable[[], object]) -> None:
    """Register a function to call in each forked child, where no other thread of the parent runs."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)


def at_exit(callback: Callable[[], object]) -> None:
    """Register a function that `drain` calls once new calls are refused and waiting callers have failed.

    Parameters
    ----------
    callback : callable
        Ends what an engine does. Callbacks run in the order of their registration; registering one twice has
        no effect.
    """
    with _lock:
        _register()
        if callback not in _at_exit:
            _at_exit.append(callback)


def fail_at_exit(callback: Callable[[], object]) -> None:
    """Register a function that makes callers fail who wait for storage; it runs before those of `at_exit`."""
    _fail_at_exit.append(callback)


def remove_at_exit(callback: Callable[[], object]) -> None:
    """Remove a function that `at_exit` has registered; one that is not registered is no error."""
    with _lock:
        if callback in _at_exit:
            _at_exit.remove(callback)


def begin_call(task: asyncio.Task[object] | None = None) -> None:
    """Count a call to storage that starts.

    Parameters
    ----------
    task : asyncio.Task, optional
        The task that awaits it; it is cancelled when the interpreter exits.

    Raises
    ------
    ForkError
        In a forked child of a process that had used storage.
    RuntimeError
        While the interpreter exits, except for `atexit` handlers.
    """
    global _owner, _active, _awaited
    if _owner != os.getpid():
        check_fork()
        with _lock:
            _owner = os.getpid()
            _register()
    if _exiting:
        _refuse()
    with _lock:
        _active += 1
        if task is not None:
            _awaited = True
            _tasks[task] = _tasks.get(task, 0) + 1


def end_call(task: asyncio.Task[object] | None = None) -> None:
    """Count a call to storage that has ended."""
    global _active
    with _lock:
        _active -= 1
        if task is not None:
            left = _tasks.pop(task) - 1
            if left:
                _tasks[task] = left
    if _exiting and task is not None:
        _settle()


def cancelled(task: asyncio.Task[object]) -> None:
    """Record a task that Ctrl-C has cancelled: the exit waits until it has removed what it wrote."""
    with _lock:
        _register()
        _cancelled.add(task)


def calls_in_flight() -> int:
    """Return the number of calls to storage in flight."""
    return _active


def begin_engine_call() -> None:
    """Count a call from an engine's own thread into Python; use `engine_calls.EngineCall` instead.

    Raises
    ------
    RuntimeError
        While the interpreter exits, except for `atexit` handlers. The engine then gives up its work.
    """
    global _engine_active, _engine_last
    if _exiting:
        _engine_last = time.monotonic()
        _refuse()
    with _lock:
        _register()
        _engine_active += 1


def end_engine_call() -> None:
    """Count a call from an engine that has ended."""
    global _engine_active, _engine_last
    with _lock:
        _engine_active -= 1
        _engine_last = time.monotonic()


def _refuse() -> None:
    """Raise, unless an `atexit` handler makes the call."""
    if not _late.get():
        raise RuntimeError("storage cannot be used while the interpreter exits")


def _register() -> None:
    """Register the drain once for each process; only with the lock."""
    global _registered
    if not _registered:
        _registered = True
        atexit.register(drain)


def drain() -> None:
    """End calls in flight and refuse new ones, as the interpreter exits; any number of times."""
    global _exiting
    if _owner not in (None, os.getpid()) or _exiting:
        return
    _exiting = True
    _late.set(True)
    with _lock:
        pending = list(_tasks)
    for task in pending:
        loop = task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
    with ExitStack() as steps:
        # The last one first. All run, even if a second Ctrl-C ends one.
        if _awaited or pending:
            steps.callback(_settle)
        steps.callback(_wait_for_engines)
        steps.callback(_wait_for_calls, _DRAIN_SECONDS)
        steps.callback(_run_callbacks)
        _wait_for_calls(_GRACE_SECONDS)


def _run_callbacks() -> None:
    with ExitStack() as steps:
        for callback in reversed([*_fail_at_exit, *_at_exit]):
            steps.callback(callback)


def _wait_for_calls(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (_active or not all(task.done() for task in _cancelled)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _wait_for_engines() -> None:
    """Wait until no engine has called for `_QUIET_SECONDS`, during which no other thread was busy either.

    A thread that waits for a processor uses none. On a machine where that takes long, this thread gets its
    own processor late as well, so a poll that comes late counts as busy.
    """
    begun = time.monotonic()
    recently = begun - _engine_last < _BUSY_SECONDS
    quiet_since, polled, used = _engine_last, begun, _others_used()
    while (now := time.monotonic()) < begun + _ENGINE_SECONDS:
        used_before, used = used, _others_used()
        busy = used - used_before > _POLL_SECONDS / 5 or now - polled > 3 * _POLL_SECONDS
        if recently and busy and now < begun + _BUSY_SECONDS:
            quiet_since = now
        if not _engine_active and now - max(quiet_since, _engine_last) >= _QUIET_SECONDS:
            break
        polled = now
        time.sleep(_POLL_SECONDS)


def _others_used() -> float:
    """Return the seconds of processor time that all other threads of this process have used."""
    return time.process_time() - time.thread_time()


def _settle() -> None:
    """Wait until OpenDAL's worker, which has returned a result, no longer needs the interpreter."""
    time.sleep(_SETTLE_SECONDS)


def _reset() -> None:
    """Forget the parent's engine calls in a forked child, where none of its other threads runs."""
    global _engine_active, _lock
    _engine_active, _lock = 0, threading.RLock()


after_fork(_reset)
