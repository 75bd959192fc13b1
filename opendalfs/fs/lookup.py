"""What is where: paths, listings and infos of a filesystem. Nothing here moves content."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from glob import has_magic
from typing import Any, ClassVar, Protocol

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.json import FilesystemJSONEncoder
from fsspec.utils import stringify_path, tokenize

from opendalfs import urls
from opendalfs.credentials import settled
from opendalfs.errors import NoContainerError, OptionError, UnsupportedError, redact
from opendalfs.listing import info as listing
from opendalfs.listing.cache import Listings
from opendalfs.listing.info import Info
from opendalfs.options import check, is_secret, without_secrets
from opendalfs.read.version_cache import LISTED
from opendalfs.runtime import process
from opendalfs.services import Form, Home, Service, lookup
from opendalfs.storage import local_disk
from opendalfs.storage.connection import Connection
from opendalfs.storage.operators import connect

__all__ = ["Namespace"]

_MOST_REMEMBERED = 50_000
"""Entries that one find leaves in the listing cache at most; 50,000 take about 50 MB."""

_watching = threading.Lock()


class Watcher(Protocol):
    """Who remembers something of the files of a filesystem, other than its listings."""

    def changed(self, fs: Any, path: str | None) -> None:
        """Forget what was known of a stripped path and all below it; of all paths when None."""


class Namespace(AsyncFileSystem):
    """The half of `OpendalFileSystem` that tells what is where."""

    protocol: ClassVar[str | tuple[str, ...]] = "opendal"
    root_marker = ""
    # `mirror` does it, once a class rather than for each instance.
    mirror_sync_methods = False
    service: Service
    _bound = True
    _pid: int

    def __init__(
        self,
        scheme: str = "",
        *,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        use_listings_cache: bool | None = None,
        listings_expiry_time: float | None = LISTED.seconds,
        max_paths: int | None = None,
        **options: Any,
    ) -> None:
        self.service = lookup(scheme)
        native, self.tuning = check(self.service, options, container=self._bound)
        self.native = settled(self.service, native)
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
        )
        if use_listings_cache is None:
            # What is near costs next to nothing to ask, and other programs change it.
            use_listings_cache = self.service.home is Home.REMOTE
        self.dircache = Listings(use_listings_cache, listings_expiry_time, max_paths)
        self._watchers: tuple[weakref.ref[Watcher], ...] = ()
        if self._bound:
            # Bad options are told now, not at the first read.
            self.locate("")

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop; a forked child gets one of its own, or a clear error."""
        if self._pid != os.getpid():
            process.check_fork()
            self._pid = os.getpid()
            self._loop = get_loop()
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    @property
    def fsid(self) -> str:
        """Service, endpoint and root: the same for filesystems that see the same files."""
        parts = [self.service.scheme]
        parts += [f"{k}={redact(v)}" for k, v in sorted(self.native.items()) if not is_secret(k)]
        return ";".join(parts)

    def __repr__(self) -> str:
        """Show the service and its options, without secrets."""
        shown = [repr(self.service.scheme)] if self._bound else []
        for name, value in sorted(self.native.items()):
            shown.append(f"{name}={'***' if is_secret(name) else repr(redact(value))}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return what `from_json` makes the same filesystem of.

        Parameters
        ----------
        include_password : bool
            Whether to include passwords, keys, tokens and the names that go with them.

        Returns
        -------
        dict
        """
        found: dict[str, Any] = super().to_dict(include_password=include_password)
        if include_password:
            return found
        kept = without_secrets(self.service, self.storage_options, container=self._bound)
        rest = {name: value for name, value in found.items() if name not in self.storage_options}
        return {**rest, **FilesystemJSONEncoder().make_serializable(kept)}

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
        path = urls.join(self.service, self._container or container, (self._root + key).rstrip("/"))
        return urls.unstrip(self.service, path, self._endpoint)

    @property
    def _endpoint(self) -> str | None:
        return self.native.get(self.service.endpoint)

    @property
    def _container(self) -> str:
        if self.service.form is Form.ABSOLUTE:
            return "/"
        return self.native.get(self.service.container or "", "")

    @property
    def _root(self) -> str:
        """The root as the start of the keys below it."""
        root = self.native.get("root", "").strip("/")
        return f"{root}/" if root else ""

    def _split(self, path: str) -> tuple[str, str]:
        """Cut a stripped path into container and key."""
        if "://" not in path:
            return "", path
        found = urls.service_of(path)
        if found is None or found[0] is not self.service:
            raise ValueError(f"{redact(path)!r} is not a path of {self!r}")
        container, key = urls.split(self.service, urls.strip(self.service, path))
        root = self._root
        if container != self._container or not f"{key}/".startswith(root):
            raise ValueError(
                f"{redact(path)!r} is not within {self!r}: use "
                f"opendalfs.filesystem({self.service.scheme!r}), which serves all of the service"
            )
        return "", key[len(root) :]

    def check_server(self, url: str) -> None:
        """Raise for a URL that names another server than this filesystem's options.

        Parameters
        ----------
        url : str
            A path or URL; a path names no server.

        Raises
        ------
        ValueError
        """
        if not urls.serves(self.service, self._endpoint, url):
            raise ValueError(f"{redact(url)!r} is on another server than {self!r}")

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
        UnsupportedError
            For a URL with a query.
        """
        self.check_server(path)
        container, key = self._split(self._strip_protocol(path))
        urls.check_key(key, path)
        if "?" in key and self.service.queries:
            raise UnsupportedError(
                f"{redact(path.partition('?')[0])!r} is followed by '?': OpenDAL sends no query of a URL, "
                "so pre-signed URLs do not work. Open the https:// URL with fsspec's own filesystem"
            )
        return connect(self.service, self.native, self.tuning, container), key

    # What is there

    def _above(self, path: str) -> str:
        """Give the directory that holds a stripped path; the root is its own parent."""
        return path.rpartition("/")[0] or self.root_marker

    def _listed(self, path: str) -> Info | None:
        """Look a path up in the remembered listing of its directory."""
        return self.dircache.lookup(self._above(path), path)

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
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path)) from None
            return listing.directory(path)
        return listing.stat_info(connection, key, metadata)

    async def _root_info(self, connection: Connection, path: str) -> Info:
        return listing.directory(path)

    async def _is_folder(self, connection: Connection, key: str) -> bool:
        if not connection.can("list") and not connection.can("create_dir"):
            return False
        try:
            return (await connection.stat(f"{key}/")).is_dir
        except NoContainerError:
            # Says more than that the directory is missing.
            raise
        except (FileNotFoundError, NotADirectoryError):
            return False

    async def _object_version_info(self, path: str, **kwargs: Any) -> list[Info]:
        """Give the info of each version of a file, the newest first; ``VersionId`` is what reads take."""
        found = await listing.versions(*self.locate(path))
        if not found:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path))
        return found

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
        try:
            if not key:
                return bool((await self._root_info(connection, path))["type"] == "directory")
            return await self._is_folder(connection, key)
        except FileNotFoundError:
            return False

    async def _isfile(self, path: str) -> bool:
        path = self._strip_protocol(path)
        if path == self.root_marker:
            # Of all containers too, which has no connection to ask.
            return False
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
        invalidations = self.dircache.invalidations
        found = await listing.children(connection, key)
        if found is None:
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                return [info]
            found = []
        self.dircache.put(path, found, invalidations)
        return found

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str | None = "",
        **kwargs: Any,
    ) -> Any:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        connection.require("list", "list directories")
        invalidations = self.dircache.invalidations
        listed = await listing.tree(connection, key, prefix=prefix or "", maxdepth=maxdepth)
        if maxdepth is None and not prefix:
            self._remember(path, listed, invalidations)
        if not listed and not prefix and await self._isfile(path):
            listed = [await self._info(path)]
        found = {info["name"]: info for info in listed if withdirs and info["type"] == "directory"}
        found.pop(self.root_marker, None)
        # What is both, a file and a directory, is a file; `_expand` goes on to what lies below it.
        files = {info["name"]: info for info in listed if info["type"] == "file"}
        for name in found.keys() & files.keys():
            files[name] = {**files[name], "is_prefix": True}
        found |= files
        return dict(sorted(found.items())) if detail else sorted(found)

    def _remember(self, path: str, listed: list[Info], invalidations: int) -> None:
        """Keep a whole tree's listings, so that what follows a find asks nothing."""
        if not self.dircache.use_listings_cache or len(listed) > _MOST_REMEMBERED:
            return
        folders: dict[str, list[Info]] = {
            info["name"]: [] for info in listed if info["type"] == "directory" and not info.get("islink")
        }
        for info in listed:
            name = info["name"]
            if name != path:
                shown = listing.remembered(info) if "marker" in info else info
                folders.setdefault(self._above(name), []).append(shown)
        for folder, infos in folders.items():
            listing.sort(infos)
            self.dircache.put(folder, infos, invalidations)

    async def _expand(
        self, path: Any, recursive: bool, maxdepth: int | None, follow: bool = True
    ) -> dict[str, Info | None]:
        """Do what `_expand_path` does, and keep what listings told of each path.

        Links to directories are gone into to `follow` them, else they stand for themselves.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        found: dict[str, Info | None] = {}
        for one in [path] if isinstance(path, str) else path:
            plain = self._strip_protocol(one)
            depth = maxdepth
            below = [plain]
            if has_magic(plain):
                matched = await self._glob(one, maxdepth=maxdepth, detail=True)
                found |= matched
                below = [n for n, i in matched.items() if i["type"] == "directory" or i.get("is_prefix")]
                depth = None if maxdepth is None else maxdepth - 1
            elif not recursive:
                found.setdefault(plain, None)
            if recursive and depth != 0:
                for name in below:
                    for reached, info in (await self._reach(name, depth, follow)).items():
                        found.setdefault(reached, info)
        if not found:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", _shown(path))
        return dict(sorted(found.items()))

    async def _reach(
        self, path: str, maxdepth: int | None, follow: bool, way: Sequence[str] = ()
    ) -> dict[str, Info]:
        """Find with directories; and what links to directories lead to, or a link alone."""
        if not follow and self._is_link(path):
            return {path: {**listing.directory(path), "islink": True}}
        found: dict[str, Info] = await self._find(path, maxdepth=maxdepth, withdirs=True, detail=True)
        for link in [name for name, info in found.items() if follow and info.get("islink")]:
            levels = link.removeprefix(path).strip("/").count("/") + 1
            depth = None if maxdepth is None else maxdepth - levels
            if depth != 0:
                found |= await self._reach(link, depth, follow, local_disk.entered(*self.locate(link), way))
        return found

    def _is_link(self, path: str) -> bool:
        connection, key = self.locate(path)
        return connection.is_link(key)

    async def _expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
    ) -> list[str]:
        if assume_literal:
            return await super()._expand_path(path, recursive, maxdepth, True)  # type: ignore[no-any-return]
        return list(await self._expand(path, recursive, maxdepth))

    async def _walk(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        if kwargs.get("_below") and connection.is_link(key):
            return
        once = connection.can("list_with_recursive") and self.dircache.use_listings_cache
        if maxdepth is None and once and path not in self.dircache:
            # Fills the listing cache, from which the walk then reads; what fails, fails there too.
            with suppress(OSError):
                await self._find(path)
        # fsspec hands these on to the walks of the directories below.
        kwargs["_below"] = True
        async for item in super()._walk(path, maxdepth=maxdepth, **kwargs):
            yield item

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any) -> Any:
        found = await self._find(path, maxdepth=maxdepth, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def lexists(self, path: str, **kwargs: Any) -> bool:
        """Tell whether a path is there; a link is, wherever it leads."""
        return self._is_link(path) or bool(self.exists(path, **kwargs))

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
            path = self._strip_protocol(path)
            self.dircache.forget(path, *self._all_above(path))
            self.dircache.forget_below(path)
        super().invalidate_cache(path)
        for watcher in self._watchers:
            found = watcher()
            if found is not None:
                found.changed(self, path)

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody, for as long as he lives, of each change that is made by way of this filesystem."""
        with _watching:
            alive = tuple(ref for ref in self._watchers if ref() is not None)
            if all(ref() is not watcher for ref in alive):
                alive += (weakref.ref(watcher),)
            self._watchers = alive

    def _all_above(self, path: str) -> Iterator[str]:
        while path not in ("", self.root_marker):
            path = self._above(path)
            yield path

    def modified(self, path: str, version_id: str | None = None, refresh: bool = False) -> datetime:
        """Return the time of the last write, with its time zone.

        Parameters
        ----------
        path : str
            Of a file.
        version_id : str, optional
            A version of it; the newest one by default.
        refresh : bool
            Ask the service, whatever is remembered.

        Returns
        -------
        datetime

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        IsADirectoryError
            For a directory, as in s3fs: an object store keeps no time for it.
        UnsupportedError
            When the service keeps no times.
        """
        info = self.info(path, version_id=version_id, refresh=refresh)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "Is a directory: only files have a time", redact(path))
        when = info.get("LastModified")
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


def _shown(path: Any) -> str:
    """Give a path, or what stands for a list of them, for an error to name."""
    return redact(stringify_path(path)) if not isinstance(path, list) else ", ".join(map(_shown, path))
