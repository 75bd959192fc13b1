"""Reads of whole files and of ranges, from one file or many."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

from opendalfs import listing
from opendalfs.errors import ChangedError, redact
from opendalfs.read import async_reader
from opendalfs.read.current_version import is_recorded
from opendalfs.read.plan import group_by_path, restore_order
from opendalfs.read.reader import Reader
from opendalfs.runtime import executor
from opendalfs.runtime.tasks import gather
from opendalfs.storage.version import Version

from .base import BaseFileSystem
from .directories import is_directory_only

__all__ = ["cat", "cat_file", "cat_ranges", "cat_ranges_blocking", "open_reader", "read_version"]

T = TypeVar("T")


def open_reader(fs: BaseFileSystem, path: str) -> Reader:
    """Return positioned reads of a file, of the version that a cached listing shows, if any."""
    return Reader(*fs.locate(path), fs.cached_version(path), partial(fs.invalidate_cache, path))


async def read_version(
    fs: BaseFileSystem,
    path: str,
    read: Callable[[Version | None], Awaitable[T]],
    version_id: str | None = None,
    may_repeat: Callable[[], bool] = lambda: True,
) -> T:
    """Read the version with an id, else the one that a cached listing shows, or the newest if that is gone.

    `read` is called with the version, None for the newest, and called again only if `may_repeat` returns
    True.
    """
    if version_id is not None:
        return await read(Version.from_info(await fs._info(path, version_id=version_id)))
    version = fs.cached_version(path)
    if version is not None:
        try:
            return await read(version)
        except (ChangedError, FileNotFoundError):
            fs.invalidate_cache(path)
            if not may_repeat():
                raise
    return await read(None)


async def cat(
    fs: BaseFileSystem, path: Any, *, recursive: bool, on_error: str, limit: int, **options: Any
) -> Any:
    """Read files whole; `OpendalFileSystem.cat` describes the parameters."""
    paths = await fs._expand_path(path, recursive=recursive)
    many = len(paths) >= async_reader.IN_FLIGHT

    async def read(path: str) -> Any:
        try:
            return await fs._cat_file(path, many=many, **options)
        except Exception as exc:
            if on_error == "raise":
                raise
            return exc

    contents = await gather(read, paths, limit)
    if paths == [fs._strip_protocol(path)] and not isinstance(path, list):
        return contents[0]
    pairs = zip(paths, contents, strict=True)
    return {name: data for name, data in pairs if on_error != "omit" or not isinstance(data, Exception)}


async def cat_file(
    fs: BaseFileSystem,
    path: str,
    start: int | None,
    end: int | None,
    version_id: str | None = None,
    many: bool = False,
) -> bytes:
    """Read a file, or one range of it; `OpendalFileSystem.cat_file` describes the parameters."""
    connection, key = fs.locate(path)

    async def read(version: Version | None) -> bytes:
        if start is None and end is None:
            return await async_reader.read_all(connection, key, version, many)
        return (await async_reader.read_some(connection, key, [(start, end)], version))[0]

    try:
        data = await read_version(fs, path, read, version_id)
    except OSError as exc:
        is_directory = False
        # The response to a HEAD has no text, so that its error would say less than that of a denied read.
        with suppress(OSError) if isinstance(exc, PermissionError) else nullcontext():
            is_directory = await is_directory_only(fs, path, exc)
        if is_directory:
            text = "Is a directory" if key else connection.no_key
            raise IsADirectoryError(errno.EISDIR, text, redact(path)) from None
        raise
    # A WebDAV server may answer with a page of the directory's entries.
    if version_id is None and listing.may_be_index(connection, data) and not await fs._isfile(path):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))
    return data


async def cat_ranges(
    fs: BaseFileSystem,
    paths: list[str],
    starts: Any,
    ends: Any,
    *,
    max_gap: int | None,
    limit: int,
    on_error: str,
    version_id: str | None,
) -> list[Any]:
    """Read many ranges of many files; `OpendalFileSystem.cat_ranges` describes the parameters."""
    groups = group_by_path(paths, starts, ends)

    async def read_ranges(path: str) -> list[Any]:
        ranges = [(start, end) for _, start, end in groups[path]]

        async def read(version: Version | None) -> list[bytes]:
            return await async_reader.read_some(*fs.locate(path), ranges, version, max_gap)

        try:
            return await read_version(fs, path, read, version_id)
        except Exception as exc:
            return [exc] * len(ranges)

    contents = await gather(read_ranges, groups, limit)
    return restore_order(groups, contents, len(paths), on_error)


def cat_ranges_blocking(
    fs: BaseFileSystem, paths: list[str], starts: Any, ends: Any, *, max_gap: int | None, on_error: str
) -> list[Any]:
    """Read many ranges of many files in threads, without the event loop."""
    groups = group_by_path(paths, starts, ends)

    def read_ranges(path: str) -> list[Any]:
        ranges = [(start, end) for _, start, end in groups[path]]
        pinned = fs.cached_version(path) is not None
        try:
            reader = open_reader(fs, path)
            pinned = pinned or is_recorded(reader.connection, reader.key)
            return reader.read_some(ranges, max_gap)
        except Exception as exc:
            if not pinned or not isinstance(exc, (ChangedError, FileNotFoundError)):
                return [exc] * len(ranges)
        # The version that the cached listing shows, or that was recorded, is gone.
        fs.invalidate_cache(path)
        return read_ranges(path)

    contents = [read_ranges(paths[0])] if len(groups) == 1 else executor.each(read_ranges, groups)
    return restore_order(groups, contents, len(paths), on_error)
