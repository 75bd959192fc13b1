"""A short memory of what was listed: DuckDB asks for size and time of a file at each of its many opens."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from opendalfs.read.reader import Version

__all__ = ["Stats"]

_SECONDS: Final = 2.0
_MOST: Final = 1 << 17
"""Files, at some 500 bytes each; those that were found first are forgotten first."""


class Stats:
    """Sizes, times and etags of files by URL, for a few seconds.

    Planning a query lists the files afresh and fills this; opening them for the same query reads it. So a
    query sees what there was when it was planned, and the next one sees what is there then.

    Parameters
    ----------
    seconds : float
        How long an entry lives.

    Examples
    --------
    >>> stats = Stats()
    >>> stats.put([("opendal+s3://lake/a", Version(3))], stats.now())
    >>> stats.get("opendal+s3://lake/a").size
    3
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[float, Version]] = OrderedDict()
        self._dropped = float("-inf")

    @staticmethod
    def now() -> float:
        """Give the time to hand to `put`: take it before the storage is asked."""
        return time.monotonic()

    def put(self, found: Iterable[tuple[str, Version]], asked: float) -> None:
        """Remember what storage told.

        Parameters
        ----------
        found : iterable of (str, Version)
            URL and version.
        asked : float
            When it was asked, by `now`; an answer that a write of ours may have outdated is not kept.
        """
        with self._lock:
            if asked <= self._dropped:
                return
            for url, version in found:
                self._found[url] = (asked, version)
                self._found.move_to_end(url)
            self._expire()

    def get(self, url: str) -> Version | None:
        """Give what is known of a file, if it is fresh."""
        with self._lock:
            self._expire()
            asked, version = self._found.get(url, (float("-inf"), None))
            return version if time.monotonic() - asked < self._seconds else None

    def drop(self, url: str | None = None) -> None:
        """Forget a file, or all: it was written or removed."""
        with self._lock:
            self._dropped = time.monotonic()
            if url is None:
                self._found.clear()
            else:
                self._found.pop(url, None)

    def _expire(self) -> None:
        """Drop entries that are old or too many; the oldest stand first."""
        limit = time.monotonic() - self._seconds
        while self._found:
            url, (asked, _) = next(iter(self._found.items()))
            if asked >= limit and len(self._found) <= _MOST:
                break
            del self._found[url]
