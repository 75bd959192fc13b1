"""The columns that recent reads of Parquet files have used."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

__all__ = ["ColumnHistory"]

_SECONDS: Final = 300.0
"""How long the columns of a read are used for the next one."""

_SAME_READ_SECONDS: Final = 2.0
"""Columns that are added within this time belong to one read, such as that of a directory."""

_MOST: Final = 256
"""Directories and schemas that are kept."""


class ColumnHistory:
    """The columns that recent reads have used, by directory and schema, for all files of one filesystem.

    A key is the directory with the `Footer.fingerprint`; columns are numbers of leaf columns.
    """

    def __init__(self) -> None:
        # Reentrant: the garbage collector may close a file while this thread holds the lock.
        self._lock = threading.RLock()
        self._entries: OrderedDict[tuple[str, int], tuple[float, frozenset[int]]] = OrderedDict()

    def get(self, key: tuple[str, int]) -> frozenset[int]:
        """Return the columns of the last read; none if that was too long ago."""
        with self._lock:
            when, columns = self._entries.get(key, (0.0, frozenset()))
            return columns if time.monotonic() - when < _SECONDS else frozenset()

    def extend(self, key: tuple[str, int], columns: set[int]) -> None:
        """Add columns that a read has begun to use to those of other reads that began just before."""
        with self._lock:
            now = time.monotonic()
            when, before = self._entries.get(key, (0.0, frozenset()))
            if now - when > _SAME_READ_SECONDS:
                before = frozenset()
            self._put(key, now, before | columns)

    def replace(self, key: tuple[str, int], columns: set[int]) -> None:
        """Set the columns to exactly those that a read has used."""
        with self._lock:
            self._put(key, time.monotonic(), frozenset(columns))

    def _put(self, key: tuple[str, int], when: float, columns: frozenset[int]) -> None:
        self._entries[key] = (when, columns)
        self._entries.move_to_end(key)
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)
