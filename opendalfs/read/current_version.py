"""The version of an object that an open reads: what storage returns now, or returned within `cache_ttl`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from opendalfs.errors import ChangedError
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from .cache import cache_of, record_of

__all__ = [
    "current_version",
    "current_version_async",
    "forget_version",
    "keep_version",
    "read_current",
    "recorded_version",
]

T = TypeVar("T")

_ATTEMPTS: Final = 3
"""Reads of a version that was replaced meanwhile."""


def recorded_version(connection: Connection, key: str) -> Version | None:
    """Return the version that storage has returned within `cache_ttl`, to any process that shares the cache.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.

    Returns
    -------
    Version or None
        None without a cache, with a `cache_ttl` of 0, and after a change through opendalfs. A read of it may
        raise ChangedError or FileNotFoundError; then call `forget_version`.
    """
    record = record_of(connection, key)
    return None if record is None else record.get()


def keep_version(connection: Connection, key: str, version: Version, asked: float) -> None:
    """Keep a version for `recorded_version`; `asked` is the time before the request, as of `time.time`."""
    record = record_of(connection, key)
    if record is not None:
        record.put(version, asked)


def forget_version(connection: Connection, key: str) -> None:
    """Use no recorded version of an object, or of those below it, that is from before now."""
    record = record_of(connection, key)
    if record is not None:
        record.mark_changed()


def current_version(connection: Connection, key: str) -> Version:
    """Return the recorded version, else that of a stat.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.

    Returns
    -------
    Version

    Raises
    ------
    FileNotFoundError
        If there is no object.
    IsADirectoryError
        For a directory.
    """
    found = recorded_version(connection, key)
    if found is None:
        asked = time.time()
        found = Version.of_file(connection, key, connection.stat_blocking(key))
        keep_version(connection, key, found, asked)
    return found


async def current_version_async(connection: Connection, key: str) -> Version:
    """Return the recorded version, else that of a stat, as `current_version` does."""
    return recorded_version(connection, key) or await _stat(connection, key)


async def read_current(connection: Connection, key: str, read: Callable[[Version], Awaitable[T]]) -> T:
    """Read the recorded version, else that of a stat; if it is gone, read again.

    With a cache a read is pinned to a version that is asked for first, so an object may be replaced between
    the two requests. Without one a single request reads what is there.

    Parameters
    ----------
    connection, key
        As for `current_version`.
    read : callable
        Called with the version; it may be called several times.
    """
    found = recorded_version(connection, key)
    if found is not None:
        try:
            return await read(found)
        except (ChangedError, FileNotFoundError):
            forget_version(connection, key)
    for _ in range(_ATTEMPTS if cache_of(connection) is not None else 0):
        with suppress(ChangedError):
            return await read(await _stat(connection, key))
    return await read(await _stat(connection, key))


async def _stat(connection: Connection, key: str) -> Version:
    asked = time.time()
    found = Version.of_file(connection, key, await connection.stat(key))
    keep_version(connection, key, found, asked)
    return found
