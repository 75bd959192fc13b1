"""One call to OpenDAL: refuses forks, counts what is in flight, bounds it, records it, translates its errors.

`timeout` and `io_timeout` bound each call as a whole, whatever the server does. OpenDAL's own TimeoutLayer
bounds single steps, so that a body that comes a byte at a time never ends. How a call is bounded depends on
the transport, on the service, and on whether it changes anything:

- Coroutines: the call is cancelled at the deadline, which drops its connection.
- Coroutines on services that keep a pool of connections (`Service.cancels` is False): a dropped request would
  leave its answer to the next one. So a request, once sent, is left to end: cancellation waits for it, up to
  the deadline, and past the deadline the connection pool is replaced.
- Threads, reads and stats: a worker makes the call and the caller waits for the worker (18 µs; an event loop
  takes 125 µs). Past the deadline, or after Ctrl-C, the call is abandoned; `workers` bounds how many are.
- Threads, changes: an abandoned write would be retried, and might land after a later one. So `Connection`
  makes changes as coroutines on an event loop of ours (`blocking.run`), which Ctrl-C and the deadline cancel.
- Local disks and stores in this process: the call is made in the caller's thread, without a bound.

The wait for one of the filesystem's slots (`concurrency`) does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from opendal.exceptions import Unexpected

from opendalfs import tracing
from opendalfs.runtime import process, workers

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Call"]

P = ParamSpec("P")
T = TypeVar("T")


class Call:
    """A context manager around one call to OpenDAL, by either transport."""

    __slots__ = (
        "connection",
        "deadline",
        "key",
        "loop",
        "offset",
        "operation",
        "pinned",
        "record",
        "size",
        "task",
    )

    def __init__(
        self,
        connection: Connection,
        operation: str,
        key: str,
        pinned: bool = False,
        offset: int = 0,
        size: int | None = None,
    ) -> None:
        self.connection = connection
        self.operation = operation
        self.key = key
        self.pinned = pinned
        self.offset = offset
        self.size = size
        self.task: asyncio.Task[object] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.deadline: float | None = None
        self.record: tracing.Request | None = None

    def awaited(self) -> Call:
        """Note the coroutine that makes the call."""
        self.task = asyncio.current_task()
        return self

    def __enter__(self) -> Call:
        process.begin_call(self.task)
        if tracing.enabled():
            here = self.connection
            self.record = tracing.start(
                self.operation, here.service.scheme, here.container, self.key, self.offset, self.size
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process.end_call(self.task)
        if self.deadline is not None and self.connection.limit is not None:
            self.connection.limit.release(self.loop)
        error = None
        if kind is GeneratorExit:
            # Whoever reads piece by piece has seen enough.
            exc = None
        if exc is not None:
            error = self.connection.explain(exc, self.operation, self.key, self.pinned)
        if self.record is not None:
            tracing.finish(self.record, error or exc)
        if error is not None:
            raise error

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function that changes nothing, within the time that the call may take."""
        connection = self.connection
        limit = connection.limit
        if limit is None:
            return function(*args, **kwargs)
        limit.acquire()
        try:
            return workers.run(partial(function, *args, **kwargs), self._seconds)
        except TimeoutError:
            connection.renew()
            raise self._late() from None
        finally:
            limit.release()

    async def run_async(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await what a function returns, within the time that the call may take."""
        connection = self.connection
        limit = connection.limit
        if limit is None:
            return await function(*args, **kwargs)
        if self.deadline is None:
            self.loop = await limit.acquire_async()
        try:
            if not connection.service.cancels:
                return await self._let_end(asyncio.ensure_future(function(*args, **kwargs)))
            async with asyncio.timeout_at(self._ends()):
                return await function(*args, **kwargs)
        except TimeoutError:
            raise self._late() from None
        finally:
            if self.deadline is None:
                limit.release(self.loop)

    async def _let_end(self, request: asyncio.Future[T]) -> T:
        """Wait for a request that must not be cancelled; cancellation passes on when it has ended."""
        loop = asyncio.get_running_loop()
        if isinstance(request, asyncio.Task):
            # So that `asyncio.run`, which cancels all tasks at its end, waits for this one instead.
            asyncio._unregister_task(request)
        deadline = self._ends()
        cancelled: asyncio.CancelledError | None = None
        while not request.done() and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait([request], timeout=left)
            except asyncio.CancelledError as exc:
                cancelled = exc
        if not request.done():
            self.connection.renew()
            request.add_done_callback(_drop)
        elif cancelled is None:
            return request.result()
        else:
            _drop(request)
        raise cancelled or TimeoutError

    async def hold(self) -> None:
        """Take one slot, and one timeout, for all that the call does: the pieces of one body."""
        if self.connection.limit is not None:
            self.loop = await self.connection.limit.acquire_async()
            self.deadline = self._ends()

    def _ends(self) -> float:
        return self.deadline or asyncio.get_running_loop().time() + self._seconds

    @property
    def _seconds(self) -> float:
        tuning = self.connection.tuning
        return tuning.io_timeout if self.operation in ("read", "write") else tuning.timeout

    def _late(self) -> Unexpected:
        return Unexpected(f"Unexpected (temporary) at {self.operation} => timeout after {self._seconds:g} s")

    def moved(self, size: int, requests: int = 1) -> None:
        """Note what the call moved, all in all."""
        if self.record is not None:
            self.record.bytes = size
            self.record.requests = requests


def _drop(request: asyncio.Future[Any]) -> None:
    """Take note of an error that nobody waits for, so that asyncio logs none."""
    if not request.cancelled():
        request.exception()
