"""A cache by path: bounded, expiring, and invalidated by directory without a look at all that it holds."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from typing import Any, Generic, TypeVar
from weakref import WeakSet

__all__ = ["PathCache"]

T = TypeVar("T")


class PathCache(Generic[T]):
    """Values by path. The oldest are evicted when there are too many; all expire.

    Expired entries are removed by the next look-up or write of any path. Methods may be called from any
    thread, and by a finalizer that runs in the middle of another of them.

    Parameters
    ----------
    seconds : float, optional
        How long a value is kept; None for no limit.
    most : int, optional
        Largest number of entries; None for no limit.
    most_weight : int, optional
        Largest sum of the entries' weights; None for no limit. The newest entry is kept whatever it weighs.

    Examples
    --------
    >>> cache = PathCache[int](most=3)
    >>> for i, path in enumerate(["a/x", "a/b/y", "ab", "c"]):
    ...     cache.put(path, i)
    >>> cache.get("a/x"), cache.get("a/b/y")
    (None, 1)
    >>> cache.remove_below("a")
    >>> sorted(cache.paths())
    ['ab', 'c']
    """

    def __init__(
        self, *, seconds: float | None = None, most: int | None = None, most_weight: int | None = None
    ) -> None:
        self.seconds = seconds
        self.most = math.inf if most is None else most
        self.most_weight = math.inf if most_weight is None else most_weight
        self.weight = 0
        self._lock = threading.RLock()
        # When each expires, its weight and its value; plain tuples, as many are made.
        self._entries: OrderedDict[str, tuple[float, int, T]] = OrderedDict()
        # No entry expires before this, but for those that were set to do so before their elders.
        self._next_look = math.inf
        # The tree of all paths: by each path that has some below it, those one level down.
        self._below: dict[str, set[str]] = {}
        _caches.add(self)

    def __len__(self) -> int:
        return len(self._entries)

    def paths(self) -> list[str]:
        """Return the paths of all entries, the oldest first."""
        with self._lock:
            return list(self._entries)

    def get(self, path: str) -> T | None:
        """Return the value of a path; None when there is none, or it has expired."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next_look:
                self._evict(now)
            entry = self._entries.get(path)
            if entry is None:
                return None
            if entry[0] <= now:
                # It was set to expire earlier than those before it.
                self.pop(path)
                return None
            return entry[2]

    def put(self, path: str, value: T, weight: int = 1, seconds: float | None = None) -> None:
        """Set the value of a path.

        Parameters
        ----------
        path : str
            The path.
        value : object
            Anything but None.
        weight : int
            Its share of `most_weight`.
        seconds : float, optional
            How long it is kept, where that is not the `seconds` of the cache.
        """
        lasts = self.seconds if seconds is None else seconds
        now = time.monotonic()
        with self._lock:
            entries = self._entries
            old = entries.get(path)
            entries[path] = math.inf if lasts is None else now + lasts, weight, value
            self.weight += weight
            self._next_look = min(self._next_look, entries[path][0])
            if old is None:
                self._link(path)
            else:
                self.weight -= old[1]
                entries.move_to_end(path)
            if now >= self._next_look or len(entries) > self.most or self.weight > self.most_weight:
                self._evict(now)

    def pop(self, path: str) -> T | None:
        """Remove a path and return its value; None when there is none."""
        if path not in self._entries:
            # As for most paths that are written.
            return None
        with self._lock:
            entry = self._entries.pop(path, None)
            if entry is None:
                return None
            self.weight -= entry[1]
            self._unlink(path)
            return entry[2]

    def remove_below(self, path: str) -> None:
        """Remove all paths below a directory; the time it takes depends on their number alone."""
        with self._lock:
            todo = list(self._below.get(path.rstrip("/"), ()))
            while todo:
                node = todo.pop()
                todo.extend(self._below.get(node, ()))
                self.pop(node)

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._entries.clear()
            self._below.clear()
            self.weight = 0

    def _evict(self, now: float) -> None:
        while self._entries:
            path, (expires, *_) = next(iter(self._entries.items()))
            many = len(self._entries) > 1
            full = many and (len(self._entries) > self.most or self.weight > self.most_weight)
            if not full and expires > now:
                self._next_look = expires
                return
            self.pop(path)
        self._next_look = math.inf

    def _link(self, path: str) -> None:
        while path:
            above = path.rpartition("/")[0]
            beside = self._below.get(above)
            if beside is not None:
                beside.add(path)
                return
            self._below[above] = {path}
            path = above

    def _unlink(self, path: str) -> None:
        while path and path not in self._below and path not in self._entries:
            above = path.rpartition("/")[0]
            beside = self._below.get(above, set())
            beside.discard(path)
            if beside:
                return
            self._below.pop(above, None)
            path = above

    def _reopen(self) -> None:
        """Start empty, with a new lock, if another thread was changing the cache as the process forked."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        self.clear()


_caches: WeakSet[PathCache[Any]] = WeakSet()


def _reopen_all() -> None:
    # In a forked child nobody is left to release a lock: a call would hang, before ForkError could be raised.
    for cache in _caches:
        cache._reopen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen_all)
