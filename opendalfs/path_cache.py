"""A cache by path: bounded, expiring, and invalidated by directory without a search through all entries."""

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

    Expired entries are removed by the next `get` or `put` of any path. Methods may be called from any
    thread, and by a finalizer that runs in the middle of another of them.

    Parameters
    ----------
    seconds : float, optional
        How long a value is kept; None for no limit.
    most : int, optional
        Largest number of entries; None for no limit.
    most_weight : int, optional
        Largest sum of the entries' weights; None for no limit. The newest entry is kept whatever it weighs.

    Attributes
    ----------
    invalidations : int
        Number of invalidations so far. Read it before a request and pass it to `put`: a response that may be
        out of date because of a change is then not kept.

    Examples
    --------
    >>> cache = PathCache[int](most=3)
    >>> for i, path in enumerate(["a/x", "a/b/y", "ab", "c"]):
    ...     cache.put(path, i)
    >>> cache.get("a/x"), cache.get("a/b/y")
    (None, 1)
    >>> cache.invalidate_below("a")
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
        self.invalidations = 0
        self._lock = threading.RLock()
        # When each expires, its weight and its value: plain tuples, as there are many.
        self._entries: OrderedDict[str, tuple[float, int, T]] = OrderedDict()
        # No entry expires before this, except those put with a shorter time than the entries before them.
        self._next_expiry = math.inf
        # The tree of all paths: the children of each path that has any.
        self._children: dict[str, set[str]] = {}
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
            if now >= self._next_expiry:
                self._evict(now)
            entry = self._entries.get(path)
            if entry is None:
                return None
            if entry[0] <= now:
                # It was put with a shorter time than the entries before it.
                self.pop(path)
                return None
            return entry[2]

    def put(
        self,
        path: str,
        value: T,
        weight: int = 1,
        seconds: float | None = None,
        since: int | None = None,
    ) -> None:
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
            How long it is kept, if not for the `seconds` of the cache.
        since : int, optional
            The number of `invalidations` before the request; nothing is set if there are more now.
        """
        lasts = self.seconds if seconds is None else seconds
        now = time.monotonic()
        with self._lock:
            if since is not None and since != self.invalidations:
                return
            entries = self._entries
            old = entries.get(path)
            expires = math.inf if lasts is None else now + lasts
            entries[path] = expires, weight, value
            self.weight += weight
            if expires < self._next_expiry:
                self._next_expiry = expires
            if old is not None:
                self.weight -= old[1]
                entries.move_to_end(path)
            elif path:
                parent = path.rpartition("/")[0]
                siblings = self._children.get(parent)
                if siblings is not None:
                    siblings.add(path)
                else:
                    self._link(parent, path)
            if now >= self._next_expiry or len(entries) > self.most or self.weight > self.most_weight:
                self._evict(now)

    def shorten(self, path: str, seconds: float) -> None:
        """Keep a path for at most some seconds from now."""
        with self._lock:
            entry = self._entries.get(path)
            if entry is not None:
                self._entries[path] = min(entry[0], time.monotonic() + seconds), *entry[1:]

    def pop(self, path: str) -> T | None:
        """Remove a path and return its value; None when there is none. This is no invalidation."""
        if path not in self._entries:
            # As for most paths that are written; this takes no lock.
            return None
        with self._lock:
            entry = self._entries.pop(path, None)
            if entry is None:
                return None
            self.weight -= entry[1]
            self._unlink(path)
            return entry[2]

    def invalidate(self, *paths: str) -> None:
        """Remove some paths, and keep no response to requests that were made before."""
        with self._lock:
            self.invalidations += 1
            for path in paths:
                self.pop(path)

    def invalidate_below(self, path: str) -> None:
        """Remove all paths below a directory, but not its own.

        The time it takes depends on the number of removed paths alone.
        """
        with self._lock:
            self.invalidations += 1
            todo = list(self._children.get(path.rstrip("/"), ()))
            while todo:
                node = todo.pop()
                todo.extend(self._children.get(node, ()))
                self.pop(node)

    def clear(self) -> None:
        """Remove all paths, and keep no response to requests that were made before."""
        with self._lock:
            self.invalidations += 1
            self._entries.clear()
            self._children.clear()
            self.weight = 0

    def _evict(self, now: float) -> None:
        while self._entries:
            path, (expires, *_) = next(iter(self._entries.items()))
            many = len(self._entries) > 1
            full = many and (len(self._entries) > self.most or self.weight > self.most_weight)
            if not full and expires > now:
                self._next_expiry = expires
                return
            self.pop(path)
        self._next_expiry = math.inf

    def _link(self, parent: str, path: str) -> None:
        """Add a path, and the directories above it that are not in the tree yet."""
        children = self._children
        while path:
            siblings = children.get(parent)
            if siblings is not None:
                siblings.add(path)
                return
            children[parent] = {path}
            path = parent
            parent = path.rpartition("/")[0]

    def _unlink(self, path: str) -> None:
        """Remove a path, and the directories above it that are empty then."""
        children = self._children
        while path and path not in children and path not in self._entries:
            parent = path.rpartition("/")[0]
            siblings = children.get(parent)
            if siblings is not None:
                siblings.discard(path)
                if siblings:
                    return
                del children[parent]
            path = parent

    def _reopen(self) -> None:
        """Start empty, with a new lock, if another thread was changing the cache as the process forked."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        self.clear()


_caches: WeakSet[PathCache[Any]] = WeakSet()


def _reopen_all() -> None:
    # A forked child has no thread that could release the lock: a call would hang before it raises ForkError.
    for cache in _caches:
        cache._reopen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen_all)
