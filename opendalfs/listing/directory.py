"""Listings of one directory, and of the versions of one file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from opendal.types import Entry

from opendalfs.errors import NoContainerError
from opendalfs.read import recorded
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import is_link_to_directory, stages_writes
from opendalfs.storage.staged_files import is_staged_name

from .info import Info, entry_info, sort_infos

__all__ = [
    "exclude_staged",
    "keeps_directories",
    "list_directory",
    "list_flat",
    "list_versions",
    "may_be_index",
]

_INDEX_STARTS: Final = (b"<!doctype html", b"<html")


def exclude_staged(connection: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the entries without staged files: those of live writers, and those that killed writers left.

    Parameters
    ----------
    connection : Connection
        To the service that was listed.
    entries : sequence of Entry
        From a list.

    Returns
    -------
    sequence of Entry
        The same object for services that stage no writes.
    """
    if not stages_writes(connection):
        return entries
    return [e for e in entries if not is_staged_name(e.path.rpartition("/")[2])]


async def list_directory(connection: Connection, key: str, *, refresh: bool = True) -> list[Info] | None:
    """List a directory.

    Parameters
    ----------
    connection : Connection
        To its service.
    key : str
        Key of the directory, without a trailing slash; empty for the root.
    refresh : bool
        Whether to ask storage also within `cache_ttl`.

    Returns
    -------
    list of dict or None
        Sorted by name; empty for a directory that exists and is empty; None when nothing shows that it
        exists.

    Raises
    ------
    NoContainerError
        When the container does not exist.
    FileNotFoundError
        When the root does not exist.
    """
    prefix = f"{key}/" if key else ""
    try:
        listed = await list_flat(connection, prefix, refresh=refresh)
    except NoContainerError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        if not key:
            raise
        return None
    # Some services list the file itself when they should list what is below it.
    entries = [e for e in listed if e.path.startswith(prefix)]
    if key and await _is_file_itself(connection, key, entries):
        return None
    children = (e for e in exclude_staged(connection, entries) if e.path not in (prefix, "/"))
    infos = [_child_info(connection, e) for e in children]
    if not entries and key:
        return None
    sort_infos(infos)
    return infos


async def list_flat(connection: Connection, prefix: str, *, refresh: bool) -> Sequence[Entry]:
    """List the keys that start with a prefix, and the directories, not what is in them."""
    start = prefix or "/"
    fetch = partial(connection.list, start)
    return await recorded.list_entries(connection, start, fetch, recursive=False, refresh=refresh) or []


def _child_info(connection: Connection, entry: Entry) -> Info:
    info = entry_info(connection, entry.path, entry.metadata)
    if is_link_to_directory(connection, entry):
        info["islink"] = True
    return info


async def _is_file_itself(connection: Connection, key: str, entries: Sequence[Entry]) -> bool:
    """Whether a list of what is below a key shows only a file of that key, which then is no directory.

    WebDAV servers list the file under its own name with a slash, FTP servers under its name in itself.
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
    """Whether directories exist by themselves, so that no name is both a file and a directory.

    Services that list a whole tree at once have flat keys. So have the stores in this process, some of which
    list by directory.
    """
    return connection.service.locality is not Locality.PROCESS and not connection.can("list_with_recursive")


def may_be_index(connection: Connection, data: bytes) -> bool:
    """Whether data may be a server's page about a directory rather than the content of a file."""
    if not data.startswith(b"<") or not keeps_directories(connection):
        return False
    return connection.service.locality is Locality.REMOTE and data[:16].lower().startswith(_INDEX_STARTS)


async def list_versions(connection: Connection, key: str) -> list[Info]:
    """List the versions of a file, the newest first; empty when there are none.

    OpenDAL does not show which version a read without a version returns: none if the file was removed.

    Raises
    ------
    UnsupportedError
        When the service keeps no versions.
    """
    connection.require("list_with_versions", "list the versions of a file")
    entries = [e for e in await connection.list(key, versions=True) or [] if e.path == key]
    infos = [entry_info(connection, key, e.metadata) for e in entries]
    # Services differ in their order, which is kept for versions of the same second.
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(infos, key=lambda info: info.get("LastModified", oldest), reverse=True)
