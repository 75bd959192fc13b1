"""The small records of a cache, in packs: small ranges, and what storage has returned for stats and lists.

To create a file takes a quarter of a millisecond, which is too much for small files. So records are appended
in batches. Each folder of a container belongs to one of `_BUCKETS` buckets, and each bucket has a directory
of packs. A process reads the tables of a bucket at its first use, and later only what was appended since. A
pack that is full, or ends with an incomplete batch, is followed by another one. So nothing in a pack is ever
replaced; the last one of several equal records counts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Final
from weakref import WeakSet

from opendalfs.read.ranges import Range
from opendalfs.runtime import process

from . import background, pack
from .folder import CacheFolder
from .pack import Location, Record
from .space import Space, cost

__all__ = ["Bucket", "Packs"]

_BUCKETS: Final = 64

_MOST_PACKS: Final = 64
"""Packs of a bucket: this bounds its tables, which a process reads before it finds anything in it."""

_MOST_RECORDS: Final = 2048
"""Records from which a pack is full."""

_LARGEST_PACK: Final = 256 << 20
"""Bytes from which a pack is full in a large cache; in others a 64th of the limit, as packs are evicted
whole."""

_BATCH: Final = 4 << 20
"""Bytes from which a batch is written, as the lock is held meanwhile."""

_RESCAN_SECONDS: Final = 1.0
"""How long tables are used, although other processes may have added records."""

_TOUCH_SECONDS: Final = 60.0
"""How exactly the time of the last use of a pack is kept."""

_NONE: Final[Mapping[Range, Location]] = {}

_log = logging.getLogger("opendalfs")


class Packs:
    """All packs of a cache.

    Parameters
    ----------
    folder : CacheFolder
        The directory of the cache.
    space : Space
        The limit on its size.
    """

    def __init__(self, folder: CacheFolder, space: Space) -> None:
        self._buckets = [Bucket(folder, space, f"{i:02x}") for i in range(_BUCKETS)]

    def bucket(self, container: bytes, key: str) -> Bucket:
        """Return the bucket of the records of a key, and of a folder by its key and a slash."""
        parent = key.rpartition("/")[0].encode("utf-8", "surrogatepass")
        return self._buckets[zlib.crc32(container + parent) % _BUCKETS]

    def contents(self) -> tuple[list[tuple[bytes, Range]], int]:
        """Return the digests and ranges of all records, and the bytes of all files."""
        found: list[tuple[bytes, Range]] = []
        size = 0
        for bucket in self._buckets:
            records, more = bucket.contents()
            found += records
            size += more
        return found, size


class Bucket:
    """The packs of some folders, and what they hold.

    Parameters
    ----------
    folder : CacheFolder
        The directory of the cache.
    space : Space
        The limit on its size.
    name : str
        Name of the bucket.

    Attributes
    ----------
    path : str
        Its directory.
    """

    def __init__(self, folder: CacheFolder, space: Space, name: str) -> None:
        self._folder = folder
        self._space = space
        self.path = os.path.join(folder.root, "packs", name)
        self._full_at = max(min(space.limit // 64, _LARGEST_PACK), 1)
        self._index: dict[bytes, dict[Range, Location]] = {}
        # The end of the tables that were read, and the number of records, by name of the pack.
        self._ends: dict[str, tuple[int, int]] = {}
        self._touched: dict[str, float] = {}
        self._scanned = float("-inf")
        self._lock = threading.Lock()
        _all.add(self)

    def reset(self) -> None:
        """Use a new lock in a forked child, as another thread of the parent may hold this one."""
        self._lock = threading.Lock()

    def find(self, digest: bytes) -> Mapping[Range, Location]:
        """Return where the ranges of a digest are, as far as this process knows.

        Other threads may add some to it meanwhile.
        """
        if self._scanned == float("-inf"):
            self.scan()
        return self._index.get(digest, _NONE)

    def scan(self) -> bool:
        """Read what other processes have added, unless that was just done; return whether."""
        if time.monotonic() - self._scanned <= _RESCAN_SECONDS:
            return False
        with self._lock:
            if time.monotonic() - self._scanned > _RESCAN_SECONDS:
                self._scan()
        return True

    def contents(self) -> tuple[list[tuple[bytes, Range]], int]:
        """Return the digests and ranges of all records, and the bytes of all files."""
        self.scan()
        with self._lock:
            records = [(digest, block) for digest, known in self._index.items() for block in known]
            size = 0
            for name in self._ends:
                with suppress(OSError):
                    size += os.stat(os.path.join(self.path, name)).st_size
            return records, size

    def read(self, digest: bytes, block: Range, location: Location) -> bytes | None:
        """Read a record; None if its pack is gone, or it is damaged."""
        path = os.path.join(self.path, location.name)
        data = None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = pack.read(descriptor, digest, block, location)
                self._touch(descriptor, location.name)
            finally:
                os.close(descriptor)
            if data is None:
                _log.warning("a damaged record of the cache is not used: %s", path)
        except OSError:
            pass
        if data is None:
            self._forget(digest, block, location)
        return data

    def put(self, digest: bytes, block: Range, content: bytes) -> None:
        """Add a record later, unless too much waits to be written."""
        background.submit(len(content), self, Record(digest, block, content))

    def write(self, records: Iterable[Record]) -> None:
        """Add records now.

        Raises
        ------
        OSError
            If the disk fails.
        """
        batch: list[Record] = []
        size = 0
        limit = min(_BATCH, self._full_at)
        for record in records:
            if batch and (size + len(record.content) > limit or len(batch) >= _MOST_RECORDS):
                self._write(batch)
                batch, size = [], 0
            batch.append(record)
            size += len(record.content)
        if batch:
            self._write(batch)

    def _write(self, records: list[Record]) -> None:
        data = pack.pack(records)
        for attempt in range(2):
            try:
                with self._space.reserve(cost(len(data))) as fits:
                    if fits:
                        # Taken last, as readers may wait for it.
                        with self._lock:
                            self._append(data)
                return
            except FileNotFoundError:
                # Somebody has removed the directory.
                if attempt:
                    raise
                self._folder.restore()

    def _append(self, data: bytes) -> None:
        """Append a batch to the last pack or to a new one, while all locks are held."""
        with suppress(FileExistsError):
            os.mkdir(self.path, 0o700)
        self._scan()
        name = max(self._ends, default="")
        path = os.path.join(self.path, name)
        size, count = self._ends.get(name, (0, 0))
        try:
            fits = os.stat(path).st_size == size < self._full_at and count < _MOST_RECORDS
        except OSError:
            fits = False
        if not name or not fits:
            self._remove_oldest()
            # Names are never used again, as other processes remember what was in a pack.
            name = f"{time.time_ns():020d}-{os.getpid()}"
            path, size = os.path.join(self.path, name), 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)
        self._scan_pack(name)

    def _scan(self) -> None:
        """Read the tables of all batches that are new."""
        try:
            names = os.listdir(self.path)
        except OSError:
            names = []
        if self._ends.keys() - names:
            self._drop(self._ends.keys() - names)
        for name in sorted(names):
            self._scan_pack(name)
        self._scanned = time.monotonic()

    def _scan_pack(self, name: str) -> None:
        offset, count = self._ends.get(name, (0, 0))
        path = os.path.join(self.path, name)
        with suppress(OSError):
            # An empty one, whose writer was killed or failed, has to become known: the next batch goes there.
            if name in self._ends and os.stat(path, follow_symlinks=False).st_size == offset:
                return
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                size = os.fstat(descriptor).st_size
                for end, records in pack.scan(descriptor, name, offset, size):
                    self._add(records)
                    offset, count = end, count + len(records)
            finally:
                os.close(descriptor)
            self._ends[name] = offset, count

    def _add(self, records: Iterable[tuple[bytes, Range, Location]]) -> None:
        for digest, block, location in records:
            self._index.setdefault(digest, {})[block] = location

    def _drop(self, names: Iterable[str]) -> None:
        """Forget the records of packs that are gone."""
        gone = set(names)
        for name in gone:
            del self._ends[name]
            self._touched.pop(name, None)
        for digest, known in list(self._index.items()):
            for block in [block for block, location in known.items() if location.name in gone]:
                del known[block]
            if not known:
                del self._index[digest]

    def _forget(self, digest: bytes, block: Range, location: Location) -> None:
        with self._lock:
            known = self._index.get(digest, {})
            if known.get(block) == location:
                del known[block]

    def _touch(self, descriptor: int, name: str) -> None:
        """Update the time of the last use of a pack."""
        now = time.monotonic()
        if now - self._touched.get(name, float("-inf")) > _TOUCH_SECONDS:
            self._touched[name] = now
            with suppress(OSError):
                os.utime(descriptor)

    def _remove_oldest(self) -> None:
        """Remove the packs that were used least recently, if there are too many."""
        if len(self._ends) < _MOST_PACKS:
            return
        for _, name in sorted(self._uses(), key=itemgetter(0))[: len(self._ends) - _MOST_PACKS + 1]:
            with suppress(OSError):
                os.unlink(os.path.join(self.path, name))
            self._drop([name])

    def _uses(self) -> Iterator[tuple[float, str]]:
        for name in self._ends:
            try:
                yield os.stat(os.path.join(self.path, name)).st_mtime, name
            except OSError:
                yield 0.0, name


_all: Final[WeakSet[Bucket]] = WeakSet()


def _reset() -> None:
    for bucket in _all:
        bucket.reset()


process.after_fork(_reset)
