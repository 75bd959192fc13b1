"""The cache of one directory, and which connections use it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final
from weakref import WeakKeyDictionary

from opendalfs.runtime import process
from opendalfs.services import Form, Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from .folder import CacheFolder
from .identity import container_digest, key_digest, version_digest
from .object_blocks import ObjectBlocks
from .packs import Packs
from .space import SMALL, Space, has_locks

__all__ = ["BlockCache", "cache_of", "identifies"]

_SETTLED_SECONDS: Final = 60.0
"""Age from which an etag of a web server is that of one content, as in RFC 9110, 8.8.2.2."""

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
        self.packs = Packs(folder, self.space)
        self._containers: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()

    def container(self, connection: Connection) -> bytes | None:
        """Return the digest of a container; None while nothing tells whose credentials are used."""
        found = self._containers.get(connection)
        if found is None:
            found = container_digest(self.folder.secret, connection)
            if found is not None:
                self._containers[connection] = found
        return found

    def object(self, connection: Connection, key: str, version: Version) -> ObjectBlocks | None:
        """Return the blocks of a version; None if its reads cannot be cached."""
        if not identifies(connection, version):
            return None
        container = self.container(connection)
        if container is None:
            return None
        digest = key_digest(self.folder.secret, container, key)
        digest = version_digest(self.folder.secret, digest, connection, version)
        bucket = self.packs.bucket(container, key)
        folder = self.folder.blocks(digest) if version.size > SMALL else None
        return ObjectBlocks(connection, key, digest, bucket, self.space, folder)


_lock = threading.Lock()
_caches: Final[dict[tuple[str, int], BlockCache | None]] = {}
_by_connection: Final[WeakKeyDictionary[Connection, BlockCache | None]] = WeakKeyDictionary()


def cache_of(connection: Connection) -> BlockCache | None:
    """Return the cache that a connection uses; None if it uses none.

    A directory that is not safe, or cannot be used, is logged once and not used.
    """
    tuning = connection.tuning
    if tuning.cache_dir is None or connection.service.locality is not Locality.REMOTE:
        return None
    try:
        return _by_connection[connection]
    except KeyError:
        pass
    name = (tuning.cache_dir, tuning.cache_size)
    pins = connection.can("read_with_if_match") or connection.can("read_with_version")
    with _lock:
        if pins and name not in _caches:
            _caches[name] = _open(*name)
        found = _caches[name] if pins else None
        _by_connection[connection] = found
        return found


def identifies(connection: Connection, version: Version) -> bool:
    """Whether a read fails once the object has another content than that of a version."""
    # See `pin` for the version "null" of S3.
    if pin(connection, version) in ({}, {"version": "null"}):
        return False
    if connection.service.form is not Form.ENDPOINT:
        return True
    # Web servers make etags of size and time, which may stay the same within a second. A time in the future
    # says nothing: the clock of this machine may be slow.
    return version.modified is not None and time.time() - version.modified.timestamp() > _SETTLED_SECONDS


def _open(path: str, limit: int) -> BlockCache | None:
    if not has_locks():
        _log.warning("cache_dir is not used: this system has no flock")
        return None
    try:
        return BlockCache(CacheFolder(path), limit)
    except OSError as exc:
        _log.warning("cache_dir is not used: %s", exc)
        return None


def _reset() -> None:
    """Use a new lock in a forked child, as another thread of the parent may hold this one."""
    global _lock
    _lock = threading.Lock()


process.after_fork(_reset)
