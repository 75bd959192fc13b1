"""Which bytes a Parquet read will want next.

pyarrow asks a Python file for one range at a time and waits for it. A `Scan` serves those ranges out of
requests that it makes ahead, many at a time, guided by the footer:

1. The end of the file is read when it is opened, in the background: it holds the size, and nearly always the
   whole footer (`Tail`).
2. The first range that is asked for outside of it tells a row group and a column. That column of the next
   row group is fetched along; when the reader does go on to the next row group, the columns it has read so
   far are fetched for two more, then four, eight, ... A filter that skips row groups is so never ahead by
   more than one guess.
3. The columns are remembered by directory and schema (`Memory`), so that the next file, or the next scan, is
   fetched by all its columns at once; a hint does the same for the first.

What was fetched is dropped once it was served. A wrong guess costs its bytes, never the result.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from opendalfs import tracing
from opendalfs.ranges import Range, coalesce, split
from opendalfs.reader import Reader, pool

__all__ = ["Footer", "Memory", "Scan", "Tail"]

TAIL: Final = 256 * 1024
"""Bytes read from the end at open: the footer of a file with some 2,000 column chunks fits."""

WHOLE: Final = 1024 * 1024
"""A file up to this size is read whole at open: one round trip costs more than its bytes."""

BUDGET: Final = 256 * 1024 * 1024
"""Bytes that one scan holds or has asked for ahead of its reader."""

_IN_FLIGHT: Final = 24
_PART: Final = 4 * 1024 * 1024
_GAP: Final = 128 * 1024
_BEHIND: Final = 3
"""Row groups behind the furthest one that are kept, as Arrow's threads read out of order."""

_MAGIC: Final = b"PAR1"
_MEMORY_SECONDS: Final = 300.0
_SAME_SCAN_SECONDS: Final = 2.0


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
        self.groups = metadata.num_row_groups
        self._chunks: dict[int, list[Chunk]] = {}

    @classmethod
    def parse(cls, end: bytes) -> Footer | None:
        """Read the footer from the last bytes of a file.

        Parameters
        ----------
        end : bytes
            Must hold all of the footer.

        Returns
        -------
        Footer or None
            None when pyarrow cannot read it, as with an encrypted one.
        """
        try:
            return cls(pq.read_metadata(pa.BufferReader(end)))
        except (pa.ArrowException, OSError, ValueError):
            return None

    @cached_property
    def fingerprint(self) -> int:
        """The same for files with the same columns."""
        schema = self.metadata.schema
        return hash(tuple(schema.column(i).path for i in range(self.metadata.num_columns)))

    @cached_property
    def starts(self) -> list[int]:
        """Offset of the first byte of each row group."""
        return [min(c.range.start for c in self.chunks(g)) for g in range(self.groups)]

    def chunks(self, group: int) -> list[Chunk]:
        """Give the column chunks of a row group, in order of column."""
        found = self._chunks.get(group)
        if found is None:
            row_group = self.metadata.row_group(group)
            found = [Chunk(_chunk_range(row_group.column(i)), group, i) for i in range(row_group.num_columns)]
            self._chunks[group] = found
        return found

    def find(self, wanted: Range) -> list[Chunk]:
        """Give the column chunks that a range touches."""
        if not self.groups:
            return []
        first = max(bisect.bisect_right(self.starts, wanted.start) - 1, 0)
        found: list[Chunk] = []
        for group in range(first, self.groups):
            if self.starts[group] >= wanted.stop:
                break
            found += [
                c for c in self.chunks(group) if c.range.start < wanted.stop and c.range.stop > wanted.start
            ]
        return found

    def columns(self, names: Iterable[str]) -> set[int]:
        """Give the numbers of the leaf columns under some top-level or dotted names."""
        roots = tuple(names)
        schema = self.metadata.schema
        paths = ((i, schema.column(i).path) for i in range(self.metadata.num_columns))
        return {i for i, path in paths if any(path == r or path.startswith(f"{r}.") for r in roots)}


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
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._future: Future[tuple[int, bytes]] = pool().submit(self._read)
        self._lock = threading.Lock()
        self._footer: list[Footer | None] = []

    def _read(self) -> tuple[int, bytes]:
        size = self.reader.size
        start = 0 if size <= WHOLE else size - TAIL
        return start, self.reader.fetch(Range(start, size)) if size else b""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self.reader.knows_size:
            return self.reader.size
        self._future.result()
        return self.reader.size

    @property
    def start(self) -> int:
        """Offset of the first byte held."""
        return self._future.result()[0]

    def get(self, wanted: Range) -> memoryview | None:
        """Give bytes of the file, if they are held."""
        start, data = self._future.result()
        if wanted.start < start:
            return None
        return memoryview(data)[wanted.start - start : wanted.stop - start]

    @property
    def footer(self) -> Footer | None:
        """The footer; None when the file is no Parquet, is encrypted, or is cut off."""
        with self._lock:
            if not self._footer:
                self._footer.append(self._parse())
            return self._footer[0]

    def _parse(self) -> Footer | None:
        start, data = self._future.result()
        if len(data) < 12 or data[-4:] != _MAGIC:
            return None
        length = int.from_bytes(data[-8:-4], "little") + 8
        if length > self.size - 4:
            return None
        if length <= len(data):
            return Footer.parse(data[-length:])
        missing = self.reader.fetch(Range(self.size - length, start))
        return Footer.parse(missing + data)


class Memory:
    """Which columns recent scans read, by directory and schema; for all files of one filesystem."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, int], tuple[float, frozenset[int]]] = OrderedDict()

    def recall(self, key: tuple[str, int]) -> frozenset[int]:
        """Give the columns that the last scan read; none when it was too long ago."""
        with self._lock:
            when, columns = self._seen.get(key, (0.0, frozenset()))
            return columns if time.monotonic() - when < _MEMORY_SECONDS else frozenset()

    def add(self, key: tuple[str, int], columns: set[int]) -> None:
        """Note that a scan has begun to read these columns, along with those of scans just before it."""
        with self._lock:
            now = time.monotonic()
            when, known = self._seen.get(key, (0.0, frozenset()))
            if now - when > _SAME_SCAN_SECONDS:
                known = frozenset()
            self._keep(key, now, known | columns)

    def settle(self, key: tuple[str, int], columns: set[int]) -> None:
        """Note that a scan has read exactly these columns."""
        with self._lock:
            self._keep(key, time.monotonic(), frozenset(columns))

    def _keep(self, key: tuple[str, int], when: float, columns: frozenset[int]) -> None:
        self._seen[key] = (when, columns)
        self._seen.move_to_end(key)
        while len(self._seen) > 256:
            self._seen.popitem(last=False)


class _Block:
    """One request under way or done, and how many of its bytes are still to be served."""

    __slots__ = ("future", "range", "unserved")

    def __init__(self, part: Range, wanted: int) -> None:
        self.range = part
        self.unserved = wanted
        self.future: Future[bytes] | None = None


class Scan:
    """Reads of one open file, served from requests made ahead of them.

    Parameters
    ----------
    tail : Tail
        The end of the file.
    memory : Memory
        What recent scans have read.
    folder : str
        Directory of the file, for the memory.
    hint : sequence of str, optional
        Columns that will be read; their chunks are fetched from the first row group on, as soon as the footer
        is there.
    groups : sequence of int, optional
        With `hint`, the row groups that will be read; then all of their chunks are fetched, and nothing else.
    budget : int
        Bytes held or asked for ahead of the reader at most.
    """

    def __init__(
        self,
        tail: Tail,
        memory: Memory | None = None,
        folder: str = "",
        *,
        hint: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.tail = tail
        self.reader = tail.reader
        self._memory = memory if memory is not None else Memory()
        self._folder = folder
        self._budget = budget
        # Reentrant, as a future that is done already calls back at once.
        self._lock = threading.RLock()
        self._blocks: list[_Block] = []
        self._queue: deque[_Block] = deque()
        self._running = 0
        self._held = 0
        self._columns: set[int] = set()
        self._planned: set[int] = set()
        self._first: int | None = None
        self._furthest = -1
        self._window = 1
        self._passed = 0
        self._fixed = groups is not None
        self._closed = False
        self._hinted = hint is not None
        self._ready: Future[None] | None = None
        if hint is not None:
            self._ready = pool().submit(self._follow, tuple(hint), groups)

    def _follow(self, hint: Sequence[str], groups: Sequence[int] | None) -> None:
        footer = self.tail.footer
        if footer is None:
            return
        columns = footer.columns(hint)
        with self._lock:
            self._columns |= columns
            for group in range(min(1, footer.groups)) if groups is None else groups:
                self._plan(footer, group, columns)
        self._pump()

    def read(self, offset: int, size: int) -> Any:
        """Give the bytes of a range.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; what lies past the end is left out.

        Returns
        -------
        buffer
            Of exactly as many bytes as there are.
        """
        wanted = Range(offset, min(offset + size, self.tail.size))
        if wanted.size <= 0:
            return b""
        tracing.wanted(wanted.size)
        held = self.tail.get(wanted)
        if held is not None:
            return held
        if self._ready is not None:
            self._ready.result()
        footer = self.tail.footer
        if footer is not None:
            self._learn(footer, wanted)
        blocks = self._cover(wanted)
        data = self._assemble(wanted, blocks)
        self._pump()
        return data

    def close(self) -> None:
        """Stop requests that have not begun and forget what was fetched."""
        with self._lock:
            self._closed = True
            for block in self._blocks:
                if block.future is not None:
                    block.future.cancel()
            self._queue.clear()
            self._blocks.clear()
        footer = self.tail.footer if self._columns and not self._fixed else None
        if footer is not None:
            self._memory.settle((self._folder, footer.fingerprint), self._columns)

    # What will be wanted

    def _learn(self, footer: Footer, wanted: Range) -> None:
        """Take a read as evidence, and plan what it makes likely."""
        chunks = [] if self._fixed else footer.find(wanted)
        if not chunks:
            return
        key = (self._folder, footer.fingerprint)
        group = chunks[-1].group
        columns = {c.column for c in chunks}
        with self._lock:
            new = columns - self._columns
            if self._first is None:
                self._first = chunks[0].group
                if not self._hinted:
                    self._plan(footer, group, columns | self._memory.recall(key))
            self._columns |= {c.column for c in chunks}
            width = footer.metadata.num_columns
            # What this read takes whole is fetched for it, whoever came first.
            self._planned |= {
                c.group * width + c.column
                for c in chunks
                if wanted.start <= c.range.start and c.range.stop <= wanted.stop
            }
            if new:
                self._memory.add(key, new)
            if group > self._furthest:
                skipped = self._furthest >= 0 and group > self._furthest + 1
                self._grow(skipped)
                self._furthest = group
                columns |= self._columns
                self._passed = footer.starts[max(group - _BEHIND, 0)]
            last = min(self._furthest + self._window, footer.groups - 1)
            for ahead in range(group, last + 1):
                self._plan(footer, ahead, columns)

    def _grow(self, skipped: bool) -> None:
        """Go further ahead with each row group that follows on the one before, from the first on."""
        if skipped or self._first:
            self._window = 1
        elif self._furthest >= 0:
            self._window *= 2

    def _plan(self, footer: Footer, group: int, columns: set[int]) -> None:
        """Queue the chunks of some columns of a row group, as far as they are not planned yet."""
        width = footer.metadata.num_columns
        chunks = footer.chunks(group)
        todo = [chunks[c].range for c in columns if group * width + c not in self._planned]
        self._planned |= {group * width + c for c in columns}
        tail = self.tail.start
        for whole, members in coalesce([r for r in todo if r.start < tail], _GAP):
            for part in split(Range(whole.start, min(whole.stop, tail)), _PART):
                wanted = sum(_overlap(todo_range, part) for todo_range in todo)
                if members and wanted and not self._touching(part):
                    block = _Block(part, wanted)
                    bisect.insort(self._blocks, block, key=_start)
                    self._queue.append(block)

    def _touching(self, part: Range) -> list[_Block]:
        """Give the blocks that a range touches, in order."""
        i = bisect.bisect_right(self._blocks, part.start, key=_start) - 1
        found = []
        for block in self._blocks[max(i, 0) :]:
            if block.range.start >= part.stop:
                break
            if block.range.stop > part.start:
                found.append(block)
        return found

    def _pump(self) -> None:
        """Begin queued requests, as many as may be in flight and as the budget holds."""
        with self._lock:
            while self._queue and self._running < _IN_FLIGHT and not self._closed:
                block = self._queue[0]
                if self._held and self._held + block.range.size > self._budget and not self._evict():
                    break
                self._queue.popleft()
                if block.future is None and block.unserved > 0:
                    self._begin(block)

    def _evict(self) -> bool:
        """Drop one block that was fetched on a wrong guess and lies well behind the reader."""
        for i, block in enumerate(self._blocks):
            if block.range.stop > self._passed:
                return False
            if block.future is not None and block.future.done():
                del self._blocks[i]
                self._held -= block.range.size
                return True
        return False

    def _begin(self, block: _Block) -> None:
        self._running += 1
        self._held += block.range.size
        block.future = pool().submit(self.reader.fetch, block.range)
        block.future.add_done_callback(self._ended)

    def _ended(self, future: Future[bytes]) -> None:
        with self._lock:
            self._running -= 1
        self._pump()

    # What is wanted now

    def _cover(self, wanted: Range) -> list[_Block]:
        """Give the blocks that hold a range; what is in none yet is asked for at once."""
        with self._lock:
            blocks = self._touching(wanted)
            at = wanted.start
            holes: list[Range] = []
            for block in blocks:
                if block.range.start > at:
                    holes += split(Range(at, block.range.start), _PART)
                at = max(at, block.range.stop)
            if at < wanted.stop:
                holes += split(Range(at, wanted.stop), _PART)
            for hole in holes:
                block = _Block(hole, hole.size)
                bisect.insort(self._blocks, block, key=_start)
                blocks.append(block)
            for block in blocks:
                if block.future is None:
                    self._begin(block)
            return sorted(blocks, key=_start)

    def _assemble(self, wanted: Range, blocks: list[_Block]) -> Any:
        if len(blocks) == 1:
            block = blocks[0]
            data = memoryview(_result(block))
            self._served(block, wanted)
            if block.range == wanted:
                return data
            return data[wanted.start - block.range.start : wanted.stop - block.range.start]
        whole = pa.allocate_buffer(wanted.size)
        view = memoryview(whole).cast("B")
        for block in blocks:
            part = Range(max(wanted.start, block.range.start), min(wanted.stop, block.range.stop))
            source = memoryview(_result(block))[
                part.start - block.range.start : part.stop - block.range.start
            ]
            view[part.start - wanted.start : part.stop - wanted.start] = source
            self._served(block, wanted)
        return whole

    def _served(self, block: _Block, wanted: Range) -> None:
        with self._lock:
            block.unserved -= _overlap(block.range, wanted)
            if block.unserved <= 0 and block in self._blocks:
                self._blocks.remove(block)
                self._held -= block.range.size


def _start(block: _Block) -> int:
    return block.range.start


def _overlap(a: Range, b: Range) -> int:
    return max(0, min(a.stop, b.stop) - max(a.start, b.start))


def _result(block: _Block) -> bytes:
    if block.future is None:
        raise RuntimeError("a block was waited for before it was asked for")
    return block.future.result()
