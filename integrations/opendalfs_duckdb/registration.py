"""Makes the filesystem, registers it with a DuckDB database, and turns on its caches."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from opendalfs.fs.core import OpendalFileSystem

from . import registered
from .callbacks import interrupt_at_exit
from .filesystem import DuckDBFileSystem
from .locator import ANY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["duckdb", "register", "unregister"]

_BLOCK: Final = 2 << 20
"""Bytes of a block in DuckDB's cache: its default for http and s3, where it is 16 KiB for other files."""

_CACHES: Final = {
    "enable_external_file_cache": "true",
    "cache_local_files": "true",
    "external_file_cache_local_max_block_size": str(_BLOCK),
    "parquet_metadata_cache": "true",
}

_filesystems: weakref.WeakSet[DuckDBFileSystem] = weakref.WeakSet()


def duckdb(
    source: str | OpendalFileSystem | None = None,
    *,
    name: str | None = None,
    schemes: Iterable[str] = (),
    **options: Any,
) -> DuckDBFileSystem:
    """Return a filesystem for DuckDB.

    Parameters
    ----------
    source, name, schemes, **options
        As for `DuckDBFileSystem`.

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


def register(
    con: DuckDBPyConnection,
    source: str | OpendalFileSystem | None = None,
    *,
    name: str | None = None,
    schemes: Iterable[str] = (),
    cache: bool = True,
    replace: bool = False,
    **options: Any,
) -> DuckDBFileSystem:
    """Register a filesystem for a service's URLs in a DuckDB database.

    Parameters
    ----------
    con : DuckDBPyConnection
        Any connection to the database; its other connections, such as cursors, are served too. When the
        interpreter exits, queries of this one are interrupted, and it is closed.
    source : str, OpendalFileSystem or None
        A service (``"s3"``), a URL, or a filesystem of opendalfs; None for every service.
    name : str, optional
        Serve ``opendal+<name>://`` instead of ``opendal+<service>://``, for several accounts of a service.
    schemes : iterable of str
        More URL schemes to serve, such as ``"s3"``; httpfs is not needed. Use them to read. To replace CSV
        and JSON, write to ``opendal+s3://``: there DuckDB writes beside an existing object and renames. Under
        ``s3://`` it writes in place, and a COPY raises if it may have failed (`write_handle`).
    cache : bool
        Turn on DuckDB's own caches of file blocks and of Parquet metadata. The settings apply to everything
        that the database reads, local files too: ``cache_local_files``,
        ``external_file_cache_local_max_block_size`` (2 MiB), ``parquet_metadata_cache``. Each query
        requests the time of a cached file, and reads the file again if it has changed. CSV and JSON are
        cached only under schemes that DuckDB itself counts as remote, such as ``s3://``. The caches recognize
        a file by its URL, its size and the second of its last write: to read other data, use another `name`.
    replace : bool
        Replace the source of the filesystem that is registered under the same name; otherwise that is an
        error. The cell of a notebook can then run again, also while results are read: a file that is open
        stays with its source, and files that a query opens later are of the new one.
    **options
        Options of the service, as for ``opendalfs.filesystem``. For services whose URLs name a server,
        credentials need ``endpoint``, so that a URL in a query cannot choose who receives them.

    Returns
    -------
    DuckDBFileSystem
        The filesystem; its ``protocol`` lists the URL schemes. With `replace`, the one that is registered.

    Raises
    ------
    ValueError
        If the name or a URL scheme is registered already, or, with `replace`, with other schemes; for an
        unknown service.
    OptionError
        For an unknown option.

    Notes
    -----
    Ctrl-C ends a query that waits for storage, with an error of DuckDB. It takes up to ``io_timeout`` if
    SIGINT has another handler than Python's own, if `register` was not called in the main thread, and if trio
    or an event loop with signal handlers uses `signal.set_wakeup_fd`.

    Examples
    --------
    >>> import duckdb, opendalfs_duckdb
    >>> con = duckdb.connect()
    >>> fs = opendalfs_duckdb.register(con, "memory", name="scratch")
    >>> _ = con.execute("COPY (SELECT 1 AS x) TO 'opendal+scratch://box/a.csv'")
    >>> con.execute("FROM 'opendal+scratch://box/a.csv'").fetchall()
    [(1,)]
    >>> opendalfs_duckdb.unregister(con, "scratch")
    """
    fs = DuckDBFileSystem(source, name=name, schemes=schemes, **options)
    if replace and fs.protocol[0] in con.list_filesystems():
        fs = _replace(con, fs)
    else:
        _check_clashes(con, fs)
        con.register_filesystem(fs)
    if cache:
        _enable_caches(con)
    _filesystems.add(fs)
    interrupt_at_exit(con)
    return fs


def unregister(con: DuckDBPyConnection, name: str) -> None:
    """Remove the registration of a filesystem. No query of the database may be running.

    Parameters
    ----------
    con : DuckDBPyConnection
        A connection to the same database.
    name : str
        The name or the service of the registration; ``"opendal"`` for that of every service.

    Raises
    ------
    ValueError
        If no filesystem of that name is registered.

    Notes
    -----
    DuckDB crashes if a query still reads through the filesystem, or a result that is not read to its end.
    ``register(..., replace=True)`` needs no `unregister`.

    Examples
    --------
    >>> import duckdb, opendalfs_duckdb
    >>> con = duckdb.connect()
    >>> fs = opendalfs_duckdb.register(con, "memory")
    >>> opendalfs_duckdb.unregister(con, "memory")
    """
    known = con.list_filesystems()
    for candidate in (f"opendal+{name}", name):
        if candidate in known:
            con.unregister_filesystem(candidate)
            for fs in [fs for fs in _filesystems if fs.protocol[0] == candidate]:
                _filesystems.discard(fs)
            return
    raise ValueError(f"no filesystem {name!r} is registered: use one of {', '.join(known) or 'none'}")


def _replace(con: DuckDBPyConnection, fs: DuckDBFileSystem) -> DuckDBFileSystem:
    """Replace the source of the registration that has the name of a filesystem, and return its filesystem.

    It stays registered: ``unregister_filesystem`` of DuckDB frees what running queries use, and crashes.
    """
    current: DuckDBFileSystem | None = registered.find(con, fs.protocol[0])
    if current is None or current.protocol != fs.protocol:
        name = fs.protocol[0]
        raise ValueError(
            f"{name!r} is registered with other URL schemes, which replace=True cannot change: call "
            f"unregister(con, {name!r}) first,\nwhile no query of the database is running"
        )
    current.replace_source(fs)
    return current


def _check_clashes(con: DuckDBPyConnection, fs: DuckDBFileSystem) -> None:
    """Raise if a URL scheme is registered already: DuckDB would silently use the first registration."""
    known = set(con.list_filesystems())
    first = fs.protocol[0]
    if first in known:
        raise ValueError(f"{first!r} is already registered: pass replace=True, or another name=")
    if first == ANY:
        # Earlier registrations keep their own URLs; this one serves the others.
        return
    served = set(known)
    if ANY in known:
        served |= set(DuckDBFileSystem().protocol)
    for other in _filesystems:
        # DuckDB lists names only, not their schemes.
        if other.protocol[0] in served:
            served |= set(other.protocol)
    clash = [p for p in fs.protocol if p in served]
    if clash:
        raise ValueError(
            f"{clash[0]}:// is already registered, and DuckDB would use that: unregister or omit it\n"
            f"(registered: {', '.join(sorted(known))})"
        )


def _enable_caches(con: DuckDBPyConnection) -> None:
    # On a cursor, as the last result of the connection may still be read.
    with con.cursor() as cursor:
        known = {n for (n,) in cursor.execute("SELECT name FROM duckdb_settings()").fetchall()}
        for setting, value in _CACHES.items():
            if setting in known:
                cursor.execute(f"SET GLOBAL {setting} = {value}")
