"""Work in a fresh process: no connection is open, nothing is in memory, no memory is touched.

Reads an order as JSON from the standard input and prints what the work took. Imports are not measured; the
row "interpreter and imports" shows what they take. The service of an order is one of opendalfs, ``"pyarrow"``
or ``"polars"`` for the engine's own client, s3fs with or without a cache of fsspec, or None for local files.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import fsspec.implementations.cached

import opendalfs
from benchmarks.cases.checks import checksum
from benchmarks.cases.model import rows, table_digest
from benchmarks.measured import timed
from benchmarks.raw_http import Part, RawClient

Order = dict[str, Any]
Work = Callable[[int], Any]
Digest = Callable[[Any], object]

_FSSPEC = {"s3fs": "s3", "filecache": "filecache", "blockcache": "blockcache"}
"""Protocols of fsspec by the service of an order."""


def _options(order: Order, turn: int) -> dict[str, Any]:
    """Return options that no other filesystem has, so that nothing but connections is shared."""
    return {**order["options"], "listings_expiry_time": 30 + turn * 1e-6}


def _on_fsspec(order: Order, turn: int) -> Any:
    """Return a new filesystem of opendalfs or of fsspec."""
    service = order["service"]
    if service in _FSSPEC:
        return fsspec.filesystem(_FSSPEC[service], **order["options"])
    return opendalfs.filesystem(service, **_options(order, turn))


def _by_url(cache: Any, protocol: str) -> Any:
    """Return a cache of fsspec with methods that accept the URLs which DuckDB passes.

    The cache leaves these methods to s3fs, with the URL of the cache, which s3fs does not know.
    """
    for name in ("glob", "size", "modified"):
        setattr(cache, name, partial(_on_path, cache, name))
    cache.unstrip_protocol = lambda path: f"{protocol}://{path}"
    return cache


def _on_path(cache: Any, name: str, url: str) -> Any:
    return getattr(cache.fs, name)(cache._strip_protocol(url))


def read_table(order: Order) -> tuple[Work, Digest]:
    """Return the reading of Parquet by pyarrow."""
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet as pq

    import opendalfs_arrow

    filters = [tuple(condition) for condition in order.get("filters", ())] or None

    def read(turn: int) -> Any:
        filesystem: Any
        if order["service"] is None:
            filesystem = None
        elif order["service"] == "pyarrow":
            filesystem = pyarrow.fs.S3FileSystem(**order["options"])
        elif order["service"] in _FSSPEC:
            filesystem = _on_fsspec(order, turn)
        else:
            filesystem = opendalfs_arrow.arrow(order["service"], **_options(order, turn))
        return pq.read_table(order["path"], columns=order["columns"], filters=filters, filesystem=filesystem)

    return read, table_digest


def query(order: Order) -> tuple[Work, Digest]:
    """Return a query of DuckDB."""
    import duckdb

    import opendalfs_duckdb

    def run(turn: int) -> Any:
        con = duckdb.connect()
        if order["service"] in _FSSPEC:
            con.register_filesystem(_by_url(_on_fsspec(order, turn), order["service"]))
        elif order["service"] is not None:
            opendalfs_duckdb.register(con, _on_fsspec(order, turn))
        return con.execute(order["sql"]).fetchall()

    return run, rows


def scan(order: Order) -> tuple[Work, Digest]:
    """Return a scan by Polars."""
    import polars as pl

    import opendalfs_polars
    from benchmarks.cases.polar import digest

    def run(turn: int) -> Any:
        if order["service"] is None:
            found = pl.scan_parquet(order["path"])
        elif order["service"] == "polars":
            found = pl.scan_parquet(order["path"], storage_options=order["options"])
        else:
            found = opendalfs_polars.scan_parquet(order["path"], storage_options=_options(order, turn))
        return found.select(order["columns"]).collect()

    return run, digest


def cat(order: Order) -> tuple[Work, Digest]:
    """Return the reading of a whole file, or of all files of a pattern, by fsspec."""

    def read(turn: int) -> Any:
        local = order["service"] is None
        fs = fsspec.filesystem("file") if local else _on_fsspec(order, turn)
        found = fs.cat(order["path"])
        return [found[path] for path in sorted(found)] if isinstance(found, dict) else found

    return read, checksum


WORK = {"read_table": read_table, "query": query, "scan": scan, "cat": cat}


def _after_a_round_trip(url: str, work: Work) -> Work:
    """Return the work with a request before it, of one byte by plain HTTP."""

    def do(turn: int) -> Any:
        with RawClient(lambda _: url) as client:
            byte = [[Part("", 0, 1)]]
            client.prepare(byte)
            client.fetch(byte)
        return work(turn)

    return do


def main() -> None:
    """Do the work as often as the order says, and print what the last time took."""
    order: Order = json.load(sys.stdin)
    work, digest = WORK[order["work"]](order)
    if "signed_url" in order:
        work = _after_a_round_trip(order["signed_url"], work)
    begun = time.perf_counter()
    for turn in range(order.get("times", 1)):
        watch: AbstractContextManager[opendalfs.Trace | None] = (
            opendalfs.trace() if order.get("traced") else nullcontext()
        )
        with watch as trace:
            found = timed(partial(work, turn))
    calls = (
        {} if trace is None else {r.operation: trace.count(r.operation) for r in trace.records if r.requests}
    )
    figures = {"seconds": found.seconds, "cpu": found.cpu, "memory": found.memory}
    print(json.dumps({"outcome": repr(digest(found.outcome)), "calls": calls, "begun": begun, **figures}))


if __name__ == "__main__":
    main()
