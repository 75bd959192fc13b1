"""`trace()`, which records every call to storage.

Every call to OpenDAL passes `opendalfs.storage`. While a trace is open, or the log or OpenTelemetry is on,
it makes a `Request` for each call. Otherwise a call costs one check.

Requests that engines send themselves are not recorded: those of Polars' own object store, which
`opendalfs_polars` uses where that loses nothing, and those of DuckDB's httpfs.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from . import otel
from .request import Request

__all__ = ["Trace", "add_bytes_wanted", "add_cache_hit", "enabled", "finish", "start", "trace"]


@dataclass(eq=False, repr=False)
class Trace:
    """The calls to storage made while it was open.

    ``print(trace)`` shows a table; a notebook shows the timeline of `plot`.

    Attributes
    ----------
    records : list of Request
        In order of their start.
    bytes_wanted : int
        Bytes that readers were asked for, before near ranges were merged.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> with opendalfs.trace() as t:
    ...     fs.pipe_file("a/b", b"hello")
    >>> t.count("write"), t.bytes, t.round_trips
    (1, 5, 1)
    """

    records: list[Request] = field(default_factory=list)
    bytes_wanted: int = 0

    @property
    def requests(self) -> int:
        """Number of requests, all operations together."""
        return sum(r.requests for r in self.records)

    @property
    def hedges(self) -> int:
        """Number of requests that repeated a late one; `requests` contains them."""
        return sum(r.hedges for r in self.records)

    @property
    def bytes(self) -> int:
        """Bytes of content read and written."""
        return sum(r.bytes for r in self.records)

    @property
    def cache_hits(self) -> int:
        """Number of ranges that came from the cache on disk, all or a part of each."""
        return sum(1 for r in self.records if r.saved)

    @property
    def bytes_saved(self) -> int:
        """Bytes that came from the cache on disk; `bytes` does not contain them."""
        return sum(r.saved for r in self.records)

    def count(self, *operations: str) -> int:
        """Count the requests of some operations.

        Parameters
        ----------
        *operations : str
            Such as ``"read"`` or ``"list"``; none for all.

        Returns
        -------
        int
        """
        return sum(r.requests for r in self.records if not operations or r.operation in operations)

    @property
    def in_flight(self) -> int:
        """Largest number of calls in flight at one time."""
        calls = [r for r in self.records if not r.saved]
        moments = [(r.start, 1) for r in calls] + [(r.end_or_infinity, -1) for r in calls]
        largest = now = 0
        for _, step in sorted(moments):
            now += step
            largest = max(largest, now)
        return largest

    @property
    def round_trips(self) -> int:
        """Requests on the critical path: the longest chain in which each starts after one has ended."""
        records = sorted(self.records, key=lambda r: r.end_or_infinity)
        ends = [r.end_or_infinity for r in records]
        # longest[i]: the longest chain among the first i to end.
        longest = [0]
        for r in records:
            before = bisect_right(ends, r.start)
            # A call that took no time had itself ended when it started.
            before = min(before, len(longest) - 1)
            longest.append(max(longest[-1], longest[before] + r.sequential_requests))
        return longest[-1]

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw a timeline into a file: a bar for each call, coloured by operation.

        Sequential calls show as a staircase, parallel calls as a wall.

        Parameters
        ----------
        path : str or path-like
            File to write; its name ends in ``.svg``, ``.html`` or ``.png``. PNG needs matplotlib.

        Raises
        ------
        ValueError
            For another ending.
        ImportError
            For ``.png`` without matplotlib.
        """
        from . import plot

        plot.save(self.records, self._title(), os.fspath(path))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the records as plain dictionaries, for a data frame.

        Returns
        -------
        list of dict
            One for each call, with the fields of `Request`.
        """
        return [asdict(r) for r in self.records]

    def __str__(self) -> str:
        """Return a table with a row for each operation."""
        requests, moved = Counter[str](), Counter[str]()
        for r in self.records:
            requests[r.operation] += r.requests
            moved[r.operation] += r.bytes
        rows = [f"{'operation':<12}{'requests':>9}{'bytes':>15}"]
        counts = [(op, n) for op, n in requests.most_common() if op != "cache"]
        rows += [f"{op:<12}{n:>9,}{moved[op]:>15,}" for op, n in counts]
        rows.append(f"{'all':<12}{self.requests:>9,}{self.bytes:>15,}")
        repeated = f", {self.hedges:,} hedges" if self.hedges else ""
        rows.append(
            f"{self.round_trips} round trips on the critical path, {self.in_flight} most in flight, "
            f"{self.bytes_wanted:,} bytes wanted{repeated}"
        )
        if hits := self._hits():
            rows.append(hits)
        if retries := self._retries():
            rows.append(retries)
        return "\n".join(rows)

    __repr__ = __str__

    def _hits(self) -> str:
        """Return a line on the cache on disk; empty if nothing came from it."""
        return f"{self.cache_hits:,} cache hits, {self.bytes_saved:,} bytes saved" if self.cache_hits else ""

    def _retries(self) -> str:
        """Return a line on retries, waits, the pace and slots; empty if there were no retries and waits."""
        reasons = Counter(outcome for r in self.records for outcome in r.retried)
        waited = sum(r.waited for r in self.records)
        if not reasons and not waited:
            return ""
        text = f"{reasons.total():,} retries"
        if reasons:
            text += f" ({', '.join(f'{n:,} {outcome}' for outcome, n in reasons.most_common())})"
        text += f", {waited:.1f} s waited in all calls together"
        paces = [r.pace for r in self.records if r.pace]
        if paces:
            text += f", paced at {min(paces):.0f} to {max(paces):.0f} requests a second"
        slots = [r.slots for r in self.records if r.slots]
        if slots:
            text += f", {min(slots)} to {max(slots)} in flight after timeouts"
        return text

    def _repr_html_(self) -> str:
        """Return the timeline of `plot` for a notebook, of the first 200 calls."""
        from . import plot

        return plot.draw_inline(list(self.records), self._title())

    def _title(self) -> str:
        from . import plot

        return (
            f"{self.requests:,} requests, {plot.format_size(self.bytes)}, "
            f"{plot.time_span(self.records)[1] * 1000:,.0f} ms, "
            f"{self.round_trips} round trips on the critical path, {self.in_flight} most in flight"
            f"{f', {hits}' if (hits := self._hits()) else ''}"
            f"{f', {retries}' if (retries := self._retries()) else ''}"
        )


_open_traces: tuple[Trace, ...] = ()
_lock = threading.Lock()


@contextmanager
def trace() -> Iterator[Trace]:
    """Record every call to storage, of all threads, until the block ends.

    Traces may be nested and overlap; each records every call. While none is open, nothing is recorded.

    Yields
    ------
    Trace

    Raises
    ------
    Exception
        Whatever the block raises; the trace is closed and stays readable.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> with opendalfs.trace() as t:
    ...     fs.pipe_file("a/b", b"hello")
    >>> t
    operation    requests          bytes
    write               1              5
    all                 1              5
    1 round trips on the critical path, 1 most in flight, 0 bytes wanted
    """
    global _open_traces
    opened = Trace()
    with _lock:
        _open_traces = (*_open_traces, opened)
    try:
        yield opened
    finally:
        with _lock:
            _open_traces = tuple(t for t in _open_traces if t is not opened)


def enabled() -> bool:
    """Whether calls are recorded: for an open trace, the log or OpenTelemetry."""
    return bool(_open_traces) or otel.enabled()


def start(
    operation: str, service: str, container: str, key: str, offset: int = 0, size: int | None = None
) -> Request:
    """Start the record of a call in every open trace."""
    thread = threading.current_thread().name
    now = time.perf_counter()
    request = Request(operation, service, container, key, now, offset=offset, size=size, thread=thread)
    for t in _open_traces:
        t.records.append(request)
    return request


def finish(request: Request, error: BaseException | None) -> None:
    """End the record of a call, and pass it to the log and OpenTelemetry."""
    request.end = time.perf_counter()
    # A reader closes its stream once it has read enough; that is not an error.
    if error is not None and not isinstance(error, GeneratorExit):
        request.error = type(error).__name__
    otel.emit(request)


def add_bytes_wanted(size: int) -> None:
    """Add the bytes that a caller has requested from a reader to every open trace."""
    for t in _open_traces:
        t.bytes_wanted += size


def add_cache_hit(service: str, container: str, key: str, offset: int, size: int, begun: float) -> None:
    """Add a range from the cache on disk to every open trace.

    Parameters
    ----------
    service, container, key : str
        As for `start`.
    offset, size : int
        Where the range starts, and how many bytes were cached.
    begun : float
        When the look-up began, on the clock of `time.perf_counter`.
    """
    thread = threading.current_thread().name
    now = time.perf_counter()
    hit = Request("cache", service, container, key, begun, now, offset, size, 0, 0, thread=thread, saved=size)
    for t in _open_traces:
        t.records.append(hit)
