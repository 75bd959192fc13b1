"""What is remembered of the files of one filesystem: for a short while, by all that read it through Arrow."""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from opendalfs.budget import Budget
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.listing.info import Info
from opendalfs.path_cache import PathCache
from opendalfs.read.reader import Reader, Version, weakly
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import compares, pin

from .column_history import Memory
from .footer import Tail

__all__ = ["Known", "known_of"]

_SECONDS: Final = 30.0
"""How long what a listing told is used at open, unless `listings_expiry_time` says otherwise. Reads are
pinned to the version, and a file that has changed by the time it is opened is opened anew, so this bounds the
memory, not how old an answer may be."""

_FOLDER_SECONDS: Final = 1.0
"""How long a directory is known to be one: `pyarrow.parquet.read_table` asks twice in a row."""

_SHARED_SECONDS: Final = 3.0
"""How long a second open gets the tail of the first: Arrow opens for the schema, then for the scan."""

_MOST_FILES: Final = 100_000
"""Files whose version is kept, and files whose order is; some 30 MB each."""

_MOST_FOLDERS: Final = 10_000
_MOST_BELOW: Final = 50_000
"""Entries of all listings that are kept for the call after."""

_MOST_ORDERS: Final = 64
_MOST_TAILS: Final = 512
_MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of tails that are kept, with what was parsed of them."""


class _Shared(NamedTuple):
    tail: Tail
    until: float


class Known:
    """Sizes, versions, order and ends of files: what listings and earlier opens told, bounded and expiring.

    Parameters
    ----------
    urls : bool
        Whether the paths are URLs, of files on any service.
    seconds : float, optional
        How long what was told is used, as a filesystem's `listings_expiry_time`; None for no limit.

    Attributes
    ----------
    memory : Memory
        Which columns recent scans read.
    budget : Budget, optional
        For the scans; None for that of the process.
    """

    def __init__(self, urls: bool = False, seconds: float | None = _SECONDS) -> None:
        self._urls = urls
        self._seconds = math.inf if seconds is None else seconds
        self._lock = threading.RLock()
        # The fields of each version, from which one is made when the file is opened.
        self._files = PathCache[tuple[Any, ...]](seconds=seconds, most=_MOST_FILES)
        brief = min(_FOLDER_SECONDS, self._seconds)
        self._folders = PathCache[bool](seconds=brief, most=_MOST_FOLDERS)
        self._below = PathCache[list[Info]](seconds=brief, most_weight=_MOST_BELOW)
        self._changes = 0
        self._tails = PathCache[_Shared](most=_MOST_TAILS, most_weight=_MOST_BYTES)
        # Each file's next in a listing, by listing, the oldest first; and when each is forgotten.
        self._orders: deque[tuple[float, dict[str, str]]] = deque(maxlen=_MOST_ORDERS)
        self._last = ""
        self.memory = Memory()
        self.budget: Budget | None = None

    def tell(self, path: str, info: Info) -> None:
        """Keep what was told of a path."""
        if info["type"] == "directory":
            self._folders.put(path, True)
        else:
            told = info["size"], info.get("ETag"), info.get("VersionId"), info.get("LastModified")
            self._files.put(path, told)

    def tell_order(self, files: Sequence[str]) -> None:
        """Keep the order of a listing."""
        if len(files) < 2:
            return
        now = time.monotonic()
        order = dict(itertools.islice(itertools.pairwise(files), _MOST_FILES))
        with self._lock:
            room = _MOST_FILES - len(order)
            while self._orders and (self._orders[0][0] <= now or sum(len(o) for _, o in self._orders) > room):
                self._orders.popleft()
            self._orders.append((now + self._seconds, order))

    def is_folder(self, path: str) -> bool:
        """Whether a path was a directory a moment ago."""
        return self._folders.get(path) is not None

    @property
    def changes(self) -> int:
        """How often something was forgotten: an answer that was asked for before may be out of date."""
        return self._changes

    def tell_below(self, path: str, infos: list[Info], changes: int) -> None:
        """Keep for a moment all that lies below a directory, if nothing has changed since `changes`."""
        with self._lock:
            if changes == self._changes:
                self._folders.put(path, True)
                self._below.put(path, infos, weight=len(infos) + 1)

    def below(self, path: str) -> list[Info] | None:
        """Return all that lay below a directory a moment ago, once."""
        with self._lock:
            infos = self._below.get(path)
            self._below.pop(path)
            return infos

    def is_file(self, path: str) -> bool:
        """Whether a path was a file not long ago."""
        return self._files.get(path) is not None

    def version(self, path: str, connection: Connection) -> Version | None:
        """Return the version of a file that was told not long ago, if reads fail once there is another."""
        told = self._files.get(path)
        if told is None:
            return None
        version = Version(*told)
        # Nothing else would tell, and what is longer by now would be cut off at the size of then.
        return version if _holds(connection, version) else None

    def forget(self, path: str) -> None:
        """Forget a file or directory."""
        self._files.pop(path)
        self._tails.pop(path)
        self._forget_folders()

    def _forget_folders(self) -> None:
        """Forget what is of directories: a file that goes may take them along, one that comes bring them."""
        with self._lock:
            self._changes += 1
            self._folders.clear()
            self._below.clear()

    def changed(self, fs: OpendalFileSystem, path: str | None) -> None:
        """Forget what was changed by way of the filesystem itself; it calls this, see its `watch`."""
        if path is None:
            self._files.clear()
            self._tails.clear()
            self._forget_folders()
        else:
            self.forget_below(fs.unstrip_protocol(path) if self._urls else path)

    def forget_below(self, path: str) -> None:
        """Forget a path and all below it."""
        self._files.invalidate_below(path)
        self._tails.invalidate_below(path)
        self.forget(path)

    def tail(self, path: str, reader: Reader, *, opened: bool = True, begin: bool = True) -> Tail:
        """Return the end of a file, of the version that the reader reads.

        Parameters
        ----------
        path : str
            Of the file.
        reader : Reader
            Of it. When it knows no version that reads can be held to, nothing is shared: the file is what it
            is now.
        opened : bool
            Whether the file is opened now; otherwise it is expected to be.
        begin : bool
            Whether to read the end now, if nobody has.
        """
        if not reader.knows_size or not _holds(reader.connection, reader.version):
            return Tail(reader, begin)
        now = time.monotonic()
        with self._lock:
            shared = self._tails.get(path)
            if shared is None or shared.tail.failed or not _same(shared.tail.told, reader.version):
                shared = _Shared(Tail(reader, begin), now + _SECONDS)
                if begin:
                    shared.tail.then(weakly(self._weigh, path, weakref.ref(shared.tail)))
            until = min(shared.until, now + _SHARED_SECONDS) if opened else shared.until
            self._keep(path, _Shared(shared.tail, until))
            return shared.tail

    def _keep(self, path: str, shared: _Shared) -> None:
        self._tails.put(path, shared, shared.tail.weight, max(shared.until - time.monotonic(), 0))

    def _weigh(self, path: str, tail: weakref.ref[Tail], read: bool) -> None:
        """Count what a tail holds now that it was read."""
        with self._lock:
            shared = self._tails.get(path)
            if shared is not None and shared.tail is tail():
                self._keep(path, shared)

    def following(self, path: str, count: int, take: Callable[[str], bool] | None = None) -> list[str]:
        """Return the next files of a listing, once it is opened in its order.

        With `take` it certainly will be, and this tells which of them.
        """
        with self._lock:
            order = self._order_of(path)
            in_order = take is not None or path in (self._last, order.get(self._last))
            self._last = path
            found: list[str] = []
            while in_order and len(found) < count and path in order:
                path = order[path]
                if take is None or take(path):
                    found.append(path)
            return found

    def _order_of(self, path: str) -> dict[str, str]:
        """Return the newest order in which another file follows a path; an empty one when there is none."""
        now = time.monotonic()
        return next((order for until, order in reversed(self._orders) if until > now and path in order), {})


_all: WeakKeyDictionary[OpendalFileSystem, Known] = WeakKeyDictionary()
_all_lock = threading.Lock()


def known_of(fs: OpendalFileSystem) -> Known:
    """Return what is known of a filesystem; equal filesystems share it."""
    with _all_lock:
        known = _all.get(fs)
        if known is None:
            known = _all[fs] = Known(seconds=fs.dircache.listings_expiry_time)
    # Equal ones, not only the first of them.
    fs.watch(known)
    return known


def _holds(connection: Connection, version: Version) -> bool:
    """Whether reads of a version fail once there is another."""
    return bool(pin(connection, version)) or compares(connection, version)


def _same(a: Version | None, b: Version) -> bool:
    """Tell whether two answers are of one version; listings tell times less exactly than a stat."""
    if a is None or a.size != b.size:
        return False
    return a.etag == b.etag if a.etag and b.etag else a.modified == b.modified
