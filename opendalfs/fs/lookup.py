"""Lookups: what exists at a path, and listings. Reads no content."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from fsspec.utils import tokenize

from opendalfs import listing
from opendalfs.errors import UnsupportedError, redact
from opendalfs.listing.info import Info
from opendalfs.read import recorded
from opendalfs.storage.connection import Connection

from .base import BaseFileSystem
from .directories import cache_tree, directory_exists
from .expansion import expand
from .read_options import check_read_options
from .walk import walk

__all__ = ["LookupFileSystem"]


class LookupFileSystem(BaseFileSystem):
    """The part of `OpendalFileSystem` that looks up paths and lists them."""

    async def _info(
        self, path: str, refresh: bool = False, version_id: str | None = None, **kwargs: Any
    ) -> Info:
        """Return the type, the size and the other metadata of a file or directory.

        Parameters
        ----------
        path : str
            A path or URL.
        refresh : bool
            Whether to ask the service even when a cached listing shows the path.
        version_id : str, optional
            Which version of a file; by default the newest.

        Returns
        -------
        dict
            ``name``, ``size`` (bytes) and ``type`` (``"file"`` or ``"directory"``). For a file also what the
            service returns of ``LastModified`` (with its time zone), ``ETag``, ``VersionId``, ``ContentType``
            and ``metadata``.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        OptionError
            For an unknown option.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe_file("info/a.txt", b"hello")
        >>> fs.info("info/a.txt")["size"], fs.info("info")["type"]
        (5, 'directory')
        """
        check_read_options(kwargs)
        path = self._strip_protocol(path)
        cached = None if refresh or version_id else self.cached_info(path)
        if cached is not None:
            return cached
        return await self._stored_info(path, refresh, version_id)

    async def _stored_info(self, path: str, refresh: bool, version_id: str | None = None) -> Info:
        """Return the info of a stripped path without a look at cached listings, as `info` does."""
        if not path:  # The root of all containers has no connection.
            return listing.directory_info(path)
        connection, key = self.locate(path)
        if not key:
            return await self._root_info(connection, path, refresh)
        try:
            if version_id:
                metadata = await connection.stat(key, version=version_id)
            else:
                metadata = await recorded.stat(connection, key, refresh, directories=True)
        except (FileNotFoundError, NotADirectoryError):
            if not await directory_exists(connection, key, refresh=refresh):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path)) from None
            return listing.directory_info(path)
        return listing.stat_info(connection, key, metadata)

    async def _root_info(self, connection: Connection, path: str, refresh: bool) -> Info:
        """Return the info of the root of a container."""
        return listing.directory_info(path)

    async def _object_version_info(self, path: str, **kwargs: Any) -> list[Info]:
        """Return the info of each version of a file, the newest first, as in s3fs.

        Parameters
        ----------
        path : str
            A path or URL.

        Returns
        -------
        list of dict
            As `info` returns them; ``VersionId`` is what reads take as ``version_id``.

        Raises
        ------
        FileNotFoundError
            If the file has no version.
        UnsupportedError
            If the service lists no versions.
        """
        infos = await listing.list_versions(*self.locate(path))
        if not infos:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path))
        return infos

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        """Whether a file or directory exists at a path; takes the options of `info`."""
        try:
            await self._info(path, **kwargs)
        except FileNotFoundError:
            return False
        return True

    async def _isdir(self, path: str, refresh: bool = False) -> bool:
        """Whether a path is a directory; False when nothing exists there. `refresh` is that of `info`."""
        path = self._strip_protocol(path)
        cached = None if refresh else self.cached_info(path)
        if cached is not None and cached["type"] == "directory":
            return True
        connection, key = self.locate(path)
        try:
            if not key:
                return bool((await self._root_info(connection, path, refresh))["type"] == "directory")
            return await directory_exists(connection, key, refresh=refresh)
        except FileNotFoundError:
            return False

    async def _isfile(self, path: str, refresh: bool = False) -> bool:
        """Whether a path is a file; False when nothing exists there. `refresh` is that of `info`."""
        path = self._strip_protocol(path)
        if path == self.root_marker:  # The root of all containers has no connection.
            return False
        cached = None if refresh else self.cached_info(path)
        if cached is not None:
            return bool(cached["type"] == "file")
        return await self._file_info(path, refresh) is not None

    async def _file_info(self, path: str, refresh: bool) -> Info | None:
        """Return the info of a file without a look at cached listings; None if there is no file."""
        connection, key = self.locate(path)
        if not key:
            return None
        try:
            metadata = await recorded.stat(connection, key, refresh)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return listing.stat_info(connection, key, metadata) if metadata.is_file else None

    async def _ls(self, path: str, detail: bool = True, refresh: bool = False, **kwargs: Any) -> list[Any]:
        """List a directory.

        Parameters
        ----------
        path : str
            A path or URL. For a file the list holds just the file.
        detail : bool
            Whether to return infos rather than names.
        refresh : bool
            Whether to ask the service even when the listing is cached.

        Returns
        -------
        list of dict, or of str
            As `info` returns them, or only their names; sorted by name.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        UnsupportedError
            If the service cannot list.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe({"ls/a.txt": b"hello", "ls/b/c.txt": b"world"})
        >>> fs.ls("ls", detail=False)
        ['ls/a.txt', 'ls/b']
        """
        path = self._strip_protocol(path)
        infos: list[Info] | None = None if refresh else self.dircache.get(path)
        if infos is None:
            infos = await self._list(path, refresh)
        return list(infos) if detail else sorted(info["name"] for info in infos)

    async def _list(self, path: str, refresh: bool) -> list[Info]:
        """List a directory without a look at cached listings."""
        connection, key = self.locate(path)
        connection.require("list", "list directories")
        invalidations = self.dircache.invalidations
        infos = await listing.list_directory(connection, key, refresh=refresh)
        if infos is None:
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                return [info]
            infos = []
        self.dircache.put(path, infos, invalidations)
        return infos

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str | None = "",
        refresh: bool = False,
        **kwargs: Any,
    ) -> Any:
        """List all files below a directory, with as few requests as the service allows.

        Parameters
        ----------
        path : str
            A path or URL. For a file the list holds just the file.
        maxdepth : int, optional
            Levels to go down; 1 for the directory's own entries, None for all.
        withdirs : bool
            Whether to list directories too.
        detail : bool
            Whether to return infos rather than names.
        prefix : str, optional
            List only paths that continue the directory's path, and a slash, with this.
        refresh : bool
            Whether to ask the service also within ``cache_ttl``.

        Returns
        -------
        list of str, or dict
            Names, sorted; with `detail` a dict of infos by name. Empty when nothing exists at the path.

        Raises
        ------
        ValueError
            If `maxdepth` is below 1.
        UnsupportedError
            If the service cannot list.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe({"find/a.txt": b"hello", "find/b/c.txt": b"world"})
        >>> fs.find("find")
        ['find/a.txt', 'find/b/c.txt']
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        connection.require("list", "list directories")
        invalidations = self.dircache.invalidations
        listed = await listing.list_tree(
            connection, key, prefix=prefix or "", maxdepth=maxdepth, refresh=refresh
        )
        if maxdepth is None and not prefix:
            cache_tree(self, path, listed, invalidations)
        elif maxdepth == 1 and not prefix and listed:
            infos = [listing.without_marker(info) for info in listed if info["name"] != path]
            self.dircache.put(path, infos, invalidations)
        if not listed and not prefix:
            file = await self._file_info(path, refresh)
            listed = [] if file is None else [file]
        found = {info["name"]: info for info in listed if withdirs and info["type"] == "directory"}
        found.pop(self.root_marker, None)
        # A name of both a file and a directory is listed as the file; `expand` also lists what is below it.
        files = {info["name"]: info for info in listed if info["type"] == "file"}
        for name in found.keys() & files.keys():
            files[name] = {**files[name], "is_prefix": True}
        found |= files
        return dict(sorted(found.items())) if detail else sorted(found)

    async def _expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
    ) -> list[str]:
        if assume_literal:
            return await super()._expand_path(path, recursive, maxdepth, True)  # type: ignore[no-any-return]
        return list(await expand(self, path, recursive, maxdepth, refresh=False))

    async def _walk(
        self, path: str, maxdepth: Any = None, topdown: bool = True, on_error: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield the names in each directory from a path on.

        Parameters
        ----------
        path : str
            A path or URL.
        maxdepth, topdown
            Levels to go down, None for all; and whether to yield a directory before those in it.
        on_error : {"omit", "raise"} or callable, optional
            What to do with an error of a listing: yield an empty directory, raise, or call this and yield an
            empty one. By default only a missing directory is empty. ``"omit"`` is fsspec's own default.

        Yields
        ------
        tuple of (str, list of str, list of str)
            The directory, and what is in it: directories, files. With ``detail=True``, dicts of infos.
        """
        async for item in walk(self, path, maxdepth, topdown, on_error, **kwargs):
            yield item

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Return the size in bytes of all files below a directory.

        Parameters
        ----------
        path : str
            A path or URL.
        total : bool
            Whether to return the sum rather than a dict of sizes by name.
        maxdepth : int, optional
            Levels to go down; None for all.

        Returns
        -------
        int or dict
            0, or empty, when nothing exists at the path.

        Raises
        ------
        UnsupportedError
            If the service cannot list.
        """
        infos = await self._find(path, maxdepth=maxdepth, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in infos.items()}
        return sum(sizes.values()) if total else sizes

    def lexists(self, path: str, **kwargs: Any) -> bool:
        """Whether a file, a directory or a link exists at a path; True for a link with a missing target."""
        connection, key = self.locate(path)
        return connection.is_link(key) or bool(self.exists(path, **kwargs))

    def modified(self, path: str, version_id: str | None = None, refresh: bool = False) -> datetime:
        """Return the time of the last write of a file.

        Parameters
        ----------
        path : str
            A path or URL.
        version_id : str, optional
            Which version; by default the newest.
        refresh : bool
            Whether to ask the service even when a cached listing shows the file.

        Returns
        -------
        datetime
            With its time zone.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        IsADirectoryError
            For a directory, as in s3fs: object stores keep no time for one.
        UnsupportedError
            If the service stores no modification times.
        """
        info = self.info(path, version_id=version_id, refresh=refresh)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "Is a directory: only files have a time", redact(path))
        when = info.get("LastModified")
        if when is None:
            raise UnsupportedError(f"the service {self.service.scheme} stores no modification times")
        return when  # type: ignore[no-any-return]

    def created(self, path: str) -> datetime:
        """Raise `UnsupportedError`: OpenDAL reports no creation times."""
        raise UnsupportedError("OpenDAL reports when an object was written, not when it was created")

    def checksum(self, path: str) -> int:
        """Return a number that changes when the file does; makes a request. A missing file raises."""
        info = self.info(path, refresh=True)
        state = (info.get("ETag"), info.get("VersionId"), info["size"], info.get("LastModified"))
        return int(tokenize(*state), 16)

    def ukey(self, path: str) -> str:
        """Return a string that changes when the file does; see `checksum`."""
        info = self.info(path, refresh=True)
        return str(tokenize(info.get("ETag"), info["size"], str(info.get("LastModified"))))
