"""Stats and lists as storage returns them now, or has returned them within `cache_ttl`.

These are for reads. What is about to change something asks storage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from opendal.types import Entry, Metadata

from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from .cache import identifies, records
from .cache.metadata import pack_entries, pack_metadata, unpack_entries, unpack_metadata
from .cache.records import RequestStart, begin

__all__ = [
    "begin",
    "forget",
    "keep_directory",
    "keep_stat",
    "list_entries",
    "recorded_list",
    "recorded_stat",
    "stat",
    "stat_blocking",
]

_MOST_ENTRIES: Final = 30_000
"""Entries of a list that is recorded at most."""

_ENTRY_BYTES: Final = 512
"""Bytes of memory of an entry, about."""


def recorded_stat(connection: Connection, key: str) -> Metadata | None:
    """Return the metadata that storage has returned within `cache_ttl`, to any process with the same cache.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key; of a directory, with a slash at its end.

    Returns
    -------
    Metadata or None
        None without a cache, with a `cache_ttl` of 0, and after a change through opendalfs. A read of its
        version may raise ChangedError or FileNotFoundError; then call `forget`.
    """
    found = records.load(connection, "stat", key)
    return None if found is None else unpack_metadata(found)


def keep_stat(connection: Connection, key: str, metadata: Metadata, started: RequestStart | None) -> None:
    """Record metadata, unless a read would not notice that the object has another version.

    Parameters
    ----------
    connection, key
        As for `recorded_stat`.
    metadata : Metadata
        What storage has returned.
    started : RequestStart or None
        Result of `begin` before the request.
    """
    if not records.is_kept(connection):
        return
    if metadata.is_dir or identifies(connection, Version.of(connection, key, metadata)):
        records.keep(connection, "stat", key, started, lambda: pack_metadata(metadata))


def stat_blocking(connection: Connection, key: str) -> Metadata:
    """Return a key's metadata, recorded or from storage."""
    found = recorded_stat(connection, key)
    if found is None:
        started = begin(connection)
        found = connection.stat_blocking(key)
        keep_stat(connection, key, found, started)
    return found


async def stat(
    connection: Connection, key: str, refresh: bool = False, directories: bool = False
) -> Metadata:
    """Return a key's metadata, recorded or from storage.

    Parameters
    ----------
    connection, key
        As for `recorded_stat`.
    refresh : bool
        Whether to ask storage in any case.
    directories : bool
        Whether a key without a slash at its end also stands for a directory, if that is recorded.
    """
    found = None if refresh else recorded_stat(connection, key)
    if found is None and directories and not refresh:
        found = recorded_stat(connection, f"{key}/")
    if found is None:
        started = begin(connection)
        found = await connection.stat(key)
        keep_stat(connection, key, found, started)
    return found


def keep_directory(connection: Connection, key: str, started: RequestStart | None) -> None:
    """Record that a key, without a slash at its end, is a directory and no file; see `keep_stat`."""
    if records.is_kept(connection):
        records.keep(connection, "stat", f"{key}/", started, lambda: [True, 0])


def recorded_list(connection: Connection, prefix: str, *, recursive: bool) -> list[Entry] | None:
    """Return the entries below a prefix that storage has returned within `cache_ttl`; None if not recorded.

    Parameters
    ----------
    connection : Connection
        To the service.
    prefix : str
        Beginning of the keys, as OpenDAL takes it.
    recursive : bool
        Whether to return all below the prefix.
    """
    found = records.load(connection, "tree" if recursive else "list", prefix)
    return None if found is None else unpack_entries(found)


async def list_entries(
    connection: Connection,
    prefix: str,
    fetch: Callable[[], Awaitable[Sequence[Entry] | None]],
    *,
    recursive: bool,
    refresh: bool,
) -> Sequence[Entry] | None:
    """Return the entries below a prefix, recorded or from storage.

    Parameters
    ----------
    connection, prefix, recursive
        As for `recorded_list`.
    fetch : callable
        Called to list; returns None if it does not list all. What is empty is not recorded.
    refresh : bool
        Whether to list in any case.

    Returns
    -------
    sequence of Entry or None
    """
    found: Sequence[Entry] | None = (
        None if refresh else recorded_list(connection, prefix, recursive=recursive)
    )
    if found is not None:
        return found
    started = begin(connection)
    entries = await fetch()
    if entries and len(entries) <= _MOST_ENTRIES and records.is_kept(connection):
        kind = "tree" if recursive else "list"
        size = _ENTRY_BYTES * len(entries)
        records.keep(connection, kind, prefix, started, lambda: pack_entries(entries), size)
    return entries


def forget(connection: Connection) -> None:
    """Use no record of a container that is from before now: something in it has changed."""
    # Others may use records of the same cache.
    if connection.tuning.cache_dir is not None:
        records.mark_changed(connection)
