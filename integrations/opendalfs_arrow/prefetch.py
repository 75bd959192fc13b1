"""The files that a running read will come to: their reads are under way before they are opened."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import pyarrow.parquet as pq

from .scan import Scan

__all__ = ["Upcoming", "of_call"]

_SECONDS: Final = 30.0
"""How long the scans of a call wait for their files to be opened. A call that fails leaves its variables with
the error, and somebody may keep that."""

# Reentrant: a call may end, and its dataset be collected, while this thread is in here.
_lock = threading.RLock()
_calls: dict[int, Upcoming] = {}


class Upcoming:
    """Scans that are begun some files ahead of the one that is opened.

    Parameters
    ----------
    begin : callable
        Begins the scan of a path.
    paths : iterable of str
        Files, in the order in which they will be opened.
    most : int
        Scans that are under way and wait for their file to be opened, at most.
    """

    def __init__(self, begin: Callable[[str], Scan], paths: Iterable[str], most: int) -> None:
        self.used = time.monotonic()
        self._begin = begin
        self._most = most
        # Reentrant: a file that is collected while this thread is in here may end a call.
        self._lock = threading.RLock()
        self._todo = dict.fromkeys(paths)
        self._begun: dict[str, Scan] = {}
        self._go_on()

    def take(self, path: str) -> Scan | None:
        """Give the scan of a file that is opened now; None for one that was not expected, or was opened."""
        self.used = time.monotonic()
        with self._lock:
            scan = self._begun.pop(path, None)
            if scan is None and path in self._todo:
                del self._todo[path]
                scan = self._begin(path)
            self._go_on()
        if scan is not None:
            scan.claim()
        return scan

    def close(self) -> None:
        """Stop what is under way and was not opened."""
        with self._lock:
            self._todo.clear()
            scans, self._begun = self._begun, {}
        for scan in scans.values():
            scan.close()

    def _go_on(self) -> None:
        for path in list(islice(self._todo, max(self._most - len(self._begun), 0))):
            del self._todo[path]
            self._begun[path] = self._begin(path)


def of_call(dataset: pq.ParquetDataset, make: Callable[[], Upcoming]) -> Upcoming:
    """Give what a running call will come to; it ends with the call.

    Parameters
    ----------
    dataset : pyarrow.parquet.ParquetDataset
        What the call reads, which lives as long as the call.
    make : callable
        Makes it; it must not hold the dataset.

    Returns
    -------
    Upcoming
    """
    number = id(dataset)
    with _lock:
        now = time.monotonic()
        for other in [n for n, found in _calls.items() if n != number and now - found.used > _SECONDS]:
            _ended(other)
        if number not in _calls:
            _calls[number] = make()
            weakref.finalize(dataset, _ended, number).atexit = False
        return _calls[number]


def _ended(number: int) -> None:
    with _lock:
        found = _calls.pop(number, None)
    if found is not None:
        found.close()
