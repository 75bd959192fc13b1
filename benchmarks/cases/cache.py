"""Caches on disk: a fresh process reads what another one has read before, and what a first read costs.

A peer with a cache has a directory of its own for each case, which a process before fills by the same work.
Cold processes without a cache, such as those of the engines' own clients, do what they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import opendalfs
from benchmarks.access import Skipped
from benchmarks.cases.arrow import APART, PYARROW, QUERY_6
from benchmarks.cases.cold import SMALL, httpfs, in_child
from benchmarks.cases.duck import HTTPFS
from benchmarks.cases.duck import QUERY_6 as SQL_6
from benchmarks.cases.model import OURS, S3FS, Case, Peer, Work
from benchmarks.cases.polar import COLUMNS, POLARS
from benchmarks.context import Context
from benchmarks.data import order_bounds
from benchmarks.measured import Elsewhere

__all__ = [
    "AT_LEAST",
    "AT_MOST",
    "BLOCKCACHE",
    "CASES",
    "FILECACHE",
    "FILES",
    "FIRST",
    "FIRST_AT_MOST",
    "FOREVER",
    "GROUP",
    "ROUND_TRIP",
    "SCAN",
    "SECOND",
    "TABLE",
    "UNCACHED",
    "reader_of",
]

FOREVER: Final = "opendalfs, cache_ttl=None"
FILECACHE: Final = "s3fs, filecache"
BLOCKCACHE: Final = "s3fs, blockcache"
ROUND_TRIP: Final = "local file and a round trip"
UNCACHED: Final = "opendalfs, no cache"

FIRST: Final = "first run, "
SECOND: Final = "second run, "
"""Beginnings of the names of the cases."""

_READERS: Final = (PYARROW, HTTPFS, POLARS, S3FS)


TABLE: Final = f"{SECOND}pq.read_table, 4 columns that lie apart"
GROUP: Final = f"{SECOND}pq.read_table, 4 columns, filter to 1 row group"
QUERY: Final = f"{SECOND}DuckDB, Q6"
SCAN: Final = f"{SECOND}Polars, 4 columns, through the gateway"
FILES: Final = f"{SECOND}directory of 400 small files, 2 columns"
CAT: Final = f"{SECOND}cat of a pattern, 400 small files"

AT_LEAST: Final[Mapping[tuple[str, str], float]] = {
    (TABLE, PYARROW): 2.5,
    (GROUP, PYARROW): 2.5,
    (QUERY, HTTPFS): 3,
    (SCAN, POLARS): 1.5,
    (FILES, PYARROW): 10,
    **{(name, peer): 1.3 for name in (TABLE, GROUP) for peer in (FILECACHE, BLOCKCACHE)},
    **{(name, peer): 2 for name in (QUERY, FILES) for peer in (FILECACHE, BLOCKCACHE)},
}
"""Goals: how many times as long as opendalfs a peer is to take, by the name of the case and the peer."""

AT_MOST: Final[Mapping[tuple[str, str], float]] = {
    (TABLE, ROUND_TRIP): 1.25,
    (GROUP, ROUND_TRIP): 1.5,
    (QUERY, ROUND_TRIP): 1.5,
    (SCAN, ROUND_TRIP): 1.6,
    (FILES, ROUND_TRIP): 2,
}
"""Goals: how many times as long as a peer opendalfs may take."""

FIRST_AT_MOST: Final = 1.1
"""Goal of all first runs: how many times as long a read may take that fills the cache."""


def reader_of(peers: Mapping[str, Any]) -> str | None:
    """Return the reader without a cache that opendalfs is compared with; None if there is none."""
    return next((peer for peer in _READERS if peer in peers), None)


@dataclass(frozen=True)
class Reading:
    """Some work, for any client.

    Parameters
    ----------
    where : callable
        Returns the local data; each peer reads the copy on the storage.
    order : callable
        Returns what `benchmarks.cold_child` is to do, given the path or the URL of the data.
    by_url : bool
        Whether the data has a URL; otherwise a path.
    pattern : str
        What follows the name of a directory.
    """

    where: Callable[[Context], Path]
    order: Callable[[Context, str], dict[str, Any]]
    by_url: bool = False
    pattern: str = ""

    def at(self, context: Context, scheme: str = "") -> dict[str, Any]:
        """Return the order for the copy on the storage; without a scheme the URL is one of opendalfs."""
        path = context.remote(self.where(context))
        url = f"{scheme}://{path}" if scheme else context.url(path)
        return self.order(context, (url if self.by_url else path) + self.pattern)

    def locally(self, context: Context) -> dict[str, Any]:
        """Return the order for the local data."""
        return self.order(context, f"{self.where(context)}{self.pattern}") | {"service": None}

    def one_file(self, context: Context) -> str:
        """Return the path of a file of the data on the storage."""
        local = self.where(context)
        remote = context.remote(local)
        return remote if local.is_file() else f"{remote}/{min(local.iterdir()).name}"


def _ours(context: Context, reading: Reading, **options: Any) -> dict[str, Any]:
    given = {**context.options, **options}
    return {**reading.at(context), "service": context.service, "options": given, "traced": True}


def _warmed(name: str, order: Callable[[Context, Path], dict[str, Any]]) -> Peer:
    """Return a peer that does the order in two processes, of which the first is not measured.

    Parameters
    ----------
    name : str
        Name of the directory of the cache, which no other peer has.
    order : callable
        Returns the order, given the directory.

    Returns
    -------
    Peer
    """

    def peer(context: Context) -> Work:
        folder = context.scratch / name
        full = order(context, folder)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            in_child(full)
        return lambda: in_child(full)

    return peer


def _with_cache(name: str, reading: Reading, peer: str, ttl: float | None) -> Peer:
    """Return opendalfs with a cache that is filled."""

    def order(context: Context, folder: Path) -> dict[str, Any]:
        return _ours(context, reading, cache_dir=str(folder), cache_ttl=ttl)

    return _warmed(f"{name}, {peer}", order)


def _on_s3fs(name: str, reading: Reading, protocol: str) -> Peer:
    """Return a cache of fsspec over s3fs that is filled."""

    def order(context: Context, folder: Path) -> dict[str, Any]:
        target = {"target_protocol": "s3", "target_options": context.access.s3fs_options()}
        options = {**target, "cache_storage": str(folder)}
        return {**reading.at(context, protocol), "service": protocol, "options": options}

    return _warmed(f"{name}, {protocol}", order)


def _locally(reading: Reading) -> Peer:
    """Return the work on the local data, after one request."""

    def peer(context: Context) -> Work:
        path = reading.one_file(context)
        try:
            url = str(opendalfs.filesystem(context.service, **context.options).sign(path, expiration=3600))
        except NotImplementedError as error:
            raise Skipped(str(error)) from error
        order = reading.locally(context) | {"signed_url": url}
        return lambda: in_child(order)

    return peer


def _second(name: str, reading: Reading, others: Mapping[str, Peer], caches: Sequence[str] = ()) -> Case:
    """Return the case of a second run.

    Parameters
    ----------
    name : str
        Its name.
    reading : Reading
        The work.
    others : mapping
        Readers without a cache.
    caches : sequence of str
        Caches of fsspec that are measured over s3fs.

    Returns
    -------
    Case
    """
    peers = {
        OURS: _with_cache(name, reading, OURS, 0),
        FOREVER: _with_cache(name, reading, FOREVER, None),
        **others,
        **{f"s3fs, {protocol}": _on_s3fs(name, reading, protocol) for protocol in caches},
        ROUND_TRIP: _locally(reading),
    }
    return Case("cache", name, peers, repr)


def _first(name: str, reading: Reading, *, to_the_exit: bool = False) -> Case:
    """Return the case of a first run, with an empty cache and without one."""

    def cached(context: Context) -> Work:
        def work() -> Elsewhere:
            with TemporaryDirectory(dir=context.scratch) as folder:
                return in_child(_ours(context, reading, cache_dir=folder), to_the_exit=to_the_exit)

        return work

    def uncached(context: Context) -> Work:
        order = _ours(context, reading, cache_dir="")
        return lambda: in_child(order, to_the_exit=to_the_exit)

    return Case("cache", f"{FIRST}{name}", {OURS: cached, UNCACHED: uncached}, repr)


def _reader(
    service: str, reading: Reading, options: Callable[[Context], Mapping[str, Any]], scheme: str = ""
) -> Peer:
    """Return a reader without a cache as a peer."""

    def peer(context: Context) -> Work:
        order = {**reading.at(context, scheme), "service": service, "options": options(context)}
        return lambda: in_child(order)

    return peer


def _pyarrow(reading: Reading) -> dict[str, Peer]:
    return {PYARROW: _reader("pyarrow", reading, lambda context: context.access.pyarrow_options())}


def _lineitem(context: Context) -> Path:
    return context.lineitem


def _small_tables(context: Context) -> Path:
    return context.small_tables


def _table(columns: list[str]) -> Callable[[Context, str], dict[str, Any]]:
    return lambda _, path: {"work": "read_table", "path": path, "columns": columns}


def _one_row_group(context: Context, path: str) -> dict[str, Any]:
    first, _ = order_bounds(context.lineitem)[-1]
    return {**_table(QUERY_6)(context, path), "filters": [("l_orderkey", ">", first)]}


def _cat(_: Context, path: str) -> dict[str, Any]:
    return {"work": "cat", "path": path}


_TABLE: Final = Reading(_lineitem, _table(APART))
_GROUP: Final = Reading(_lineitem, _one_row_group)
_QUERY: Final = Reading(_lineitem, lambda _, url: {"work": "query", "sql": SQL_6.format(url)}, by_url=True)
_SCAN: Final = Reading(
    _lineitem, lambda _, url: {"work": "scan", "path": url, "columns": COLUMNS}, by_url=True
)
_FILES: Final = Reading(_small_tables, _table(SMALL))
_CAT: Final = Reading(_small_tables, _cat, pattern="/*")
_BIG: Final = Reading(_lineitem, _cat)
_FSSPEC: Final = ("filecache", "blockcache")

CASES = [
    _second(TABLE, _TABLE, _pyarrow(_TABLE), _FSSPEC),
    _second(GROUP, _GROUP, _pyarrow(_GROUP), _FSSPEC),
    _second(QUERY, _QUERY, {HTTPFS: httpfs}, _FSSPEC),
    _second(SCAN, _SCAN, {POLARS: _reader("polars", _SCAN, lambda c: c.access.polars(), "s3")}),
    _second(FILES, _FILES, _pyarrow(_FILES), _FSSPEC),
    _second(CAT, _CAT, {S3FS: _reader("s3fs", _CAT, lambda c: c.access.s3fs_options())}, _FSSPEC[:1]),
    _first("pq.read_table, 4 columns that lie apart", _TABLE),
    _first("cat, the big file", _BIG),
    _first("directory of 400 small files, 2 columns", _FILES),
    _first("cat of a pattern, 400 small files", _CAT),
    _first("and its exit, pq.read_table, 4 columns that lie apart", _TABLE, to_the_exit=True),
]
