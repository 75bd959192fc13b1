"""Readahead for a stream that is read in small pieces: gzip asks for 32 KiB at a time."""

from __future__ import annotations

import bisect
from concurrent.futures import Future
from typing import Final

from opendalfs import tracing
from opendalfs.budget import PROCESS, Reservation
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader, failed
from opendalfs.runtime.workers import result

__all__ = ["ReadAhead"]

_FIRST: Final = 256 * 1024
_STARTS: Final = tuple(_FIRST * (2**i - 1) for i in range(5))
"""Where the first blocks begin: each is twice as large as the one before, from 256 KiB to 4 MiB."""

_LARGEST: Final = _FIRST * 2**4

_WHOLE: Final = 1024 * 1024
"""A file up to this size is one block: a round trip costs more than its bytes."""

_AHEAD: Final = 4
"""Blocks under way beyond the one that is read, once the reading goes on past the first."""

_AGAIN: Final = 32 * 1024 * 1024
"""How far into a file what was read is kept for a second reading."""

_KEPT: Final = PROCESS.share(128 << 20, guaranteed=32 << 20)
"""Bytes that all streams together keep so."""


class ReadAhead:
    """Blocks of a file, read one after another, some of them ahead of the reader.

    DuckDB reads text twice: once to look what it is, which may take it to the end, and then for the query.
    So a block is kept when it was read for the first time, and goes with the second.

    Parameters
    ----------
    reader : Reader
        Of the file.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # By where a block begins: where what is held of it begins, and its bytes.
        self._blocks: dict[int, tuple[int, Future[bytes]]] = {}
        self._kept: set[int] = set()
        self._reserved = Reservation(_KEPT)
        self._end = -1

    def held(self, offset: int, size: int) -> bytes | None:
        """Give bytes that are here already, from any thread; None when they are not all here."""
        start, future = self._blocks.get(self._block(offset).start, (0, None))
        if future is None or start > offset or not future.done() or failed(future):
            return None
        data = future.result()
        return data[offset - start : offset - start + size] if offset + size <= start + len(data) else None

    def read(self, offset: int, size: int) -> bytes:
        """Read from a position within the file; one thread at a time.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; all of them must exist.

        Returns
        -------
        bytes
        """
        tracing.add_bytes_wanted(size)
        pieces = []
        goes_on = offset == self._end
        self._end = offset + size
        while offset < self._end:
            self._begin(offset, self._end, goes_on)
            block = self._block(offset)
            start, future = self._blocks[block.start]
            try:
                data = result(future)
            except BaseException:
                self._blocks.pop(block.start, None)
                raise
            pieces.append(data[offset - start : self._end - start])
            offset = min(block.stop, self._end)
            if offset == block.stop:
                self._passed(block)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _block(self, offset: int) -> Range:
        """Give the block that a position is in."""
        if self._reader.size <= _WHOLE:
            return Range(0, self._reader.size)
        i = bisect.bisect_right(_STARTS, offset) - 1
        start = _STARTS[i]
        if start == _STARTS[-1]:
            start += (offset - start) // _LARGEST * _LARGEST
        return Range(start, min(start + _FIRST * 2**i, self._reader.size))

    def _begin(self, offset: int, stop: int, goes_on: bool) -> None:
        """Ask for what is wanted and, where the reading goes on past the first block, for some beyond it."""
        beyond = _AHEAD if goes_on and offset >= _FIRST else 0
        while offset < self._reader.size and (offset < stop or beyond):
            beyond -= offset >= stop
            block = self._block(offset)
            held = self._blocks.get(block.start)
            if held is None or held[0] > offset or failed(held[1]):
                self._blocks[block.start] = offset, self._reader.submit(Range(offset, block.stop))
            offset = block.stop

    def _passed(self, block: Range) -> None:
        """Keep a block that was read for the first time, if it may be; let go of one that was read again."""
        if block.start in self._kept:
            self._kept.remove(block.start)
            self._reserved.shrink(block.size)
            self._blocks.pop(block.start, None)
        elif block.stop <= _AGAIN and self._reserved.try_grow(block.size):
            self._kept.add(block.start)
        else:
            self._blocks.pop(block.start, None)
