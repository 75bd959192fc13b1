"""Prefetch of the files that a running read will open: their requests begin before they are opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from itertools import islice

from .scan import Scan

__all__ = ["Prefetch"]


class Prefetch:
    """Scans that begin a number of files before the one that is opened.

    Parameters
    ----------
    begin : callable
        Begins the scan of a path.
    paths : iterable of str
        Files, in the order in which they will be opened.
    most : int
        Scans that may wait for their file to be opened.
    """

    def __init__(self, begin: Callable[[str], Scan], paths: Iterable[str], most: int) -> None:
        self._begin = begin
        self._most = most
        # Reentrant: the garbage collector may close this while this thread holds the lock.
        self._lock = threading.RLock()
        self._pending = dict.fromkeys(paths)
        self._begun: dict[str, Scan] = {}
        self._closed = False

    def begin(self) -> None:
        """Begin the scans of the first files."""
        with self._lock:
            self._begin_next()
        self._stop_if_closed()

    def take(self, path: str) -> Scan | None:
        """Return the scan of a file that is opened now; None if it was not expected, or opened before."""
        with self._lock:
            scan = self._begun.pop(path, None)
            if scan is None and path in self._pending and not self._closed:
                del self._pending[path]
                scan = self._begin(path)
            self._begin_next()
        self._stop_if_closed()
        if scan is not None:
            scan.claim()
        return scan

    def close(self) -> None:
        """Stop the scans of files that were not opened."""
        self._closed = True
        self._stop_if_closed()

    def _begin_next(self) -> None:
        room = 0 if self._closed else max(self._most - len(self._begun), 0)
        for path in list(islice(self._pending, room)):
            del self._pending[path]
            self._begun[path] = self._begin(path)

    def _stop_if_closed(self) -> None:
        # The garbage collector may close this in any thread: whoever holds the lock stops the scans later.
        while self._closed and self._begun and self._lock.acquire(blocking=False):
            try:
                scans, self._begun = self._begun, {}
            finally:
                self._lock.release()
            for scan in scans.values():
                scan.close()
