"""The record of one call to storage."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Request"]


@dataclass(slots=True)
class Request:
    """The record of one call to storage, which may take several requests to the server.

    Parameters
    ----------
    operation : str
        ``"stat"``, ``"read"``, ``"write"``, ``"list"``, ``"delete"``, ``"copy"``, ...; ``"cache"`` for a
        range from the cache on disk, which takes no request.
    service, container, key : str
        What the call was for; the container is empty for services that have none.
    start : float
        Start in seconds, on the clock of `time.perf_counter`.
    end : float
        End on the same clock; 0 while the call is in flight.
    offset : int
        First byte of the range that was read.
    size : int or None
        Length of that range in bytes; None for a whole object, and for calls that move no content.
    bytes : int
        Bytes of content that were read or written.
    requests : int
        Requests to the server: 1, except for lists (one for each page) and multipart uploads (one for each
        part, one to begin, one to complete). Two counts are not exact: a server-side copy counts as 1,
        although OpenDAL sends a HEAD before it on S3; the removal of a directory counts as 2, which is what
        S3 needs for every 1,000 keys.
    hedges : int
        How many of the requests repeat a late one (`opendalfs.Tuning.hedge_reads`). `bytes` counts the
        content once, although two responses may carry it.
    thread : str
        Name of the thread that made the call.
    error : str
        Name of the exception's class; empty if the call succeeded.
    retried : tuple of str
        How each attempt ended that was repeated: ``"throttled"`` (the server asked for fewer requests),
        ``"timeout"``, ``"unreachable"`` (no connection, or a lost one) or ``"error"``. They count in
        `requests`. OpenDAL's own retries, of lists, multipart uploads and recursive removals,
        are not seen.
    waited : float
        Seconds of waits between attempts and for the pace of a server that refuses requests.
    pace : float
        Requests a second that the server's pace allowed when the last attempt started; 0 without one.
    slots : int
        Requests in flight that the filesystem was allowed at the end of the call, while timeouts have made
        them fewer than `concurrency`; otherwise 0.
    saved : int
        Bytes that came from the cache on disk; `bytes` is 0 then.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> with opendalfs.trace() as t:
    ...     fs.pipe_file("bucket/key", b"hello")
    >>> request = t.records[0]
    >>> request.operation, request.container, request.key, request.bytes
    ('write', '', 'bucket/key', 5)
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
    hedges: int = 0
    thread: str = ""
    error: str = ""
    retried: tuple[str, ...] = ()
    waited: float = 0.0
    pace: float = 0.0
    slots: int = 0
    saved: int = 0

    @property
    def path(self) -> str:
        """Container and key."""
        return f"{self.container}/{self.key}" if self.container else self.key

    @property
    def end_or_infinity(self) -> float:
        """When the call ended; infinity while it is in flight."""
        return self.end or math.inf

    @property
    def sequential_requests(self) -> int:
        """How many of the requests waited for the one before.

        Each page of a list does. A multipart upload begins, sends its parts in parallel, and completes.
        """
        upload = self.operation == "write" and not self.retried
        return min(self.requests, 3) if upload else self.requests - self.hedges
