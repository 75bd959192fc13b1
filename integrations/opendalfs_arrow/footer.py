"""The end of a Parquet file, and its footer: the columns, and the range of each column chunk."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from opendalfs.errors import ChangedError
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.runtime.executor import submit
from opendalfs.runtime.futures import failed
from opendalfs.runtime.workers import result

__all__ = ["Chunk", "Footer", "Tail"]

TAIL: Final = 256 * 1024
"""Bytes read from the end of a file: the footer of a file with about 2,000 column chunks fits."""

WHOLE: Final = 1024 * 1024
"""A file of up to this many bytes is read whole: one more round trip costs more than the bytes."""

_PARSED: Final = 10
"""Bytes of memory per byte of a footer, once parsed: measured with 1,000 columns in 10 row groups."""

_ANY_SIZE: Final = 1 << 62
"""Bytes that a file has at most, for a check of its footer alone."""

_MAGIC: Final = (b"PAR1", b"PARE")
"""Last bytes of a Parquet file with a plain footer, and with an encrypted one."""


class Chunk(NamedTuple):
    """The range of one column of one row group."""

    range: Range
    group: int
    column: int


class Footer:
    """The columns of a Parquet file, and the range of each column chunk.

    Parameters
    ----------
    metadata : pyarrow.parquet.FileMetaData
        The parsed footer.
    """

    def __init__(self, metadata: pq.FileMetaData) -> None:
        self.metadata = metadata
        self.width = metadata.num_columns
        # A table without columns may have row groups; there is nothing to read in them.
        self.groups = metadata.num_row_groups if self.width else 0
        self._chunks: dict[int, list[Chunk]] = {}

    @classmethod
    def parse(cls, end: bytes) -> Footer | None:
        """Read the footer from the last bytes of a file.

        Parameters
        ----------
        end : bytes
            From the first byte of the footer on.

        Returns
        -------
        Footer or None
            None if pyarrow cannot read it or the metadata of a column, or if columns are encrypted.
        """
        try:
            metadata = pq.read_metadata(pa.BufferReader(end))
        except (pa.ArrowException, OSError, ValueError):
            return None
        # In a file with encrypted columns a plain footer is followed by its signature. pyarrow aborts the
        # process when the range of such a column is read.
        plain = metadata.serialized_size == len(end) - 8
        return cls(metadata) if plain and _are_columns_valid(metadata, end) else None

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        schema = self.metadata.schema
        return tuple(schema.column(i).path for i in range(self.width))

    @cached_property
    def fingerprint(self) -> int:
        """A number that is equal for files with the same columns."""
        return hash(self._paths)

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each row group: that of its first column, as writers keep the order of the schema."""
        row_group = self.metadata.row_group
        return [_chunk_range(row_group(g), 0).start for g in range(self.groups)]

    def chunks(self, group: int) -> list[Chunk]:
        """Return the column chunks of a row group, in order of column."""
        found = self._chunks.get(group)
        if found is None:
            row_group = self.metadata.row_group(group)
            found = [Chunk(_chunk_range(row_group, i), group, i) for i in range(self.width)]
            self._chunks[group] = found
        return found

    def find(self, needed: Range) -> list[Chunk]:
        """Return the column chunks that a range overlaps."""
        found: list[Chunk] = []
        first = max(bisect.bisect_right(self.starts, needed.start) - 1, 0)
        for group in range(first, self.groups):
            if self.starts[group] >= needed.stop:
                break
            found += [
                c for c in self.chunks(group) if c.range.start < needed.stop and c.range.stop > needed.start
            ]
        return found

    @cached_property
    def names(self) -> list[str]:
        """The names of the top-level columns."""
        return list(dict.fromkeys(path.partition(".")[0] for path in self._paths))

    def columns(self, names: Iterable[str]) -> set[int]:
        """Return the numbers of the leaf columns below top-level or dotted names."""
        roots = tuple(names)
        below = tuple(f"{root}." for root in roots)
        return {i for i, path in enumerate(self._paths) if path in roots or path.startswith(below)}


def _are_columns_valid(metadata: pq.FileMetaData, end: bytes) -> bool:
    """Whether the metadata of all columns can be looked at.

    `RowGroupMetaData.column` of pyarrow 26 ends the process where size statistics contradict the schema; a
    read of all columns looks at the same metadata, and raises an error.
    """
    # Only the size of this file is asked for: it is closed before the read, which fails at its first byte.
    source = pa.BufferReader(pa.foreign_buffer(pa.py_buffer(end).address, _ANY_SIZE, base=end))
    try:
        file = pq.ParquetFile(source, metadata=metadata, pre_buffer=True)
        source.close()
        file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as exc:
        # All metadata were looked at before the first byte was read.
        return isinstance(exc, pa.ArrowInvalid) and "closed" in str(exc)
    return True


def _chunk_range(row_group: Any, i: int) -> Range:
    column = row_group.column(i)
    # A dictionary page comes first. Some writers set its offset to 0 when there is none.
    start = column.data_page_offset
    dictionary = column.dictionary_page_offset
    if dictionary and 0 < dictionary < start:
        start = dictionary
    return Range(start, start + column.total_compressed_size)


class Tail:
    """The end of one version of a file, read in the background and shared by all opens of the file.

    Parameters
    ----------
    reader : Reader
        Reads of the file.
    begin : bool
        Whether to read now, or else when the end is first needed.

    Attributes
    ----------
    expected : Version, optional
        The version that the reader was made with.
    """

    def __init__(self, reader: Reader, begin: bool = True) -> None:
        self.reader = reader
        self.expected = reader.version if reader.knows_size else None
        # Reentrant: the garbage collector may close a file while this thread holds the lock.
        self._lock = threading.RLock()
        self._future: Future[tuple[int, bytes]] | None = None
        self._footer: list[Footer | None] = []
        if begin:
            self._begin()

    def _begin(self) -> Future[tuple[int, bytes]]:
        with self._lock:
            # All that wait for a read share its failure; the next use reads again.
            if self._future is None or failed(self._future):
                self._future = submit(self._read)
            return self._future

    @property
    def failed(self) -> bool:
        """Whether the last read of the end has failed."""
        return self._future is not None and failed(self._future)

    @property
    def reusable(self) -> bool:
        """Whether other opens may use it: not if the read has failed, or the bytes are not those of Parquet.

        A server may have sent the bytes of another range.
        """
        if self._future is None or not self._future.done():
            return True
        return not failed(self._future) and self.is_parquet

    def _read(self) -> tuple[int, bytes]:
        try:
            return self._read_end()
        except ChangedError:
            if self.expected is None:
                raise
            # The version of the listing is outdated, and the file was opened after that: read the new one.
            self.reader = Reader(self.reader.connection, self.reader.key)
            return self._read_end()

    def _read_end(self) -> tuple[int, bytes]:
        reader = self.reader
        size = reader.size
        if size <= WHOLE:
            return 0, reader.fetch(Range(0, size)) if size else b""
        first = start = max(size - TAIL, 0)
        data = reader.fetch(Range(start, size))
        length = _footer_length(data)
        if len(data) < length <= size - 4:
            start = size - length
            data = reader.fetch(Range(start, first)) + data
        return start, data

    @property
    def whole(self) -> bytes | None:
        """The whole file, if it is a small one that has been read by now."""
        if self._future is None or not self._future.done() or failed(self._future):
            return None
        start, data = result(self._future)
        return None if start else data

    def when_read(self, callback: Callable[[bool], None]) -> None:
        """Call a function when the read of the end is over, with whether it succeeded."""
        self._begin().add_done_callback(lambda future: callback(not failed(future)))

    @property
    def weight(self) -> int:
        """Bytes of memory that this takes, or will take, for a file of known size, with the parsed footer."""
        if self._future is None or not self._future.done() or failed(self._future):
            return self.reader.size if self.reader.size <= WHOLE else TAIL
        data = result(self._future)[1]
        return len(data) + _PARSED * _footer_length(data)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._future is not None:
            result(self._begin())
        return self.reader.size

    @property
    def start(self) -> int:
        """Offset of the first byte held; the size of the file while the end is not being read."""
        return self.reader.size if self._future is None else result(self._begin())[0]

    def get(self, needed: Range) -> memoryview | None:
        """Return a range of the file; None if not all of it is held."""
        start, data = result(self._begin())
        if needed.start < start:
            return None
        return memoryview(data)[needed.start - start : needed.stop - start]

    @property
    def is_parquet(self) -> bool:
        """Whether the file ends with the magic bytes of Parquet."""
        return _footer_length(result(self._begin())[1]) > 0

    @property
    def footer(self) -> Footer | None:
        """The footer; None if the file is not Parquet, is encrypted, or is truncated."""
        with self._lock:
            if not self._footer:
                self._footer.append(self._parse())
            return self._footer[0]

    def _parse(self) -> Footer | None:
        _, data = result(self._begin())
        length = _footer_length(data)
        return Footer.parse(data[-length:]) if 8 < length <= len(data) else None


def _footer_length(end: bytes) -> int:
    """Return the bytes from the start of the footer to the end of the file; 0 if it is not Parquet."""
    if len(end) < 12 or end[-4:] not in _MAGIC:
        return 0
    return int.from_bytes(end[-8:-4], "little") + 8
