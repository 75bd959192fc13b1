"""Which columns recent scans have read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

__all__ = ["Memory"]

_MEMORY_SECONDS: Final = 300.0
_SAME_SCAN_SECONDS: Final = 2.0


class Memory:
    """Which columns recent scans read, by directory and schema; for all files of one filesystem."""

    def __init__(self) -> None:
        # Reentrant: a file that is collected while this thread is in here settles what it read.
        self._lock = threading.RLock()
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
