"""What storage has returned for stats and lists, for later ones in any process: `cache_ttl`.

A record holds the response and the time of the request. It counts for `cache_ttl` seconds, and not after a
change of anything in its container through a filesystem with the same cache: each change writes the time of
the last one to a file of the container.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from opendalfs.read.ranges import Range
from opendalfs.storage.connection import Connection

from . import background
from .block_cache import BlockCache, cache_of
from .identity import key_digest
from .pack import Record
from .packs import Bucket

__all__ = ["forget_all", "is_kept", "keep", "load", "mark_changed"]

_WHOLE: Final = Range(0, 0)
"""The range of a record, in place of that of a block."""

_MOST_BYTES: Final = 4 << 20
"""Bytes of a record at most: some 30,000 entries of a list."""

_CHANGE: Final = struct.Struct("<dI")

_changes: dict[bytes, float] = {}
"""Changes by this process, which count even if the disk of the cache fails: times by digest."""

_changed_all = 0.0
"""Time up to which all records are out of date."""


class _Place(NamedTuple):
    """Where the record of a response is."""

    cache: BlockCache
    container: bytes
    bucket: Bucket
    digest: bytes


def is_kept(connection: Connection) -> bool:
    """Whether stats and lists of a connection are recorded."""
    tuning = connection.tuning
    return tuning.cache_dir is not None and tuning.cache_ttl != 0 and cache_of(connection) is not None


def load(connection: Connection, kind: str, key: str) -> Any:
    """Return a response that storage has returned within `cache_ttl`; None if there is none.

    Parameters
    ----------
    connection : Connection
        Connection of the key.
    kind : str
        The kind of request.
    key : str
        The key, or the prefix of a list.
    """
    place = _place(connection, kind, key)
    if place is None:
        return None
    found = _read(connection, place)
    if found is None and place.bucket.scan():
        found = _read(connection, place)
    return found


def keep(
    connection: Connection, kind: str, key: str, asked: float, response: Callable[[], Any], size: int = 1024
) -> None:
    """Keep a response.

    Parameters
    ----------
    connection, kind, key
        As for `load`.
    asked : float
        Time before the request, as of `time.time`.
    response : callable
        Called in the thread of the cache; returns what `load` returns then.
    size : int
        Bytes of memory that the response holds.
    """
    place = _place(connection, kind, key)
    if place is not None:
        background.submit(size, _writer, (place, asked, response))


def mark_changed(connection: Connection) -> None:
    """Use no record of a container that is from before now."""
    cache = cache_of(connection)
    container = None if cache is None else cache.container(connection)
    if cache is None or container is None:
        return
    _changes[container] = time.time()
    # Now, as the next request may come from another process.
    with suppress(OSError):
        _write_change(cache, container, _changes[container])


def forget_all() -> None:
    """Use no record in this process that is from before now."""
    global _changed_all
    _changed_all = time.time()


class _Writer:
    """Writes records, in the thread of the cache."""

    def write(self, items: list[tuple[_Place, float, Callable[[], Any]]]) -> None:
        by_bucket: dict[Bucket, list[Record]] = {}
        for place, asked, response in items:
            content = json.dumps([asked, response()], separators=(",", ":")).encode()
            if len(content) <= _MOST_BYTES:
                by_bucket.setdefault(place.bucket, []).append(Record(place.digest, _WHOLE, content))
        for bucket, records in by_bucket.items():
            bucket.write(records)


_writer: Final = _Writer()


def _place(connection: Connection, kind: str, key: str) -> _Place | None:
    cache = cache_of(connection) if is_kept(connection) else None
    container = None if cache is None else cache.container(connection)
    if cache is None or container is None:
        return None
    digest = key_digest(cache.folder.secret, container, key, kind)
    return _Place(cache, container, cache.packs.bucket(container, key), digest)


def _read(connection: Connection, place: _Place) -> Any:
    location = place.bucket.find(place.digest).get(_WHOLE)
    data = None if location is None else place.bucket.read(place.digest, _WHOLE, location)
    if data is None:
        return None
    asked, response = json.loads(data)
    ttl, now = connection.tuning.cache_ttl, time.time()
    # After a change of the clock no record of the future counts.
    if asked > now or (ttl is not None and now - asked >= ttl):
        return None
    return None if _last_change(place.cache, place.container) >= asked else response


def _last_change(cache: BlockCache, container: bytes) -> float:
    """Return the time of the last change in a container by this process or by others."""
    here = max(_changed_all, _changes.get(container, 0.0))
    try:
        descriptor = os.open(cache.folder.change(container), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return here
    except OSError:
        return time.time()
    try:
        data = os.read(descriptor, _CHANGE.size)
    except OSError:
        data = b""
    finally:
        os.close(descriptor)
    if len(data) == _CHANGE.size:
        changed, check = _CHANGE.unpack(data)
        if zlib.crc32(data[:8]) == check:
            return max(here, float(changed))
    # It is damaged, so there may have been a change.
    now = time.time()
    with suppress(OSError):
        _write_change(cache, container, now)
    return now


def _write_change(cache: BlockCache, container: bytes, when: float) -> None:
    path = cache.folder.change(container)
    data = struct.pack("<d", when)
    data = _CHANGE.pack(when, zlib.crc32(data))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        cache.space.write_file(path, (data,))
        return
    try:
        os.pwrite(descriptor, data, 0)
    finally:
        os.close(descriptor)
