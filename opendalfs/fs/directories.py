"""Directories: whether they exist, and their creation and removal."""

from __future__ import annotations

import errno
from typing import Final

from opendalfs import listing
from opendalfs.errors import NoContainerError, UnsupportedError, redact
from opendalfs.listing.info import Info
from opendalfs.read import recorded
from opendalfs.storage.connection import Connection
from opendalfs.write.staging import remove_leftovers

from .base import BaseFileSystem, parent_directory

__all__ = [
    "cache_tree",
    "create_directory",
    "directory_exists",
    "is_directory_only",
    "is_empty",
    "not_recursive",
    "remove_directory",
]

_MOST_CACHED: Final = 50_000
"""Largest tree, in entries, whose listings one find caches; 50,000 take about 50 MB."""


def cache_tree(fs: BaseFileSystem, path: str, listed: list[Info], invalidations: int) -> None:
    """Cache the listing of each directory of a tree, so that lookups after a find make no request."""
    if not fs.dircache.use_listings_cache or len(listed) > _MOST_CACHED:
        return
    folders: dict[str, list[Info]] = {
        info["name"]: [] for info in listed if info["type"] == "directory" and not info.get("islink")
    }
    for info in listed:
        name = info["name"]
        if name != path:
            entry = listing.without_marker(info) if "marker" in info else info
            folders.setdefault(parent_directory(fs, name), []).append(entry)
    for folder, infos in folders.items():
        listing.sort_infos(infos)
        fs.dircache.put(folder, infos, invalidations)


async def directory_exists(connection: Connection, key: str, *, refresh: bool = True) -> bool:
    """Whether there is a directory of a key, which is not empty: a marker object, or any object below it.

    False for services that have neither listings nor directories. `refresh`: whether to ask storage also
    within `cache_ttl`.
    """
    if not connection.can("list") and not connection.can("create_dir"):
        return False
    try:
        return (await recorded.stat(connection, f"{key}/", refresh)).is_dir
    except NoContainerError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return False


async def is_directory_only(fs: BaseFileSystem, path: str, error: OSError) -> bool:
    """Whether a read failed because its path is a directory and not a file: services report that differently.

    False, without a request, after a timeout: another request would take as long again.
    """
    if isinstance(error, TimeoutError):
        return False
    connection, key = fs.locate(path)
    return not key or (not await fs._isfile(path, refresh=True) and await directory_exists(connection, key))


def not_recursive(path: str, method: str) -> IsADirectoryError:
    """Return the error for a directory where a method without ``recursive=True`` takes files only."""
    return IsADirectoryError(errno.EISDIR, f"Is a directory: pass recursive=True to {method}()", redact(path))


async def is_empty(fs: BaseFileSystem, path: str) -> bool:
    """Whether a directory is empty, or nothing exists at the path; does not use cached listings."""
    try:
        return all(info["name"] == path for info in await fs._ls(path, refresh=True))
    except FileNotFoundError:
        return True


async def create_directory(fs: BaseFileSystem, path: str) -> None:
    """Create a directory and its parents, if the service stores directories; no error if it exists."""
    connection, key = fs.locate(path)
    if not key:
        raise UnsupportedError(
            f"OpenDAL cannot create {redact(path)!r}: create it with the service's own tools"
        )
    # Services that keep no directories need none: a key with slashes is enough.
    if connection.can("create_dir"):
        try:
            await connection.create_dir(f"{key}/")
        finally:
            fs.invalidate_cache(path)


async def remove_directory(fs: BaseFileSystem, path: str) -> None:
    """Remove an empty directory; `path` is stripped. `OpendalFileSystem.rmdir` describes the errors."""
    connection, key = fs.locate(path)
    if not key:
        raise UnsupportedError(
            f"OpenDAL cannot remove {redact(path)!r}: remove it with the service's own tools"
        )
    connection.require("list", "find out whether a directory is empty")
    children = await listing.list_directory(connection, key)
    if children:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", redact(path))
    # Some servers list a file as an empty directory, and delete the file by the name of a directory.
    unsure = children is None or listing.keeps_directories(connection)
    if unsure and not await directory_exists(connection, key):
        info = await fs._info(path, refresh=True)
        if info["type"] == "file":
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(path))
    remove_leftovers(connection, key)
    try:
        await connection.delete(f"{key}/")
    finally:
        fs.invalidate_cache(path)
