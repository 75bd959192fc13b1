"""File infos for pyarrow: stats of many paths, and listings of directories."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from functools import partial
from typing import Final

import pyarrow.fs as pafs

from opendalfs import listing
from opendalfs.errors import redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.listing.info import Info
from opendalfs.read import recorded
from opendalfs.runtime import tasks
from opendalfs.runtime.tasks import gather

from .file_cache import FileCache
from .paths import PathResolver

__all__ = ["FileInfoReader"]

_CONCURRENT_STATS: Final = 256


class FileInfoReader:
    """Reads file infos for pyarrow, and keeps them for the opens that follow.

    Parameters
    ----------
    paths : PathResolver
        Resolves pyarrow's paths.
    cache : FileCache
        Keeps what storage answers.
    """

    def __init__(self, paths: PathResolver, cache: FileCache) -> None:
        self._paths = paths
        self._cache = cache

    def get(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Return the infos of many paths, which are requested concurrently."""
        # A caller that requests a single path is likely to list it next.
        stat = partial(self._get, list_below=len(paths) == 1)
        return tasks.run(gather, stat, list(paths), _CONCURRENT_STATS)

    def type_of(self, path: str) -> pafs.FileType:
        """Return whether a path is a file, a directory or neither, without a listing."""
        return tasks.run(self._get, path, list_below=False).type

    async def _get(self, path: str, list_below: bool) -> pafs.FileInfo:
        fs, stripped = self._paths.resolve(path)
        key = self._paths.full_path(fs, stripped)
        if key in self._cache.directories:
            return pafs.FileInfo(path, pafs.FileType.Directory)
        try:
            if list_below:
                info = await self._stat_and_list(fs, stripped)
            else:
                info = await fs._stored_info(stripped, refresh=False)
        except (FileNotFoundError, NotADirectoryError):
            self._cache.invalidate(key)
            return pafs.FileInfo(path, pafs.FileType.NotFound)
        self._cache.add(key, info)
        return _file_info(path, info)

    async def _stat_and_list(self, fs: OpendalFileSystem, stripped: str) -> Info:
        """Stat a path; if its name has no suffix, list what is below it at the same time."""
        connection, key = fs.locate(stripped)
        known = recorded.recorded_stat(connection, f"{key}/") is not None
        if not key or known or "." in key.rpartition("/")[2] or not connection.can("list_with_recursive"):
            return await fs._stored_info(stripped, refresh=False)
        directories = self._cache.directories
        invalidations = directories.invalidations
        started = recorded.begin(connection)
        stat, below = await asyncio.gather(
            recorded.stat(connection, key),
            listing.list_single_page(connection, key, refresh=False),
            return_exceptions=True,
        )
        if not isinstance(stat, BaseException):
            return listing.stat_info(connection, key, stat)
        for error in (stat, below):
            if isinstance(error, (ConnectionError, TimeoutError)):
                # Another request would take as long again.
                raise error
        if not isinstance(stat, FileNotFoundError) or isinstance(below, BaseException) or below == []:
            # Only this finds an empty directory, or raises the error of the failed request.
            return await fs._stored_info(stripped, refresh=False)
        if below is not None:
            directories.add_tree(self._paths.full_path(fs, stripped), below, invalidations)
        recorded.keep_directory(connection, key, started)
        return listing.directory_info(stripped)

    def add(self, fs: OpendalFileSystem, info: Info) -> pafs.FileInfo:
        """Keep an entry of a listing, and return it as pyarrow's."""
        path = self._paths.full_path(fs, info["name"])
        self._cache.add(path, info)
        return _file_info(path, info)

    def select(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """Return the infos of the entries of a directory, or of all below it, with one listing.

        Raises
        ------
        NotADirectoryError
            For a file.
        FileNotFoundError
            For a directory that does not exist, unless the selector allows that.
        """
        fs, directory = self._paths.resolve(selector.base_dir)
        found = tasks.run(self._list, fs, directory, selector.recursive)
        if not found:
            self._check_directory(selector)
        found.sort(key=lambda info: str(info["name"]))
        infos = [self.add(fs, info) for info in found]
        self._cache.order.add([info.path for info in infos if info.type == pafs.FileType.File])
        return infos

    def _check_directory(self, selector: pafs.FileSelector) -> None:
        kind = self.get([selector.base_dir])[0].type
        if kind == pafs.FileType.File:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(selector.base_dir))
        if kind == pafs.FileType.NotFound and not selector.allow_not_found:
            raise FileNotFoundError(errno.ENOENT, "No such directory", redact(selector.base_dir))

    async def _list(self, fs: OpendalFileSystem, directory: str, recursive: bool) -> list[Info]:
        """Return the entries below a directory; an empty list for a file and for a missing path."""
        try:
            if recursive:
                found = self._cache.directories.take_tree(self._paths.full_path(fs, directory))
                if found is None:
                    found = list((await fs._find(directory, withdirs=True, detail=True)).values())
            else:
                found = await fs._list(directory, refresh=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [info for info in found if info["name"] != directory]


def _file_info(path: str, info: Info) -> pafs.FileInfo:
    if info["type"] == "directory":
        return pafs.FileInfo(path, pafs.FileType.Directory)
    return pafs.FileInfo(path, pafs.FileType.File, size=info["size"], mtime=info.get("LastModified"))
