"""Which bytes a Parquet read will want next.

pyarrow asks a Python file for one range at a time and waits for it. A `Scan` serves those ranges out of
requests that it makes ahead, many at a time, guided by the footer:

1. The end of the file is read when it is opened, in the background: it holds the size, and the footer
   (`footer.Tail`).
2. The first range that is asked for outside of it tells a row group and a column. That column of the next
   row group is fetched along; when the reader does go on to the next row group, the columns it has read so
   far are fetched for two more, then four, eight, ... A filter that skips row groups is so never ahead by
   more than one guess.
3. The columns are remembered by directory and schema (`Memory`), so that the next file, or the next scan, is
   fetched by all its columns at once; a hint does the same for the first.
4. A file that the running call will come to is fetched before it is opened (`prefetch.Prefetch`).

What was fetched is dropped once it was served. A wrong guess costs its bytes, never the result.
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa

from opendalfs import tracing
from opendalfs.budget import PROCESS, Budget, Reservation
from opendalfs.read.ranges import Range, coalesce, split
from opendalfs.runtime import process
from opendalfs.runtime.futures import failed, weak_callback
from opendalfs.runtime.workers import result, submit

from .call_hints import CallHint
from .column_history import Memory
from .footer import Footer, Tail

__all__ = ["BUDGET", "Scan"]

_IN_FLIGHT: Final = 24
_PART: Final = 4 * 1024 * 1024
_GAP: Final = 128 * 1024
"""Largest hole between chunks that is fetched along: that costs less than one more request. Where chunks are
smaller than this, most of what moves may be holes."""

_CHEAP: Final = 1024 * 1024
"""Bytes of small row groups that are fetched beyond the window: about what a round trip costs."""

BUDGET: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes that all scans together hold or have requested ahead of their readers."""

_BEHIND: Final = 3
"""Row groups behind the furthest one that are kept, as Arrow's threads read out of order."""


class _Block:
    """One request to be made, under way or done, and what of it is still to be served."""

    __slots__ = ("future", "left", "range")

    def __init__(self, part: Range, left: list[Range]) -> None:
        self.range = part
        self.left = left
        self.future: Future[bytes] | None = None


class Scan:
    """Reads of one open file, served from requests made ahead of them.

    Parameters
    ----------
    tail : Tail
        The end of the file.
    memory : Memory, optional
        What recent scans have read.
    folder : str
        Directory of the file, for the memory.
    columns : sequence of str, optional
        Columns that will be read; their chunks are fetched from the first row group on, as soon as the footer
        is there.
    call_hint : CallHint, optional
        The arguments of the running call that reads the file.
    ahead : bool
        Whether the file is not open yet: what `call_hint` names is fetched as soon as the footer is there, as
        far as the budget has room for it, until `claim` is called.
    plan : sequence of Range, optional
        All that will be read; it is fetched at once, and nothing else.
    budget : Budget, optional
        Where the bytes count that are held or requested; by default the share of all scans in this process.
    """

    def __init__(
        self,
        tail: Tail,
        memory: Memory | None = None,
        folder: str = "",
        *,
        columns: Sequence[str] | None = None,
        call_hint: CallHint | None = None,
        ahead: bool = False,
        plan: Sequence[Range] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.tail = tail
        self._memory = memory if memory is not None else Memory()
        self._folder = folder
        self._held = Reservation(budget if budget is not None else BUDGET)
        # Reentrant, as a future that is done already calls back at once.
        self._lock = threading.RLock()
        self._blocks: list[_Block] = []
        self._queue: deque[_Block] = deque()
        self._running = 0
        self._columns: set[int] = set()
        self._planned: set[int] = set()
        self._first: int | None = None
        self._furthest = -1
        self._window = 1
        self._touched: set[int] = set()
        self._passed = 0
        self._fixed = plan is not None
        self._closed = False
        self._claimed = not ahead
        self._hint = None if columns is None else tuple(columns)
        self._call_hint = call_hint
        self._ready: Future[None] | None = None
        if plan is not None:
            self._enqueue(plan)
            self._pump()
        elif ahead or columns is not None:
            self._ready = Future()
            tail.then(weak_callback(self._follow))

    def _follow(self, read: bool) -> None:
        """Plan by what is known before the first read, once the footer was read."""
        try:
            # What fails here fails in the read that needs it, too.
            with suppress(Exception):
                if read:
                    self._plan_unread()
                    self._pump()
        finally:
            if self._ready is not None:
                self._ready.set_result(None)

    def _plan_unread(self) -> None:
        footer = self.tail.footer
        if footer is None or not footer.groups:
            return
        call = self._call_hint
        with self._lock:
            if self._hint is not None:
                self._columns |= footer.columns(self._hint)
                self._plan(footer, 0, self._columns)
            elif call is not None and call.reads_all_rows(footer.names):
                columns = footer.columns(call.columns_of(footer.names))
                for group in range(footer.groups):
                    self._plan(footer, group, columns)

    def claim(self) -> None:
        """Note that the file is open now: its reader must go on, whatever the budget holds."""
        self._claimed = True

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
        # What the parent had under way never arrives in a forked child.
        process.check_fork()
        wanted = Range(offset, min(offset + size, self.tail.size))
        if wanted.size <= 0:
            return b""
        tracing.add_bytes_wanted(wanted.size)
        if not (self._fixed and self._has(wanted)):
            held = self.tail.get(wanted)
            if held is not None:
                return held
            self._look_ahead(wanted)
        # Once: another scan may have the end read in the middle of this.
        end = self.tail.start
        blocks = self._cover(Range(wanted.start, min(wanted.stop, end)))
        # What is wanted now goes first; the rest must not wait for it to arrive.
        self._pump()
        data = self._assemble(wanted, blocks, end)
        self._pump()
        return data

    def _look_ahead(self, wanted: Range) -> None:
        if self._ready is not None:
            result(self._ready)
        if not self._fixed:
            footer = self.tail.footer
            if footer is not None:
                self._learn(footer, wanted)

    def close(self) -> None:
        """Stop requests that have not begun and forget what was fetched."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            blocks, self._blocks = self._blocks, []
            self._held.release()
        for block in blocks:
            if block.future is not None:
                block.future.cancel()
        footer = self.tail.footer if self._columns else None
        if footer is not None:
            self._memory.settle((self._folder, footer.fingerprint), self._columns)

    # What will be wanted

    def _learn(self, footer: Footer, wanted: Range) -> None:
        """Take a read as evidence, and plan what it makes likely."""
        chunks = footer.find(wanted)
        if not chunks:
            return
        key = (self._folder, footer.fingerprint)
        group = chunks[-1].group
        columns = {c.column for c in chunks}
        with self._lock:
            if self._first is None:
                self._first = chunks[0].group
                self._expect(footer, group, columns, key)
            # What this read takes whole is fetched for it, whoever came first.
            self._planned |= {
                c.group * footer.width + c.column
                for c in chunks
                if wanted.start <= c.range.start and c.range.stop <= wanted.stop
            }
            new = columns - self._columns
            self._columns |= columns
            self._touched |= {c.group for c in chunks}
            grown = group > self._furthest
            if new:
                self._memory.add(key, new)
            if grown:
                self._furthest = group
                self._passed = footer.starts[max(group - _BEHIND, 0)]
                self._grow()
            if new or grown:
                self._plan_ahead(footer, group)

    def _expect(self, footer: Footer, group: int, columns: set[int], key: tuple[str, int]) -> None:
        """Plan by what is known before any read of this scan: a call, a hint, or an earlier scan."""
        call = self._call_hint
        if call is not None:
            columns = columns | footer.columns(call.columns_of(footer.names))
            for ahead in range(footer.groups) if call.reads_all_rows(footer.names) else (group,):
                self._plan(footer, ahead, columns)
        elif self._hint is None:
            self._plan(footer, group, columns | self._memory.recall(key))
        else:
            # Known already, unless the first read of the footer has failed.
            self._columns |= footer.columns(self._hint)

    def _grow(self) -> None:
        """Go further ahead with each row group, as long as none was left out from the first on."""
        # Arrow's threads read out of order, so a few may be missing that will still come.
        if self._first or 4 * (len(self._touched) + 1) <= 3 * self._furthest:
            self._window = 1
        elif self._furthest > 0:
            self._window *= 2

    def _plan_ahead(self, footer: Footer, group: int) -> None:
        """Plan the columns seen so far, up to the end of the window, and as far as it costs little."""
        last = min(self._furthest + self._window, footer.groups - 1)
        # A scan that leaves nothing out will also read what its threads have not come to yet.
        first = group if self._first or self._window == 1 else 0
        for ahead in range(first, last + 1):
            self._plan(footer, ahead, self._columns)
        spent = 0
        goes_on = self._first is not None and self._furthest > self._first
        for ahead in range(last + 1, footer.groups if goes_on else 0):
            chunks = footer.chunks(ahead)
            spent += sum(chunks[c].range.size for c in self._columns)
            if spent > _CHEAP:
                break
            self._plan(footer, ahead, self._columns)

    def _plan(self, footer: Footer, group: int, columns: set[int]) -> None:
        """Queue the chunks of some columns of a row group, as far as they are not planned yet."""
        first = group * footer.width
        new = [c for c in sorted(columns) if first + c not in self._planned]
        self._planned.update(first + c for c in new)
        chunks = footer.chunks(group)
        self._enqueue([chunks[c].range for c in new])

    def _enqueue(self, todo: Iterable[Range]) -> None:
        """Queue requests for ranges, near ones as one, but for what other requests and the tail bring."""
        end = self.tail.start
        ranges = [Range(r.start, min(r.stop, end)) for r in todo if r.start < end]
        for r in ranges:
            for block in self._touching(r):
                block.left.append(_overlap(block.range, r))
        missing = [hole for r in ranges for hole in self._holes(r)]
        for whole, members in coalesce(missing, _GAP):
            for part in (p for hole in self._holes(whole) for p in split(hole, _PART)):
                left = [o for m in members if (o := _overlap(part, missing[m])).size > 0]
                if left:
                    self._queue.append(self._insert(part, left))

    def _pump(self) -> None:
        """Begin queued requests, as many as may be in flight and as the budget holds."""
        with self._lock:
            while self._queue and self._running < _IN_FLIGHT and not self._closed:
                block = self._queue[0]
                must = self._claimed and not self._held.size
                if not must and not self._held.fits(block.range.size) and not self._evict():
                    break
                self._queue.popleft()
                if block.future is None and block.left:
                    try:
                        self._begin(block, submit(self.tail.reader.fetch, block.range))
                    except RuntimeError:
                        # The interpreter ends, and its pools take no more.
                        self._queue.clear()

    def _evict(self) -> bool:
        """Drop one block that was fetched on a wrong guess and lies well behind the reader."""
        for block in self._blocks:
            if block.range.stop > self._passed:
                return False
            if block.future is not None and block.future.done():
                self._drop(block)
                return True
        return False

    # The blocks, in order of their offset and without overlap

    def _insert(self, part: Range, left: list[Range]) -> _Block:
        block = _Block(part, left)
        bisect.insort(self._blocks, block, key=_start)
        return block

    def _drop(self, block: _Block) -> None:
        with self._lock:
            if block in self._blocks:
                self._blocks.remove(block)
                if block.future is not None:
                    self._held.shrink(block.range.size)

    def _touching(self, part: Range) -> list[_Block]:
        """Give the blocks that a range touches, in order."""
        first = bisect.bisect_right(self._blocks, part.start, key=_start) - 1
        stop = bisect.bisect_left(self._blocks, part.stop, key=_start)
        return [b for b in self._blocks[max(first, 0) : stop] if b.range.stop > part.start]

    def _holes(self, wanted: Range) -> list[Range]:
        """Give the parts of a range that no block holds."""
        return _without([wanted], [b.range for b in self._touching(wanted)])

    def _has(self, wanted: Range) -> bool:
        with self._lock:
            return not self._holes(wanted)

    def _begin(self, block: _Block, future: Future[bytes]) -> None:
        if block.future is None:
            self._held.grow(block.range.size)
        block.future = future
        self._running += 1
        block.future.add_done_callback(self._ended)

    def _ended(self, future: Future[bytes]) -> None:
        with self._lock:
            self._running -= 1
        self._pump()

    # What is wanted now

    def _cover(self, wanted: Range) -> list[_Block]:
        """Give the blocks that hold a range; what is in none yet is asked for at once."""
        with self._lock:
            if self._closed:
                # Nobody would give back what this holds.
                raise ValueError("I/O operation on closed file")
            for hole in self._holes(wanted):
                for part in split(hole, _PART):
                    self._insert(part, [part])
            blocks = self._touching(wanted)
            for block in blocks:
                # A request that has failed by now is made again.
                if block.future is None or failed(block.future):
                    self._begin(block, submit(self.tail.reader.fetch, block.range))
            return blocks

    def _assemble(self, wanted: Range, blocks: Sequence[_Block], end: int) -> Any:
        """Put a range together of its blocks and, where it reaches into it, the tail."""
        if len(blocks) == 1 and wanted.stop <= blocks[0].range.stop:
            return self._take(blocks[0], wanted)
        whole = pa.allocate_buffer(wanted.size)
        view = memoryview(whole).cast("B")
        for block in blocks:
            part = _overlap(block.range, wanted)
            view[part.start - wanted.start : part.stop - wanted.start] = self._take(block, part)
        if wanted.stop > end:
            rest = Range(max(end, wanted.start), wanted.stop)
            view[rest.start - wanted.start :] = self.tail.get(rest) or b""
        return whole

    def _take(self, block: _Block, part: Range) -> memoryview:
        """Wait for a part of a block; the block goes when nothing of it is left to be served."""
        future = block.future
        if future is None:
            raise RuntimeError("a block was waited for before it was asked for")
        try:
            data = memoryview(result(future))
        except BaseException:
            if block.future is future:
                self._drop(block)
            raise
        with self._lock:
            block.left = _without(block.left, [part])
            if not block.left:
                self._drop(block)
        return data[part.start - block.range.start : part.stop - block.range.start]


def _start(block: _Block) -> int:
    return block.range.start


def _overlap(a: Range, b: Range) -> Range:
    return Range(max(a.start, b.start), min(a.stop, b.stop))


def _without(ranges: Sequence[Range], cut: Sequence[Range]) -> list[Range]:
    """Cut ranges out of others; what remains keeps its order."""
    kept = list(ranges)
    for c in cut:
        kept = [
            piece
            for r in kept
            for piece in (Range(r.start, min(r.stop, c.start)), Range(max(r.start, c.stop), r.stop))
            if piece.size > 0
        ]
    return kept
