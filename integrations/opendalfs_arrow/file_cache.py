"""The cache of the files of one filesystem, shared by all that read them through Arrow.

How long each part is kept, and why that is correct, is in the table of `opendalfs.read.version_cache`.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from opendalfs.budget import Budget
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.listing.info import Info
from opendalfs.path_cache import PathCache
from opendalfs.read.cache import cache_of
from opendalfs.read.reader import Reader
from opendalfs.read.version_cache import LISTED, VersionCache
from opendalfs.runtime.futures import weak_callback
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, detects_change

from .column_history import ColumnHistory
from .footer import Tail

__all__ = ["DirectoryCache", "FileCache", "ListingOrder", "TailCache", "file_cache_of"]

_DIRECTORY_SECONDS: Final = 1.0
_MOST_DIRECTORIES: Final = 10_000
_MOST_TREE_ENTRIES: Final = 50_000
"""Entries of all trees together that are kept for the listing that follows."""

_TAIL_SECONDS: Final = 30.0
_OPENED_SECONDS: Final = 3.0
"""For the ends and versions of files that are opened: pyarrow opens for the schema, then for the data."""

_MOST_TAILS: Final = 512
_MOST_TAIL_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all tails together, with what was parsed of them."""

_MOST_ORDERS: Final = 64
_MOST_ORDERED_FILES: Final = 100_000
"""Files of all listing orders together; they take some 30 MB."""


class DirectoryCache:
    """A cache of directories that were seen a moment ago, and of all that was below them.

    Parameters
    ----------
    seconds : float
        How long they are kept at most.
    """

    def __init__(self, seconds: float) -> None:
        brief = min(_DIRECTORY_SECONDS, seconds)
        self._lock = threading.RLock()
        self._paths = PathCache[bool](seconds=brief, most=_MOST_DIRECTORIES)
        self._trees = PathCache[list[Info]](seconds=brief, most_weight=_MOST_TREE_ENTRIES)

    def __contains__(self, path: str) -> bool:
        return self._paths.get(path) is not None

    @property
    def invalidations(self) -> int:
        """Number of invalidations so far: read it before a request, and pass it to `add_tree`."""
        return self._trees.invalidations

    def add(self, path: str) -> None:
        """Add a directory."""
        self._paths.put(path, True)

    def add_tree(self, path: str, infos: list[Info], since: int) -> None:
        """Add all that is below a directory, unless anything was invalidated `since`."""
        with self._lock:
            if since == self._trees.invalidations:
                self._paths.put(path, True)
                self._trees.put(path, infos, weight=len(infos) + 1)

    def take_tree(self, path: str) -> list[Info] | None:
        """Return all that was below a directory a moment ago, and remove it; None if it is not cached."""
        with self._lock:
            infos = self._trees.get(path)
            self._trees.pop(path)
            return infos

    def clear(self) -> None:
        """Remove all: a removed file may take directories along, and a new one may make some."""
        with self._lock:
            self._paths.clear()
            self._trees.clear()


class ListingOrder:
    """The order of files in recent listings, in which they are likely to be opened.

    Parameters
    ----------
    seconds : float
        How long each order is kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.RLock()
        # For each listing, the oldest first: when it expires, and each file's next.
        self._orders: deque[tuple[float, dict[str, str]]] = deque(maxlen=_MOST_ORDERS)
        self._last = ""

    def add(self, files: Sequence[str]) -> None:
        """Add the order of a listing."""
        if len(files) < 2:
            return
        now = time.monotonic()
        order = dict(itertools.islice(itertools.pairwise(files), _MOST_ORDERED_FILES))
        with self._lock:
            room = _MOST_ORDERED_FILES - len(order)
            while self._orders and (self._orders[0][0] <= now or sum(len(o) for _, o in self._orders) > room):
                self._orders.popleft()
            self._orders.append((now + self._seconds, order))

    def following(self, path: str, count: int, selects: Callable[[str], bool] | None = None) -> list[str]:
        """Return the files that are likely to be opened after one that is opened now.

        Parameters
        ----------
        path : str
            The file that is opened now.
        count : int
            Largest number of files.
        selects : callable, optional
            Whether a file will be opened. Without it files follow only once the files of a listing are opened
            in its order.

        Returns
        -------
        list of str
        """
        with self._lock:
            order = self._order_of(path)
            in_order = selects is not None or path in (self._last, order.get(self._last))
            self._last = path
            found: list[str] = []
            while in_order and len(found) < count and path in order:
                path = order[path]
                if selects is None or selects(path):
                    found.append(path)
            return found

    def _order_of(self, path: str) -> dict[str, str]:
        """Return the newest order in which another file follows a path; an empty one if there is none."""
        now = time.monotonic()
        return next((order for until, order in reversed(self._orders) if until > now and path in order), {})


class _Shared(NamedTuple):
    tail: Tail
    until: float


class TailCache:
    """The ends of files, each read once for all that open the same version."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tails = PathCache[_Shared](most=_MOST_TAILS, most_weight=_MOST_TAIL_BYTES)

    def get(self, path: str, reader: Reader, *, opened: bool = True, begin: bool = True) -> Tail:
        """Return the end of a file, of the version that the reader reads.

        Parameters
        ----------
        path : str
            The file.
        reader : Reader
            Its reader. If it has no version whose change a read would detect, nothing is shared: the file is
            then read as it is now.
        opened : bool
            Whether the file is opened now; otherwise it is expected to be.
        begin : bool
            Whether to read the end now if it has not been.

        Returns
        -------
        Tail
        """
        if not reader.knows_size or not detects_change(reader.connection, reader.version):
            return Tail(reader, begin)
        now = time.monotonic()
        with self._lock:
            shared = self._tails.get(path)
            if shared is None or not shared.tail.reusable or not _same(shared.tail.expected, reader.version):
                shared = _Shared(Tail(reader, begin), now + _TAIL_SECONDS)
                if begin:
                    shared.tail.when_read(weak_callback(self._update_weight, path, weakref.ref(shared.tail)))
            until = min(shared.until, now + _OPENED_SECONDS) if opened else shared.until
            self._put(path, _Shared(shared.tail, until))
            return shared.tail

    def invalidate(self, path: str) -> None:
        """Remove the end of a file."""
        self._tails.invalidate(path)

    def invalidate_below(self, path: str) -> None:
        """Remove the ends of a path and of all files below it."""
        self._tails.invalidate_below(path)
        self._tails.invalidate(path)

    def clear(self) -> None:
        """Remove all."""
        self._tails.clear()

    def _put(self, path: str, shared: _Shared) -> None:
        seconds = max(shared.until - time.monotonic(), 0)
        self._tails.put(path, shared, shared.tail.weight, seconds)

    def _update_weight(self, path: str, tail: weakref.ref[Tail], read: bool) -> None:
        """Count the bytes of a tail once it is read."""
        with self._lock:
            shared = self._tails.get(path)
            if shared is not None and shared.tail is tail():
                self._put(path, shared)


class FileCache:
    """A cache of the files of one filesystem: from listings, stats and earlier opens.

    Parameters
    ----------
    urls : bool
        Whether the paths are URLs, of files on any service.
    seconds : float, optional
        How long listings are used, as a filesystem's `listings_expiry_time`; None for no limit.

    Attributes
    ----------
    versions : VersionCache
        Versions of files.
    directories : DirectoryCache
    order : ListingOrder
    tails : TailCache
    column_history : ColumnHistory
        Which columns recent scans read.
    budget : Budget, optional
        For the scans; None for that of the process.
    """

    def __init__(self, urls: bool = False, seconds: float | None = LISTED.seconds) -> None:
        limit = math.inf if seconds is None else seconds
        self._urls = urls
        self.versions = VersionCache(LISTED._replace(seconds=seconds))
        self.directories = DirectoryCache(limit)
        self.order = ListingOrder(limit)
        self.tails = TailCache()
        self.column_history = ColumnHistory()
        self.budget: Budget | None = None

    def add(self, path: str, info: Info) -> None:
        """Add the response of storage about a path."""
        if info["type"] == "directory":
            self.directories.add(path)
        else:
            self.versions.put(path, Version.from_info(info))

    def is_file(self, path: str) -> bool:
        """Whether a path is cached as a file."""
        return self.versions.get(path) is not None

    def version(self, path: str, connection: Connection) -> Version | None:
        """Return the cached version of a file; None unless a read of it fails once there is another.

        Without that check, a file that has become longer would be cut off at its old size.
        """
        version = self.versions.get(path)
        return version if version is not None and detects_change(connection, version) else None

    def opened(self, path: str, connection: Connection) -> None:
        """Have storage asked for the version by opens from 3 seconds on, if there is a cache on disk.

        Without that cache, a read of what was replaced meanwhile fails, and the file is opened again.
        """
        if cache_of(connection) is not None:
            self.versions.shorten(path, _OPENED_SECONDS)

    def invalidate(self, path: str) -> None:
        """Remove a file or directory."""
        self.versions.invalidate(path)
        self.tails.invalidate(path)
        self.directories.clear()

    def invalidate_below(self, path: str) -> None:
        """Remove a path and all below it."""
        self.versions.invalidate_below(path)
        self.tails.invalidate_below(path)
        self.directories.clear()

    def changed(self, fs: OpendalFileSystem, path: str | None) -> None:
        """Remove a path, and all below it, that the filesystem has changed; all of them for None."""
        if path is not None:
            self.invalidate_below(fs.unstrip_protocol(path) if self._urls else path)
            return
        self.versions.clear()
        self.tails.clear()
        self.directories.clear()


_caches: WeakKeyDictionary[OpendalFileSystem, FileCache] = WeakKeyDictionary()
_caches_lock = threading.Lock()


def file_cache_of(fs: OpendalFileSystem) -> FileCache:
    """Return the cache of a filesystem; equal filesystems share it."""
    with _caches_lock:
        cache = _caches.get(fs)
        if cache is None:
            cache = _caches[fs] = FileCache(seconds=fs.dircache.listings_expiry_time)
    # Each of the equal filesystems reports its changes, not only the first one.
    fs.add_change_listener(cache)
    return cache


def _same(a: Version | None, b: Version) -> bool:
    """Whether two versions are the same; listings give times less exactly than a stat."""
    if a is None or a.size != b.size:
        return False
    return a.etag == b.etag if a.etag and b.etag else a.modified == b.modified
