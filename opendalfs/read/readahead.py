"""Sequential read-ahead: blocks of an object are requested before they are read.

`ReadAhead` serves threads, `read_blocks` coroutines. Both request blocks through `RequestWindow`: what is
read now in any case, and what comes after it as far as the memory budget allows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from opendalfs import tracing
from opendalfs.budget import PROCESS, Budget, Reservation
from opendalfs.read.reader import Reader
from opendalfs.runtime.futures import failed
from opendalfs.runtime.workers import result

from .ranges import Blocks, Range

__all__ = ["BUDGET", "KEPT", "ReadAhead", "RequestWindow", "Settings", "read_blocks"]

BUDGET: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes that all readers in threads hold or have requested ahead."""

KEPT: Final = PROCESS.share(128 << 20, guaranteed=32 << 20)
"""Bytes that all readers keep for a second reading."""

F = TypeVar("F", bound="Future[bytes] | asyncio.Future[bytes]")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is read ahead.

    Parameters
    ----------
    first, largest : int
        Bytes of the first and of the largest blocks, as in `Blocks`.
    ahead : int
        Blocks that are requested beyond those of a read, once it continues the read before it.
    ahead_from : int
        Offset in bytes, inclusive, from which on blocks are requested ahead.
    whole : int
        A file of at most this many bytes is one block: a round trip costs more than its bytes.
    keep : int
        Offset in bytes up to which blocks are kept for a second reading; 0 to keep none.
    """

    first: int
    largest: int
    ahead: int
    ahead_from: int = 0
    whole: int = 0
    keep: int = 0

    def blocks(self, size: int) -> Blocks:
        """Return the blocks of a file of `size` bytes."""
        if size <= self.whole:
            return Blocks(Range(0, size), max(size, 1), max(size, 1))
        return Blocks(Range(0, size), self.first, self.largest)


class _Request(Generic[F]):
    """The request for a block, from `start` on, and the memory that it takes."""

    __slots__ = ("future", "kept", "memory", "start")

    def __init__(self, start: int, future: F, memory: Reservation) -> None:
        self.start = start
        self.future = future
        self.memory = memory
        self.kept = False


class RequestWindow(Generic[F]):
    """The blocks of an object that are in flight or have arrived.

    Parameters
    ----------
    blocks : Blocks
        The blocks of the object.
    submit : callable
        Starts to read a range; returns a future or a task.
    budget : Budget
        The budget that the bytes of the blocks count in.
    """

    def __init__(self, blocks: Blocks, submit: Callable[[Range], F], budget: Budget) -> None:
        self.blocks = blocks
        self._submit = submit
        self._budget = budget
        self._requests: dict[int, _Request[F]] = {}

    def get(self, offset: int) -> _Request[F] | None:
        """Return the request for the byte at an offset; None if there is none."""
        request = self._requests.get(self.blocks.at(offset).start)
        return None if request is None or request.start > offset else request

    def request(self, offset: int, stop: int, ahead: int, *, again: bool = False) -> _Request[F]:
        """Request the blocks of a range, and blocks beyond it for which the budget has memory.

        Parameters
        ----------
        offset, stop : int
            The range in bytes, not empty; `stop` is exclusive.
        ahead : int
            Number of blocks after it.
        again : bool
            Whether to repeat requests that have failed.

        Returns
        -------
        _Request
            The request for the block at `offset`.
        """
        first = self._one(offset, again, must=True)
        assert first is not None
        offset = self.blocks.at(offset).stop
        while offset < self.blocks.span.stop and (offset < stop or ahead):
            must = offset < stop
            if self._one(offset, again, must) is None:
                break
            ahead -= not must
            offset = self.blocks.at(offset).stop
        return first

    def _one(self, offset: int, again: bool, must: bool) -> _Request[F] | None:
        """Request the rest of the block at an offset; return None if the budget has no memory for it."""
        found = self.get(offset)
        if found is not None and not (again and failed(found.future)):
            return found
        block = self.blocks.at(offset)
        memory = Reservation(self._budget)
        if must:
            memory.grow(block.stop - offset)
        elif not memory.try_grow(block.stop - offset):
            return None
        request = _Request(offset, self._submit(Range(offset, block.stop)), memory)
        self._requests[block.start] = request
        return request

    def seek(self, offset: int) -> None:
        """Cancel the requests that a sequential read from an offset will not use."""
        start = self.blocks.at(offset).start if self.get(offset) is not None else self.blocks.span.stop
        for other in [s for s in self._requests if s < start]:
            self._cancel(other)

    def drop(self, offset: int) -> None:
        """Drop the block at an offset."""
        self._requests.pop(self.blocks.at(offset).start, None)

    def cancel(self) -> list[F]:
        """Cancel all requests, drop all blocks, and return the futures; safe from any thread."""
        futures = [self._cancel(start) for start in list(self._requests)]
        return [future for future in futures if future is not None]

    def _cancel(self, start: int) -> F | None:
        request = self._requests.pop(start, None)
        if request is None:
            return None
        request.future.cancel()
        return request.future


class ReadAhead:
    """Sequential reads of one version of an object, from blocks that the shared pool reads ahead.

    One thread reads at a time. Without `Settings.keep`, a block is dropped once it was read to its end, and
    all blocks are dropped when a read begins in none of them. With it, a block is dropped when it was read to
    its end for the second time.

    Parameters
    ----------
    reader : Reader
        Reader of the object.
    settings : Settings
        Sizes and number of the blocks.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe_file("doc/ahead", b"0123456789")
    >>> file = ReadAhead(fs.reader("doc/ahead"), Settings(first=2, largest=4, ahead=2))
    >>> bytes(file.read(0, 3))
    b'012'
    """

    def __init__(self, reader: Reader, settings: Settings) -> None:
        self.reader = reader
        self._settings = settings
        # Reentrant: a file that is collected while this thread is in here closes itself.
        self._lock = threading.RLock()
        self._window: RequestWindow[Future[bytes]] | None = None
        self._end = -1
        # The block of the last read if that continued one before: small reads within it skip the window.
        self._current: tuple[Range, memoryview] | None = None

    def held(self, offset: int, size: int) -> memoryview | None:
        """Return bytes that have arrived in one block, or None; safe from any thread.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes, at least 1; all within the object.

        Returns
        -------
        memoryview or None
        """
        request = None if self._window is None else self._window.get(offset)
        if request is None or not request.future.done() or failed(request.future):
            return None
        start = offset - request.start
        data = memoryview(request.future.result())
        return data[start : start + size] if start + size <= len(data) else None

    def read(self, offset: int, size: int) -> Any:
        """Read a range.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; those past the end of the object are left out.

        Returns
        -------
        bytes or memoryview

        Raises
        ------
        ChangedError
            When the object is no longer the version of the reader.
        """
        stop = min(offset + size, self.reader.size)
        if stop <= offset:
            return b""
        tracing.add_bytes_wanted(stop - offset)
        with self._lock:
            return self._read(self._opened(), offset, stop)

    def begin(self, offset: int) -> None:
        """Fetch the block at an offset and raise its errors; a later `read` returns its bytes."""
        with self._lock:
            if offset < self.reader.size:
                self._wait(self._opened(), offset, offset + 1, 0)

    def close(self) -> None:
        """Cancel all requests and drop all blocks; safe from any thread."""
        self._current = None
        if self._window is not None:
            self._window.cancel()

    def _opened(self) -> RequestWindow[Future[bytes]]:
        # Not before the first read, as the size may take a request.
        if self._window is None:
            blocks = self._settings.blocks(self.reader.size)
            self._window = RequestWindow(blocks, self.reader.submit, BUDGET)
        return self._window

    def _read(self, window: RequestWindow[Future[bytes]], offset: int, stop: int) -> Any:
        continues = offset == self._end
        self._end = stop
        current = self._current
        if continues and current is not None and stop < current[0].stop:
            part, data = current
            return data[offset - part.start : stop - part.start]
        self._current = None
        if not continues and not self._settings.keep:
            window.seek(offset)
        pieces = []
        while offset < stop:
            ahead = self._settings.ahead if continues and offset >= self._settings.ahead_from else 0
            request = self._wait(window, offset, stop, ahead)
            data = memoryview(request.future.result())
            pieces.append(data[offset - request.start : stop - request.start])
            block = window.blocks.at(offset)
            if block.stop <= stop:
                self._finish(window, block, request)
            elif continues:
                self._current = Range(request.start, block.stop), data
            offset = block.stop
            continues = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _wait(
        self, window: RequestWindow[Future[bytes]], offset: int, stop: int, ahead: int
    ) -> _Request[Future[bytes]]:
        request = window.request(offset, stop, ahead, again=True)
        try:
            result(request.future)
        except BaseException:
            window.drop(offset)
            raise
        return request

    def _finish(
        self, window: RequestWindow[Future[bytes]], block: Range, request: _Request[Future[bytes]]
    ) -> None:
        """Keep a block for a second reading, or drop it."""
        kept = Reservation(KEPT)
        if not request.kept and block.stop <= self._settings.keep and kept.try_grow(block.size):
            request.kept, request.memory = True, kept
        else:
            window.drop(block.start)


async def read_blocks(
    blocks: Blocks, fetch: Callable[[Range], Awaitable[bytes]], ahead: int, budget: Budget
) -> AsyncGenerator[bytes, None]:
    """Read a range block by block, with requests for the next blocks in flight: `ReadAhead` for coroutines.

    Parameters
    ----------
    blocks : Blocks
        Of the range.
    fetch : coroutine function
        Reads a range.
    ahead : int
        Blocks that are requested beyond the one that is read.
    budget : Budget
        Where the bytes count. The block that is read is requested in any case, so that no reader waits for
        the memory of another one.

    Yields
    ------
    bytes
        Of one block; its memory is released when the next one is asked for.
    """
    window = RequestWindow(blocks, lambda part: asyncio.ensure_future(fetch(part)), budget)
    offset = blocks.span.start
    try:
        while offset < blocks.span.stop:
            stop = blocks.at(offset).stop
            yield await window.request(offset, stop, ahead).future
            window.drop(offset)
            offset = stop
    finally:
        await asyncio.gather(*window.cancel(), return_exceptions=True)
