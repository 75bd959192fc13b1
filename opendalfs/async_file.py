"""The file objects that ``open_async()`` returns."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from .connection import Connection
from .reader import Version, fetch
from .writer import Writer

__all__ = ["AsyncReadFile", "AsyncWriteFile"]

P = ParamSpec("P")
T = TypeVar("T")


class AsyncReadFile:
    """A file open for reading in coroutines, pinned to one version.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Its key.
    version : Version
        What is read.
    """

    def __init__(self, connection: Connection, key: str, version: Version) -> None:
        self._connection = connection
        self._key = key
        self._version = version
        self._position = 0
        self.closed = False

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._version.size

    def tell(self) -> int:
        """Give the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, as `io.IOBase.seek` does."""
        start = (0, self._position, self.size)[whence]
        if start + offset < 0:
            raise ValueError("Seek before start of file")
        self._position = start + offset
        return self._position

    async def read(self, length: int | None = -1) -> bytes:
        """Read from the position on.

        Parameters
        ----------
        length : int
            Bytes at most; all of the rest for -1.

        Returns
        -------
        bytes
            Empty at the end.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        rest = max(self.size - self._position, 0)
        count = rest if length is None or length < 0 else min(length, rest)
        if not count:
            return b""
        span = (self._position, self._position + count)
        (data,) = await fetch(self._connection, self._key, [span], self._version)
        self._position += len(data)
        return data

    async def close(self) -> None:
        """Close the file."""
        self.closed = True

    async def __aenter__(self) -> Self:
        """Give the file."""
        return self

    async def __aexit__(self, *details: Any) -> None:
        """Close the file."""
        await self.close()


class AsyncWriteFile:
    """A file open for writing in coroutines; published by `close`, unless its block failed.

    Parameters
    ----------
    writer : Writer
        What takes the bytes; it works in a thread.
    published : callable
        Called when the file may be there.
    """

    def __init__(self, writer: Writer, published: Callable[[], Any]) -> None:
        self._writer = writer
        self._published = published
        # A cancelled task leaves its thread at work, for which the next call has to wait.
        self._lock = threading.Lock()
        self._failed = False
        self.closed = False

    def tell(self) -> int:
        """Give the bytes written so far."""
        return self._writer.size

    async def write(self, data: bytes) -> int:
        """Take bytes; waits while as many parts as may be are in flight."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        try:
            return await self._in_turn(self._writer.write, data)
        except BaseException:
            self._failed = True
            raise

    async def _in_turn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            with self._lock:
                return function(*args, **kwargs)

        return await asyncio.to_thread(work)

    async def discard(self) -> None:
        """Publish nothing."""
        if not self.closed:
            self.closed = True
            await self._in_turn(self._writer.abort)

    async def close(self) -> None:
        """Publish what was written.

        Raises
        ------
        OSError
            When a write had failed or was cancelled: nothing is published then.
        """
        if self.closed:
            return
        if self._failed:
            await self.discard()
            raise OSError(errno.EIO, "Not published, as a write had failed", self._writer.name)
        self.closed = True
        try:
            await self._in_turn(self._writer.commit)
        except BaseException:
            with suppress(OSError):
                await self._in_turn(self._writer.abort)
            raise
        finally:
            # After a cancellation too, when nobody can tell whether it is there.
            self._published()

    async def __aenter__(self) -> Self:
        """Give the file."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; on an exception publish nothing."""
        if exc is not None:
            await self.discard()
        else:
            await self.close()
