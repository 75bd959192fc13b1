"""What the end of a Parquet file tells: its size, its columns, and where each column chunk lies."""

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
"""Bytes read from the end at open: the footer of a file with some 2,000 column chunks fits."""

WHOLE: Final = 1024 * 1024
"""A file up to this size is read whole at open: one round trip costs more than its bytes."""

_PARSED: Final = 10
"""Bytes that a parsed footer takes for each of its own: measured with 1,000 columns in 10 row groups."""

_MAGIC: Final = (b"PAR1", b"PARE")
"""Last bytes of a Parquet file: with a plain footer, with an encrypted one."""


class Chunk(NamedTuple):
    """One column of one row group: its place in the file."""

    range: Range
    group: int
    column: int


class Footer:
    """Where each column chunk of a Parquet file lies.

    Parameters
    ----------
    metadata : pyarrow.parquet.FileMetaData
        As pyarrow reads it from the end of a file.
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
            None when pyarrow cannot read it, or when columns are encrypted.
        """
        try:
            metadata = pq.read_metadata(pa.BufferReader(end))
        except (pa.ArrowException, OSError, ValueError):
            return None
        # A footer in plain of a file with encrypted columns is followed by its signature. To ask pyarrow for
        # the place of such a column ends the process.
        return cls(metadata) if metadata.serialized_size == len(end) - 8 else None

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        schema = self.metadata.schema
        return tuple(schema.column(i).path for i in range(self.width))

    @cached_property
    def fingerprint(self) -> int:
        """The same for files with the same columns."""
        return hash(self._paths)

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each row group, which is that of its first column: writers keep the schema's order."""
        column = self.metadata.row_group
        return [_chunk_range(column(g).column(0)).start for g in range(self.groups)]

    def chunks(self, group: int) -> list[Chunk]:
        """Give the column chunks of a row group, in order of column."""
        found = self._chunks.get(group)
        if found is None:
            row_group = self.metadata.row_group(group)
            found = [Chunk(_chunk_range(row_group.column(i)), group, i) for i in range(self.width)]
            self._chunks[group] = found
        return found

    def find(self, wanted: Range) -> list[Chunk]:
        """Give the column chunks that a range touches."""
        found: list[Chunk] = []
        first = max(bisect.bisect_right(self.starts, wanted.start) - 1, 0)
        for group in range(first, self.groups):
            if self.starts[group] >= wanted.stop:
                break
            found += [
                c for c in self.chunks(group) if c.range.start < wanted.stop and c.range.stop > wanted.start
            ]
        return found

    @cached_property
    def names(self) -> list[str]:
        """The top-level columns."""
        return list(dict.fromkeys(path.partition(".")[0] for path in self._paths))

    def columns(self, names: Iterable[str]) -> set[int]:
        """Give the numbers of the leaf columns under some top-level or dotted names."""
        roots = tuple(names)
        below = tuple(f"{root}." for root in roots)
        return {i for i, path in enumerate(self._paths) if path in roots or path.startswith(below)}


def _chunk_range(column: Any) -> Range:
    # The dictionary page comes first where there is one; some writers give it the offset 0 for none.
    start = column.data_page_offset
    dictionary = column.dictionary_page_offset
    if dictionary and 0 < dictionary < start:
        start = dictionary
    return Range(start, start + column.total_compressed_size)


class Tail:
    """The end of one version of a file, read in the background and shared by all that open it.

    Parameters
    ----------
    reader : Reader
        Of the file.
    begin : bool
        Read now; otherwise when somebody asks for it.

    Attributes
    ----------
    told : Version, optional
        What the reader was made with.
    """

    def __init__(self, reader: Reader, begin: bool = True) -> None:
        self.reader = reader
        self.told = reader.version if reader.knows_size else None
        # Reentrant: a file that is collected while this thread is in here closes itself.
        self._lock = threading.RLock()
        self._future: Future[tuple[int, bytes]] | None = None
        self._footer: list[Footer | None] = []
        if begin:
            self._begun()

    def _begun(self) -> Future[tuple[int, bytes]]:
        with self._lock:
            # Those who wait for a read share its failure; whoever comes later asks again.
            if self._future is None or failed(self._future):
                self._future = submit(self._read)
            return self._future

    @property
    def failed(self) -> bool:
        """Whether the last read of the end has failed."""
        return self._future is not None and failed(self._future)

    def _read(self) -> tuple[int, bytes]:
        try:
            return self._read_end()
        except ChangedError:
            if self.told is None:
                raise
            # What a listing told is out of date; opened now, the file is what it is now.
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

    def then(self, call: Callable[[bool], None]) -> None:
        """Call a function with whether the end was read, as soon as the read has ended."""
        self._begun().add_done_callback(lambda future: call(not failed(future)))

    @property
    def weight(self) -> int:
        """Bytes that it holds, or will, of a file whose size is known, with what may be parsed of them."""
        if self._future is None or not self._future.done() or failed(self._future):
            return self.reader.size if self.reader.size <= WHOLE else TAIL
        data = result(self._future)[1]
        return len(data) + _PARSED * _footer_length(data)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._future is not None:
            result(self._begun())
        return self.reader.size

    @property
    def start(self) -> int:
        """Offset of the first byte held; the end of the file while nothing has asked for any."""
        return self.reader.size if self._future is None else result(self._begun())[0]

    def get(self, wanted: Range) -> memoryview | None:
        """Give bytes of the file, if they are held."""
        start, data = result(self._begun())
        if wanted.start < start:
            return None
        return memoryview(data)[wanted.start - start : wanted.stop - start]

    @property
    def is_parquet(self) -> bool:
        """Whether the file ends as Parquet does."""
        return _footer_length(result(self._begun())[1]) > 0

    @property
    def footer(self) -> Footer | None:
        """The footer; None when the file is no Parquet, is encrypted, or is cut off."""
        with self._lock:
            if not self._footer:
                self._footer.append(self._parse())
            return self._footer[0]

    def _parse(self) -> Footer | None:
        _, data = result(self._begun())
        length = _footer_length(data)
        return Footer.parse(data[-length:]) if 8 < length <= len(data) else None


def _footer_length(end: bytes) -> int:
    """Give the bytes from the footer's first to the end of the file; 0 when this is no Parquet."""
    if len(end) < 12 or end[-4:] not in _MAGIC:
        return 0
    return int.from_bytes(end[-8:-4], "little") + 8
