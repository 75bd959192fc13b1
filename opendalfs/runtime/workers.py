"""Threads that make blocking calls to storage for callers that must not be held up by one.

A blocking call of OpenDAL can be neither interrupted nor bounded. So it is made by a worker, and the caller
waits for the worker; Ctrl-C and a deadline end the wait. A call whose caller has gone is *abandoned*: its
result is dropped. Workers are daemon threads, so that none keeps the process from exiting, as the threads of
a `ThreadPoolExecutor` do, which Python joins at exit.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import nullcontext, suppress
from typing import Any, Final, Generic, ParamSpec, TypeVar

from . import interrupts, process

__all__ = ["MOST_ABANDONED", "SLICE", "Pool", "abandoned", "each", "result", "run", "start"]

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

MOST_ABANDONED: Final = 16
"""Abandoned calls at a time; see `abandoned`."""

SLICE: Final = 0.25
"""Seconds that a thread waits at a time. Once Polars is imported, Ctrl-C does not wake a thread that waits
for a lock: Polars' handler restarts system calls (pola-rs/polars#21739)."""

_MOST_IDLE: Final = 128
"""Workers that wait for the next call; more of them end."""


class _Job(Generic[T]):
    """One call: what to do, and what came of it."""

    __slots__ = ("_broken", "_done", "_engaged", "_error", "_interrupted", "_result", "finished", "function")

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.finished = False
        self._broken = False
        self._interrupted = False
        self._engaged = interrupts.engaged()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Make the call."""
        try:
            if self._engaged:
                with interrupts.Engaged():
                    self._result = self.function()
            else:
                self._result = self.function()
        except BaseException as exc:
            self._error = exc

    def detach(self) -> None:
        """Run calls of several callers, each of which sets its own scope."""
        self._engaged = False

    def end(self) -> None:
        """Wake the caller."""
        self.finished = True
        _team().abandoned.discard(self)
        self._wake()

    def fail(self) -> None:
        """Wake the caller before the call has ended."""
        self._broken = True
        self._wake()

    def interrupt(self) -> None:
        """Wake the caller of an engine, who raises KeyboardInterrupt."""
        self._interrupted = True
        self._wake()

    def _wake(self) -> None:
        # Released already where the call ends and fails in the same moment.
        with suppress(RuntimeError):
            self._done.release()

    def wait(self, seconds: float) -> T:
        """Return the result, or raise TimeoutError and abandon the call."""
        team = _team()
        team.waiting.add(self)
        try:
            if not self._wait(min(seconds, threading.TIMEOUT_MAX)):
                raise TimeoutError
            if self._interrupted and not self.finished:
                raise KeyboardInterrupt
            if self._broken and not self.finished:
                raise RuntimeError("storage cannot be used while the interpreter exits")
        except BaseException:
            team.abandoned.add(self)
            if self.finished:
                team.abandoned.discard(self)
            raise
        finally:
            team.waiting.discard(self)
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                # The traceback holds this frame, which holds the error.
                self._error = error = None
        return self._result  # type: ignore[return-value]  # set where there is no error

    def _wait(self, seconds: float) -> bool:
        if not self._engaged:
            return self._wait_in_slices(seconds)
        with interrupts.ending(self.interrupt):
            return self._wait_in_slices(seconds)

    def _wait_in_slices(self, seconds: float) -> bool:
        if self._done.acquire(timeout=min(seconds, SLICE)):
            return True
        deadline = time.monotonic() + seconds - SLICE
        while (left := deadline - time.monotonic()) > 0:
            if self._done.acquire(timeout=min(left, SLICE)):
                return True
        return False


class _Worker(threading.Thread):
    """A thread that runs one job after another."""

    def __init__(self, team: _Team) -> None:
        super().__init__(name="opendalfs-worker", daemon=True)
        self._team = team
        self._job: _Job[Any] | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def take(self, job: _Job[Any]) -> None:
        """Run a job; only for a worker that is idle."""
        self._job = job
        self._wake.release()

    def run(self) -> None:
        """Run jobs until there are workers enough."""
        while True:
            self._wake.acquire()
            job, self._job = self._job, None
            assert job is not None
            job.run()
            stays = len(self._team.idle) < _MOST_IDLE
            if stays:
                # Before the caller wakes, so that its next call finds this worker.
                self._team.idle.append(self)
            job.end()
            del job
            if not stays:
                return


class _Team:
    """The workers of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.idle: list[_Worker] = []
        self.abandoned: set[_Job[Any]] = set()
        self.waiting: set[_Job[Any]] = set()

    def start(self, job: _Job[Any]) -> None:
        """Give a job to an idle worker or a new one."""
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
        worker.take(job)


_now = _Team()


def _team() -> _Team:
    """Return the workers of this process; a forked child has none of its parent's."""
    global _now
    if _now.pid != os.getpid():
        _now = _Team()
    return _now


def _fail_all() -> None:
    for job in list(_team().waiting):
        job.fail()


process.at_exit(_fail_all)


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
    _team().start(job)
    return job.wait(seconds)


def start(function: Callable[[], object]) -> None:
    """Call a function in a worker, and do not wait for it; its result and its error are dropped."""
    _team().start(_Job(function))


def result(future: Future[T]) -> T:
    """Return the result of a future; wait for it so that Ctrl-C ends the wait (`SLICE`)."""
    while True:
        try:
            return future.result(SLICE)
        except TimeoutError:
            # The wait's, or the future's own.
            if future.done():
                return future.result()


def abandoned() -> int:
    """Count the calls that still run though nobody waits for them.

    A server that sends a byte now and then keeps one running for ever. Past `MOST_ABANDONED` of them, callers
    use OpenDAL's asynchronous calls instead, which are slower by 0.1 ms and end when they are cancelled.
    """
    return len(_team().abandoned)


class Pool(Executor):
    """A `concurrent.futures.Executor` of daemon threads.

    Parameters
    ----------
    most : int
        Calls at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._running = 0
        self._queue: deque[Callable[[], None]] = deque()

    def submit(self, function: Callable[P, U], /, *args: P.args, **kwargs: P.kwargs) -> Future[U]:
        """Call a function in a worker, at the latest when those before it are done."""
        future: Future[U] = Future()
        context = contextvars.copy_context() if process.closing() else None
        scope = interrupts.Engaged() if interrupts.engaged() else nullcontext()

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
            if self._running >= self._most:
                self._queue.append(work)
                return future
            self._running += 1
        job = _Job(lambda: self._go_on(work))
        job.detach()
        _team().start(job)
        return future

    def _go_on(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            with self._lock:
                work = self._queue.popleft() if self._queue else None
                if work is None:
                    self._running -= 1


def each(function: Callable[[T], U], items: Iterable[T], most: int) -> list[U]:
    """Call a function for each item in workers; the first error ends it and is raised.

    Parameters
    ----------
    function : callable
        May itself wait for workers.
    items : iterable
        Its arguments, taken one at a time.
    most : int
        Calls at a time.

    Returns
    -------
    list
        Results in the order of the items.
    """
    pool = Pool(most)
    futures = [pool.submit(function, item) for item in items]
    try:
        return [result(future) for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise
