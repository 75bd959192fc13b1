"""TPC-H Q1 and Q6 on a Dask cluster: two worker processes read Parquet from S3 through opendalfs.

Everything runs on this machine: the script starts an S3 server and a cluster, uploads ``lineitem`` in several
files, and compares the results with those of DuckDB on the local files: see `tpch.py` beside it::

    pip install "/path/to/checkout[all,testing]" "dask[dataframe]" distributed
    python dask_scan.py            # or with a number of workers: python dask_scan.py 4

On your own cluster only `lineitem` matters: a URL and the options are all that the workers need.
"""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import tpch
from distributed import Client, LocalCluster, WorkerPlugin

import opendalfs


class Tracer(WorkerPlugin):  # type: ignore[misc]  # distributed comes without types
    """Record the requests of a worker from its start."""

    name = "opendalfs-trace"

    def setup(self, worker: Any) -> None:
        self.trace = opendalfs.trace()
        worker.opendalfs_trace = self.trace.__enter__()

    def teardown(self, worker: Any) -> None:
        self.trace.__exit__(None, None, None)


def requests_and_bytes(dask_worker: Any) -> tuple[int, int]:
    """Return what one worker has requested; Dask passes the worker."""
    trace = dask_worker.opendalfs_trace
    return trace.requests, trace.bytes


def lineitem(url: str, options: dict[str, Any]) -> dd.DataFrame:
    """Return the table, one partition a file, with numbers as integers: sums of them are exact."""
    table = dd.read_parquet(
        f"{url}/*.parquet",
        columns=tpch.SCHEMA.names,
        storage_options=options,
    )
    return table.assign(**{name: (table[name] * 100).astype("int64") for name in tpch.NUMBERS})


def q1(table: dd.DataFrame) -> dd.DataFrame:
    """Return Q1, still to be computed."""
    rows = table[table.l_shipdate <= pd.Timestamp("1998-09-02").date()]
    rows = rows.assign(disc_price=rows.l_extendedprice * (100 - rows.l_discount))
    rows = rows.assign(charge=rows.disc_price * (100 + rows.l_tax))
    sums = ["l_quantity", "l_extendedprice", "disc_price", "charge"]
    groups = rows.groupby(tpch.KEYS)
    return groups.agg({**dict.fromkeys(sums, "sum"), "l_tax": "count"})


def q6(table: dd.DataFrame) -> Any:
    """Return Q6, still to be computed."""
    first, end = pd.Timestamp("1994-01-01").date(), pd.Timestamp("1995-01-01").date()
    rows = table[(table.l_shipdate >= first) & (table.l_shipdate < end)]
    rows = rows[rows.l_discount.between(5, 7) & (rows.l_quantity < 2400)]
    return (rows.l_extendedprice * rows.l_discount).sum()


def with_digits(first: pd.DataFrame, sixth: int) -> tuple[tpch.Rows, Decimal]:
    """Return both results with the digits that DuckDB has."""
    digits = (2, 2, 4, 6, 0)
    rows = [
        (*key, *(Decimal(int(value)).scaleb(-n) for value, n in zip(row, digits, strict=True)))
        for key, *row in first.sort_index().itertuples()
    ]
    return rows, Decimal(int(sixth)).scaleb(-4)


def main(workers: int = 2) -> None:
    """Start server and cluster, upload, run both queries, and print what each worker has requested."""
    # The upload uses storage in this process: the workers are spawned, which is the default of Dask.
    with (
        tpch.lineitem_on_s3("dask-scan") as (server, path, files),
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(Tracer())
        table = lineitem(f"opendal+s3://{path}", server.options)
        begun = time.perf_counter()
        first, sixth = dask.compute(q1(table), q6(table))
        print(f"{workers} workers, {time.perf_counter() - begun:.1f} s")
        tpch.compare(*with_digits(first, sixth), files)
        for name, (requests, size) in sorted(client.run(requests_and_bytes).items()):
            print(f"worker {name}: {requests} requests, {size:,} bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
