"""Readahead for a stream that is read in small pieces: gzip asks for 32 KiB at a time."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from opendalfs.ranges import Range
from opendalfs.reader import Reader

__all__ = ["ReadAhead"]

_FIRST: Final = 256 * 1024
_MOST: Final = 4 * 1024 * 1024


class ReadAhead:
    """Blocks of a file, read one after another: 256 KiB, then twice as much each time, at most 4 MiB.

    From the second block on the next one is fetched while the caller works on this one. The first block
    is kept, because DuckDB reads the beginning of a compressed file again after it has looked at it.

    Parameters
    ----------
    reader : Reader
        Of the file.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._head: tuple[int, bytes] = (0, b"")
        self._block: tuple[int, bytes] = (0, b"")
        self._next: tuple[Range, Future[bytes]] | None = None
        self._window = _FIRST

    def held(self, offset: int, size: int) -> bytes | None:
        """Give bytes that are here already, from any thread; None when they are not all here."""
        for start, data in (self._block, self._head):
            if start <= offset and offset + size <= start + len(data):
                return data[offset - start : offset - start + size]
        return None

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
        pieces = []
        while size:
            piece = self._from_here(offset, size)
            if not piece:
                self._advance(offset, size)
                continue
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _from_here(self, offset: int, size: int) -> bytes:
        for start, data in (self._block, self._head):
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + size]
        return b""

    def _advance(self, offset: int, size: int) -> None:
        """Make the block that begins at an offset the current one."""
        goes_on = any(data and offset == start + len(data) for start, data in (self._block, self._head))
        if not goes_on:
            self._window = _FIRST
        coming, self._next = self._next, None
        if coming is not None and coming[0].start == offset:
            self._block = (offset, coming[1].result())
        else:
            part = Range(offset, min(offset + max(size, self._window), self._reader.size))
            self._block = (offset, self._reader.read(part.start, part.size))
        if offset == 0:
            self._head = (0, self._block[1][:_FIRST])
        self._window = min(self._window * 2, _MOST)
        if goes_on:
            self._prefetch(offset + len(self._block[1]))

    def _prefetch(self, offset: int) -> None:
        part = Range(offset, min(offset + self._window, self._reader.size))
        if part.size <= 0:
            return
        try:
            self._next = (part, self._reader.submit(part))
        except RuntimeError:
            # The interpreter exits: no new work is taken.
            self._next = None
