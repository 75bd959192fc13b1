"""The cache of one directory, and the blocks of one version of an object in it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from weakref import WeakKeyDictionary

from opendalfs import tracing
from opendalfs.read.ranges import Range
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from . import background, block_file
from .folder import CacheFolder
from .identity import container_digest, key_digest, version_digest
from .space import Space, has_locks

__all__ = ["BlockCache", "CachedRange", "ObjectBlocks", "cache_of"]

_RESCAN_SECONDS: Final = 1.0
"""How long the names of an object's blocks are used, although other processes may have added some."""

_TOUCH_SECONDS: Final = 60.0
"""How exactly the time of the last use of a block is kept: each update is a write to the disk."""

_log = logging.getLogger("opendalfs")


class BlockCache:
    """A cache of blocks in one directory, which many processes may use.

    Parameters
    ----------
    folder : CacheFolder
        The directory.
    limit : int
        Bytes of all files together.
    """

    def __init__(self, folder: CacheFolder, limit: int) -> None:
        self.folder = folder
        self.space = Space(folder, limit)
        self._containers: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()

    def key(self, connection: Connection, key: str) -> bytes | None:
        """Return the digest of an object; None while nothing tells whose credentials are used."""
        container = self._containers.get(connection)
        if container is None:
            container = container_digest(self.folder.secret, connection)
            if container is None:
                return None
            self._containers[connection] = container
        return key_digest(self.folder.secret, container, key)

    def object(self, connection: Connection, key: str, version: Version) -> ObjectBlocks | None:
        """Return the blocks of a version; None if its reads cannot be cached.

        They can be if the read itself fails once the object has another version, so that its bytes are known
        to be of this one.
        """
        # S3 replaces the content of the version "null" without a new id.
        if not pin(connection, version) or version.version == "null":
            return None
        digest = self.key(connection, key)
        if digest is None:
            return None
        return ObjectBlocks(self, connection, key, version_digest(self.folder.secret, digest, version))

    def write(self, path: str, pieces: Iterable[bytes]) -> bool:
        """Write a file, which exists only once it is complete; return whether there is space for it.

        Raises
        ------
        OSError
            If the disk fails.
        """
        content = [memoryview(piece) for piece in pieces]
        size = sum(map(len, content))
        try:
            created = self.space.create(size)
        except FileNotFoundError:
            self.folder.restore()
            created = self.space.create(size)
        if created is None:
            return False
        temporary, descriptor = created
        try:
            for view in content:
                while view:
                    view = view[os.write(descriptor, view) :]
            _move(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return True


class ObjectBlocks:
    """The blocks of one version of an object.

    Parameters
    ----------
    cache : BlockCache
        The cache.
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    digest : bytes
        Digest of the version.
    """

    __slots__ = ("_blocks", "_cache", "_connection", "_digest", "_folder", "_key", "_scanned")

    def __init__(self, cache: BlockCache, connection: Connection, key: str, digest: bytes) -> None:
        self._cache = cache
        self._connection = connection
        self._key = key
        self._digest = digest
        self._folder = cache.folder.blocks(digest)
        # Replaced, never changed, as other threads may look at it.
        self._blocks: frozenset[Range] = frozenset()
        self._scanned = float("-inf")

    def read(self, part: Range) -> CachedRange:
        """Read what is cached of a range, from its start and from its end; safe from any thread.

        Parameters
        ----------
        part : Range
            The range; not empty.

        Returns
        -------
        CachedRange
        """
        begun = time.perf_counter()
        found = self._read(part)
        if found.missing.size and time.monotonic() - self._scanned > _RESCAN_SECONDS:
            self._scan()
            found = self._read(part)
        saved = part.size - found.missing.size
        if saved and tracing.enabled():
            connection = self._connection
            tracing.add_cache_hit(
                connection.service.scheme, connection.container, self._key, part.start, saved, begun
            )
        return found

    def put(self, block: Range, data: bytes) -> None:
        """Keep a range that was read, unless too much waits to be written."""
        if len(data) == block.size <= block_file.MOST:
            background.submit(len(data), lambda: self._write(block, data))

    def _write(self, block: Range, data: bytes) -> None:
        header = block_file.pack(self._digest, block, data)
        if self._cache.write(self._path(block), (header, data)):
            self._blocks |= {block}

    def _read(self, part: Range) -> CachedRange:
        """Read what the known blocks hold of a range."""
        blocks = self._blocks
        before: list[bytes] = []
        after: list[bytes] = []
        start, stop = part
        while start < stop:
            block: Range | None = Range(start, stop)
            if block not in blocks:
                block = max((b for b in blocks if b.start <= start < b.stop), key=_stop, default=None)
            data = None if block is None else self._read_block(block, Range(start, min(stop, block.stop)))
            if data is None:
                break
            before.append(data)
            start += len(data)
        while start < stop:
            block = min((b for b in blocks if b.start < stop <= b.stop), default=None)
            data = None if block is None else self._read_block(block, Range(max(start, block.start), stop))
            if data is None:
                break
            after.insert(0, data)
            stop -= len(data)
        return CachedRange(self, Range(start, stop), before, after)

    def _read_block(self, block: Range, part: Range) -> bytes | None:
        """Read a part of a block; None if its file is gone, or is removed as it is damaged."""
        path = self._path(block)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = block_file.read(descriptor, self._digest, block, part)
                if abs(time.time() - os.fstat(descriptor).st_mtime) > _TOUCH_SECONDS:
                    with suppress(OSError):
                        os.utime(descriptor)
            finally:
                os.close(descriptor)
        except block_file.Damaged:
            _log.warning("a damaged file was removed from the cache: %s", path)
            with suppress(OSError):
                os.unlink(path)
        except OSError:
            pass
        else:
            return data
        self._blocks -= {block}
        return None

    def _scan(self) -> None:
        """List the blocks that are there."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            names = []
        self._blocks = frozenset(block for name in names if (block := _parse(name)) is not None)
        # Last, as other threads rely on it.
        self._scanned = time.monotonic()

    def _path(self, block: Range) -> str:
        return os.path.join(self._folder, f"{block.start}-{block.stop}")


class CachedRange:
    """What is cached of a range: bytes at its start and at its end.

    Parameters
    ----------
    blocks : ObjectBlocks
        Where to keep what is missing.
    missing : Range
        The bytes between them that are not cached; empty if all are.
    before, after : list of bytes
        The cached bytes.
    """

    __slots__ = ("_after", "_before", "_blocks", "missing")

    def __init__(self, blocks: ObjectBlocks, missing: Range, before: list[bytes], after: list[bytes]) -> None:
        self.missing = missing
        self._blocks = blocks
        self._before = before
        self._after = after

    def complete(self, data: bytes) -> bytes:
        """Return the whole range, with the bytes that were missing, which are kept from now on.

        Parameters
        ----------
        data : bytes
            The missing bytes; empty if there are none.

        Returns
        -------
        bytes
        """
        if self.missing.size:
            self._blocks.put(self.missing, data)
        pieces = [*self._before, data, *self._after] if data else [*self._before, *self._after]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_lock: Final = threading.Lock()
_caches: Final[dict[tuple[str, int], BlockCache | None]] = {}


def cache_of(connection: Connection) -> BlockCache | None:
    """Return the cache that a connection uses; None if it uses none.

    A directory that is not safe, or cannot be used, is logged once and not used.
    """
    tuning = connection.tuning
    if tuning.cache_dir is None or connection.service.locality is not Locality.REMOTE:
        return None
    if not (connection.can("read_with_if_match") or connection.can("read_with_version")):
        return None
    name = (tuning.cache_dir, tuning.cache_size)
    with _lock:
        if name not in _caches:
            _caches[name] = _open(*name)
        return _caches[name]


def _open(path: str, limit: int) -> BlockCache | None:
    if not has_locks():
        _log.warning("cache_dir is not used: this system has no flock")
        return None
    try:
        return BlockCache(CacheFolder(path), limit)
    except OSError as exc:
        _log.warning("cache_dir is not used: %s", exc)
        return None


def _move(temporary: str, path: str) -> None:
    """Rename a file to its place, whose directory an eviction may remove meanwhile."""
    for attempt in range(3):
        try:
            folder = os.path.dirname(path)
            # `os.makedirs` would apply the mode to the last directory only.
            for directory in (os.path.dirname(folder), folder):
                with suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
            os.rename(temporary, path)
        except FileNotFoundError:
            if attempt == 2:
                raise
        else:
            return


def _stop(block: Range) -> int:
    return block.stop


def _parse(name: str) -> Range | None:
    """Return the range in the name of a file; None if it is none."""
    start, mark, stop = name.partition("-")
    if not (mark and start.isdecimal() and stop.isdecimal() and len(name) < 42):
        return None
    block = Range(int(start), int(stop))
    return block if 0 < block.size <= block_file.MOST else None
