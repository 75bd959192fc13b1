"""What is where: paths, listings and infos of a filesystem. Nothing here moves content."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, ClassVar

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.utils import stringify_path, tokenize

from . import lifecycle, listing, paths
from .errors import OptionError, UnsupportedError
from .listing import Info
from .operators import Connection, connect
from .options import check, is_secret
from .services import Service, lookup

__all__ = ["Namespace"]

_LISTINGS_EXPIRE = 30.0


class Namespace(AsyncFileSystem):
    """The half of `OpendalFileSystem` that tells what is where."""

    protocol: ClassVar[str | tuple[str, ...]] = "opendal"
    root_marker = ""
    service: Service
    _bound = True
    _pid: int

    def __init__(
        self,
        scheme: str,
        *,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        use_listings_cache: bool = True,
        listings_expiry_time: float | None = _LISTINGS_EXPIRE,
        max_paths: int | None = None,
        **options: Any,
    ) -> None:
        self.service = lookup(scheme)
        self.native, self.tuning = check(self.service, options, container=self._bound)
        if self._bound and self.service.container and self.service.container not in self.native:
            name = self.service.container
            raise OptionError(
                f"OpendalFileSystem({scheme!r}) needs {name}=; with "
                f"{self.service.class_name} the {name} is the first part of each path"
            )
        super().__init__(
            asynchronous=asynchronous,
            loop=loop,
            batch_size=batch_size or self.tuning.concurrency,
            use_listings_cache=use_listings_cache,
            listings_expiry_time=listings_expiry_time,
            max_paths=max_paths,
        )
        if self._bound:
            # Bad options are told now, not at the first read.
            self.locate("")

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop; a forked child gets one of its own, or a clear error."""
        if self._pid != os.getpid():
            lifecycle.check_fork()
            self._pid = os.getpid()
            self._loop = get_loop()
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    @property
    def fsid(self) -> str:
        """Service, endpoint and root: the same for filesystems that see the same files."""
        parts = [self.service.scheme]
        parts += [f"{k}={v}" for k, v in sorted(self.native.items()) if not is_secret(k)]
        return ";".join(parts)

    def __repr__(self) -> str:
        """Show the service and its options, without secrets."""
        shown = [repr(self.service.scheme)] if self._bound else []
        for name, value in sorted(self.native.items()):
            shown.append(f"{name}={'***' if is_secret(name) else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    # Paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        text = stringify_path(path)
        for mark in ("opendal://", "opendal::"):
            text = text.removeprefix(mark)
        return text if "://" in text else text.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        """Turn a path into a URL that finds it again, given the same options."""
        container, key = self._split(self._strip_protocol(name))
        root = self.native.get("root", "").strip("/")
        whole = posixpath.join(root, key) if root else key
        path = paths.join(self.service, self._container or container, whole)
        return paths.unstrip(self.service, path, self._endpoint)

    @property
    def _endpoint(self) -> str | None:
        return self.native.get("endpoint") or self.native.get("name_node")

    @property
    def _container(self) -> str:
        return self.native.get(self.service.container or "", "")

    def _split(self, path: str) -> tuple[str, str]:
        """Cut a stripped path into container and key."""
        if "://" not in path:
            return "", path
        found = paths.service_of(path)
        if found is None or found[0] is not self.service:
            raise ValueError(f"{path!r} is not a path of {self!r}")
        container, key = paths.split(self.service, paths.strip(self.service, path))
        if container != self._container:
            raise ValueError(
                f"{path!r} is not within {self!r}: use opendalfs.filesystem"
                f"({self.service.scheme!r}), which serves every {self.service.container}"
            )
        return "", key

    def locate(self, path: str) -> tuple[Connection, str]:
        """Give the connection and the key behind a path: the way to a `Reader` or `Writer`.

        Parameters
        ----------
        path : str
            A path or URL of this filesystem.

        Returns
        -------
        Connection
        str
            Without outer slashes; empty for the root of a container.

        Raises
        ------
        ValueError
            For a path that OpenDAL would take for another one.
        """
        container, key = self._split(self._strip_protocol(path))
        paths.check_key(key, path)
        return connect(self.service, self.native, self.tuning, container), key

    def _name(self, connection: Connection, key: str) -> str:
        return paths.join(self.service, connection.container, key)

    # What is there

    def _listed(self, path: str) -> Info | None:
        """Look a path up in the remembered listing of its directory."""
        try:
            siblings = self.dircache[paths.parent(self.service, path)]
        except KeyError:
            return None
        same = [info for info in siblings if info["name"] == path]
        files = [info for info in same if info["type"] == "file"]
        found: Info | None = (files or same or [None])[0]
        return found

    async def _info(
        self, path: str, refresh: bool = False, version_id: str | None = None, **kwargs: Any
    ) -> Info:
        path = self._strip_protocol(path)
        known = None if refresh or version_id else self._listed(path)
        if known is not None:
            return known
        connection, key = self.locate(path)
        if not key:
            return await self._root_info(connection, path)
        options = {"version": version_id} if version_id else {}
        try:
            metadata = await connection.stat(key, **options)
        except (FileNotFoundError, NotADirectoryError):
            if not await self._is_folder(connection, key):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path) from None
            return listing.directory(path)
        return listing.stat_info(connection, key, metadata)

    async def _root_info(self, connection: Connection, path: str) -> Info:
        return listing.directory(path)

    async def _is_folder(self, connection: Connection, key: str) -> bool:
        if not connection.can("list") and not connection.can("create_dir"):
            return False
        try:
            return (await connection.stat(f"{key}/")).is_dir
        except (FileNotFoundError, NotADirectoryError):
            return False

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        try:
            await self._info(path, **kwargs)
        except FileNotFoundError:
            return False
        return True

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path)
        known = self._listed(path)
        if known is not None and known["type"] == "directory":
            return True
        connection, key = self.locate(path)
        if not key:
            try:
                return (await self._root_info(connection, path))["type"] == "directory"
            except FileNotFoundError:
                return False
        return await self._is_folder(connection, key)

    async def _isfile(self, path: str) -> bool:
        path = self._strip_protocol(path)
        known = self._listed(path)
        if known is not None:
            is_file: bool = known["type"] == "file"
            return is_file
        connection, key = self.locate(path)
        if not key:
            return False
        try:
            return (await connection.stat(key)).is_file
        except (FileNotFoundError, NotADirectoryError):
            return False

    async def _ls(self, path: str, detail: bool = True, refresh: bool = False, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found: list[Info] | None = None
        if not refresh:
            try:
                found = self.dircache[path]
            except KeyError:
                found = None
        if found is None:
            found = await self._list(path)
        return list(found) if detail else sorted(info["name"] for info in found)

    async def _list(self, path: str) -> list[Info]:
        connection, key = self.locate(path)
        connection.require("list", "list directories")
        found = await listing.children(connection, key)
        if found is None:
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                return [info]
            found = []
        self.dircache[path] = found
        return found

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        connection.require("list", "list directories")
        found, exists = await listing.tree(connection, key, prefix=prefix, maxdepth=maxdepth)
        if exists and maxdepth is None and not prefix:
            self._remember(path, found)
        if not withdirs:
            found = {name: info for name, info in found.items() if info["type"] != "directory"}
        elif path and (exists or prefix) and path != self.root_marker:
            found[path] = listing.directory(path)
        if not exists and not prefix and await self._isfile(path):
            found = {path: await self._info(path)}
        return dict(sorted(found.items())) if detail else sorted(found)

    def _remember(self, path: str, found: dict[str, Info]) -> None:
        """Keep a whole tree's listings, so that what follows a find asks nothing."""
        if not self.dircache.use_listings_cache:
            return
        folders: dict[str, list[Info]] = {path: []}
        for name, info in found.items():
            if info["type"] == "directory":
                folders.setdefault(name, [])
            folders.setdefault(name.rpartition("/")[0] or self.root_marker, []).append(info)
        for folder, infos in folders.items():
            infos.sort(key=lambda info: str(info["name"]))
            self.dircache[folder] = infos

    async def _walk(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        path = self._strip_protocol(path)
        connection, _ = self.locate(path)
        if maxdepth is None and connection.can("list_with_recursive"):
            # Fills the listing cache, from which the walk then reads.
            await self._find(path)
        async for item in super()._walk(path, maxdepth=maxdepth, **kwargs):
            yield item

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any) -> Any:
        found = await self._find(path, maxdepth=maxdepth, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings.

        Parameters
        ----------
        path : str, optional
            Forget those that show it, and those below it; all of them when None.
        """
        if path is None:
            self.dircache.clear()
        else:
            self._forget(self._strip_protocol(path))
        super().invalidate_cache(path)

    def _forget(self, path: str) -> None:
        below = path + "/"
        for folder in [f for f in self.dircache if f == path or f.startswith(below)]:
            self.dircache.pop(folder, None)
        while path:
            above = paths.parent(self.service, path)
            self.dircache.pop(above, None)
            if above == path:
                break
            path = above

    def modified(self, path: str) -> datetime:
        """Give the time of the last write, with its time zone.

        Raises
        ------
        UnsupportedError
            When the service keeps no times.
        """
        when = self.info(path).get("LastModified")
        if when is None:
            raise UnsupportedError(f"the service {self.service.scheme} keeps no times")
        return when  # type: ignore[no-any-return]

    def created(self, path: str) -> datetime:
        """Raise: OpenDAL tells no creation times."""
        raise UnsupportedError("OpenDAL tells when an object was written, not when it was created")

    def checksum(self, path: str) -> int:
        """Give a number that changes when the file does."""
        info = self.info(path, refresh=True)
        told = (info.get("ETag"), info.get("VersionId"), info["size"], info.get("LastModified"))
        return int(tokenize(*told), 16)

    def ukey(self, path: str) -> str:
        """Give a string that changes when the file does."""
        info = self.info(path, refresh=True)
        return str(tokenize(info.get("ETag"), info["size"], str(info.get("LastModified"))))
