"""Moves of objects, files and trees: by a rename if the service supports it, else by a copy and a removal."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import timedelta
from glob import has_magic
from typing import Any, Final

from opendalfs.errors import redact
from opendalfs.listing.info import Info
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes

from .base import BaseFileSystem
from .copies import CopyJob, copy_listed, copy_object, plan_copies, target_paths
from .directories import is_directory_only, is_empty, not_recursive
from .expansion import list_tree
from .removal import check_removal, remove_listed

__all__ = ["may_be_same_file", "move", "move_file", "move_object"]

_TIMES_IN_MINUTES: Final = frozenset({"ftp"})
"""Services whose times are too inexact, and may be of another time zone."""


def may_be_same_file(source: Info, target: Info, services: set[str]) -> bool:
    """Whether two files of several filesystems may be one: a server or a disk may have several names.

    A move copies and then removes the source, which would be the only file.

    Parameters
    ----------
    source, target : dict
        Their infos; that of a missing target is empty.
    services : set of str
        The services of both.

    Returns
    -------
    bool
        Whether both are files of one size, and not known to be of different times.
    """
    if not target or {source["type"], target["type"]} != {"file"} or source["size"] != target["size"]:
        return False
    times = source.get("LastModified"), target.get("LastModified")
    if not times[0] or not times[1] or services & _TIMES_IN_MINUTES:
        return True
    return bool(abs(times[0] - times[1]) < timedelta(seconds=1))


async def move_object(source: Connection, key: str, target: Connection, target_key: str) -> None:
    """Move an object and replace what is at the target; if the copy fails, the source is still there."""
    if source is target and key == target_key:
        return
    if source is target and source.can("rename") and await _renamed(source, key, target_key):
        return
    await copy_object(source, key, target, target_key)
    await source.delete(key)


async def _renamed(connection: Connection, key: str, target_key: str) -> bool:
    """Rename; return False when the target is on another disk, so that the content must be copied."""
    try:
        await connection.rename(key, target_key)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        return False
    return True


async def move_file(fs: BaseFileSystem, source: str, target: str, *, into_directory: bool) -> bool:
    """Move a file, or a link itself, and replace the file at the target; return False for a directory.

    `into_directory`: a target that is a directory, or ends in a slash, takes the file in under its own name,
    as in fsspec. Otherwise the target is the new path itself.
    """
    connection, key = fs.locate(source)
    # A rename would take directories too; a copy fails by itself when the file is missing.
    renames = connection.can("rename") and not connection.is_link(key)
    if not key or (renames and not await fs._isfile(source, refresh=True)):
        await fs._info(source)
        return False
    if into_directory and (target.endswith("/") or await fs._isdir(target, refresh=True)):
        target = f"{target.rstrip('/')}/{fs._strip_protocol(source).rpartition('/')[2]}"
    place = fs.locate_for_writing(target)
    if place == (connection, key):
        await fs._info(source)
        return True
    try:
        await move_object(connection, key, *place)
    except OSError as exc:
        # Where the service renames, the source is a file, or a link, which may lead to a directory.
        if connection.can("rename") or not await is_directory_only(fs, source, exc):
            raise
        return False
    finally:
        fs.invalidate_cache(source)
        fs.invalidate_cache(target)
    return True


async def move(
    fs: BaseFileSystem,
    source: str | list[str],
    target: str | list[str],
    *,
    recursive: bool = True,
    maxdepth: int | None = None,
    literal: bool = False,
    limit: int | None = None,
) -> None:
    """Move files and, if `recursive`, directories with all that is below them, `maxdepth` levels deep.

    `limit`: largest number of moves at a time; by default the filesystem's `batch_size`.

    Paths mean what they mean in fsspec: a source may be a pattern, and a target that is a directory takes in
    what is moved. If `literal` they are single names, as in pyarrow: a file replaces a file, a directory
    replaces an empty directory, and nothing else is replaced.

    Raises
    ------
    FileNotFoundError
        If there is nothing at a source.
    IsADirectoryError
        If a source is a directory and not `recursive`; if `literal` and a file would replace a directory.
    NotADirectoryError
        If `literal` and a directory would replace a file.
    OSError
        If a directory would be moved into itself, two paths would become one, or, if `literal`, the target
        is a directory that is not empty.
    PermissionError
        For a whole container, unless `literal`.
    """
    if recursive and not literal:
        # A pattern loses nothing: what it matches is moved.
        listed = source if isinstance(source, list) else [source]
        check_removal(fs, [one for one in listed if not has_magic(one)], recursive=True)
    if isinstance(source, str) and isinstance(target, str) and (literal or not has_magic(source)):
        if literal:
            moved = await _move_literal_file(fs, source, target)
        else:
            moved = await move_file(fs, source, target, into_directory=True)
        if moved:
            return
        if not recursive:
            raise not_recursive(source, "mv")
        if maxdepth is None and await _rename_directory(fs, source, target, literal):
            return
    if literal:
        jobs = await _plan_literal(fs, str(source), str(target))
    else:
        jobs = await plan_copies(fs, source, target, recursive, maxdepth, follow=False)
    await _move_listed(fs, jobs, limit or fs.batch_size)


async def _move_literal_file(fs: BaseFileSystem, source: str, target: str) -> bool:
    """Move a file to a path itself; False for a directory that can be moved there, else raise."""
    if fs.locate(source) == fs.locate(target):
        await fs._info(source, refresh=True)
        return True
    if not await fs._isdir(target, refresh=True):
        if await move_file(fs, source, target, into_directory=False):
            return True
    elif (await fs._info(source, refresh=True))["type"] == "file":
        raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(target))
    _check_outside(fs, source, target)
    if await fs._isfile(target, refresh=True):
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(target))
    if not await is_empty(fs, target):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", redact(target))
    return False


async def _plan_literal(fs: BaseFileSystem, source: str, target: str) -> list[CopyJob]:
    infos = await list_tree(fs, source, None, follow=False)
    return [CopyJob(path, target + path[len(source) :], info) for path, info in infos.items()]


async def _rename_directory(fs: BaseFileSystem, source: str, target: str, literal: bool) -> bool:
    """Rename a directory of a local disk, with its links; False when it must be moved file by file."""
    connection, key = fs.locate(source)
    if not key or not stages_writes(connection):
        return False
    if not literal:
        target = (await target_paths(fs, source, [fs._strip_protocol(source)], target))[0]
        _check_outside(fs, source, target)
        if await fs._exists(target, refresh=True):
            return False
    try:
        return await _renamed(connection, key, fs.locate_for_writing(target)[1])
    finally:
        fs.invalidate_cache(source)
        fs.invalidate_cache(target)


async def _move_listed(fs: BaseFileSystem, jobs: Sequence[CopyJob], limit: int) -> None:
    """Copy what was listed, then remove just that: what another writer adds meanwhile stays."""
    for job in jobs:
        if job.is_directory:
            _check_outside(fs, job.source, job.target)
    jobs = await _without_unmoved(fs, jobs)
    links: list[CopyJob] = []
    rest: list[CopyJob] = []
    for job in jobs:
        connection, key = fs.locate(job.source)
        (links if connection.is_link(key) else rest).append(job)
    await copy_listed(fs, rest, limit, ignore_missing=False, directories=True)
    for job in links:
        await move_file(fs, job.source, job.target, into_directory=True)
    await remove_listed(fs, {job.source: job.info for job in rest}, limit)


async def _without_unmoved(fs: BaseFileSystem, jobs: Sequence[CopyJob]) -> list[CopyJob]:
    """Leave out jobs whose target is their source, and refuse those that would overwrite another source.

    A path that stays where it is must not be removed after the copies.
    """
    places = [(fs.locate(job.source), fs.locate(job.target)) for job in jobs]
    moving = [job for job, (source, target) in zip(jobs, places, strict=True) if source != target]
    for job, (source, target) in zip(jobs, places, strict=True):
        if source == target:
            await fs._info(job.source)
    taken = {source for source, _ in places}
    for job in moving:
        place = fs.locate(job.target)
        if place in taken and not job.is_directory:
            text = "Refused: the target is itself to be moved, or is the target of another move"
            raise OSError(errno.EINVAL, text, redact(job.source), None, redact(job.target))
        taken.add(place)
    return moving


def _check_outside(fs: BaseFileSystem, source: Any, target: Any) -> None:
    """Raise when a directory would be moved into itself."""
    source, target = fs._strip_protocol(source), fs._strip_protocol(target)
    if source == fs.root_marker or f"{target}/".startswith(f"{source}/"):
        raise OSError(
            errno.EINVAL, "A directory cannot be moved into itself", redact(source), None, redact(target)
        )
