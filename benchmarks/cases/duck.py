"""DuckDB: SQL on Parquet and CSV, through a registered filesystem or through httpfs.

s3fs is registered as its documentation says. DuckDB 2.0 moves one handle's position from many threads, so
what comes of that may be wrong; how often it was is in the report.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

import opendalfs_duckdb
from benchmarks.cases.model import LIMIT, LOCAL, OURS, S3FS, Case, Peer, Work, files_of, limit, rows
from benchmarks.context import Context
from benchmarks.data import order_bounds
from benchmarks.raw_http import Part, parquet_waves, whole

HTTPFS = "DuckDB httpfs"
CACHED = "s3fs, DuckDB's caches on"
QUERY_6 = """
SELECT sum(l_extendedprice * l_discount) FROM '{}'
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""
COLUMNS_6 = ["l_extendedprice", "l_discount", "l_shipdate", "l_quantity"]
ORDER = 100_001  # there is one at every scale
POINT = f"SELECT count(*), sum(l_extendedprice), max(l_comment) FROM '{{}}' WHERE l_orderkey = {ORDER}"
COLUMNS_POINT = ["l_orderkey", "l_extendedprice", "l_comment"]
COUNT = "SELECT count(*) FROM '{}'"
GLOB = "SELECT count(*), sum(l_extendedprice), min(l_shipdate) FROM '{}'"
COLUMNS_GLOB = ["l_extendedprice", "l_shipdate"]
CSV = "SELECT count(*), sum(CAST(o_totalprice AS DECIMAL(18, 2))), max(o_comment) FROM '{}'"
# What our `register(cache=True)` sets.
CACHES = [
    "SET GLOBAL enable_external_file_cache = true",
    "SET GLOBAL parquet_metadata_cache = true",
    "SET GLOBAL cache_local_files = true",
    "SET GLOBAL external_file_cache_local_max_block_size = 2097152",
]

Where = Callable[[Context], Path]


def _settled(con: Any, settings: list[str]) -> None:
    for setting in settings:
        # DuckDB 1.5 does not have all of them.
        with suppress(duckdb.Error):
            con.execute(setting)


def _query(con: Any, sql: str, warm: bool) -> Work:
    """Return the query as work, after a first run of it where the caches are to be warm."""
    if warm:
        con.execute(sql).fetchall()
    return lambda: con.execute(sql).fetchall()


def peers(sql: str, where: Where, pattern: str = "", *, warm: bool = False) -> dict[str, Peer]:
    """Return the peers of one query.

    Parameters
    ----------
    sql : str
        With ``{}`` in the place of the URL.
    where : callable
        Gives the local data; each peer reads the copy on the storage.
    pattern : str
        What follows the directory's name.
    warm : bool
        Whether the same connection ran the query before, with DuckDB's caches on.

    Returns
    -------
    dict
        The peers, each with a database of its own.
    """

    def path(context: Context) -> str:
        return context.remote(where(context)) + pattern

    def ours(context: Context) -> Work:
        con = duckdb.connect()
        opendalfs_duckdb.register(con, context.opendalfs(), cache=warm)
        return _query(con, sql.format(context.url(path(context))), warm)

    def s3fs(settings: list[str]) -> Peer:
        def peer(context: Context) -> Work:
            con = duckdb.connect()
            con.register_filesystem(context.s3fs())
            _settled(con, settings)
            return _query(con, sql.format(f"s3://{path(context)}"), warm)

        return peer

    def httpfs(context: Context) -> Work:
        child, text = context.httpfs, sql.format(f"s3://{path(context)}")
        child.fresh([s for s in CACHES[:2] if warm])
        if warm:
            child.query(text)
        return lambda: child.query(text)

    def local(context: Context) -> Work:
        return _query(duckdb.connect(), sql.format(f"{where(context)}{pattern}"), warm)

    found = {OURS: ours, S3FS: s3fs([]), HTTPFS: httpfs, LOCAL: local}
    return {**found, CACHED: s3fs(CACHES)} if warm else found


def _with_limit(found: dict[str, Peer], plan: Callable[[Context], list[list[Part]]]) -> dict[str, Peer]:
    return {**found, LIMIT: limit(plan, found[LOCAL])}


def _lineitem(context: Context) -> Path:
    return context.lineitem


def _parts(context: Context) -> Path:
    return context.parts


def _csv(context: Context) -> Path:
    return context.csv


def _of_lineitem(columns: list[str]) -> Callable[[Context], list[list[Part]]]:
    return lambda c: parquet_waves([(c.lineitem, c.remote(c.lineitem))], columns)


def _point_plan(context: Context) -> list[list[Part]]:
    """Plan the row group that the order is in."""
    file = context.lineitem
    groups = [i for i, (first, last) in enumerate(order_bounds(file)) if first <= ORDER <= last]
    return parquet_waves([(file, context.remote(file))], COLUMNS_POINT, groups)


def _glob_plan(context: Context) -> list[list[Part]]:
    return parquet_waves(files_of(context, context.parts), COLUMNS_GLOB)


def _csv_plan(context: Context) -> list[list[Part]]:
    return whole(context.csv, context.remote(context.csv))


def _case(name: str, found: dict[str, Peer]) -> Case:
    return Case("duckdb", name, found, rows)


CASES = [
    _case("Q6, cold", _with_limit(peers(QUERY_6, _lineitem), _of_lineitem(COLUMNS_6))),
    _case("Q6, warm", peers(QUERY_6, _lineitem, warm=True)),
    _case("point query, cold", _with_limit(peers(POINT, _lineitem), _point_plan)),
    _case("count(*), cold", _with_limit(peers(COUNT, _lineitem), _of_lineitem([]))),
    _case("glob of 20 files, cold", _with_limit(peers(GLOB, _parts, "/*.parquet"), _glob_plan)),
    _case("csv.gz, cold", _with_limit(peers(CSV, _csv), _csv_plan)),
]
