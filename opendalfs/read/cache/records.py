"""What storage has returned for stats and lists, for later ones in any process: `cache_ttl`.

A record holds the response, the time of the request, and the mark of its container then. It counts for
`cache_ttl` seconds, and not after a change of anything in its container through a filesystem with the same
cache: each change writes another mark. Times would not do: clocks are set back, those of two machines differ,
and of two changes at the same time the earlier one may be written last.
"""

from __future__ import annotations

import json
import os
import secrets
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

__all__ = ["RequestStart", "begin", "forget_all", "is_kept", "keep", "load", "mark_changed"]

_WHOLE: Final = Range(0, 0)
"""The range of a record, in place of that of a block."""

_MOST_BYTES: Final = 4 << 20
"""Bytes of a record at most: some 30,000 entries of a list."""

_MARK_SIZE: Final = 16

_MARKS: Final = 64
"""Marks in their file, which is never evicted; a container shares its one with others."""

_unmarked: set[int] = set()
"""Offsets of marks that this process could not write after a change, as on a read-only disk."""

_changed_all = 0.0
"""Time up to which all records are out of date."""


class RequestStart(NamedTuple):
    """A request that may be recorded.

    Parameters
    ----------
    time : float
        When it began, as of `time.time`.
    mark : str
        Mark of the container then.
    """

    time: float
    mark: str


class _RecordKey(NamedTuple):
    """What the record of a response is found by."""

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
    record = _record_key(connection, kind, key)
    if record is None:
        return None
    found = _read(connection, record)
    if found is None and record.bucket.scan():
        found = _read(connection, record)
    return found


def begin(connection: Connection) -> RequestStart | None:
    """Return what `keep` needs; call it before the request. None if its response cannot be recorded."""
    if not is_kept(connection):
        return None
    cache = cache_of(connection)
    if cache is None:
        return None
    now, offset = time.time(), _offset(connection)
    with suppress(OSError):
        return RequestStart(now, _mark(cache, offset) or _create_marks(cache, offset))
    return None


def keep(
    connection: Connection,
    kind: str,
    key: str,
    started: RequestStart | None,
    response: Callable[[], Any],
    size: int = 1024,
) -> None:
    """Keep a response.

    Parameters
    ----------
    connection, kind, key
        As for `load`.
    started : RequestStart or None
        Result of `begin` before the request.
    response : callable
        Called in the thread of the cache; returns what `load` returns then.
    size : int
        Bytes of memory that the response holds.
    """
    record = None if started is None else _record_key(connection, kind, key)
    if record is not None:
        background.submit(size, _writer, (record, started, response))


def mark_changed(connection: Connection) -> None:
    """Use no record of a container that is from before now."""
    cache = cache_of(connection)
    if cache is None:
        return
    offset = _offset(connection)
    try:
        # Now, as the next request may come from another process.
        _write(cache, secrets.token_bytes(_MARK_SIZE), offset, os.O_WRONLY)
    except FileNotFoundError:
        # Then no record counts.
        pass
    except OSError:
        _unmarked.add(offset)


def forget_all() -> None:
    """Use no record in this process that is from before now."""
    global _changed_all
    _changed_all = time.time()


class _Writer:
    """Writes records, in the thread of the cache."""

    def write(self, items: list[tuple[_RecordKey, RequestStart, Callable[[], Any]]]) -> None:
        by_bucket: dict[Bucket, list[Record]] = {}
        for record, started, response in items:
            content = json.dumps([*started, response()], separators=(",", ":")).encode()
            if len(content) <= _MOST_BYTES:
                by_bucket.setdefault(record.bucket, []).append(Record(record.digest, _WHOLE, content))
        for bucket, records in by_bucket.items():
            bucket.write(records)


_writer: Final = _Writer()


def _record_key(connection: Connection, kind: str, key: str) -> _RecordKey | None:
    cache = cache_of(connection) if is_kept(connection) else None
    container = None if cache is None else cache.container(connection)
    if cache is None or container is None:
        return None
    digest = key_digest(cache.folder.secret, container, key, kind)
    return _RecordKey(cache, container, cache.packs.bucket(container, key), digest)


def _read(connection: Connection, record: _RecordKey) -> Any:
    location = record.bucket.find(record.digest).get(_WHOLE)
    data = None if location is None else record.bucket.read(record.digest, _WHOLE, location)
    if data is None:
        return None
    started, mark, response = json.loads(data)
    ttl, now = connection.tuning.cache_ttl, time.time()
    # After a change of the clock no record of the future counts.
    if started > now or started <= _changed_all or (ttl is not None and now - started >= ttl):
        return None
    with suppress(OSError):
        offset = _offset(connection)
        if offset not in _unmarked and _mark(record.cache, offset) == mark:
            return response
    return None


def _offset(connection: Connection) -> int:
    """Return where in its file the mark of a container is, whatever the credentials and other options."""
    service = connection.service
    name = connection.native.get(service.container or "", "")
    return zlib.crc32(f"{service.scheme}/{name}".encode("utf-8", "surrogatepass")) % _MARKS * _MARK_SIZE


def _mark(cache: BlockCache, offset: int) -> str:
    """Return the mark at an offset; empty if there is none."""
    try:
        descriptor = os.open(cache.folder.marks, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    try:
        found = os.pread(descriptor, _MARK_SIZE, offset)
    finally:
        os.close(descriptor)
    # A disk that lost its last writes may show zeros.
    return found.hex() if len(found) == _MARK_SIZE and any(found) else ""


def _create_marks(cache: BlockCache, offset: int) -> str:
    """Write all marks, and return the one at an offset."""
    marks = secrets.token_bytes(_MARKS * _MARK_SIZE)
    _write(cache, marks, 0, os.O_WRONLY | os.O_CREAT)
    return _mark(cache, offset)


def _write(cache: BlockCache, data: bytes, offset: int, flags: int) -> None:
    descriptor = os.open(cache.folder.marks, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)
