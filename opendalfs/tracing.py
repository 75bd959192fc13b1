"""trace(): what was asked of storage.

Every call to OpenDAL passes one seam (`opendalfs.operators.Connection`), and while a trace is open that
seam leaves a `Request` here. Requests that engines make by themselves, such as Polars' own reader, do not
pass it and are not seen.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Request", "Trace", "active", "record", "trace", "wanted"]


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
        begin, one to complete). A server-side copy counts as 1, though for S3 OpenDAL puts a HEAD
        before it.
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
        moments = [(r.start, 1) for r in self.records] + [(r.end, -1) for r in self.records]
        most = now = 0
        for _, step in sorted(moments):
            now += step
            most = max(most, now)
        return most

    @property
    def round_trips(self) -> int:
        """Calls on the critical path: the longest chain in which each starts after one has ended."""
        chain = 0
        ends: list[tuple[float, int]] = []
        for r in sorted(self.records, key=lambda r: r.start):
            depth = 1 + max((d for end, d in ends if end <= r.start), default=0)
            ends.append((r.end, depth))
            chain = max(chain, depth)
        return chain

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


def active() -> bool:
    """Tell whether any trace is open."""
    return bool(_open)


def record(operation: str, service: str, container: str, key: str) -> Request:
    """Start the record of one call in every open trace."""
    name = threading.current_thread().name
    request = Request(operation, service, container, key, time.perf_counter(), thread=name)
    for t in _open:
        t.records.append(request)
    return request


def wanted(size: int) -> None:
    """Note that a reader was asked for so many bytes."""
    for t in _open:
        t.bytes_wanted += size
