"""Changes to what is where: directories are made and removed, files deleted, copied and moved."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from fsspec.utils import stringify_path

from opendalfs.errors import UnsupportedError, redact
from opendalfs.listing import info as listing
from opendalfs.listing.info import Info
from opendalfs.read.async_reader import gather
from opendalfs.services import Home
from opendalfs.storage.connection import Connection
from opendalfs.write.staging import remove_leftovers

from .copies import copy_file, copy_listed, plan_copies
from .lookup import Namespace
from .moves import move
from .removal import check_removal

__all__ = ["Layout"]


class Layout(Namespace):
    """The part of `OpendalFileSystem` that changes names, and content only by copying it."""

    def _writable(self, path: str) -> tuple[Connection, str]:
        connection, key = self.locate(path)
        connection.require("write", "write")
        if not key:
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        return connection, key

    # Directories

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if await self._exists(path, refresh=True):
            raise FileExistsError(errno.EEXIST, "File exists", redact(path))
        if not create_parents and not await self._isdir(self._above(path)):
            raise FileNotFoundError(errno.ENOENT, "The directory above does not exist", redact(path))
        await self._create(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        if not exist_ok:
            await self._mkdir(path)
        elif not await self._isdir(path):
            await self._create(path)

    async def _create(self, path: str) -> None:
        connection, key = self.locate(path)
        if not key:
            raise UnsupportedError(
                f"OpenDAL cannot create {redact(path)!r}: create it with the service's own tools"
            )
        # Stores that keep no directories need none: a name with slashes is enough.
        if connection.can("create_dir"):
            await connection.create_dir(f"{key}/")
            self.invalidate_cache(path)

    async def _rmdir(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        if not key:
            raise UnsupportedError(
                f"OpenDAL cannot remove {redact(path)!r}: remove it with the service's own tools"
            )
        connection.require("list", "tell whether a directory is empty")
        found = await listing.children(connection, key)
        if found:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", redact(path))
        # Some servers list a file as an empty directory, and delete it by a directory's name.
        doubtful = found is None or listing.keeps_directories(connection)
        if doubtful and not await self._is_folder(connection, key):
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(path))
        remove_leftovers(connection, key)
        await connection.delete(f"{key}/")
        self.invalidate_cache(path)

    # Removing

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        connection, key = self.locate(path)
        if not connection.is_link(key) and (await self._info(path))["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "Is a directory: pass recursive=True to rm()", redact(path))
        await connection.delete(key)
        self.invalidate_cache(path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Remove files and trees; return the paths removed, where a whole tree is named by its root."""
        limit = batch_size or self.batch_size
        path = _paths(path)
        self._check_removal(path, recursive)
        if maxdepth is not None:
            found = await self._expand(path, recursive, maxdepth, follow=False)
            return await self._rm_listed(found, limit)
        # Globs are resolved; a directory is removed by its prefix, not by its files.
        named = await self._expand_path(path, recursive=False)
        if recursive:
            named = _topmost(named)
        await gather(self._rm_tree if recursive else self._rm_file, named, limit)
        return named

    def _check_removal(self, path: str | list[str], recursive: bool) -> None:
        """Raise for paths that must not be removed or moved, before anything is."""
        for one in path if isinstance(path, list) else [path]:
            check_removal(*self.locate(one), one, recursive=recursive)

    async def _rm_listed(self, found: dict[str, Info | None], limit: int) -> list[str]:
        infos = [info or await self._info(path) for path, info in found.items()]
        removed = [info["name"] for info in infos if info["type"] == "file" or info.get("islink")]
        await gather(self._rm_file, tuple(removed), limit)
        for info in sorted(infos, key=lambda info: -len(info["name"])):
            # What was not listed keeps its directory.
            if info["type"] == "directory" and not info.get("islink") and await self._is_empty(info):
                # On some flat keys it went with its last file.
                with suppress(FileNotFoundError):
                    await self._rmdir(info["name"])
                    removed.append(info["name"])
        return removed

    async def _is_empty(self, info: Info) -> bool:
        """Tell whether a directory is there and holds nothing: on flat keys it goes with its last file."""
        return info.get("marker", True) and not await listing.children(*self.locate(info["name"]))

    async def _rm_tree(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        check_removal(connection, key, path, recursive=True)
        if connection.is_link(key):
            await self._rm_file(path)
            return
        is_file, is_folder = await asyncio.gather(self._isfile(path), self._is_folder(connection, key))
        if not is_file and not is_folder:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path))
        if is_folder:
            await connection.remove_all(f"{key}/")
            if listing.keeps_directories(connection) and connection.service.home is Home.REMOTE:
                await self._remove_rest(connection, key, path)
        if is_file:
            await connection.delete(key)
        self.invalidate_cache(path)

    async def _remove_rest(self, connection: Connection, key: str, path: str) -> None:
        """Remove what `remove_all` left of a directory: on FTP that is each directory that holds no file.

        Raises
        ------
        OSError
            When the directory is still there afterwards.
        """
        if not await self._is_folder(connection, key):
            return
        found = await listing.tree(connection, key)
        folders = {f"{key}/"} | {f"{connection.key(i['name'])}/" for i in found if i["type"] == "directory"}
        for info in found:
            if info["type"] == "file":
                await connection.delete(connection.key(info["name"]))
        for folder in sorted(folders, key=len, reverse=True):
            await connection.delete(folder)
        if await self._is_folder(connection, key):
            says = "The service left a part of this directory: list it, then remove it again"
            raise OSError(errno.ENOTEMPTY, says, redact(path))

    # Copying and moving

    async def _copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        on_error: str | None = None,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy by fsspec's rules, without a request for what the listing of the source shows already."""
        jobs = await plan_copies(self, path1, path2, recursive, maxdepth, follow=True)
        ignore_missing = on_error == "ignore" or (on_error is None and recursive)
        # A single path that turns out to be a directory is left out, as in fsspec.
        directories = not isinstance(path1, str)
        limit = batch_size or self.batch_size
        await copy_listed(self, jobs, limit, ignore_missing=ignore_missing, directories=directories)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        if not await copy_file(self, path1, path2):
            await self._makedirs(path2, exist_ok=True)

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        await move(self, _paths(path1), _paths(path2), recursive=recursive, maxdepth=maxdepth)

    async def _mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        await move(self, path1, path2, recursive=False)


def _paths(path: Any) -> str | list[str]:
    """Return one path or several as strings, whatever kind of path or collection they come as."""
    one = stringify_path(path)
    return one if isinstance(one, str) else [stringify_path(each) for each in path]


def _topmost(found: Iterable[str]) -> list[str]:
    """Leave out what lies below another of them."""
    kept: list[str] = []
    for path in sorted(found, key=lambda path: path.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
