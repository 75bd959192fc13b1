"""Registers the filesystem with a DuckDB database, and takes care of its caches and its end."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from opendalfs.fs.core import OpendalFileSystem

from .callbacks import interrupt_at_exit
from .filesystem import DuckDBFileSystem
from .locator import ANY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["register", "unregister"]

_BLOCK: Final = 2 << 20
"""Bytes of a block in DuckDB's cache: its default for http and s3; for all else that is 16 KiB."""

_CACHES: Final = {
    "enable_external_file_cache": "true",
    "cache_local_files": "true",
    "external_file_cache_local_max_block_size": str(_BLOCK),
    "parquet_metadata_cache": "true",
}

_filesystems: weakref.WeakSet[DuckDBFileSystem] = weakref.WeakSet()


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
    """Serve a service's URLs in a DuckDB database.

    Parameters
    ----------
    con : DuckDBPyConnection
        Any connection; all connections to the same database, such as its cursors, are served. When the
        interpreter exits, what still runs on this one is interrupted and it is closed.
    source : str, OpendalFileSystem or None
        A service (``"s3"``), a URL, or a filesystem of opendalfs; None for every service.
    name : str, optional
        Serve ``opendal+<name>://`` instead of ``opendal+<service>://``: for several accounts of a service.
    schemes : iterable of str
        URL schemes to serve besides, such as ``"s3"``; needs no httpfs. Read by them, but replace CSV and
        JSON by ``opendal+s3://``: over an existing object DuckDB writes beside it there, in place here, where
        a COPY raises an error when it cannot be told from one that has failed (`write_handle`).
    cache : bool
        Turn on DuckDB's own caches of file blocks and of Parquet metadata. These settings are of the whole
        database and of everything it reads, local files too: ``cache_local_files``,
        ``external_file_cache_local_max_block_size`` (2 MiB), ``parquet_metadata_cache``. A cached file
        is asked for its time at each query, and read anew when that has changed. CSV and JSON are cached
        only under schemes that DuckDB itself counts as remote, such as ``s3://``.
    replace : bool
        Take the place of what is registered under the same name; otherwise that is an error.
    **options
        Of the service, as ``opendalfs.filesystem`` takes them. For services whose URLs name a server,
        credentials need ``endpoint`` beside them: a URL in a query does not choose who is sent them.

    Returns
    -------
    DuckDBFileSystem
        What was registered; its ``protocol`` holds the URL schemes.

    Raises
    ------
    ValueError
        When the name or a URL scheme is served already.
    OptionError
        For an unknown option.

    Notes
    -----
    Ctrl-C ends a query that waits for storage, with an error of DuckDB's. It takes up to ``io_timeout`` when
    SIGINT has a handler other than Python's own, when `register` was not called in the main thread, and when
    trio or an event loop with handlers of signals uses `signal.set_wakeup_fd`.

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
    first = fs.protocol[0]
    _refuse_clashes(con, fs, replace)
    if first in con.list_filesystems():
        unregister(con, first)
    if cache:
        _turn_caches_on(con)
    con.register_filesystem(fs)
    _filesystems.add(fs)
    interrupt_at_exit(con)
    return fs


def unregister(con: DuckDBPyConnection, name: str) -> None:
    """Stop serving what `register` began.

    Parameters
    ----------
    con : DuckDBPyConnection
        A connection to the same database.
    name : str
        The name it was registered with, or its service; ``"opendal"`` for the one of every service.

    Raises
    ------
    ValueError
        When nothing of that name is registered.

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
    raise ValueError(f"no filesystem {name!r} is registered; these are: {', '.join(known) or 'none'}")


def _refuse_clashes(con: DuckDBPyConnection, fs: DuckDBFileSystem, replace: bool) -> None:
    """Raise when a URL scheme is served already: DuckDB would silently go on with the first."""
    known = set(con.list_filesystems())
    first = fs.protocol[0]
    if first in known and not replace:
        raise ValueError(
            f"{first!r} is registered already: pass replace=True, or name= for a name of its own"
        )
    if first == ANY:
        # What was registered before keeps its own URLs; this one serves the rest.
        return
    served = known - {first}
    if ANY in known:
        served |= set(DuckDBFileSystem().protocol)
    for other in _filesystems:
        # A database cannot be asked which schemes go with a name.
        if other.protocol[0] in served and not replace:
            served |= set(other.protocol)
    clash = [p for p in fs.protocol if p in served]
    if clash:
        raise ValueError(
            f"{clash[0]}:// is served already, and DuckDB would go on with that: unregister it first "
            f"({', '.join(sorted(known))}), or leave the scheme out"
        )


def _turn_caches_on(con: DuckDBPyConnection) -> None:
    # On a cursor, as the connection's own result may still be read.
    with con.cursor() as cursor:
        known = {n for (n,) in cursor.execute("SELECT name FROM duckdb_settings()").fetchall()}
        for setting, value in _CACHES.items():
            if setting in known:
                cursor.execute(f"SET GLOBAL {setting} = {value}")
