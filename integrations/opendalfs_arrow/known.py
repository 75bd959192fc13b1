"""What is remembered of the files of one filesystem: for a short while, by all that read it through Arrow."""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from opendalfs.connection import Connection
from opendalfs.fs import OpendalFileSystem
from opendalfs.listing import Info
from opendalfs.reader import Reader, Version
from opendalfs.version import compares, pin

from .footer import Tail
from .memory import Budget, Memory

__all__ = ["Known", "known_of"]

_INFO_SECONDS: Final = 30.0
"""How long a file's size and version are used at open. Reads are pinned to the version, and a file that has
changed by the time it is opened is opened anew, so this bounds the memory, not how old an answer may be."""

_FOLDER_SECONDS: Final = 1.0
"""How long a directory is known to be one: `pyarrow.parquet.read_table` asks twice in a row."""

_SHARED_SECONDS: Final = 3.0
"""How long a second open gets the tail of the first: Arrow opens for the schema, then for the scan."""

_MOST_INFOS: Final = 100_000
_MOST_TAILS: Final = 512
_MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of tails that are kept."""


class Known:
    """Sizes, versions, order and ends of files.

    Parameters
    ----------
    urls : bool
        Whether the paths are URLs, of files on any service.

    Attributes
    ----------
    memory : Memory
        Which columns recent scans read.
    budget : Budget, optional
        For the scans; None for that of the process.
    """

    def __init__(self, urls: bool = False) -> None:
        self._urls = urls
        self._lock = threading.RLock()
        self._infos: OrderedDict[str, tuple[float, Info]] = OrderedDict()
        self._folders: dict[str, float] = {}
        self._below: dict[str, list[Info]] = {}
        self._changes = 0
        self._tails: OrderedDict[str, tuple[float, Tail]] = OrderedDict()
        self._weight = 0
        self._next: dict[str, str] = {}
        self._last = ""
        self.memory = Memory()
        self.budget: Budget | None = None

    def tell(self, path: str, info: Info) -> None:
        """Keep what was told of a path."""
        now = time.monotonic()
        with self._lock:
            if info["type"] == "directory":
                self._folders[path] = now
                if len(self._folders) > _MOST_INFOS:
                    self._forget_folders()
                return
            self._infos[path] = (now, info)
            self._infos.move_to_end(path)
            while len(self._infos) > _MOST_INFOS:
                self._infos.popitem(last=False)

    def tell_order(self, files: Sequence[str]) -> None:
        """Keep the order of a listing."""
        with self._lock:
            if len(self._next) > _MOST_INFOS:
                self._next.clear()
            self._next.update(itertools.pairwise(files))

    def is_folder(self, path: str) -> bool:
        """Tell whether a path was a directory a moment ago."""
        with self._lock:
            return time.monotonic() - self._folders.get(path, float("-inf")) < _FOLDER_SECONDS

    @property
    def changes(self) -> int:
        """How often something was forgotten: an answer that was asked for before may be out of date."""
        return self._changes

    def tell_below(self, path: str, infos: list[Info], changes: int) -> None:
        """Keep for a moment all that lies below a directory, if nothing has changed since `changes`."""
        with self._lock:
            if changes == self._changes:
                self._folders[path] = time.monotonic()
                self._below[path] = infos

    def below(self, path: str) -> list[Info] | None:
        """Give all that lay below a directory a moment ago, once."""
        with self._lock:
            infos = self._below.pop(path, None)
            return infos if self.is_folder(path) else None

    def is_file(self, path: str) -> bool:
        """Whether a path was a file not long ago."""
        with self._lock:
            when, info = self._infos.get(path, (0.0, None))
        return info is not None and time.monotonic() - when <= _INFO_SECONDS

    def version(self, path: str, connection: Connection) -> Version | None:
        """Give the version of a file that was told not long ago, if reads fail once there is another."""
        with self._lock:
            when, info = self._infos.get(path, (0.0, None))
        if info is None or time.monotonic() - when > _INFO_SECONDS:
            return None
        version = Version.from_info(info)
        # Nothing else would tell, and what is longer by now would be cut off at the size of then.
        return version if _holds(connection, version) else None

    def forget(self, path: str) -> None:
        """Forget a file or directory."""
        with self._lock:
            self._infos.pop(path, None)
            self._drop(path)
            self._forget_folders()

    def _forget_folders(self) -> None:
        """Forget what is of directories: a file that goes may take them along, one that comes bring them."""
        self._changes += 1
        self._folders.clear()
        self._below.clear()

    def changed(self, fs: OpendalFileSystem, path: str | None) -> None:
        """Forget what was changed by way of the filesystem itself; it calls this, see its `watch`."""
        if path is None:
            with self._lock:
                self._infos.clear()
                self._forget_folders()
                for name in list(self._tails):
                    self._drop(name)
            return
        name = fs.unstrip_protocol(path) if self._urls else path
        if name in self._infos:
            # A file, and one that is known has nothing below it: this is what happens often.
            self.forget(name)
        else:
            self.forget_below(name)

    def forget_below(self, path: str) -> None:
        """Forget a path and all below it."""
        below = f"{path.rstrip('/')}/"
        with self._lock:
            gone = [name for known in (self._infos, self._tails) for name in known if name.startswith(below)]
            for name in (path, *gone):
                self.forget(name)

    def tail(self, path: str, reader: Reader, *, opened: bool = True, begin: bool = True) -> Tail:
        """Give the end of a file, of the version that the reader reads.

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
            until, tail = self._tails.get(path, (0.0, None))
            if tail is None or now > until or tail.failed or not _same(tail.told, reader.version):
                tail = Tail(reader, begin)
                until = now + _INFO_SECONDS
            if opened:
                until = min(until, now + _SHARED_SECONDS)
            self._drop(path)
            self._tails[path] = (until, tail)
            self._weight += tail.weight
            while (self._weight > _MOST_BYTES or len(self._tails) > _MOST_TAILS) and len(self._tails) > 1:
                self._drop(next(iter(self._tails)))
            return tail

    def _drop(self, path: str) -> None:
        _, tail = self._tails.pop(path, (0.0, None))
        if tail is not None:
            self._weight -= tail.weight

    def following(self, path: str, count: int, take: Callable[[str], bool] | None = None) -> list[str]:
        """Give the next files of a listing, once it is opened in its order.

        With `take` it certainly will be, and this tells which of them.
        """
        with self._lock:
            in_order = take is not None or path in (self._last, self._next.get(self._last))
            self._last = path
            found: list[str] = []
            while in_order and len(found) < count and path in self._next:
                path = self._next[path]
                if take is None or take(path):
                    found.append(path)
            return found


_all: WeakKeyDictionary[OpendalFileSystem, Known] = WeakKeyDictionary()
_all_lock = threading.Lock()


def known_of(fs: OpendalFileSystem) -> Known:
    """Give what is known of a filesystem; equal filesystems share it."""
    with _all_lock:
        known = _all.setdefault(fs, Known())
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
