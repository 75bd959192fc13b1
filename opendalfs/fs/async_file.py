"""The file objects that ``open_async()`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from opendalfs.errors import redact
from opendalfs.read.async_reader import fetch_pinned
from opendalfs.read.plan import PinnedObject
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version
from opendalfs.write.publication import OpenContext, not_published, raise_unless_propagating
from opendalfs.write.writer import State, Writer

__all__ = ["AsyncReadFile", "AsyncWriteFile"]


class AsyncReadFile:
    """A file open for reading in coroutines, pinned to one version.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key.
    version : Version
        The version to read.
    """

    def __init__(self, connection: Connection, key: str, version: Version) -> None:
        self._pinned = PinnedObject(connection, key, version)
        self._position = 0
        self.closed = False

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._pinned.version.size

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position, as `io.IOBase.seek` does, and return it.

        Raises
        ------
        ValueError
            For a position before the start of the file.
        """
        start = (0, self._position, self.size)[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}: that is before the start of the file")
        self._position = start + offset
        return self._position

    async def read(self, length: int | None = -1) -> bytes:
        """Read bytes from the position.

        Parameters
        ----------
        length : int
            Bytes at most; all remaining bytes if negative or None.

        Returns
        -------
        bytes
            Empty at the end of the file.

        Raises
        ------
        ValueError
            After a close.
        ChangedError
            If the object has another version now.
        OSError
            If it cannot be read.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        rest = max(self.size - self._position, 0)
        count = rest if length is None or length < 0 else min(length, rest)
        if not count:
            return b""
        span = (self._position, self._position + count)
        (data,) = await fetch_pinned(self._pinned, [span])
        self._position += len(data)
        return data

    async def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._pinned.release()

    async def __aenter__(self) -> Self:
        """Return the file."""
        return self

    async def __aexit__(self, *details: Any) -> None:
        """Close the file."""
        await self.close()


class AsyncWriteFile:
    """A file open for writing in coroutines. `publication` states what a close publishes.

    Parameters
    ----------
    writer : Writer
        The writer of the object; it works in a thread.
    published : callable
        Called when the file may have been published.
    """

    def __init__(self, writer: Writer, published: Callable[[], Any]) -> None:
        self._writer = writer
        self._published = published
        self._open_context = OpenContext()
        self._cancelled = False
        self.closed = False

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._writer.size

    async def write(self, data: bytes) -> int:
        """Write bytes; wait if the maximum number of parts is in flight.

        Raises
        ------
        ValueError
            After a close, a commit or a discard.
        OSError
            If a part could not be written. Nothing will be published.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        try:
            return await asyncio.to_thread(self._writer.write, data)
        except asyncio.CancelledError:
            # The thread continues, and may or may not write these bytes.
            self._cancelled = True
            raise

    async def commit(self) -> None:
        """Publish what was written, whatever exception is being handled.

        Raises
        ------
        ValueError
            After a commit or a discard, and after a write or a commit that failed or was cancelled.
        OSError
            If it cannot be published.
        """
        try:
            if self._cancelled:
                await asyncio.to_thread(self._writer.abort)
            await asyncio.to_thread(self._writer.commit)
        except asyncio.CancelledError:
            # The thread continues, and may or may not publish it. The writer's lock makes the abort wait for
            # it.
            await asyncio.to_thread(self._writer.abort)
            raise
        finally:
            # Also after a cancellation, when it may have been published.
            self._published()

    async def discard(self) -> None:
        """Publish nothing; a second call does nothing.

        Raises
        ------
        ValueError
            After a commit: the file is published and stays.
        """
        if not await asyncio.to_thread(self._writer.abort):
            raise ValueError(
                f"cannot discard {self._writer.name!r}: it is published already. Remove it instead"
            )
        self.closed = True

    async def close(self) -> None:
        """Publish what was written; a second call does nothing.

        Raises
        ------
        OSError
            If it cannot be published, if a write has failed or was cancelled, and in an ``except`` or
            ``finally`` block, as the exception may have cut the file short. Nothing is published.
        """
        await self._close(self._open_context.failure())

    async def _close(self, failure: BaseException | None) -> None:
        if self.closed:
            return
        self.closed = True
        self._open_context.clear()
        if self._writer.state is State.COMMITTED:
            return
        name = redact(self._writer.name)
        if failure is not None:
            await self.discard()
            raise_unless_propagating(failure, name)
        elif self._cancelled or self._writer.state is State.ABORTED:
            await self.discard()
            raise not_published("a write has failed", name, "Write the file again")
        else:
            await self.commit()

    async def __aenter__(self) -> Self:
        """Return the file."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; publish nothing if the block failed."""
        if exc is None:
            await self._close(None)
        elif isinstance(exc, GeneratorExit) and not self.closed:
            # A coroutine that is being closed cannot await.
            self.closed = True
            if self._writer.abort():
                raise_unless_propagating(exc, redact(self._writer.name))
        elif self._writer.state is State.COMMITTED:
            self.closed = True
        else:
            await self.discard()
