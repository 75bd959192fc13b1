"""One call to OpenDAL: refuses forks, counts what is under way, records for `trace`, translates errors."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from . import lifecycle, tracing

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Call"]


class Call:
    """A context manager around one call to OpenDAL, by either transport."""

    __slots__ = ("connection", "key", "offset", "operation", "pinned", "record", "size", "task")

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
        self.record: tracing.Request | None = None

    def awaited(self) -> Call:
        """Note the coroutine that makes the call."""
        self.task = asyncio.current_task()
        return self

    def __enter__(self) -> Call:
        lifecycle.begin(self.task)
        if tracing.watched():
            here = self.connection
            self.record = tracing.record(
                self.operation, here.service.scheme, here.container, self.key, self.offset, self.size
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lifecycle.end(self.task)
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

    def moved(self, size: int, requests: int = 1) -> None:
        """Note what the call moved, all in all."""
        if self.record is not None:
            self.record.bytes = size
            self.record.requests = requests
