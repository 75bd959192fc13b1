"""Listings: what OpenDAL lists, as the dictionaries that fsspec returns.

One recursive list where the service lists recursively, one list a directory otherwise, a level at a time
and all of a level together.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from opendal.types import Entry, Metadata

from . import paths
from .operators import Connection
from .reader import gather
from .services import Home

__all__ = ["Info", "children", "directory", "entry_info", "tree"]

Info = dict[str, Any]

_AT_ONCE: Final = 32
_MOST: Final = 5_000
"""Entries up to which a listing of limited depth is tried as one recursive list: five pages. A tree that
is larger may be very much larger, so it is listed directory by directory."""


def directory(path: str) -> Info:
    """Give the info of a directory."""
    return {"name": path, "size": 0, "type": "directory", "Size": 0, "StorageClass": "DIRECTORY"}


def entry_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    """Give the info of what OpenDAL described.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Its key, with or without a trailing slash.
    metadata : Metadata
        What a stat or list told.

    Returns
    -------
    dict
        ``name``, ``size`` (bytes), ``type``; and where known ``ETag``, ``LastModified`` (aware),
        ``VersionId``, ``ContentType``, ``metadata``, with ``etag``, ``last_modified``, ``version`` and
        ``content_type`` as second names.
    """
    name = paths.join(connection.service, connection.container, key.rstrip("/"))
    if metadata.is_dir:
        return directory(name)
    size = metadata.content_length
    info: Info = {"name": name, "size": size, "type": "file", "Key": name, "Size": size}
    etag = metadata.etag
    if etag is not None:
        info["ETag"] = info["etag"] = etag
    modified = connection.modified(key, metadata)
    if modified is not None:
        info["LastModified"] = info["last_modified"] = modified
    version = metadata.version
    if version is not None:
        info["VersionId"] = info["version"] = version
    kind = metadata.content_type
    if kind is not None:
        info["ContentType"] = info["content_type"] = kind
    return info


def stat_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    """Give the info of one object, with what only a stat tells."""
    info = entry_info(connection, key, metadata)
    for name in ("user_metadata", "content_encoding", "content_disposition", "content_md5"):
        value = getattr(metadata, name)
        if value:
            info["metadata" if name == "user_metadata" else name] = value
    return info


def _prefix(key: str) -> str:
    return f"{key}/" if key else ""


async def children(connection: Connection, key: str) -> list[Info] | None:
    """List a directory.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Of the directory, without a trailing slash; empty for the root.

    Returns
    -------
    list of dict or None
        Sorted by name; empty for a directory that exists and holds nothing; None when nothing tells that
        it exists.
    """
    prefix = _prefix(key)
    entries = await connection.list(prefix or "/") or []
    infos = [entry_info(connection, e.path, e.metadata) for e in entries if e.path not in (prefix, "/")]
    if not entries and key:
        return None
    infos.sort(key=lambda info: str(info["name"]))
    return infos


async def tree(
    connection: Connection, key: str, *, prefix: str = "", maxdepth: int | None = None
) -> tuple[dict[str, Info], bool]:
    """List a directory and what lies below it.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Of the directory; empty for the root.
    prefix : str
        Only names directly in the directory that start so, and what is below them.
    maxdepth : int, optional
        Levels to go down; 1 is the directory's own entries.

    Returns
    -------
    dict of str to dict
        Files and directories by path, the directory itself not among them, in no order. Directories that
        only the names of files imply are there too.
    bool
        Whether anything tells that the directory exists.
    """
    base = _prefix(key)
    once = connection.can("list_with_recursive") or connection.service.home is not Home.REMOTE
    if once and maxdepth != 1:
        most = None if maxdepth is None else _MOST
        entries = await connection.list(base + prefix or "/", recursive=True, most=most)
        if entries is not None:
            return _collect(connection, base, entries, maxdepth), bool(entries)
    return await _by_level(connection, key, prefix, maxdepth)


def _collect(
    connection: Connection, base: str, entries: Iterable[Entry], maxdepth: int | None
) -> dict[str, Info]:
    found: dict[str, Info] = {}
    folders: set[str] = set()
    cut = len(base)
    for entry in entries:
        path = entry.path
        if len(path) <= cut or path == "/":
            continue
        at = path.rfind("/", cut, -1)
        if at > 0:
            folders.add(path[:at])
        metadata = entry.metadata
        if metadata.is_dir:
            folders.add(path.rstrip("/"))
        elif maxdepth is None or path.count("/", cut) < maxdepth:
            info = entry_info(connection, path, metadata)
            found[info["name"]] = info
    for folder in _with_parents(folders, cut):
        if maxdepth is None or folder.count("/", cut) < maxdepth:
            info = directory(paths.join(connection.service, connection.container, folder))
            # A file of the same name is what info() tells of, so it stays.
            found.setdefault(info["name"], info)
    return found


def _with_parents(folders: set[str], cut: int) -> set[str]:
    whole = set(folders)
    for folder in folders:
        at = folder.rfind("/", cut)
        while at > 0 and folder[:at] not in whole:
            whole.add(folder[:at])
            at = folder.rfind("/", cut, at)
    return whole


async def _by_level(
    connection: Connection, key: str, prefix: str, maxdepth: int | None
) -> tuple[dict[str, Info], bool]:
    found: dict[str, Info] = {}
    first = await children(connection, key)
    start = paths.join(connection.service, connection.container, _prefix(key) + prefix)
    level = [info for info in first or [] if info["name"].startswith(start)]
    depth = 1
    while level:
        below = []
        for info in level:
            if info["name"] not in found or info["type"] == "file":
                found[info["name"]] = info
            if info["type"] == "directory":
                below.append(paths.split(connection.service, info["name"])[1])
        if maxdepth is not None and depth >= maxdepth:
            break
        depth += 1
        lists = await gather(partial(children, connection), below, _AT_ONCE)
        level = [info for listed in lists for info in listed or []]
    return found, first is not None
