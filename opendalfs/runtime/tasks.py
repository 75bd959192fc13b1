"""Coroutines, run for callers that are not coroutines, in any thread: an engine's or another event loop's.

fsspec's own bridge refuses calls from its loop's thread, where an engine may be started. This one has its own
event loop, on which no user code runs, so it cannot wait for itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from itertools import chain, islice
from typing import Any, ParamSpec, TypeVar

from . import executor, interrupts, process, workers

__all__ = ["finish_in_thread", "gather", "hedged", "run"]

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_thread: threading.Thread | None = None


def run(function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    """Call a coroutine function and wait for its result.

    Parameters
    ----------
    function : coroutine function
        Such as the ``_info`` of a filesystem; must not call `run` itself.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    object
        What it returns. Ctrl-C cancels the call.

    Raises
    ------
    RuntimeError
        When it is called in the thread of its own event loop, as by a finalizer, where it would wait forever;
        and when no thread can be started.

    Examples
    --------
    >>> import opendalfs
    >>> run(opendalfs.filesystem("memory")._exists, "no/such/file")
    False
    """
    task: asyncio.Task[object] | None = None

    async def call() -> tuple[T, None] | tuple[None, Exception]:
        nonlocal task
        task = asyncio.current_task()
        # An exception of the future would be a copy without its filename and its cause if it is a
        # TimeoutError.
        try:
            return await function(*args, **kwargs), None
        except Exception as exc:
            return None, exc

    loop = _started_loop()
    if threading.current_thread() is _loop_thread:
        raise RuntimeError("a blocking call cannot be made from the event loop that it would wait for")
    future = asyncio.run_coroutine_threadsafe(call(), loop)
    try:
        result, error = _interruptible(future) if interrupts.in_engine_scope() else workers.result(future)
    except BaseException:
        # Such as Ctrl-C.
        future.cancel()
        if task is not None:
            process.cancelled(task)
        raise
    if error is not None:
        try:
            raise error
        finally:
            # The traceback holds this frame, which holds the error.
            error = None
    return result  # type: ignore[return-value]  # None goes with an error only


async def gather(function: Callable[[T], Awaitable[U]], items: Iterable[T], limit: int) -> list[U]:
    """Call a coroutine function for each item, at most `limit` at a time.

    The first error cancels the other calls, and is raised when they have ended.

    Parameters
    ----------
    function : coroutine function
        Called with one item.
    items : iterable
        With a limit, the next item is taken when a call has ended.
    limit : int
        Calls at a time; if less than 1 all of them, as fsspec's "no limit" is -1.

    Returns
    -------
    list
        Results in the order of the items.
    """
    rest = iter(items)
    first = list(rest if limit < 1 else islice(rest, max(limit, 2)))
    if len(first) == 1:
        return [await function(first[0])]
    count = len(first) if limit < 1 else min(limit, len(first))
    results: dict[int, U] = {}
    todo = enumerate(chain(first, rest))

    async def work() -> None:
        for i, item in todo:
            results[i] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    except BaseException:
        for worker in workers:
            worker.cancel()
        await _wait_for_all(workers)
        raise
    return [results[i] for i in range(len(results))]


async def hedged(
    function: Callable[[], Awaitable[T]],
    seconds: float,
    after: float,
    hedge: Callable[[], bool],
    settles: Callable[[BaseException], bool],
) -> T:
    """Await a function, and once more if it takes long; return the first result, and cancel the other call.

    Parameters
    ----------
    function : coroutine function
        Called without arguments.
    seconds : float
        How long to wait for both calls.
    after : float
        Seconds after which the second call is made.
    hedge : callable
        Whether the second call is made; called at that time.
    settles : callable
        Whether the error of one call is raised at once; otherwise the other one may still return a result.

    Raises
    ------
    TimeoutError
        When both take longer; they are cancelled.
    """
    # `asyncio.wait` has the deadline too: `asyncio.timeout` around it would take 6 µs more.
    ends = time.monotonic() + seconds
    pending = [asyncio.ensure_future(function())]
    try:
        done = (await asyncio.wait(pending, timeout=min(after, seconds)))[0]
        if not done and after < seconds and hedge():
            pending.append(asyncio.ensure_future(function()))
        while True:
            for call in [call for call in pending if call.done()]:
                pending.remove(call)
                error = call.exception()
                if error is None or not pending or settles(error):
                    return call.result()
            left = max(0.0, ends - time.monotonic())
            if not (await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED))[0]:
                raise TimeoutError
    finally:
        # The traceback of an error holds this frame.
        error = None
        for call in pending:
            call.cancel()


async def finish_in_thread(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function in a thread, and wait until it has ended even when the caller is cancelled.

    Parameters
    ----------
    function : callable
        Its result is dropped, its error raised.
    *args, **kwargs
        Its arguments.
    """
    # A future and no task, as `asyncio.run` cancels all tasks at its end.
    work = asyncio.wrap_future(executor.submit(function, *args, **kwargs))
    try:
        await asyncio.shield(work)
    finally:
        await _wait_for_all([work])


async def _wait_for_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until all tasks have ended, however they end and however often the wait is cancelled."""
    running = {task for task in tasks if not task.done()}
    while running:
        with suppress(asyncio.CancelledError):
            running = (await asyncio.wait(running))[1]


def _interruptible(future: Future[T]) -> T:
    """Wait for a call for an engine, which ends with KeyboardInterrupt on Ctrl-C."""
    pressed = threading.Event()

    def end_wait() -> None:
        pressed.set()
        future.cancel()

    try:
        with interrupts.ends_on_interrupt(end_wait):
            return workers.result(future)
    except CancelledError:
        if pressed.is_set():
            raise KeyboardInterrupt from None
        raise


def _started_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this process; started on first use."""
    global _loop, _loop_thread
    if _loop is not None:
        return _loop
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="opendalfs-loop", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # No more threads now. Callers would wait forever for a loop that does not run.
                loop.close()
                raise
            _loop, _loop_thread = loop, thread
        return _loop


def _reset() -> None:
    """Have a forked child start its own event loop: the thread of the parent's does not run there."""
    global _lock, _loop, _loop_thread
    _lock, _loop, _loop_thread = threading.Lock(), None, None


process.after_fork(_reset)
