"""Reads of one Parquet file, served from requests that are made before pyarrow asks for their data.

pyarrow reads one range of a Python file at a time and waits for it. A `Scan` makes many requests at a time:

1. The end of the file is read in the background when the file is opened. It contains the footer, and its
   size is that of the file (`footer.Tail`).
2. The first read before it identifies a row group and a column. The same column of the next row group is
   fetched, too. When the reader goes on to that row group, the columns that it has read are fetched for two
   more, then four, eight, ... So a filter that skips row groups never has more than one wrong guess
   (`predictor.ColumnPredictor`).
3. The columns are kept by directory and schema, so that all of them are fetched at once for the next file,
   or the next read (`column_history.ColumnHistory`). For the first one, the arguments of the running call
   serve as a hint (`call_hints.CallHint`).
4. The files that a running call will open are fetched before they are opened (`prefetch.Prefetch`).

The requests are made by `scheduler.RequestScheduler`; `blocks.BlockStore` keeps their data until it was read.
A wrong guess costs its bytes, never the result.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa

from opendalfs import tracing
from opendalfs.budget import PROCESS, Budget, Reservation
from opendalfs.read.plan import RequestSizes
from opendalfs.read.ranges import Range
from opendalfs.runtime import process
from opendalfs.runtime.futures import weak_callback
from opendalfs.runtime.workers import result

from .blocks import Block, overlap
from .call_hints import CallHint
from .column_history import ColumnHistory
from .footer import Tail
from .predictor import ColumnPredictor
from .scheduler import RequestScheduler

__all__ = ["BUDGET", "Scan"]

BUDGET: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes that all scans together hold or have requested ahead of their readers."""


class Scan:
    """Reads of one open file, served from requests made before them.

    Parameters
    ----------
    tail : Tail
        The end of the file.
    history : ColumnHistory, optional
        The columns that recent reads have used.
    folder : str
        Directory of the file, for the history.
    columns : sequence of str, optional
        Columns that will be read; their chunks of the first row group are fetched as soon as the footer is
        read.
    call_hint : CallHint, optional
        The arguments of the running call that reads the file.
    ahead : bool
        Whether the file is not open yet: what `call_hint` names is fetched as soon as the footer is read, as
        far as the budget has room for it, until `claim` is called.
    plan : sequence of Range, optional
        All that will be read; it is fetched at once, and nothing else.
    budget : Budget, optional
        Where the bytes count that are held or requested; by default the share of all scans in this process.
    """

    def __init__(
        self,
        tail: Tail,
        history: ColumnHistory | None = None,
        folder: str = "",
        *,
        columns: Sequence[str] | None = None,
        call_hint: CallHint | None = None,
        ahead: bool = False,
        plan: Sequence[Range] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.tail = tail
        held = Reservation(budget if budget is not None else BUDGET)
        sizes = RequestSizes.of_scan(tail.reader.connection)
        self._requests = RequestScheduler(
            lambda part: tail.reader.fetch(part), held, sizes, is_open=not ahead
        )
        # Reentrant: the garbage collector may close this while this thread holds the lock.
        self._lock = threading.RLock()
        self._predictor: ColumnPredictor | None = None
        self._hints_used: Future[None] | None = None
        if plan is not None:
            self._plan([plan])
            self._requests.begin_queued()
            return
        self._predictor = ColumnPredictor(history or ColumnHistory(), folder, columns, call_hint)
        if ahead or columns is not None:
            self._hints_used = Future()
            tail.when_read(weak_callback(self._use_hints))

    def claim(self) -> None:
        """Mark the file as open: its requests no longer depend on the room in the budget."""
        self._requests.is_open = True

    def read(self, offset: int, size: int) -> Any:
        """Read a range.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; what lies past the end of the file is left out.

        Returns
        -------
        buffer
            Of exactly as many bytes as there are.

        Raises
        ------
        ChangedError
            When the file has changed since it was opened.
        ValueError
            When the scan is closed.
        """
        # What the parent had in flight never arrives in a forked child.
        process.check_fork()
        needed = Range(offset, min(offset + size, self.tail.size))
        if needed.size <= 0:
            return b""
        tracing.add_bytes_wanted(needed.size)
        if self._predictor is not None or not self._requests.has(needed):
            held = self.tail.get(needed)
            if held is not None:
                return held
            self._predict(needed)
        # Once: another scan may have the end read meanwhile.
        end = self.tail.start
        if needed.start >= end:
            return self.tail.get(needed)
        blocks = self._requests.require(Range(needed.start, min(needed.stop, end)))
        # Requests ahead begin after the one that this read waits for, and before it waits.
        self._requests.begin_queued()
        data = self._assemble(needed, blocks, end)
        self._requests.begin_queued()
        return data

    def close(self) -> None:
        """Cancel requests that have not begun and release all data."""
        self._requests.close()
        # Other opens share the end of the file, and its reader, for some seconds.
        self.tail.reader.release()
        if self._predictor is not None and self._predictor.has_read:
            self._predictor.save(self.tail.footer)

    def _use_hints(self, was_read: bool) -> None:
        """Fetch the chunks that are needed before the first read; called when the read of the end is over."""
        try:
            # What fails here also fails in the read that needs it.
            with suppress(Exception):
                # Of a file that was read whole there is nothing left to fetch.
                footer = self.tail.footer if was_read and self.tail.start else None
                if footer is not None and self._predictor is not None:
                    with self._lock:
                        self._plan(self._predictor.before_first_read(footer))
                    self._requests.begin_queued()
        finally:
            if self._hints_used is not None:
                self._hints_used.set_result(None)

    def _predict(self, needed: Range) -> None:
        """Queue the chunks that are likely to be needed after a read."""
        if self._hints_used is not None:
            result(self._hints_used)
        footer = self.tail.footer if self._predictor is not None else None
        if footer is not None and self._predictor is not None:
            with self._lock:
                self._plan(self._predictor.after_read(footer, needed))
                self._requests.evictable_below = self._predictor.passed

    def _plan(self, plans: Sequence[Sequence[Range]]) -> None:
        """Queue requests for ranges, for each list separately; leave out what the end contains."""
        if any(plans):
            end = self.tail.start
            for ranges in plans:
                self._requests.plan([Range(r.start, min(r.stop, end)) for r in ranges if r.start < end])

    def _assemble(self, needed: Range, blocks: Sequence[Block], end: int) -> Any:
        """Return a range from its blocks and, if it reaches that far, from the end of the file."""
        if len(blocks) == 1 and needed.stop <= blocks[0].range.stop:
            return self._requests.take(blocks[0], needed)
        whole = pa.allocate_buffer(needed.size)
        view = memoryview(whole).cast("B")
        for block in blocks:
            part = overlap(block.range, needed)
            view[part.start - needed.start : part.stop - needed.start] = self._requests.take(block, part)
        if needed.stop > end:
            view[end - needed.start :] = self.tail.get(Range(end, needed.stop)) or b""
        return whole
