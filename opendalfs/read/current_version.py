"""The version of an object that an open reads: the current one, or one of at most `cache_ttl` seconds ago."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from opendalfs.errors import ChangedError
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from . import recorded
from .cache import cache_of

__all__ = ["is_recorded", "may_read_without_stat", "read_current"]

T = TypeVar("T")

_ATTEMPTS: Final = 3
"""Reads of a version that was replaced meanwhile."""


def is_recorded(connection: Connection, key: str) -> bool:
    """Whether the version takes no request, so that a read of it may find that it is gone."""
    return recorded.recorded_stat(connection, key) is not None


async def read_current(connection: Connection, key: str, read: Callable[[Version], Awaitable[T]]) -> T:
    """Read the recorded version, else that of a stat; if it is gone, read again.

    With a cache a read is pinned to a version that is asked for first, so an object may be replaced between
    the two requests. Without one a single request reads what is there.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    read : callable
        Called with the version; it may be called several times.
    """
    if is_recorded(connection, key):
        try:
            return await read(await _version(connection, key))
        except (ChangedError, FileNotFoundError):
            recorded.forget(connection)
    for _ in range(_ATTEMPTS if cache_of(connection) is not None else 0):
        with suppress(ChangedError):
            return await read(await _version(connection, key))
    return await read(await _version(connection, key))


def may_read_without_stat(exc: OSError) -> bool:
    """Whether a read of what is there may succeed after an error of `read_current`.

    Some servers, and URLs that are signed for reads, refuse stats. Nobody reads what is not there, or from a
    server that does not answer.
    """
    absent = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return not isinstance(exc, (*absent, TimeoutError, ConnectionError))


async def _version(connection: Connection, key: str) -> Version:
    return Version.of_file(connection, key, await recorded.stat(connection, key))
