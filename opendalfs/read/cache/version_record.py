"""Versions that storage has returned, for later opens in any process: `cache_ttl`.

A record holds the version of one object and the time of the request. It counts for `cache_ttl` seconds, and
not after a change through any filesystem with the same cache: a change of a path writes a mark, and a
record that is older than the mark of its key, or of a directory above it, does not count.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from . import background
from .block_cache import BlockCache, cache_of

__all__ = ["VersionRecord", "forget_all", "record_of"]

_MOST_CHANGES: Final = 100_000

_changes: dict[bytes, float] = {}
"""Changes of this process, which count even if the disk of the cache fails: times by digest."""

_changed_all = 0.0
"""Time up to which all records are taken to be out of date."""

_RECORD_SIZE: Final = 4096
"""Bytes of a record at most."""


class VersionRecord:
    """The record of the version of one object.

    Parameters
    ----------
    cache : BlockCache
        The cache.
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    """

    __slots__ = ("_cache", "_connection", "_key", "_ttl")

    def __init__(self, cache: BlockCache, connection: Connection, key: str) -> None:
        self._cache = cache
        self._connection = connection
        self._key = key
        self._ttl = connection.tuning.cache_ttl

    def get(self) -> Version | None:
        """Return the version of the record; None if there is none that still counts."""
        found = self._load("versions", self._key)
        if found is None:
            return None
        asked, now = found["asked"], time.time()
        # After a change of the clock no record of the future counts.
        if asked > now or (self._ttl is not None and now - asked >= self._ttl):
            return None
        if any(changed >= asked for path in _parents(self._key) for changed in self._changed(path)):
            return None
        modified = found["modified"]
        return Version(
            found["size"],
            found["etag"],
            found["version"],
            None if modified is None else datetime.fromisoformat(modified),
        )

    def put(self, version: Version, asked: float) -> None:
        """Keep a version, unless its reads would not notice that the object has another one.

        Parameters
        ----------
        version : Version
            What storage has returned.
        asked : float
            Time before the request, as of `time.time`.
        """
        if self._ttl == 0 or not pin(self._connection, version) or version.version == "null":
            return
        modified = None if version.modified is None else version.modified.isoformat()
        content = {
            "asked": asked,
            "size": version.size,
            "etag": version.etag,
            "version": version.version,
            "modified": modified,
        }
        background.submit(_RECORD_SIZE, lambda: self._store("versions", content))

    def mark_changed(self) -> None:
        """Write the mark of a change of the path, and of all below it."""
        now = time.time()
        digest = self._cache.key(self._connection, self._key)
        if digest is not None:
            if len(_changes) >= _MOST_CHANGES:
                forget_all()
            _changes[digest] = now
        # Now, as the next read may be in another process.
        with suppress(OSError):
            self._store("changes", {"changed": now})

    def _changed(self, path: str) -> Iterator[float]:
        """Yield the times of changes of a path by this process and by others."""
        digest = self._cache.key(self._connection, path)
        yield _changed_all if digest is None else max(_changed_all, _changes.get(digest, 0.0))
        mark = self._load("changes", path)
        if mark is not None:
            yield mark["changed"]

    def _path(self, kind: str, key: str) -> tuple[str, bytes] | None:
        digest = self._cache.key(self._connection, key)
        return None if digest is None else (self._cache.folder.record(kind, digest), digest)

    def _load(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read a record; None if there is none, or it is damaged."""
        place = self._path(kind, key)
        if place is None:
            return None
        try:
            descriptor = os.open(place[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = os.read(descriptor, _RECORD_SIZE + 1)
            finally:
                os.close(descriptor)
            check, _, text = data.partition(b" ")
            if int(check, 16) != zlib.crc32(text, zlib.crc32(place[1])):
                return None
            record: dict[str, Any] = json.loads(text)
        except (OSError, ValueError):
            return None
        return record

    def _store(self, kind: str, content: dict[str, Any]) -> None:
        place = self._path(kind, self._key)
        if place is None:
            return
        text = json.dumps(content).encode()
        check = zlib.crc32(text, zlib.crc32(place[1]))
        data = b"%08x %s" % (check, text)
        if len(data) <= _RECORD_SIZE:
            self._cache.write(place[0], (data,))


def record_of(connection: Connection, key: str) -> VersionRecord | None:
    """Return the record of an object; None if the connection keeps none."""
    if connection.tuning.cache_dir is None or connection.tuning.cache_ttl == 0:
        return None
    cache = cache_of(connection)
    return None if cache is None else VersionRecord(cache, connection, key)


def forget_all() -> None:
    """Use no record in this process that is from before now."""
    global _changed_all
    _changed_all = time.time()
    _changes.clear()


def _parents(key: str) -> Iterator[str]:
    """Yield a key and the directories above it, the root of the container last."""
    while key:
        yield key
        key = key.rpartition("/")[0]
    yield ""
