"""The requests of one file: first those that a read waits for, then prefetches within the budget."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from opendalfs.budget import Reservation
from opendalfs.read.plan import RequestSizes
from opendalfs.read.ranges import Range
from opendalfs.runtime.executor import submit
from opendalfs.runtime.futures import failed
from opendalfs.runtime.workers import result

from .blocks import Block, BlockStore

__all__ = ["RequestScheduler"]

IN_FLIGHT: Final = 24
"""Requests ahead of the reader that are in flight at a time."""


class RequestScheduler:
    """Makes the requests of one file and keeps their data until it is read.

    Parameters
    ----------
    fetch : callable
        Reads a range of the file; it is called in worker threads.
    reservation : Reservation
        Counts the bytes of requests in flight and of data that is held.
    sizes : RequestSizes
        Sizes of the requests.
    is_open : bool
        Whether the file is open. Until it is, no request is made that the budget has no room for.
    """

    def __init__(
        self,
        fetch: Callable[[Range], bytes],
        reservation: Reservation,
        sizes: RequestSizes,
        *,
        is_open: bool = True,
    ) -> None:
        self.is_open = is_open
        self.evictable_below = 0
        """Offset below which fetched blocks may be removed, if the budget needs their bytes."""
        # Reentrant, as a future that is done already calls back at once.
        self._lock = threading.RLock()
        self._fetch = fetch
        self._store = BlockStore(reservation, sizes)
        self._queue: deque[Block] = deque()
        self._in_flight = 0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""
        return self._in_flight

    def plan(self, ranges: Sequence[Range]) -> None:
        """Queue requests for ranges that will be read, near ones as one."""
        with self._lock:
            self._queue.extend(self._store.add(ranges))

    def has(self, needed: Range) -> bool:
        """Whether all of a range is queued, in flight or fetched."""
        with self._lock:
            return not self._store.gaps(needed)

    def require(self, needed: Range) -> list[Block]:
        """Return the blocks that hold a range, in order, with their requests begun.

        Parameters
        ----------
        needed : Range
            What is read now.

        Returns
        -------
        list of Block

        Raises
        ------
        ValueError
            When this is closed.
        """
        with self._lock:
            if self._closed:
                # Nothing would release the bytes that this reserves.
                raise ValueError("I/O operation on closed file")
            blocks = self._store.cover(needed)
            for block in blocks:
                # A request that has failed by now is made again.
                if block.future is None or failed(block.future):
                    self._begin(block)
            return blocks

    def take(self, block: Block, part: Range) -> memoryview:
        """Wait for a part of a block that `require` returned, and return it.

        Parameters
        ----------
        block : Block
            It is removed when all of it that was expected to be read was.
        part : Range
            Within the block.

        Returns
        -------
        memoryview
        """
        future = block.future
        if future is None:
            raise RuntimeError("the request of a block was not begun: call require() first")
        try:
            data = memoryview(result(future))
        except BaseException:
            with self._lock:
                if block.future is future:
                    self._store.remove(block)
            raise
        with self._lock:
            self._store.mark_read(block, part)
        return data[part.start - block.range.start : part.stop - block.range.start]

    def begin_queued(self) -> None:
        """Begin queued requests, as many as may be in flight and as the budget has room for."""
        with self._lock:
            while self._queue and self._in_flight < IN_FLIGHT and not self._closed:
                block = self._queue[0]
                if not self._has_room(block.range.size):
                    break
                self._queue.popleft()
                if block.future is None and block.unread:
                    try:
                        self._begin(block)
                    except RuntimeError:
                        # The interpreter exits, and its pools accept no work.
                        self._queue.clear()

    def close(self) -> None:
        """Cancel requests that have not begun and release all data."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            blocks = self._store.clear()
        for block in blocks:
            if block.future is not None:
                block.future.cancel()

    def _has_room(self, size: int) -> bool:
        held = self._store.reservation
        # An open file always has one request in flight, so that its reader goes on.
        return (self.is_open and not held.size) or held.fits(size) or self._store.evict(self.evictable_below)

    def _begin(self, block: Block) -> None:
        future = submit(self._fetch, block.range)
        self._store.start(block, future)
        self._in_flight += 1
        future.add_done_callback(self._ended)

    def _ended(self, future: Future[bytes]) -> None:
        with self._lock:
            self._in_flight -= 1
        self.begin_queued()
