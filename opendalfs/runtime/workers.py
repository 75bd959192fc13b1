"""The one pool of threads, for blocking calls whose callers must not be blocked by them.

A blocking call of OpenDAL can be neither interrupted nor bounded. So a worker makes it, and the caller waits
for the worker; Ctrl-C and a deadline end the wait. A call whose caller has stopped waiting is *abandoned*:
its result is dropped. Workers are daemon threads, so that none keeps the process from exiting, unlike the
threads of a `ThreadPoolExecutor`, which Python joins at exit.

`run` makes one call and waits for it, `run_hedged` makes a second one when the first is late, and `start`
does not wait. `executor` limits how many run at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from . import interrupts, process

__all__ = [
    "MAX_ABANDONED",
    "WAIT_SECONDS",
    "abandoned",
    "result",
    "run",
    "run_hedged",
    "signal",
    "sleep",
    "start",
]

T = TypeVar("T")

MAX_ABANDONED: Final = 16
"""Abandoned calls at a time; see `abandoned`."""

WAIT_SECONDS: Final = 0.25
"""Longest single wait of a thread. Once Polars is imported, Ctrl-C does not wake a thread that waits for a
lock: Polars' handler restarts system calls (pola-rs/polars#21739)."""

_MAX_IDLE: Final = 128
"""Workers that wait for the next call; more of them end."""


class _Job(Generic[T]):
    """One call of a function, and its result or error. `for_engine`: whether it runs in an engine scope."""

    __slots__ = (
        "_error",
        "_failed",
        "_for_engine",
        "_interrupted",
        "_result",
        "done",
        "finished",
        "function",
    )

    def __init__(
        self, function: Callable[[], T], for_engine: bool = False, done: threading.Lock | None = None
    ) -> None:
        self.function = function
        self.finished = False
        self._failed = False
        self._interrupted = False
        self._for_engine = for_engine
        self._result: T | None = None
        self._error: BaseException | None = None
        # Two jobs may share it, so that the end of either wakes the caller.
        self.done = threading.Lock() if done is None else done
        if done is None:
            self.done.acquire()

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
            self.done.release()

    def wait(self, seconds: float) -> T:
        """Return the result, or raise TimeoutError and abandon the call."""
        try:
            if not self.ends_within(seconds):
                raise TimeoutError
        except BaseException:
            self.abandon()
            raise
        return self.outcome()

    def ends_within(self, seconds: float) -> bool:
        """Wait; return whether the call, or one with the same `done`, has ended."""
        threads = _threads
        threads.waiting.add(self)
        try:
            if not self._wait(min(seconds, threading.TIMEOUT_MAX)):
                return False
        finally:
            threads.waiting.discard(self)
        if not self.finished:
            self.raise_if_interrupted()
        return True

    def raise_if_interrupted(self) -> None:
        """Raise if the caller was woken by Ctrl-C or by the exit of the interpreter."""
        if self._interrupted:
            raise KeyboardInterrupt
        if self._failed:
            raise RuntimeError("storage cannot be used while the interpreter exits")

    def abandon(self) -> None:
        """Count the call as one that no caller waits for, until it ends."""
        if self.function is _do_nothing:
            return
        _threads.abandoned.add(self)
        if self.finished:
            _threads.abandoned.discard(self)

    def error(self) -> BaseException | None:
        """Return the error of a call that has ended."""
        return self._error

    def outcome(self) -> T:
        """Return the result of a call that has ended, or raise its error."""
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
        if self.done.acquire(timeout=min(seconds, WAIT_SECONDS)):
            return True
        deadline = time.monotonic() + seconds - WAIT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            if self.done.acquire(timeout=min(left, WAIT_SECONDS)):
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
    job = _Job(function, interrupts.in_engine_scope())
    _threads.start(job)
    return job.wait(seconds)


def run_hedged(
    function: Callable[[], T],
    seconds: float,
    after: float,
    hedge: Callable[[], bool],
    settles: Callable[[BaseException], bool],
) -> T:
    """Call a function in a worker, and once more if it takes long; return the first result.

    Parameters
    ----------
    function : callable
        Called without arguments.
    seconds : float
        How long to wait for both calls.
    after : float
        Seconds after which the second call is made.
    hedge : callable
        Whether the second call is made; called at that time, in this thread.
    settles : callable
        Whether the error of one call is raised at once; otherwise the other one may still return a result.

    Returns
    -------
    object
        What the call returns that ends first; the other one is abandoned.

    Raises
    ------
    TimeoutError
        When both take longer; they are abandoned.
    """
    ends = time.monotonic() + seconds
    first = _Job(function, interrupts.in_engine_scope())
    pending = [first]
    _threads.start(first)
    try:
        if not first.ends_within(min(after, seconds)) and hedge():
            pending.append(_Job(function, done=first.done))
            _threads.start(pending[1])
        while True:
            for job in [job for job in pending if job.finished]:
                pending.remove(job)
                error = job.error()
                if error is None or not pending or settles(error):
                    return job.outcome()
            first.raise_if_interrupted()
            if not first.ends_within(max(0.0, ends - time.monotonic())):
                raise TimeoutError
    finally:
        # The traceback of an error holds this frame.
        error = None
        for job in pending:
            job.abandon()


def start(function: Callable[[], object]) -> None:
    """Call a function in a worker outside of engine scopes, and do not wait; result and error are dropped."""
    _threads.start(_Job(function))


def signal() -> _Job[None]:
    """Return a job that no worker runs: its `wait` ends with its `end`, with Ctrl-C, and at exit."""
    return _Job(_do_nothing, interrupts.in_engine_scope())


def sleep(seconds: float) -> None:
    """Wait; Ctrl-C and the exit of the interpreter end the wait with an error."""
    job = signal()
    with suppress(TimeoutError):
        job.wait(seconds)


def _do_nothing() -> None:
    pass


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


_threads = _Threads()


def _fail_waiting() -> None:
    for job in list(_threads.waiting):
        job.fail()


def _reset() -> None:
    """Begin without workers in a forked child: those of the parent do not run there."""
    global _threads
    _threads = _Threads()


process.fail_at_exit(_fail_waiting)
process.after_fork(_reset)
