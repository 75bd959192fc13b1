"""trace(): what was asked of storage.

Every call to OpenDAL passes one seam (`opendalfs.storage.connection.Connection`). While a trace is open, or
the log or OpenTelemetry (`otel`) asks for it, that seam makes a `Request` of each call. Otherwise the only
cost is to find that out.

Requests that engines make by themselves do not pass the seam and are not seen: those of Polars' own store,
which `opendalfs_polars` takes where it loses nothing by it, and those of DuckDB's httpfs.
"""

from __future__ import annotations

import math
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

__all__ = ["Request", "Trace", "finish", "start", "trace", "wanted", "watched"]


@dataclass(slots=True)
class Request:
    """One call to storage.

    Parameters
    ----------
    operation : str
        ``"stat"``, ``"read"``, ``"write"``, ``"list"``, ``"delete"``, ``"copy"``, ...
    service, container, key : str
        Where; the container is empty for services without any.
    start : float
        Seconds, on the clock of `time.perf_counter`.
    end : float
        The same; 0 while the call is under way.
    offset : int
        First byte asked for.
    size : int or None
        Bytes asked for; None for all of the object, and for calls that move none.
    bytes : int
        Bytes of content moved in either direction.
    requests : int
        Requests to the server: 1, but for lists (one a page) and multipart writes (one a part, one to
        begin, one to complete). Two are not known exactly: a server-side copy counts as 1, though for
        S3 OpenDAL puts a HEAD before it; the removal of a directory counts as 2, which on S3 is what
        each 1,000 keys take.
    thread : str
        Name of the thread that called.
    error : str
        Name of the exception's class; empty when there was none.
    """

    operation: str
    service: str
    container: str
    key: str
    start: float
    end: float = 0.0
    offset: int = 0
    size: int | None = None
    bytes: int = 0
    requests: int = 1
    thread: str = ""
    error: str = ""

    @property
    def stopped(self) -> float:
        """When it ended; infinity while it is under way."""
        return self.end or math.inf

    @property
    def in_turn(self) -> int:
        """How many of its requests had to wait for one another.

        Pages of a list do, each for the one before. A multipart write begins, sends its parts at the same
        time, and completes.
        """
        return min(self.requests, 3) if self.operation == "write" else self.requests


@dataclass(eq=False)
class Trace:
    """The calls to storage made while it was open.

    Attributes
    ----------
    records : list of Request
        In order of their start.
    bytes_wanted : int
        Bytes that readers were asked for, before near ranges were merged.
    """

    records: list[Request] = field(default_factory=list)
    bytes_wanted: int = 0

    @property
    def requests(self) -> int:
        """Requests made, all operations together."""
        return sum(r.requests for r in self.records)

    @property
    def bytes(self) -> int:
        """Bytes of content moved, in both directions."""
        return sum(r.bytes for r in self.records)

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
        """Most calls under way at one time."""
        moments = [(r.start, 1) for r in self.records] + [(r.stopped, -1) for r in self.records]
        most = now = 0
        for _, step in sorted(moments):
            now += step
            most = max(most, now)
        return most

    @property
    def round_trips(self) -> int:
        """Requests on the critical path: the longest chain in which each starts after one has ended."""
        records = sorted(self.records, key=lambda r: r.stopped)
        ends = [r.stopped for r in records]
        # longest[i]: the longest chain among the first i to end.
        longest = [0]
        for r in records:
            before = bisect_right(ends, r.start)
            # A call that took no time is among those that had ended when it started.
            before = min(before, len(longest) - 1)
            longest.append(max(longest[-1], longest[before] + r.in_turn))
        return longest[-1]

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw what happened over time: a bar a call, coloured by operation.

        Calls one after another show as a staircase, calls at the same time as a wall.

        Parameters
        ----------
        path : str or path-like
            A file to write, whose name ends in ``.svg``, ``.html`` or ``.png``; the last needs matplotlib.

        Raises
        ------
        ValueError
            For another ending.
        """
        from . import plot as waterfall

        waterfall.plot(self, os.fspath(path))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Give the records as plain dictionaries, ready for a data frame.

        Returns
        -------
        list of dict
        """
        return [asdict(r) for r in self.records]

    def __str__(self) -> str:
        """Show a short table, a row per operation."""
        requests, moved = Counter[str](), Counter[str]()
        for r in self.records:
            requests[r.operation] += r.requests
            moved[r.operation] += r.bytes
        rows = [f"{'operation':<12}{'requests':>9}{'bytes':>15}"]
        rows += [f"{op:<12}{n:>9,}{moved[op]:>15,}" for op, n in requests.most_common()]
        rows.append(f"{'all':<12}{self.requests:>9,}{self.bytes:>15,}")
        rows.append(
            f"{self.round_trips} round trips on the critical path, {self.in_flight} most in flight, "
            f"{self.bytes_wanted:,} bytes wanted"
        )
        return "\n".join(rows)


_open: tuple[Trace, ...] = ()
_lock = threading.Lock()


@contextmanager
def trace() -> Iterator[Trace]:
    """Record every call to storage, of all threads, until the block ends.

    Traces may be nested and overlap; each sees every call. When none is open, nothing is recorded.

    Yields
    ------
    Trace

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> with opendalfs.trace() as t:
    ...     fs.pipe_file("a/b", b"hello")
    >>> t.requests, t.bytes
    (1, 5)
    """
    global _open
    mine = Trace()
    with _lock:
        _open = (*_open, mine)
    try:
        yield mine
    finally:
        with _lock:
            _open = tuple(t for t in _open if t is not mine)


def watched() -> bool:
    """Tell whether anybody wants to know of a call: a trace, the log, OpenTelemetry."""
    return bool(_open) or otel.wanted()


def start(
    operation: str, service: str, container: str, key: str, offset: int = 0, size: int | None = None
) -> Request:
    """Start the record of one call, in every open trace."""
    name = threading.current_thread().name
    start = time.perf_counter()
    request = Request(operation, service, container, key, start, offset=offset, size=size, thread=name)
    for t in _open:
        t.records.append(request)
    return request


def finish(request: Request, error: BaseException | None) -> None:
    """End the record of one call, and tell the log and OpenTelemetry of it."""
    request.end = time.perf_counter()
    # A reader that has what it wants closes its stream; that is no error.
    if error is not None and not isinstance(error, GeneratorExit):
        request.error = type(error).__name__
    otel.tell(request)


def wanted(size: int) -> None:
    """Note that a reader was asked for so many bytes."""
    for t in _open:
        t.bytes_wanted += size
