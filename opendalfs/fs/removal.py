"""Removals of files and trees, and the paths that must not be removed or moved."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from opendalfs import listing
from opendalfs.errors import redact
from opendalfs.listing.info import Info
from opendalfs.runtime.tasks import gather
from opendalfs.services import Form, Locality
from opendalfs.storage.connection import Connection

from .base import BaseFileSystem, must_refresh
from .directories import directory_exists, not_recursive, remove_directory

__all__ = ["check_removal", "remove_contents", "remove_file", "remove_listed", "remove_tree", "topmost"]

_DOTS: Final = frozenset({".", ".."})

_CONTAINER: Final = (
    "Refused: this is a whole container. To remove its content, pass its entries: fs.ls(path, detail=False)"
)
_DISK: Final = "Refused: this is the root of the disk. Pass a directory in it"


def check_removal(fs: BaseFileSystem, path: str | list[str], *, recursive: bool) -> None:
    """Raise PermissionError for paths that must not be removed or moved with all that is below them.

    They are the root of a container or of the disk, a pattern of nothing but ``*`` there, and paths that end
    in ``.`` or ``..``. An empty variable in a path is enough to name a whole bucket by accident, so a
    container is emptied only by naming its entries.
    """
    for one in path if isinstance(path, list) else [path]:
        connection, key = fs.locate(one)
        if one.rstrip("/").rpartition("/")[2] in _DOTS:
            raise PermissionError(
                errno.EPERM,
                "Refused: the path ends in '.' or '..'. Pass the name of the directory",
                redact(one),
            )
        everything = bool(key) and set(key) <= {"*", "/"}
        if everything or (recursive and _is_root(connection, key)):
            raise PermissionError(errno.EPERM, _refusal(connection), redact(one))


def _refusal(connection: Connection) -> str:
    is_disk = connection.service.form is Form.ABSOLUTE and _real(connection, "") == os.path.realpath("/")
    return _DISK if is_disk else _CONTAINER


def _is_root(connection: Connection, key: str) -> bool:
    if not key:
        return True
    if connection.service.form is not Form.ABSOLUTE or connection.is_link(key):
        # Of a link only the link itself is removed.
        return False
    # Links in the path may lead back to the root, or above it.
    root, target = _real(connection, ""), _real(connection, key)
    return os.path.commonpath([root, target]) == target


def _real(connection: Connection, key: str) -> str:
    return os.path.realpath(connection.local_path(key))


async def remove_file(fs: BaseFileSystem, path: str) -> None:
    """Remove a file, or a link itself; `OpendalFileSystem.rm_file` describes the errors."""
    connection, key = fs.locate(path)
    if not connection.is_link(key) and (await fs._info(path, must_refresh(fs, path)))["type"] == "directory":
        raise not_recursive(path, "rm")
    try:
        await connection.delete(key)
    finally:
        # A removal that failed may have removed something all the same.
        fs.invalidate_cache(path)


async def remove_tree(fs: BaseFileSystem, path: str) -> None:
    """Remove a file, a directory with all that is below it, or both if the path is both.

    `path` is never a pattern; of a link only the link is removed. Raises FileNotFoundError if nothing exists
    there, OSError if a part of the directory is left, PermissionError for the root of a container or of the
    disk.
    """
    path = fs._strip_protocol(path)
    check_removal(fs, path, recursive=True)
    connection, key = fs.locate(path)
    if connection.is_link(key):
        await fs._rm_file(path)
        return
    is_file, is_directory = await asyncio.gather(
        fs._isfile(path, refresh=True), directory_exists(connection, key)
    )
    if not is_file and not is_directory:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path))
    try:
        if is_directory:
            await connection.remove_all(f"{key}/")
            if listing.keeps_directories(connection) and connection.service.locality is Locality.REMOTE:
                await _remove_rest(connection, key, path)
        if is_file:
            await connection.delete(key)
    finally:
        fs.invalidate_cache(path)


async def remove_contents(fs: BaseFileSystem, path: str) -> None:
    """Remove all that is below a directory, also below the root; optionally the directory itself."""
    connection, key = fs.locate(path)
    try:
        if key and connection.service.locality is Locality.REMOTE and connection.can("list_with_recursive"):
            await connection.remove_all(f"{key}/")
            return
        # On flat keys a name may be listed both as a file and as a directory; `remove_tree` removes both.
        names = {info["name"]: None for info in await fs._ls(path, refresh=True)}
        await gather(partial(remove_tree, fs), list(names), fs.batch_size)
    finally:
        fs.invalidate_cache(path)


async def _remove_rest(connection: Connection, key: str, path: str) -> None:
    """Remove what `remove_all` left of a directory: on FTP that is each directory that holds no file."""
    if not await directory_exists(connection, key):
        return
    infos = await listing.list_tree(connection, key)
    folders = {f"{key}/"} | {f"{connection.key(i['name'])}/" for i in infos if i["type"] == "directory"}
    for info in infos:
        if info["type"] == "file":
            await connection.delete(connection.key(info["name"]))
    for folder in sorted(folders, key=len, reverse=True):
        await connection.delete(folder)
    if await directory_exists(connection, key):
        text = "The service did not remove all of this directory: list it, then remove it again"
        raise OSError(errno.ENOTEMPTY, text, redact(path))


async def remove_listed(fs: BaseFileSystem, listed: dict[str, Info | None], limit: int) -> list[str]:
    """Remove what was listed, and no file that was added since; return the removed paths.

    An info of None needs a request. A directory that still holds anything stays.
    """
    infos = [info or await fs._info(path) for path, info in listed.items()]
    removed = [info["name"] for info in infos if info["type"] == "file" or info.get("islink")]
    await gather(fs._rm_file, tuple(removed), limit)
    for info in sorted(infos, key=lambda info: -len(info["name"])):
        if info["type"] == "directory" and not info.get("islink") and await _can_remove(fs, info):
            # Where no object marks the directory, it is gone with its last file.
            with suppress(FileNotFoundError):
                await remove_directory(fs, info["name"])
                removed.append(info["name"])
    return removed


async def _can_remove(fs: BaseFileSystem, info: Info) -> bool:
    """Whether a directory is not implied by names of files only, and holds nothing."""
    return info.get("marker", True) and not await listing.list_directory(*fs.locate(info["name"]))


def topmost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are not below another of them."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
