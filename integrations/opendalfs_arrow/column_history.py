"""What scans share: which columns were read of late, and how much may be held ahead of the readers."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

__all__ = ["SHARED", "Budget", "Memory"]

BUDGET: Final = 256 * 1024 * 1024
"""Bytes that all scans together hold or have asked for ahead of their readers."""

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


class Budget:
    """Bytes that scans may hold or have asked for ahead of their readers, all of them together.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int = BUDGET) -> None:
        self.limit = limit
        self.held = 0
        self._lock = threading.RLock()

    def add(self, size: int) -> None:
        """Count bytes in, or out when negative."""
        with self._lock:
            self.held += size

    def allows(self, size: int) -> bool:
        """Tell whether so many bytes more fit."""
        return self.held + size <= self.limit


SHARED: Final = Budget()
"""That of the process."""
