"""Tasks in the workers, a limited number at a time.

`submit`, `to_thread`, `wait_for_all` and `each` share one limit for the whole process: at most `LIMIT` tasks
run at a time. A task may wait for other tasks with `wait_for_all`, which runs those itself that have not
begun.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from . import interrupts, process, workers

__all__ = ["LIMIT", "SHARED", "BoundedExecutor", "each", "submit", "to_thread", "wait_for_all"]

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

LIMIT: Final = 64
"""Tasks of `SHARED` at a time."""


class _Task(NamedTuple):
    """A call, the future of its result, and the engine scope in which it runs."""

    future: Future[Any]
    call: Callable[[], Any]
    scope: AbstractContextManager[None]


class BoundedExecutor(Executor):
    """A `concurrent.futures.Executor` over the workers.

    Parameters
    ----------
    limit : int
        Tasks at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: OrderedDict[Future[Any], _Task] = OrderedDict()
        self.reset()

    def reset(self) -> None:
        """Forget all tasks, in a forked child."""
        self._lock = threading.Lock()
        self._running = 0
        self._queue.clear()

    def submit(self, function: Callable[P, U], /, *args: P.args, **kwargs: P.kwargs) -> Future[U]:
        """Call a function in a worker, at the latest when the tasks before it have ended."""
        future: Future[U] = Future()
        call = partial(function, *args, **kwargs)
        if process.exiting():
            call = partial(contextvars.copy_context().run, call)
        task = _Task(
            future, call, interrupts.EngineScope() if interrupts.in_engine_scope() else nullcontext()
        )
        with self._lock:
            if self._running >= self._limit:
                self._queue[future] = task
                return future
            self._running += 1
        workers.start(partial(self._run, task))
        return future

    def run_here(self, future: Future[Any]) -> None:
        """Run a task in this thread, if it has not begun."""
        with self._lock:
            task = self._queue.pop(future, None)
        self._run(task, once=True)

    def _run(self, task: _Task | None, once: bool = False) -> None:
        """Run a task, and then those that are queued, unless `once`."""
        while task is not None:
            future, call, scope = task
            if future.set_running_or_notify_cancel():
                try:
                    with scope:
                        result = call()
                except BaseException as exc:
                    future.set_exception(exc)
                else:
                    future.set_result(result)
                    del result
            # Before the next task, so that no result is held longer than its future.
            del task, future, call
            if once:
                return
            with self._lock:
                task = self._queue.popitem(last=False)[1] if self._queue else None
                if task is None:
                    self._running -= 1


SHARED: Final = BoundedExecutor(LIMIT)
"""The executor of this module's functions, for `asyncio` and other code that takes one."""

process.after_fork(SHARED.reset)


def submit(function: Callable[P, U], *args: P.args, **kwargs: P.kwargs) -> Future[U]:
    """Call a function in a worker, at most `LIMIT` at a time."""
    return SHARED.submit(function, *args, **kwargs)


async def to_thread(function: Callable[P, U], *args: P.args, **kwargs: P.kwargs) -> U:
    """Call a function in a worker and await its result, as `asyncio.to_thread` does in threads of its own."""
    return await asyncio.wrap_future(submit(function, *args, **kwargs))


def wait_for_all(futures: Sequence[Future[T]]) -> list[T]:
    """Return the results of futures that `submit` has returned; a task may call this for other tasks.

    Parameters
    ----------
    futures : sequence of Future
        Those that have not begun run in this thread, so that tasks which wait for tasks end in any case.

    Returns
    -------
    list
        Results in the order of the futures.

    Raises
    ------
    BaseException
        The first error in that order, when all tasks that have begun have ended; the others are cancelled.
        KeyboardInterrupt in this thread is raised at once.
    """
    results: list[T] = []
    error: BaseException | None = None
    for future in futures:
        if error is not None and future.cancel():
            continue
        try:
            SHARED.run_here(future)
            results.append(workers.result(future))
        except BaseException as exc:
            if error is None:
                error = exc
                for other in futures:
                    other.cancel()
                if not isinstance(exc, Exception):
                    error = None
                    raise
    if error is not None:
        try:
            raise error
        finally:
            # The traceback holds this frame, which holds the error.
            error = None
    return results


def each(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Call a function for each item in workers, at most `LIMIT` at a time.

    Parameters
    ----------
    function : callable
        May itself call `submit` and wait for its tasks with `wait_for_all`.
    items : iterable
        Its arguments.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    BaseException
        As `wait_for_all`.
    """
    return wait_for_all([submit(function, item) for item in items])
