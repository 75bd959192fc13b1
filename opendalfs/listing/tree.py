"""Recursive listings.

One recursive list where the service can list recursively. Otherwise one list for each directory: level by
level, all directories of a level at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from opendal.types import Entry

from opendalfs.read import recorded
from opendalfs.runtime.tasks import gather
from opendalfs.services import Locality
from opendalfs.storage.connection import PAGE, Connection
from opendalfs.storage.local_disk import check_listed, is_link_to_directory, stages_writes

from .directory import exclude_staged, list_directory
from .info import Info, by_name, directory_info, file_info
from .parallel import list_parallel

__all__ = ["list_single_page", "list_tree"]

_LISTS_IN_FLIGHT: Final = 32
_MAX_ENTRIES: Final = 5_000
"""Entries up to which a listing of limited depth uses one recursive list: five pages. A larger tree may be
very much larger, so it is listed directory by directory."""


async def list_tree(
    connection: Connection,
    key: str,
    *,
    prefix: str = "",
    maxdepth: int | None = None,
    refresh: bool = True,
) -> list[Info]:
    """List a directory and everything below it.

    Parameters
    ----------
    connection : Connection
        To its service.
    key : str
        Key of the directory; empty for the root.
    prefix : str
        List only paths that start with that of the directory, a slash, and this.
    maxdepth : int, optional
        Levels to list; 1 is the directory's own entries.
    refresh : bool
        Whether to ask storage also within `cache_ttl`.

    Returns
    -------
    list of dict
        Files and directories, in no order; empty when nothing shows that the directory exists. Without a
        prefix the directory itself is included. Directories that only the names of files imply are included
        too.
    """
    if not prefix:
        return await _list(connection, key, "", maxdepth, refresh)
    folder, slash, rest = prefix.rpartition("/")
    depth = None if maxdepth is None else maxdepth - prefix.count("/")
    if depth is not None and depth < 1:
        return []
    start = connection.name(_directory_prefix(key) + prefix)
    below = _directory_prefix(key) + folder if slash else key
    infos = await _list(connection, below, rest, depth, refresh)
    return [info for info in infos if f"{info['name']}/".startswith(start)]


async def list_single_page(connection: Connection, key: str, *, refresh: bool = True) -> list[Info] | None:
    """List a directory and everything below it with one request, in services that list recursively.

    Parameters
    ----------
    connection : Connection
        To its service.
    key : str
        Key of the directory; empty for the root.
    refresh : bool
        Whether to ask storage also within `cache_ttl`.

    Returns
    -------
    list of dict or None
        As `list_tree`, sorted by name and without duplicates; None when there is more than one page.
    """
    start = _directory_prefix(key) or "/"

    async def fetch() -> Sequence[Entry] | None:
        entries = await connection.page(start, recursive=True)
        return entries if len(entries) < PAGE else None

    entries = await recorded.list_entries(connection, start, fetch, recursive=True, refresh=refresh)
    return None if entries is None else list(by_name(_infos(connection, key, entries, None)).values())


def _directory_prefix(key: str) -> str:
    return f"{key}/" if key else ""


async def _list(
    connection: Connection, key: str, prefix: str, maxdepth: int | None, refresh: bool
) -> list[Info]:
    recursive = connection.can("list_with_recursive") or connection.service.locality is not Locality.REMOTE
    # OpenDAL's own recursive list leaves out directories of a local disk that it cannot list.
    if recursive and maxdepth != 1 and not stages_writes(connection):
        start = _directory_prefix(key) + prefix or "/"
        if maxdepth is None:
            fetch: Callable[[], Awaitable[Sequence[Entry] | None]] = partial(list_parallel, connection, start)
        else:
            fetch = partial(connection.list, start, recursive=True, most=_MAX_ENTRIES)
        entries = await recorded.list_entries(connection, start, fetch, recursive=True, refresh=refresh)
        if entries is not None:
            return _infos(connection, key, entries, maxdepth)
    return await _list_by_level(connection, key, prefix, maxdepth, refresh)


def _infos(connection: Connection, key: str, entries: Sequence[Entry], maxdepth: int | None) -> list[Info]:
    """Return the infos of a recursive list, with the directories that the names imply."""
    start = _directory_prefix(key)
    base = len(start)
    files: list[Info] = []
    folders: set[str] = set()
    markers: set[str] = set()
    links: set[str] = set()
    if not entries:
        return files
    for entry in exclude_staged(connection, entries):
        path = entry.path.lstrip("/")
        if not path.startswith(start):
            # A server ignores the prefix, or lists the file itself for what is below it.
            continue
        # Each access to an entry's metadata makes an object.
        metadata = entry.metadata
        if metadata.is_dir:
            path = path.rstrip("/")
            markers.add(path)
            if is_link_to_directory(connection, entry):
                links.add(path)
        elif maxdepth is None or path.count("/", base) < maxdepth:
            files.append(file_info(connection, path, metadata))
        folders.add(path[: max(path.rfind("/", base), 0)])
    knows_markers = connection.can("list_with_recursive")
    included = {key} | {
        folder
        for folder in _with_parents(folders | markers, base)
        if maxdepth is None or folder.count("/", base) < maxdepth
    }
    infos = {f: directory_info(connection.name(f), f in markers if knows_markers else None) for f in included}
    for link in links & included:
        infos[link]["islink"] = True
    return [*files, *infos.values()]


def _with_parents(folders: set[str], base: int) -> set[str]:
    """Add the directories between each and the one whose prefix has `base` characters."""
    complete = {folder for folder in folders if len(folder) > base}
    for folder in tuple(complete):
        slash = folder.rfind("/", base)
        while slash > 0 and folder[:slash] not in complete:
            complete.add(folder[:slash])
            slash = folder.rfind("/", base, slash)
    return complete


async def _list_by_level(
    connection: Connection, key: str, prefix: str, maxdepth: int | None, refresh: bool
) -> list[Info]:
    list_one = partial(list_directory, connection, refresh=refresh)
    first = await list_one(key)
    if first is None:
        return []
    start = connection.name(_directory_prefix(key) + prefix)
    infos = [directory_info(connection.name(key))]
    level = [info for info in first if info["name"].startswith(start)]
    depth = 1
    while level:
        infos += level
        if maxdepth is not None and depth >= maxdepth:
            break
        depth += 1
        folders = (info for info in level if info["type"] == "directory" and not info.get("islink"))
        keys = [connection.key(info["name"]) for info in folders]
        lists = await gather(list_one, keys, _LISTS_IN_FLIGHT)
        for missing in [key for key, listed in zip(keys, lists, strict=True) if listed is None]:
            check_listed(connection, missing)
        level = [info for listed in lists for info in listed or []]
    return infos
