"""One call to OpenDAL: refused after forks, counted, bounded, recorded, with translated errors.

`timeout` and `io_timeout` bound each call as a whole, whatever the server does. OpenDAL's own TimeoutLayer
bounds single steps, so that a body that comes a byte at a time never ends. How a call is bounded depends on
the transport, on the service, and on whether it changes anything:

- Coroutines: the call is cancelled at the deadline, which drops its connection.
- Coroutines on services that keep a connection pool (`Service.cancels` is False): a dropped request would
  leave its response to the next one. So a request that was sent runs to its end: cancellation waits for it,
  up to the deadline, and past the deadline the connection pool is replaced.
- Threads, reads and stats: a worker makes the call and the caller waits for the worker (18 µs; an event loop
  takes 125 µs). Past the deadline, or after Ctrl-C, the call is abandoned; `workers` bounds the number of
  abandoned calls.
- Threads, changes: an abandoned write would be retried, and might arrive after a later one. So `Connection`
  makes changes as coroutines on an event loop of ours (`tasks.run`), which Ctrl-C and the deadline cancel.
- Local disks and stores in this process: the call is made in the caller's thread, without a bound.

The wait for one of the filesystem's slots (`concurrency`) does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from opendal import AsyncOperator, Operator
from opendal.exceptions import Unexpected

from opendalfs import tracing
from opendalfs.runtime import process, workers
from opendalfs.runtime.pace import Pace
from opendalfs.runtime.tasks import hedged

from .credentials import is_denial
from .endpoint import Endpoint
from .hedging import Hedge
from .operator_generations import Generation
from .operator_pair import OperatorPair
from .outcomes import outcome_of
from .retry import Retries

__all__ = ["Call"]

P = ParamSpec("P")
T = TypeVar("T")


class Call:
    """A context manager around one call to OpenDAL, by either transport."""

    __slots__ = (
        "begun",
        "deadline",
        "denied",
        "generation",
        "key",
        "loop",
        "offset",
        "once",
        "operation",
        "operators",
        "pinned",
        "record",
        "retries",
        "sent",
        "size",
        "spent",
        "task",
    )

    def __init__(
        self,
        operators: OperatorPair,
        operation: str,
        key: str,
        pinned: bool = False,
        offset: int = 0,
        size: int | None = None,
        sent: int = 0,
        once: bool = False,
    ) -> None:
        self.operators = operators
        self.operation = operation
        self.key = key
        self.pinned = pinned
        self.offset = offset
        self.size = size
        self.sent = sent
        self.once = once
        self.generation = operators.generation()
        self.denied = False
        self.begun = 0.0
        self.spent = 0.0
        self.retries: Retries | None = None
        self.task: asyncio.Task[object] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.deadline: float | None = None
        self.record: tracing.Request | None = None

    def in_task(self) -> Call:
        """Make the call in the current task, which is cancelled when the interpreter exits."""
        self.task = asyncio.current_task()
        return self

    def __enter__(self) -> Call:
        process.begin_call(self.task)
        if tracing.enabled():
            operators = self.operators
            self.record = tracing.start(
                self.operation,
                operators.service.scheme,
                operators.container,
                self.key,
                self.offset,
                self.size,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process.end_call(self.task)
        if self.deadline is not None and self.operators.limit is not None:
            self.operators.limit.release(self.loop)
        error = None
        if kind is GeneratorExit:
            # The consumer of a stream has stopped early, which is no error.
            exc = None
        if exc is not None:
            error = self.operators.explain(exc, self.operation, self.key, self.pinned)
        if self.record is not None:
            self.record.requests += len(self.record.retried)
            if self.operators.limit is not None:
                self.record.slots = self.operators.limit.reduced
            tracing.finish(self.record, error or exc)
        if error is not None:
            raise error

    def run(self, function: Callable[Concatenate[Operator, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Send one request by a blocking function that changes nothing, and repeat it where that may help.

        The function takes the operator first: one with new credentials, where those of an attempt expired.
        """
        operators = self.operators
        limit, endpoint = operators.limit, operators.endpoint
        if limit is None or endpoint is None:
            return function(operators.operator, *args, **kwargs)
        while True:
            operators.authorize(self.denied)
            limit.acquire(self.retries is not None)
            try:
                request = partial(function, self._current().operator, *args, **kwargs)
                if endpoint.pace.active:
                    self._keep_pace(endpoint.pace)
                self.begun = time.perf_counter()
                result = self._wait(request)
                self._record_success(endpoint, result)
                return result
            except TimeoutError:
                operators.replace_pool()
                raise self._out_of_time(endpoint) from None
            except Exception as exc:
                delay = self._delay(endpoint, exc)
                if delay is None:
                    raise
            finally:
                limit.release()
            workers.sleep(delay)

    def _wait(self, function: Callable[[], T]) -> T:
        """Call a function in a worker; send its request again if it is late."""
        hedge = Hedge.of(self.operators, self.operation, self.size, self.record)
        seconds = self._seconds - self.spent
        if hedge is None:
            return workers.run(function, seconds)
        with hedge:
            return workers.run_hedged(function, seconds, hedge.after, hedge.may_start, hedge.settles)

    async def run_async(
        self,
        function: Callable[Concatenate[AsyncOperator, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Send one request by a function, await its result, and repeat it where that may help."""
        operators = self.operators
        limit, endpoint = operators.limit, operators.endpoint
        if limit is None or endpoint is None:
            return await function(operators.async_operator, *args, **kwargs)
        while True:
            if not operators.authorized:
                await operators.authorize_async(self.denied)
            loop = await limit.acquire_async(self.retries is not None)
            try:
                request = partial(function, self._current().async_operator, *args, **kwargs)
                if endpoint.pace.active:
                    await self._keep_pace_async(endpoint.pace)
                self.begun = time.perf_counter()
                result = await self._hedged(request)
                self._record_success(endpoint, result)
                return result
            except TimeoutError:
                raise self._out_of_time(endpoint) from None
            except Exception as exc:
                delay = self._delay(endpoint, exc)
                if delay is None:
                    raise
            finally:
                limit.release(loop)
            await asyncio.sleep(delay)

    async def _hedged(self, request: Callable[[], Awaitable[T]]) -> T:
        """Send one request, and once more if it is late; never a step, as its state belongs to one call."""
        hedge = Hedge.of(self.operators, self.operation, self.size, self.record)
        if hedge is None:
            return await self._attempt(request)
        with hedge:
            seconds = self._seconds - self.spent
            return await hedged(request, seconds, hedge.after, hedge.may_start, hedge.settles)

    def _current(self) -> Generation:
        """Return the operators of an attempt, whose credentials `retry_reason` needs to know."""
        self.generation = self.operators.generation()
        return self.generation

    async def stateful_operator(self, wait: bool = False) -> AsyncOperator:
        """Return the operator that retries by itself; `wait`: for a renewal of credentials that is due."""
        await self.operators.authorize_async(wait or self.denied)
        return self._current().stateful_operator

    def retry_reason(self, exc: Exception) -> str:
        """Return why another attempt with other operators may help: ``"region"``, ``"expired"``; else "".

        With ``"expired"`` the next attempt waits for new credentials.
        """
        if self.operators.follow_region(exc, self.generation):
            return "region"
        credentials = self.operators.credentials
        if credentials is None:
            return ""
        again, self.denied = self.denied, self.denied or is_denial(exc)
        return "expired" if credentials.refuse(exc, self.generation.number, again=again) else ""

    async def step_async(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await a step of something that has a state, within the timeout; it is not repeated here."""
        limit = self.operators.limit
        if limit is None:
            return await function(*args, **kwargs)
        if self.deadline is None:
            self.loop = await limit.acquire_async()
        try:
            return await self._attempt(function, *args, **kwargs)
        except TimeoutError:
            raise self._timeout_error() from None
        finally:
            if self.deadline is None:
                limit.release(self.loop)

    async def request_async(
        self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await a step that sends a request, in the pace of the server; OpenDAL itself repeats it."""
        endpoint = self.operators.endpoint
        if endpoint is None:
            return await function(*args, **kwargs)
        if endpoint.pace.active:
            await self._keep_pace_async(endpoint.pace)
        self.begun = time.perf_counter()
        try:
            result = await self.step_async(function, *args, **kwargs)
        except Exception as exc:
            outcome = outcome_of(exc)
            # A recursive removal sends many requests, which may well take longer than the timeout.
            if outcome != "timeout" or self.operation != "delete":
                endpoint.record(self.operation, 0, time.perf_counter() - self.begun, outcome)
            raise
        self._record_success(endpoint, result)
        return result

    async def _attempt(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.operators.service.cancels:
            return await self._run_to_end(asyncio.ensure_future(function(*args, **kwargs)))
        async with asyncio.timeout_at(self._ends_at()):
            return await function(*args, **kwargs)

    def _keep_pace(self, pace: Pace) -> None:
        """Wait until the pace of the server lets this request start."""
        begun = time.perf_counter()
        pace.wait(self.retries is not None)
        self._record_wait(time.perf_counter() - begun, pace)

    async def _keep_pace_async(self, pace: Pace) -> None:
        begun = time.perf_counter()
        await pace.wait_async(self.retries is not None)
        self._record_wait(time.perf_counter() - begun, pace)

    def _record_wait(self, seconds: float, pace: Pace) -> None:
        if self.record is not None:
            self.record.waited += seconds
            self.record.pace = pace.rate(time.monotonic())

    def _record_success(self, endpoint: Endpoint, result: object) -> None:
        whole = self.operation == "read" and self.size is None
        if whole and type(result) is tuple:
            # An open file, and its first piece.
            result = result[1]
        size = len(result) if type(result) is bytes else self.sent
        endpoint.record(self.operation, size, time.perf_counter() - self.begun, "ok", whole)
        limit = self.operators.limit
        if limit is not None and limit.reduced:
            limit.grow()

    def _out_of_time(self, endpoint: Endpoint) -> Unexpected:
        """Record an attempt that the timeout of the whole call has ended, and return the error for it."""
        endpoint.record(self.operation, 0, time.perf_counter() - self.begun, "timeout")
        return self._timeout_error()

    def _delay(self, endpoint: Endpoint, exc: Exception) -> float | None:
        """Record a failed attempt; return the seconds to wait before the next one, None if there is none."""
        seconds = time.perf_counter() - self.begun
        outcome = outcome_of(exc)
        endpoint.record(self.operation, 0, seconds, outcome)
        if self.retries is None:
            self.retries = Retries(self.operators.tuning, endpoint)
        reason = self.retry_reason(exc)
        delay = 0.0 if reason else self.retries.delay(exc, outcome, seconds)
        self.spent += seconds + (delay or 0.0)
        if delay is None or self.spent >= self._seconds or (self.once and self.retries.doubtful):
            return None
        if self.record is not None:
            self.record.waited += delay
            self.record.retried += (reason or outcome,)
        return delay

    async def _run_to_end(self, request: asyncio.Future[T]) -> T:
        """Wait for a request that must not be cancelled; cancellation takes effect when it has ended."""
        loop = asyncio.get_running_loop()
        if isinstance(request, asyncio.Task):
            # `asyncio.run` cancels all registered tasks at its end, but must wait for this one. asyncio
            # documents the function for such tasks (docs.python.org/3/library/asyncio-extending.html).
            asyncio._unregister_task(request)
        deadline = self._ends_at()
        cancelled: asyncio.CancelledError | None = None
        while not request.done() and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait([request], timeout=left)
            except asyncio.CancelledError as exc:
                cancelled = exc
        if not request.done():
            self.operators.replace_pool()
            request.add_done_callback(_discard_error)
        elif cancelled is None:
            return request.result()
        else:
            _discard_error(request)
        raise cancelled or TimeoutError

    async def hold_slot(self) -> None:
        """Use one slot and one timeout for all further pieces of a body."""
        if self.operators.limit is not None:
            self.loop = await self.operators.limit.acquire_async(retried=True)
            self.deadline = self._ends_at()

    def _ends_at(self) -> float:
        return self.deadline or asyncio.get_running_loop().time() + self._seconds - self.spent

    @property
    def _seconds(self) -> float:
        tuning = self.operators.tuning
        return tuning.io_timeout if self.operation in ("read", "write") else tuning.timeout

    def _timeout_error(self) -> Unexpected:
        return Unexpected(f"Unexpected (temporary) at {self.operation} => timeout after {self._seconds:g} s")

    @property
    def doubtful(self) -> bool:
        """Whether the server may have done in an earlier attempt what it was asked for."""
        return self.retries is not None and self.retries.doubtful

    def count(self, size: int, requests: int = 1) -> None:
        """Record the bytes and requests of the whole call."""
        if self.record is not None:
            self.record.bytes = size
            self.record.requests = requests + self.record.hedges


def _discard_error(request: asyncio.Future[Any]) -> None:
    """Retrieve an error that no task waits for, so that asyncio does not log it."""
    if not request.cancelled():
        request.exception()
