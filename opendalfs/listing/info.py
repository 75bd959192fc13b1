"""Listings: what OpenDAL lists, as the dictionaries that fsspec returns.

One recursive list where the service lists recursively, one list a directory otherwise, a level at a time
and all of a level together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any, Final

from opendal.types import Entry, Metadata

from opendalfs.errors import NoContainerError
from opendalfs.runtime.tasks import gather
from opendalfs.services import Home
from opendalfs.storage.connection import PAGE, Connection
from opendalfs.storage.local_disk import is_link_to_directory, stages_writes
from opendalfs.storage.staged_files import is_staged_name

from .parallel import sweep

__all__ = [
    "Info",
    "by_name",
    "children",
    "directory",
    "entry_info",
    "page",
    "published",
    "remembered",
    "sort",
    "stat_info",
    "tree",
    "versions",
]

Info = dict[str, Any]


_AT_ONCE: Final = 32
_MOST: Final = 5_000
"""Entries up to which a listing of limited depth is tried as one recursive list: five pages. A tree that
is larger may be very much larger, so it is listed directory by directory."""


def directory(path: str, marker: bool | None = None) -> Info:
    """Return the info of a directory. `marker`: whether it exists without files; None if unknown."""
    info: Info = {"name": path, "size": 0, "type": "directory"}
    info |= {"Key": path, "Size": 0, "StorageClass": "DIRECTORY"}
    if marker is not None:
        info["marker"] = marker
    return info


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
    key = key.rstrip("/")
    return directory(connection.name(key)) if metadata.is_dir else _file_info(connection, key, metadata)


def _file_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    name = connection.name(key)
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


def published(connection: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Leave out staged files: those of live writers, and those that killed ones left behind.

    Parameters
    ----------
    connection : Connection
        Where they are.
    entries : sequence of Entry
        What OpenDAL has listed.

    Returns
    -------
    sequence of Entry
        The same where nothing is staged.
    """
    if not stages_writes(connection):
        return entries
    return [e for e in entries if not is_staged_name(e.path.rpartition("/")[2])]


def _listed_info(connection: Connection, entry: Entry) -> Info:
    info = entry_info(connection, entry.path, entry.metadata)
    if is_link_to_directory(connection, entry):
        info["islink"] = True
    return info


def by_name(infos: Iterable[Info]) -> dict[str, Info]:
    """Sort infos by name; what is both, a file and a directory, is a file."""
    order = sorted(infos, key=lambda info: (str(info["name"]), info["type"] == "file"))
    return {info["name"]: info for info in order}


def sort(infos: list[Info]) -> None:
    """Sort a listing by name, and of one name the file before the directory."""
    infos.sort(key=itemgetter("type"), reverse=True)
    infos.sort(key=itemgetter("name"))


def remembered(info: Info) -> Info:
    """Return an info as a listing of its directory has it: only recursive lists know of markers."""
    return {name: value for name, value in info.items() if name != "marker"}


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
    try:
        listed = await connection.list(prefix or "/") or []
    except NoContainerError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        if not key:
            raise
        return None
    # Asked for what is below a file, some services tell of the file.
    entries = [e for e in listed if e.path.startswith(prefix)]
    if key and await _is_file_itself(connection, key, entries):
        return None
    shown = (e for e in published(connection, entries) if e.path not in (prefix, "/"))
    infos = [_listed_info(connection, e) for e in shown]
    if not entries and key:
        return None
    sort(infos)
    return infos


async def _is_file_itself(connection: Connection, key: str, entries: Sequence[Entry]) -> bool:
    """Whether a list of what is below a key shows a file of that very name: the key is no directory then.

    WebDAV servers show the file under its own name with a slash, FTP servers under its name in itself.
    """
    if len(entries) != 1 or entries[0].metadata.is_dir:
        return False
    path = entries[0].path
    if path == f"{key}/":
        return not connection.can("list_with_recursive")
    if not keeps_directories(connection) or path != f"{key}/{key.rpartition('/')[2]}":
        return False
    try:
        return (await connection.stat(key)).is_file
    except (FileNotFoundError, NotADirectoryError):
        return False


def keeps_directories(connection: Connection) -> bool:
    """Whether directories exist by themselves, so that no name is a file and a directory at once.

    Services that list a whole tree at once have flat keys. So do the stores in this process, some of which
    list by directory.
    """
    return connection.service.home is not Home.PROCESS and not connection.can("list_with_recursive")


_INDEX: Final = (b"<!doctype html", b"<html")


def may_be_index(connection: Connection, data: bytes) -> bool:
    """Whether what was read may be a server's page about a directory rather than a file."""
    if not data.startswith(b"<") or not keeps_directories(connection):
        return False
    return connection.service.home is Home.REMOTE and data[:16].lower().startswith(_INDEX)


async def tree(
    connection: Connection, key: str, *, prefix: str = "", maxdepth: int | None = None
) -> list[Info]:
    """List a directory and what lies below it.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Of the directory; empty for the root.
    prefix : str
        Only what has a path that starts with the directory's, a slash and this.
    maxdepth : int, optional
        Levels to go down; 1 is the directory's own entries.

    Returns
    -------
    list of dict
        Files and directories, in no order; empty when nothing shows that the directory exists. Without a
        prefix the directory itself is among them. Directories that only the names of files imply are
        there too.
    """
    if not prefix:
        return await _tree(connection, key, "", maxdepth)
    folder, slash, rest = prefix.rpartition("/")
    depth = None if maxdepth is None else maxdepth - prefix.count("/")
    if depth is not None and depth < 1:
        return []
    start = connection.name(_prefix(key) + prefix)
    found = await _tree(connection, _prefix(key) + folder if slash else key, rest, depth)
    return [info for info in found if f"{info['name']}/".startswith(start)]


async def _tree(connection: Connection, key: str, prefix: str, maxdepth: int | None) -> list[Info]:
    base = _prefix(key)
    once = connection.can("list_with_recursive") or connection.service.home is not Home.REMOTE
    if once and maxdepth != 1:
        start = base + prefix or "/"
        if maxdepth is None:
            return _collect(connection, key, await sweep(connection, start), None)
        entries = await connection.list(start, recursive=True, most=_MOST)
        if entries is not None:
            return _collect(connection, key, entries, maxdepth)
    return await _by_level(connection, key, prefix, maxdepth)


async def page(connection: Connection, key: str) -> list[Info] | None:
    """List a directory and all that lies below it with one request, in services that list recursively.

    Parameters
    ----------
    connection : Connection
        Where it is.
    key : str
        Of the directory; empty for the root.

    Returns
    -------
    list of dict or None
        As `tree` gives them, by name and without repeats; None when there is more than one page of it.
    """
    entries = await connection.page(_prefix(key) or "/", recursive=True)
    infos = _collect(connection, key, entries, None)
    return list(by_name(infos).values()) if len(entries) < PAGE else None


def _collect(connection: Connection, key: str, entries: Sequence[Entry], maxdepth: int | None) -> list[Info]:
    """Turn a recursive list into infos, with the directories that the names imply."""
    cut = len(_prefix(key))
    found: list[Info] = []
    folders: set[str] = set()
    markers: set[str] = set()
    links: set[str] = set()
    if not entries:
        return found
    for entry in published(connection, entries):
        path = entry.path.lstrip("/")
        # Each look at an entry's metadata makes an object.
        metadata = entry.metadata
        if metadata.is_dir:
            path = path.rstrip("/")
            markers.add(path)
            if is_link_to_directory(connection, entry):
                links.add(path)
        elif maxdepth is None or path.count("/", cut) < maxdepth:
            found.append(_file_info(connection, path, metadata))
        folders.add(path[: max(path.rfind("/", cut), 0)])
    told = connection.can("list_with_recursive")
    shown = {key} | {
        folder
        for folder in _with_parents(folders | markers, cut)
        if maxdepth is None or folder.count("/", cut) < maxdepth
    }
    infos = {f: directory(connection.name(f), f in markers if told else None) for f in shown}
    for link in links & shown:
        infos[link]["islink"] = True
    return [*found, *infos.values()]


def _with_parents(folders: set[str], cut: int) -> set[str]:
    """Add the directories between each and the one whose prefix has `cut` characters."""
    whole = {folder for folder in folders if len(folder) > cut}
    for folder in tuple(whole):
        at = folder.rfind("/", cut)
        while at > 0 and folder[:at] not in whole:
            whole.add(folder[:at])
            at = folder.rfind("/", cut, at)
    return whole


async def _by_level(connection: Connection, key: str, prefix: str, maxdepth: int | None) -> list[Info]:
    first = await children(connection, key)
    if first is None:
        return []
    start = connection.name(_prefix(key) + prefix)
    found = [directory(connection.name(key))]
    level = [info for info in first if info["name"].startswith(start)]
    depth = 1
    while level:
        found += level
        if maxdepth is not None and depth >= maxdepth:
            break
        depth += 1
        folders = (info for info in level if info["type"] == "directory" and not info.get("islink"))
        below = [connection.key(info["name"]) for info in folders]
        lists = await gather(partial(children, connection), below, _AT_ONCE)
        level = [info for listed in lists for info in listed or []]
    return found


async def versions(connection: Connection, key: str) -> list[Info]:
    """List the versions of a file, the newest first; empty when there is none.

    OpenDAL does not tell which of them is the one that is read without a version: when the file was removed
    none is.
    """
    connection.require("list_with_versions", "list the versions of a file")
    entries = [e for e in await connection.list(key, versions=True) or [] if e.path == key]
    infos = [entry_info(connection, key, e.metadata) for e in entries]
    # Services differ in their order; of those of one second it is kept.
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(infos, key=lambda info: info.get("LastModified", oldest), reverse=True)
