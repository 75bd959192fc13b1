"""Polars: lazy scans, through its own store, our gateway, our S3 server, and pyarrow over s3fs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow.dataset as ds

import opendalfs_polars
from benchmarks.cases.model import LIMIT, LOCAL, OURS, Case, Peer, Work, limit
from benchmarks.context import Context
from benchmarks.data import order_bounds
from benchmarks.raw_http import Part, parquet_waves
from opendalfs_polars.target import Backend

GATEWAY = "opendalfs gateway"
SERVER = "opendalfs.serve"
POLARS = "Polars native"
DATASET = "scan_pyarrow_dataset, s3fs"
COLUMNS = ["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"]

Query = Callable[[pl.LazyFrame], pl.LazyFrame]


def _ours(make: Callable[[Context], Query], backend: Backend) -> Peer:
    def peer(context: Context) -> Work:
        url = context.url(context.remote(context.lineitem))
        # The gateway reads through our filesystem, whose caches must be empty in each round.
        options = context.unique() if backend == "gateway" else context.options
        query = make(context)

        def work() -> Any:
            scan = opendalfs_polars.scan_parquet(url, storage_options=options, backend=backend)
            return query(scan).collect()

        return work

    return peer


def peers(make: Callable[[Context], Query]) -> dict[str, Peer]:
    """Return the peers of one query on lineitem.

    Parameters
    ----------
    make : callable
        Returns the query, as a function of a scan.

    Returns
    -------
    dict
        The peers. On S3, opendalfs with ``auto`` uses the native store of Polars.
    """

    def native(context: Context) -> Work:
        url, options = f"s3://{context.remote(context.lineitem)}", context.access.polars()
        query = make(context)
        return lambda: query(pl.scan_parquet(url, storage_options=options)).collect()

    def server(context: Context) -> Work:
        endpoint = context.endpoint
        key = context.remote(context.lineitem).removeprefix(f"{context.root}/")
        url, options = f"{endpoint.url}{key}", endpoint.storage_options()
        query = make(context)
        return lambda: query(pl.scan_parquet(url, storage_options=options)).collect()

    def dataset(context: Context) -> Work:
        path, filesystem = context.remote(context.lineitem), context.s3fs()
        query = make(context)

        def work() -> Any:
            found = ds.dataset(path, filesystem=filesystem)
            return query(pl.scan_pyarrow_dataset(found)).collect()

        return work

    def local(context: Context) -> Work:
        query = make(context)
        return lambda: query(pl.scan_parquet(context.lineitem)).collect()

    return {
        OURS: _ours(make, "auto"),
        GATEWAY: _ours(make, "gateway"),
        SERVER: server,
        POLARS: native,
        DATASET: dataset,
        LOCAL: local,
    }


def _select(_: Context) -> Query:
    return lambda scan: scan.select(COLUMNS)


def _filter(context: Context) -> Query:
    last, _ = order_bounds(context.lineitem)[-1]
    return lambda scan: scan.filter(pl.col("l_orderkey") > last).select(COLUMNS)


def _plan(columns: list[str], last: bool) -> Callable[[Context], list[list[Part]]]:
    def plan(context: Context) -> list[list[Part]]:
        file = context.lineitem
        groups = [len(order_bounds(file)) - 1] if last else None
        return parquet_waves([(file, context.remote(file))], columns, groups)

    return plan


def digest(frame: pl.DataFrame) -> object:
    """Return the shape of a frame of `COLUMNS`, sums and the last date."""
    totals = frame.select(pl.col("l_quantity", "l_extendedprice", "l_discount").cast(pl.Float64).sum())
    return frame.shape, [round(value, 2) for value in totals.row(0)], frame["l_shipdate"].max()


def _case(name: str, make: Callable[[Context], Query], plan: Callable[[Context], list[list[Part]]]) -> Case:
    found = peers(make)
    return Case("polars", name, {**found, LIMIT: limit(plan, found[LOCAL])}, digest)


CASES = [
    _case("4 columns", _select, _plan(COLUMNS, last=False)),
    _case("4 columns, filter to 1 row group", _filter, _plan([*COLUMNS, "l_orderkey"], last=True)),
]
