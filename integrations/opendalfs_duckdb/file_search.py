"""Looking up files in storage for DuckDB: stats, and listings for patterns."""

from __future__ import annotations

from typing import Final

from opendalfs import listing, urls
from opendalfs.listing.info import Info
from opendalfs.read import recorded
from opendalfs.runtime import tasks
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from .glob import Pattern

__all__ = ["ABSENT", "find_matches", "stat_file"]

ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors of a stat that mean that there is no such object."""


def stat_file(connection: Connection, key: str) -> Version | None:
    """Return the version of a file; None if there is no file."""
    if not key:
        return None
    try:
        metadata = recorded.stat_blocking(connection, key)
    except ABSENT:
        return None
    return Version.of(connection, key, metadata) if metadata.is_file else None


def find_matches(url: str, connection: Connection, key: str) -> list[tuple[str, Version]]:
    """List the files that match a pattern, with one request to list.

    Parameters
    ----------
    url : str
        URL with wildcards.
    connection : Connection
        Connection of the URL.
    key : str
        Key of the URL, with wildcards.

    Returns
    -------
    list of (str, Version)
        URLs in order, with their versions.

    Raises
    ------
    UnsupportedError
        If the service cannot list.
    """
    connection.require("list", f"list: name the files of {url} one by one")
    pattern = Pattern.parse(key)
    # With `name=` the URL may lack the first part of the key, so only the part after the folder is replaced.
    start = len(pattern.folder)
    root = url[: len(url) - len(key[start:])]
    prefix = len(urls.join(connection.service, connection.container, "x")) - 1
    keys = [
        (info["name"][prefix:], info)
        for info in tasks.run(_list, connection, pattern)
        if info["type"] == "file"
    ]
    matches = [(root + k[start:], Version.from_info(info)) for k, info in keys if pattern.matches(k)]
    return sorted(matches, key=lambda match: match[0])


async def _list(connection: Connection, pattern: Pattern) -> list[Info]:
    """List the files and directories that can match a pattern."""
    if pattern.flat:
        base = f"{pattern.folder}/" if pattern.folder else ""
        entries = await listing.list_flat(connection, base + pattern.prefix, refresh=False)
        shown = listing.exclude_staged(connection, entries)
        return [listing.entry_info(connection, e.path, e.metadata) for e in shown]
    return await listing.list_tree(connection, pattern.folder, prefix=pattern.prefix, refresh=False)
