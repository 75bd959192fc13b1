"""The filesystem that DuckDB calls: synchronous, in DuckDB's own threads, with few requests.

DuckDB calls from its worker threads, several at a time, and now and then from a thread on which an event
loop runs, so nothing here waits for an event loop of the caller's or of fsspec.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

from fsspec import AbstractFileSystem

from opendalfs import listing, urls
from opendalfs.errors import UnsupportedError, redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.moves import move_object
from opendalfs.listing.info import Info
from opendalfs.read.reader import Reader
from opendalfs.read.version_cache import QUERY, VersionCache
from opendalfs.runtime import tasks
from opendalfs.services import Form
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version
from opendalfs.write.writer import Writer, appending

from .callbacks import callback, watch_process
from .glob import Pattern, is_pattern
from .locator import Source
from .read_handle import ReadHandle
from .write_handle import WriteHandle

__all__ = ["DuckDBFileSystem", "duckdb"]

_ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DuckDBFileSystem(AbstractFileSystem):
    """A filesystem for ``con.register_filesystem``; its paths are URLs.

    Parameters
    ----------
    source : str, OpendalFileSystem or None
        A service (``"s3"``), a URL, or a filesystem of opendalfs; None for every service.
    name : str, optional
        Serve ``opendal+<name>://`` instead of ``opendal+<service>://``: several accounts of one service
        can be registered so. What follows ``://`` is a path of the source.
    schemes : iterable of str
        URL schemes to serve besides, such as ``"s3"``: then ``s3://`` URLs come here, not to httpfs.
    **options
        Of the service, as ``opendalfs.filesystem`` takes them.

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one.

    Notes
    -----
    Sizes, times and etags are remembered for two seconds. Each query asks anew about the files that it
    names, so it sees what others wrote before; `size`, `modified`, `isfile` and `open` by themselves may be
    two seconds behind. A read of a file that changed meanwhile raises `ChangedError`.

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
        self.source = Source(source, name=name, schemes=schemes, **options)
        self.protocol = self.source.protocols
        self._versions = VersionCache(QUERY)
        self._under_way: WeakValueDictionary[str, WriteHandle] = WeakValueDictionary()
        watch_process()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, {self.protocol[0]}://)"

    # What is there

    @callback
    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        """Find files: one stat for a plain URL, one list for a pattern, recursive where it is deep.

        Parameters
        ----------
        path : str
            A URL, with DuckDB's wildcards.
        maxdepth : int, optional
            Not used: the pattern says how deep it goes.

        Returns
        -------
        list of str
            URLs, sorted; empty where nothing is, for which DuckDB has a good message.
        """
        asked = self._versions.now()
        _, connection, key = self.source.locate(path)
        found = self._match(path, connection, key) if is_pattern(key) else []
        if not found and ("**" not in key or not is_pattern(key)):
            # Names may hold brackets, which only this finds.
            version = self._ask(connection, key)
            found = [(path, version)] if version is not None else []
        self._versions.put_all(found, asked)
        return [url for url, _ in found]

    def _match(self, url: str, connection: Connection, key: str) -> list[tuple[str, Version]]:
        connection.require("list", f"list: name the files of {url} one by one")
        pattern = Pattern.parse(key)
        # A name given with `name=` may stand for the first part of the key, so only the rest is in the URL.
        start = len(pattern.folder)
        root = url[: len(url) - len(key[start:])]
        found = tasks.run(_list, connection, pattern)
        cut = len(urls.join(connection.service, connection.container, "x")) - 1
        files = [
            (root + name[start:], Version.from_info(info))
            for info in found
            if info["type"] == "file" and pattern.matches(name := info["name"][cut:])
        ]
        files.sort(key=lambda file: file[0])
        return files

    def _ask(self, connection: Connection, key: str) -> Version | None:
        """Stat a file; None when there is none."""
        if not key:
            return None
        try:
            metadata = connection.stat_blocking(key)
        except _ABSENT:
            return None
        return Version.of(connection, key, metadata) if metadata.is_file else None

    def _version(self, url: str) -> Version:
        known = self._versions.get(url)
        if known is not None:
            return known
        asked = self._versions.now()
        _, connection, key = self.source.locate(url)
        version = self._ask(connection, key)
        if version is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", redact(url))
        self._versions.put(url, version, asked)
        return version

    @callback
    def info(self, path: str, **kwargs: Any) -> Info:
        """Describe a file or directory.

        Returns
        -------
        dict
            ``name`` (URL), ``size`` (bytes), ``type``, and for a file ``LastModified``.
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
        """Give a file's size in bytes; of a new one that is being written, what was written so far."""
        try:
            return self._version(path).size
        except FileNotFoundError:
            writing = self._under_way.get(path)
            if writing is None or writing.closed:
                raise
            return writing.tell()

    @callback
    def modified(self, path: str) -> datetime:
        """Give the time of a file's last write, with its time zone.

        Where the service keeps none it is now, so that DuckDB's caches never take the file for unchanged.
        """
        return self._version(path).modified or datetime.now(UTC)

    @callback
    def isfile(self, path: str) -> bool:
        """Tell whether there is a file."""
        if self._versions.get(path) is not None:
            return True
        _, connection, key = self.source.locate(path)
        return self._ask(connection, key) is not None

    @callback
    def isdir(self, path: str) -> bool:
        """Tell whether there is a directory; a container's root counts as one unasked."""
        _, connection, key = self.source.locate(path)
        if not key:
            return True
        if not connection.can("list") and not connection.can("create_dir"):
            return False
        try:
            return connection.stat_blocking(f"{key}/").is_dir
        except _ABSENT:
            return False

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Tell whether there is a file or a directory."""
        return self.isfile(path) or self.isdir(path)

    @callback
    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a directory; a missing one is empty, as DuckDB asks right after a mkdir that needs none.

        Returns
        -------
        list of dict, or of str
            ``name`` (URL), ``size`` (bytes) and ``type``; only names without `detail`.
        """
        asked = self._versions.now()
        _, connection, key = self.source.locate(path)
        connection.require("list", "list")
        infos = tasks.run(listing.list_directory, connection, key) or []
        root = path.rstrip("/")
        found = [(f"{root}/{str(info['name']).rpartition('/')[2]}", info) for info in infos]
        files = [(url, Version.from_info(info)) for url, info in found if info["type"] == "file"]
        self._versions.put_all(files, asked)
        if not detail:
            return [url for url, _ in found]
        return [{"name": url, "size": info["size"], "type": info["type"]} for url, info in found]

    def unstrip_protocol(self, name: str) -> str:
        """Give the URL of a path, which it is already."""
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
        UnsupportedError
            For modes that change a file in place.
        """
        if mode == "rb":
            _, connection, key = self.source.locate(path)
            return ReadHandle(Reader(connection, key, self._version(path)), path)
        if mode not in ("wb", "xb", "ab"):
            raise UnsupportedError(
                f"{path} cannot be changed in place (mode {mode!r}), as objects are written whole. To use a "
                "database file that is there: ATTACH '...' (READ_ONLY). To make one: write it to a local "
                "file and upload that."
            )
        return self._writing(path, mode)

    def _writing(self, path: str, mode: str) -> WriteHandle:
        _, connection, key = self.source.locate(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        if mode == "ab":
            writer = appending(connection, key)
        else:
            writer = Writer(connection, key, exclusive=mode == "xb")
        handle = WriteHandle(
            writer,
            path,
            exists=cache(lambda: self._ask(connection, key) is not None),
            closed=lambda: self._forget(path),
        )
        self._under_way[path] = handle
        return handle

    def _forget(self, url: str) -> None:
        self._versions.invalidate(url)
        # The same filesystem may be in use elsewhere, with listings of its own.
        fs, connection, key = self.source.locate(url)
        fs.invalidate_cache(urls.join(connection.service, connection.container, key))

    # Changing

    @callback
    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Make a directory, where the service keeps any; object stores need none."""
        _, connection, key = self.source.locate(path)
        if key and connection.service.form is not Form.CONTAINER and connection.can("create_dir"):
            tasks.run(connection.create_dir, f"{key}/")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        self.mkdir(path)

    @callback
    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file; one that exists is emptied, unless `truncate` is false."""
        if not truncate and self.isfile(path):
            return
        _, connection, key = self.source.locate(path)
        connection.write_blocking(key, b"")
        self._forget(path)

    @callback
    def rm_file(self, path: str) -> None:
        """Remove a file; a missing one is no error.

        While it is being written, that write is given up instead, and what was there before stays: so does
        DuckDB 1.5 clean up after a COPY that failed, before it closes the file or without it.
        """
        writing = self._under_way.get(path)
        if writing is not None and writing.give_up():
            return
        _, connection, key = self.source.locate(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, "Refused: this is a whole container", path)
        connection.delete_blocking(key)
        self._forget(path)

    @callback
    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove a file, or with `recursive` a directory and all that is below it."""
        if recursive:
            _, connection, key = self.source.locate(path)
            if not key:
                raise PermissionError(errno.EPERM, "Refused: this would empty the whole container", path)
            tasks.run(connection.remove_all, f"{key}/")
            self._versions.clear()
            self._forget(path)
            if not self.isfile(path):
                return
        self.rm_file(path)

    @callback
    def rmdir(self, path: str) -> None:
        """Remove an empty directory, where the service keeps any."""
        _, connection, key = self.source.locate(path)
        if key and connection.service.form is not Form.CONTAINER:
            connection.delete_blocking(f"{key}/")

    @callback
    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Move a file over another: by a rename, a copy on the server, or through this process."""
        _, source, key1 = self.source.locate(path1)
        _, target, key2 = self.source.locate(path2)
        tasks.run(move_object, source, key1, target, key2)
        self._forget(path1)
        self._forget(path2)


async def _list(connection: Connection, pattern: Pattern) -> list[Info]:
    """List what a pattern can match, with one list."""
    if pattern.flat:
        base = f"{pattern.folder}/" if pattern.folder else ""
        entries = await connection.list(base + pattern.prefix or "/") or []
        shown = listing.exclude_staged(connection, entries)
        return [listing.entry_info(connection, e.path, e.metadata) for e in shown]
    return await listing.list_tree(connection, pattern.folder, prefix=pattern.prefix)


def duckdb(
    source: str | OpendalFileSystem | None = None,
    *,
    name: str | None = None,
    schemes: Iterable[str] = (),
    **options: Any,
) -> DuckDBFileSystem:
    """Make a filesystem for DuckDB.

    Parameters
    ----------
    source, name, schemes, **options
        As `DuckDBFileSystem` takes them.

    Returns
    -------
    DuckDBFileSystem

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one.
    ValueError
        For an unknown service, naming the nearest known ones.

    Examples
    --------
    >>> import duckdb, opendalfs
    >>> fs = opendalfs.duckdb("memory")
    >>> con = duckdb.connect()
    >>> con.register_filesystem(fs)
    >>> _ = con.execute("COPY (SELECT 42 AS x) TO 'opendal+memory://answers/a.parquet'")
    >>> con.execute("SELECT x FROM 'opendal+memory://answers/*.parquet'").fetchall()
    [(42,)]
    """
    return DuckDBFileSystem(source, name=name, schemes=schemes, **options)
