"""How an object is divided into the parts of a multipart upload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from opendalfs.read.ranges import Range
from opendalfs.storage.connection import Connection

__all__ = ["PartBuffer", "part_ranges", "part_size"]

_MAX_PARTS: Final = 9_000
"""S3 and similar services accept at most 10,000 parts (AWS, "Amazon S3 multipart upload limits")."""

_GROWS_AT: Final = 5_000
_GROWS_EVERY: Final = 1_000

_LARGE: Final = 256 << 10
"""Bytes from which a buffered piece is not copied. Smaller ones share a buffer, which takes less memory."""

_UNLIMITED: Final = 1 << 62
"""Bytes of a part that is never full."""


def part_size(
    connection: Connection, size: int | None = None, number: int = 0, *, chunk: int | None = None
) -> int:
    """Return the size of a part in bytes.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    size : int, optional
        Bytes of the whole object. If given, all parts have the same size.
    number : int
        Number of parts already sent. Late parts of a stream of unknown length are larger.
    chunk : int, optional
        Part size in bytes requested by the caller; the filesystem's ``write_chunk`` by default.

    Returns
    -------
    int
    """
    smallest = connection.capability.write_multi_min_size or 1
    largest = connection.capability.write_multi_max_size or _UNLIMITED
    part = max(chunk or connection.tuning.write_chunk, smallest)
    if size is not None:
        part = max(part, -(-size // _MAX_PARTS))
    elif number >= _GROWS_AT:
        part <<= 1 + (number - _GROWS_AT) // _GROWS_EVERY
    return min(part, largest)


def part_ranges(size: int, part: int) -> Iterator[Range]:
    """Split an object into the ranges of its parts.

    Parameters
    ----------
    size : int
        Bytes of the object.
    part : int
        Bytes of a part.

    Yields
    ------
    Range
        In ascending order. All ranges but the last have the same size, which Cloudflare R2 requires.
    """
    for start in range(0, size, part):
        yield Range(start, min(start + part, size))


class PartBuffer:
    """Divides a stream of bytes into parts.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    size : int, optional
        Bytes of the whole object, if known.
    chunk : int, optional
        Part size in bytes requested by the caller.
    multipart : bool
        False to keep all bytes for one request.
    """

    def __init__(
        self, connection: Connection, size: int | None = None, chunk: int | None = None, *, multipart: bool
    ) -> None:
        self._connection = connection
        self._size = size
        self._chunk = chunk
        part = part_size(connection, size, chunk=chunk)
        self._part = part if multipart and (size is None or size > part) else _UNLIMITED
        self._room = self._part
        self._sent = 0
        # Large `bytes` objects, which are not copied, and the bytes after them.
        self._pieces: list[bytes] = []
        self._tail = bytearray()

    def __len__(self) -> int:
        return self._part - self._room

    def add(self, data: bytes | memoryview) -> Iterable[bytes]:
        """Add bytes, and return the parts that are full.

        Parameters
        ----------
        data : bytes or memoryview
            Any number of bytes.

        Returns
        -------
        iterable of bytes
            It must be consumed, as it adds the bytes.
        """
        size = len(data)
        room = self._room - size
        if room <= 0:
            return self._cut(data)
        if size < _LARGE:
            self._room = room
            self._tail += data
        else:
            self._append(data)
        return ()

    def _cut(self, data: bytes | memoryview) -> Iterator[bytes]:
        start, size = 0, len(data)
        while size - start >= self._room:
            stop = start + self._room
            self._append(data[start:stop])
            start = stop
            yield self.take()
            self._sent += 1
            self._part = part_size(self._connection, self._size, self._sent, chunk=self._chunk)
            self._room = self._part
        self._append(data[start:])

    def _append(self, data: bytes | memoryview) -> None:
        self._room -= len(data)
        if len(data) < _LARGE:
            self._tail += data
            return
        if self._tail:
            self._pieces.append(bytes(self._tail))
            self._tail = bytearray()
        self._pieces.append(bytes(data))

    def take(self) -> bytes:
        """Remove and return the buffered bytes."""
        pieces, tail = self._pieces, self._tail
        self._pieces, self._tail, self._room = [], bytearray(), self._part
        if not pieces:
            return bytes(tail)
        return pieces[0] if len(pieces) == 1 and not tail else b"".join((*pieces, tail))
