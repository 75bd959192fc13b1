"""The filesystem that DuckDB calls: blocking, in DuckDB's own threads, with few requests.

DuckDB calls from several worker threads at a time, and sometimes from a thread on which an event loop runs.
So nothing here waits for the event loop of the caller or of fsspec.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

from fsspec import AbstractFileSystem

from opendalfs import listing
from opendalfs.errors import UnsupportedError, redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.moves import move_object
from opendalfs.listing.info import Info
from opendalfs.read.reader import Reader
from opendalfs.read.version_cache import QUERY, VersionCache
from opendalfs.runtime import tasks
from opendalfs.services import Form
from opendalfs.storage.version import Version

from . import registered
from .callbacks import callback, watch_process
from .file_search import ABSENT, find_matches, stat_file
from .glob import is_pattern
from .locator import Locator
from .read_handle import ReadHandle
from .write_handle import WriteHandle, open_write

__all__ = ["DuckDBFileSystem"]

_WHOLE_CONTAINER: Final = "Not removed: the URL is that of a whole container. Add a key to it"


class DuckDBFileSystem(AbstractFileSystem):
    """A filesystem for ``con.register_filesystem``; its paths are URLs.

    Parameters
    ----------
    source : str, OpendalFileSystem or None
        A service (``"s3"``), a URL, or a filesystem of opendalfs; None for every service.
    name : str, optional
        Serve ``opendal+<name>://`` instead of ``opendal+<service>://``, so that several accounts of one
        service can be registered. The rest of the URL is a path of the source.
    schemes : iterable of str
        More URL schemes to serve. With ``"s3"``, this filesystem reads ``s3://`` URLs instead of httpfs.
    **options
        Options of the service, as for ``opendalfs.filesystem``.

    Raises
    ------
    OptionError
        For an unknown option; the error names the nearest known one.
    ValueError
        For an unknown service, and for a name or scheme that is no URL scheme.

    Notes
    -----
    Sizes, times and etags are cached for two seconds. Each query requests them again for the files that it
    names, so it sees earlier writes of others. `size`, `modified`, `isfile` and `open` alone may be two
    seconds out of date. A read of a file that has changed raises `ChangedError`.

    Examples
    --------
    >>> DuckDBFileSystem("memory").protocol
    ('opendal+memory', 'opendalmemory')
    >>> DuckDBFileSystem("memory", name="scratch", schemes=("mem",)).protocol
    ('opendal+scratch', 'mem')
    """

    cachable: ClassVar[bool] = False
    protocol: Any = ()

    def __init__(
        self,
        source: str | OpendalFileSystem | None = None,
        *,
        name: str | None = None,
        schemes: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        self.locator = Locator(source, name=name, schemes=schemes, **options)
        self.protocol = self.locator.protocols
        self._versions = VersionCache(QUERY)
        self._open_writes: WeakValueDictionary[str, WriteHandle] = WeakValueDictionary()
        watch_process()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.locator!r}, {self.protocol[0]}://)"

    def replace_source(self, other: DuckDBFileSystem) -> None:
        """Serve the source of another filesystem that has the same schemes. Open files keep theirs."""
        self._versions, self.locator = other._versions, other.locator

    # Lookup

    @callback
    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        """List the files that match a URL: by one stat, or for a pattern by one list.

        Parameters
        ----------
        path : str
            A URL, with DuckDB's wildcards.
        maxdepth : int, optional
            Not used: the pattern determines the depth.

        Returns
        -------
        list of str
            URLs in order; empty if no file matches, for which DuckDB has an error of its own.

        Raises
        ------
        UnsupportedError
            For a pattern if the service cannot list.
        """
        if registered.answer(self, path):
            return []
        before = self._versions.now()
        _, connection, key = self.locator.locate(path)
        matches = find_matches(path, connection, key) if is_pattern(key) else []
        if not matches and ("**" not in key or not is_pattern(key)):
            # A key may contain brackets, which do not match as a pattern.
            version = stat_file(connection, key)
            matches = [(path, version)] if version is not None else []
        self._versions.put_all(matches, before)
        return [url for url, _ in matches]

    def _version(self, url: str) -> Version:
        cached = self._versions.get(url)
        if cached is not None:
            return cached
        before = self._versions.now()
        _, connection, key = self.locator.locate(url)
        version = stat_file(connection, key)
        if version is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", redact(url))
        self._versions.put(url, version, before)
        return version

    @callback
    def info(self, path: str, **kwargs: Any) -> Info:
        """Return the info dict of a file or directory.

        Parameters
        ----------
        path : str
            Its URL.

        Returns
        -------
        dict
            ``name`` (URL), ``size`` (bytes), ``type``, and for a file ``LastModified``.

        Raises
        ------
        FileNotFoundError
            If there is neither a file nor a directory.
        """
        try:
            version = self._version(path)
        except FileNotFoundError:
            if not self.isdir(path):
                raise
            return {"name": path, "size": 0, "type": "directory"}
        return {"name": path, "size": version.size, "type": "file", "LastModified": version.modified}

    @callback
    def size(self, path: str) -> int:
        """Return the bytes of a file; of a new file that is open for writing, the bytes written so far."""
        try:
            return self._version(path).size
        except FileNotFoundError:
            handle = self._open_writes.get(path)
            if handle is None or handle.closed:
                raise
            return handle.tell()

    @callback
    def modified(self, path: str) -> datetime:
        """Return the time of the last write of a file, with a time zone.

        If the service stores no time, return the present: DuckDB's caches then never use a file again that
        may have changed.
        """
        return self._version(path).modified or datetime.now(UTC)

    @callback
    def isfile(self, path: str) -> bool:
        """Whether a file exists."""
        if self._versions.get(path) is not None:
            return True
        _, connection, key = self.locator.locate(path)
        return stat_file(connection, key) is not None

    @callback
    def isdir(self, path: str) -> bool:
        """Whether a directory exists; True for the root of any container, without a request."""
        _, connection, key = self.locator.locate(path)
        if not key:
            return True
        if not connection.can("list") and not connection.can("create_dir"):
            return False
        try:
            return connection.stat_blocking(f"{key}/").is_dir
        except ABSENT:
            return False

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether a file or a directory exists."""
        return self.isfile(path) or self.isdir(path)

    @callback
    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a directory. A missing one is empty: DuckDB lists it after a mkdir that does nothing.

        Parameters
        ----------
        path : str
            Its URL.
        detail : bool
            Whether to return dicts, or URLs only.

        Returns
        -------
        list of dict, or of str
            ``name`` (URL), ``size`` (bytes) and ``type``.

        Raises
        ------
        UnsupportedError
            If the service cannot list.
        """
        before = self._versions.now()
        _, connection, key = self.locator.locate(path)
        connection.require("list", "list")
        infos = tasks.run(listing.list_directory, connection, key) or []
        root = path.rstrip("/")
        entries = [(f"{root}/{str(info['name']).rpartition('/')[2]}", info) for info in infos]
        files = [(url, Version.from_info(info)) for url, info in entries if info["type"] == "file"]
        self._versions.put_all(files, before)
        if not detail:
            return [url for url, _ in entries]
        return [{"name": url, "size": info["size"], "type": info["type"]} for url, info in entries]

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a path; paths are URLs."""
        return name

    # Opening

    @callback
    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> ReadHandle | WriteHandle:
        """Open a file.

        Parameters
        ----------
        path : str
            Its URL.
        mode : {"rb", "wb", "xb", "ab"}
            Read, replace, create or append.

        Returns
        -------
        ReadHandle or WriteHandle

        Raises
        ------
        FileNotFoundError
            If there is no file to read.
        IsADirectoryError
            If the URL names a whole container.
        UnsupportedError
            For modes that change a file in place.
        """
        if mode == "rb":
            _, connection, key = self.locator.locate(path)
            return ReadHandle(Reader(connection, key, self._version(path)), path)
        if mode not in ("wb", "xb", "ab"):
            raise UnsupportedError(
                f"{redact(path)}: objects cannot be changed in place (mode {mode!r}). ATTACH databases with "
                "READ_ONLY.\nTo create one, write it to a local file and upload that."
            )
        return self._open_write(path, mode)

    def _open_write(self, path: str, mode: str) -> WriteHandle:
        _, connection, key = self.locator.locate(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        handle = open_write(connection, key, path, mode, partial(self._invalidate, path))
        self._open_writes[path] = handle
        return handle

    def _invalidate(self, url: str) -> None:
        self._versions.invalidate_below(url.rstrip("/"))
        self.locator.invalidate(url)

    @contextmanager
    def _changing(self, *changed: str) -> Iterator[None]:
        """Invalidate what is cached of URLs after the block; a change that failed may have been made."""
        try:
            yield
        finally:
            for url in changed:
                self._invalidate(url)

    # Changes

    @callback
    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Create a directory; do nothing on object stores, which have none."""
        _, connection, key = self.locator.locate(path)
        if key and connection.service.form is not Form.CONTAINER and connection.can("create_dir"):
            with self._changing(path):
                tasks.run(connection.create_dir, f"{key}/")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Create a directory and its parents."""
        self.mkdir(path)

    @callback
    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Create an empty file; with `truncate`, replace an existing one."""
        if not truncate and self.isfile(path):
            return
        _, connection, key = self.locator.locate(path)
        with self._changing(path):
            connection.write_blocking(key, b"")

    @callback
    def rm_file(self, path: str) -> None:
        """Remove a file; do nothing if it is missing.

        If the file is open for writing, only that write is discarded, and an existing file stays: DuckDB 1.5
        removes files after a failed COPY while they are still open.

        Raises
        ------
        IsADirectoryError
            If the URL names a whole container.
        """
        handle = self._open_writes.get(path)
        if handle is not None and handle.discard():
            return
        _, connection, key = self.locator.locate(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, _WHOLE_CONTAINER, redact(path))
        with self._changing(path):
            connection.delete_blocking(key)

    @callback
    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove a file; with `recursive`, a directory and all files below it.

        Raises
        ------
        IsADirectoryError, PermissionError
            If the URL names a whole container.
        """
        if recursive:
            _, connection, key = self.locator.locate(path)
            if not key:
                raise PermissionError(errno.EPERM, _WHOLE_CONTAINER, redact(path))
            with self._changing(path):
                tasks.run(connection.remove_all, f"{key}/")
            self._versions.clear()
            if not self.isfile(path):
                return
        self.rm_file(path)

    @callback
    def rmdir(self, path: str) -> None:
        """Remove an empty directory; do nothing on object stores, which have none."""
        _, connection, key = self.locator.locate(path)
        if key and connection.service.form is not Form.CONTAINER:
            with self._changing(path):
                connection.delete_blocking(f"{key}/")

    @callback
    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Move a file over another one: by a rename, a copy on the server, or a read and a write."""
        _, source, key1 = self.locator.locate(path1)
        _, target, key2 = self.locator.locate(path2)
        with self._changing(path1, path2):
            tasks.run(move_object, source, key1, target, key2)
