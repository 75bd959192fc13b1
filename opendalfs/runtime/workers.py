"""The one pool of threads, for blocking calls whose callers must not be blocked by them.

A blocking call of OpenDAL can be neither interrupted nor bounded. So a worker makes it, and the caller waits
for the worker; Ctrl-C and a deadline end the wait. A call whose caller has stopped waiting is *abandoned*:
its result is dropped. Workers are daemon threads, so that none keeps the process from exiting, unlike the
threads of a `ThreadPoolExecutor`, which Python joins at exit.

- `run` makes one call and waits for it, and `start` does not wait.
- `submit`, `wait_for_all` and `each` run tasks, at most `TASKS` of them at a time in the whole process. A
  task may wait for other tasks: it runs those itself that have not begun.
- `BoundedExecutor` is another limit on tasks, in the same threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import nullcontext, suppress
from typing import Any, Final, Generic, ParamSpec, TypeVar

from . import interrupts, process

__all__ = [
    "MAX_ABANDONED",
    "TASKS",
    "WAIT_SECONDS",
    "BoundedExecutor",
    "abandoned",
    "each",
    "executor",
    "result",
    "run",
    "start",
    "submit",
    "to_thread",
    "wait_for_all",
]

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

MAX_ABANDONED: Final = 16
"""Abandoned calls at a time; see `abandoned`."""

TASKS: Final = 64
"""Tasks of `submit` at a time."""

WAIT_SECONDS: Final = 0.25
"""Longest single wait of a thread. Once Polars is imported, Ctrl-C does not wake a thread that waits for a
lock: Polars' handler restarts system calls (pola-rs/polars#21739)."""

_MAX_IDLE: Final = 128
"""Workers that wait for the next call; more of them end."""


class _Job(Generic[T]):
    """One call of a function, and its result or error."""

    __slots__ = (
        "_done",
        "_error",
        "_failed",
        "_for_engine",
        "_interrupted",
        "_result",
        "finished",
        "function",
    )

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.finished = False
        self._failed = False
        self._interrupted = False
        self._for_engine = interrupts.in_engine_scope()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Make the call."""
        try:
            if self._for_engine:
                with interrupts.EngineScope():
                    self._result = self.function()
            else:
                self._result = self.function()
        except BaseException as exc:
            self._error = exc

    def leave_scope(self) -> None:
        """Run outside the caller's engine scope: the calls of several callers each set their own."""
        self._for_engine = False

    def end(self) -> None:
        """Wake the caller."""
        self.finished = True
        _threads.abandoned.discard(self)
        self._wake()

    def fail(self) -> None:
        """Wake the caller, who raises RuntimeError, before the call has ended."""
        self._failed = True
        self._wake()

    def interrupt(self) -> None:
        """Wake the caller, who raises KeyboardInterrupt, before the call has ended."""
        self._interrupted = True
        self._wake()

    def _wake(self) -> None:
        # Released already where the call ends and fails in the same moment.
        with suppress(RuntimeError):
            self._done.release()

    def wait(self, seconds: float) -> T:
        """Return the result, or raise TimeoutError and abandon the call."""
        threads = _threads
        threads.waiting.add(self)
        try:
            if not self._wait(min(seconds, threading.TIMEOUT_MAX)):
                raise TimeoutError
            if self._interrupted and not self.finished:
                raise KeyboardInterrupt
            if self._failed and not self.finished:
                raise RuntimeError("storage cannot be used while the interpreter exits")
        except BaseException:
            threads.abandoned.add(self)
            if self.finished:
                threads.abandoned.discard(self)
            raise
        finally:
            threads.waiting.discard(self)
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                # The traceback holds this frame, which holds the error.
                self._error = error = None
        return self._result  # type: ignore[return-value]  # set where there is no error

    def _wait(self, seconds: float) -> bool:
        if not self._for_engine:
            return self._wait_in_slices(seconds)
        with interrupts.ends_on_interrupt(self.interrupt):
            return self._wait_in_slices(seconds)

    def _wait_in_slices(self, seconds: float) -> bool:
        if self._done.acquire(timeout=min(seconds, WAIT_SECONDS)):
            return True
        deadline = time.monotonic() + seconds - WAIT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            if self._done.acquire(timeout=min(left, WAIT_SECONDS)):
                return True
        return False


class _Worker(threading.Thread):
    """A thread that runs one job after another."""

    def __init__(self, threads: _Threads) -> None:
        super().__init__(name="opendalfs-worker", daemon=True)
        self._threads = threads
        self._job: _Job[Any] | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def assign(self, job: _Job[Any]) -> None:
        """Run a job; only for a worker that is idle."""
        self._job = job
        self._wake.release()

    def run(self) -> None:
        """Run jobs until enough other workers are idle."""
        while True:
            self._wake.acquire()
            job, self._job = self._job, None
            assert job is not None
            job.run()
            stays = len(self._threads.idle) < _MAX_IDLE
            if stays:
                # Before the caller wakes, so that its next call finds this worker.
                self._threads.idle.append(self)
            job.end()
            del job
            if not stays:
                return


class _Threads:
    """The workers of this process, and the jobs whose callers wait or have stopped waiting."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.abandoned: set[_Job[Any]] = set()
        self.waiting: set[_Job[Any]] = set()

    def start(self, job: _Job[Any]) -> None:
        """Run a job in an idle worker or a new one."""
        try:
            worker = self.idle.pop()
        except IndexError:
            worker = _Worker(self)
            try:
                worker.start()
            except RuntimeError:
                # No new threads while the interpreter exits, or beyond the system's limit.
                job.run()
                job.end()
                return
        worker.assign(job)


def run(function: Callable[[], T], seconds: float) -> T:
    """Call a function in a worker and wait for it.

    Parameters
    ----------
    function : callable
        Called without arguments.
    seconds : float
        How long to wait.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    TimeoutError
        When it takes longer; the worker then ends the call alone.
    """
    job = _Job(function)
    _threads.start(job)
    return job.wait(seconds)


def start(function: Callable[[], object]) -> None:
    """Call a function in a worker, and do not wait for it; its result and its error are dropped."""
    _threads.start(_Job(function))


def result(future: Future[T]) -> T:
    """Return the result of a future; wait for it so that Ctrl-C ends the wait (`WAIT_SECONDS`)."""
    while True:
        try:
            return future.result(WAIT_SECONDS)
        except TimeoutError:
            # The wait's, or the future's own.
            if future.done():
                return future.result()


def abandoned() -> int:
    """Count the calls that still run though no caller waits for them.

    A server that sends a byte now and then keeps one running forever. Beyond `MAX_ABANDONED` of them, callers
    use OpenDAL's asynchronous calls instead, which are slower by 0.1 ms and end when they are cancelled.
    """
    return len(_threads.abandoned)


class BoundedExecutor(Executor):
    """A `concurrent.futures.Executor` over the workers.

    Parameters
    ----------
    limit : int
        Tasks at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._running = 0
        self._queue: OrderedDict[Future[Any], Callable[[], None]] = OrderedDict()

    def submit(self, function: Callable[P, U], /, *args: P.args, **kwargs: P.kwargs) -> Future[U]:
        """Call a function in a worker, at the latest when the tasks before it have ended."""
        future: Future[U] = Future()
        context = contextvars.copy_context() if process.exiting() else None
        scope = interrupts.EngineScope() if interrupts.in_engine_scope() else nullcontext()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                with scope:
                    result = context.run(function, *args, **kwargs) if context else function(*args, **kwargs)
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)

        with self._lock:
            if self._running >= self._limit:
                self._queue[future] = work
                return future
            self._running += 1
        job = _Job(lambda: self._run_queued(work))
        job.leave_scope()
        _threads.start(job)
        return future

    def run_here(self, future: Future[Any]) -> None:
        """Run a task in this thread, if it has not begun."""
        with self._lock:
            work = self._queue.pop(future, None)
        if work is not None:
            work()

    def _run_queued(self, work: Callable[[], None] | None) -> None:
        """Run a task, and then those that are queued."""
        while work is not None:
            work()
            with self._lock:
                work = self._queue.popitem(last=False)[1] if self._queue else None
                if work is None:
                    self._running -= 1


def executor() -> BoundedExecutor:
    """Return the executor of `submit`, for `asyncio` and other code that takes one."""
    return _tasks


def submit(function: Callable[P, U], *args: P.args, **kwargs: P.kwargs) -> Future[U]:
    """Call a function in a worker, at most `TASKS` at a time."""
    return _tasks.submit(function, *args, **kwargs)


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
            _tasks.run_here(future)
            results.append(result(future))
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
    """Call a function for each item in workers, at most `TASKS` at a time.

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


_threads = _Threads()
_tasks = BoundedExecutor(TASKS)


def _fail_waiting() -> None:
    for job in list(_threads.waiting):
        job.fail()


def _reset() -> None:
    """Begin without workers in a forked child: those of the parent do not run there."""
    global _tasks, _threads
    _threads, _tasks = _Threads(), BoundedExecutor(TASKS)


process.fail_at_exit(_fail_waiting)
process.after_fork(_reset)
