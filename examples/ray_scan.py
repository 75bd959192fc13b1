"""TPC-H Q1 and Q6 on Ray: two worker processes read Parquet from S3 through opendalfs.

Everything runs on this machine: the script starts an S3 server and Ray, uploads ``lineitem`` in several
files, and compares the results with those of DuckDB on the local files::

    pip install "/path/to/checkout[all,testing]" ray
    python ray_scan.py             # or with a number of workers: python ray_scan.py 4

Ray pickles the filesystem: it becomes the same class with the same options in each worker, with connections
of its own. `ray.data.read_parquet(paths, filesystem=opendalfs.arrow(fs))` works the same way.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

import opendalfs
from opendalfs.testing import s3_server, tpch_tables

KEYS = ["l_returnflag", "l_linestatus"]
NUMBERS = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
TYPES: dict[str, Any] = {
    **dict.fromkeys(KEYS, pa.string()),
    **dict.fromkeys(NUMBERS, pa.decimal128(15, 2)),
    "l_shipdate": pa.date32(),
}
SCHEMA = pa.schema(TYPES)

# Numbers are integers: sums of them are exact.
SUMS = ["quantity", "price", "disc_price", "charge", "revenue", "rows"]

# The same two queries for DuckDB.
Q1 = """
    SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
           sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)),
           count(*)
    FROM '{files}' WHERE l_shipdate <= DATE '1998-09-02' GROUP BY ALL ORDER BY ALL
"""
Q6 = """
    SELECT sum(l_extendedprice * l_discount) FROM '{files}'
    WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
      AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""


def sums(table: pa.Table) -> pa.Table:
    """Return the sums of both queries for one file, by flag and status."""
    rows = table.filter(pc.field("l_shipdate") <= date(1998, 9, 2))
    numbers: list[Any] = [pc.cast(pc.multiply(rows[name], pa.scalar(100)), pa.int64()) for name in NUMBERS]
    quantity, price, discount, tax = numbers
    disc_price: Any = pc.multiply(price, pc.subtract(100, discount))
    shipped: Any = pc.equal(pc.year(rows["l_shipdate"]), pa.scalar(1994))
    discounted: Any = pc.and_(pc.greater_equal(discount, pa.scalar(5)), pc.less_equal(discount, pa.scalar(7)))
    chosen = pc.and_(pc.and_(shipped, discounted), pc.less(quantity, pa.scalar(2400)))
    columns: dict[str, Any] = {
        "flag": rows["l_returnflag"],
        "status": rows["l_linestatus"],
        "quantity": quantity,
        "price": price,
        "disc_price": disc_price,
        "charge": pc.multiply(disc_price, pc.add(100, tax)),
        "revenue": pc.if_else(chosen, pc.multiply(price, discount), 0),
        "rows": pa.array([1] * len(rows), pa.int64()),
    }
    groups = pa.table(columns).group_by(["flag", "status"]).aggregate([(name, "sum") for name in SUMS])
    return groups.rename_columns({f"{name}_sum": name for name in SUMS})


@ray.remote(num_cpus=1)
class Worker:
    """One process, which scans files and counts its requests."""

    def __init__(self, fs: opendalfs.OpendalFileSystem) -> None:
        self.fs = opendalfs.arrow(fs)
        self.requests = self.bytes = 0

    def scan(self, path: str) -> pa.Table:
        """Return the sums of both queries for one file."""
        with opendalfs.trace() as trace:
            table = pq.read_table(path, columns=SCHEMA.names, schema=SCHEMA, filesystem=self.fs)
        self.requests += trace.requests
        self.bytes += trace.bytes
        return sums(table)

    def counts(self) -> tuple[int, int, int]:
        """Return the process's id, its requests and its bytes."""
        return os.getpid(), self.requests, self.bytes


def combine(parts: list[pa.Table]) -> tuple[list[tuple[Any, ...]], Decimal]:
    """Return both results from those of the files, with the digits that DuckDB has."""
    groups = pa.concat_tables(parts).group_by(["flag", "status"])
    totals = groups.aggregate([(name, "sum") for name in SUMS])
    digits = {"quantity": 2, "price": 2, "disc_price": 4, "charge": 6, "rows": 0}
    rows = totals.sort_by([("flag", "ascending"), ("status", "ascending")]).to_pylist()
    first = [
        (row["flag"], row["status"], *(Decimal(row[f"{name}_sum"]).scaleb(-n) for name, n in digits.items()))
        for row in rows
    ]
    return first, Decimal(sum(row["revenue_sum"] for row in rows)).scaleb(-4)


def compare(first: list[tuple[Any, ...]], sixth: Decimal, files: Path) -> None:
    """Print both results, and compare them with those of DuckDB on the local files."""
    local = f"{files}/*.parquet"
    if first != duckdb.execute(Q1.format(files=local)).fetchall():
        raise SystemExit(f"Q1 differs from DuckDB's: {first}")
    if [(sixth,)] != duckdb.execute(Q6.format(files=local)).fetchall():
        raise SystemExit(f"Q6 differs from DuckDB's: {sixth}")
    for row in first:
        print("Q1:", *(f"{value:,}" if isinstance(value, Decimal) else value for value in row))
    print(f"Q6: {sixth:,}")
    print("Both are equal to DuckDB's.")


def main(workers: int = 2) -> None:
    """Start server and Ray, upload, run both queries, and print what each worker has requested."""
    with tempfile.TemporaryDirectory() as directory, s3_server() as server:
        files = tpch_tables(directory, 0.1, tables=["lineitem"], row_group="4MB", parts=8)["lineitem"]
        fs = opendalfs.filesystem("s3", **server.options)
        path = f"{server.bucket}/ray-scan/lineitem"
        fs.put(f"{files}/", f"{path}/", recursive=True)
        ray.init(num_cpus=workers, include_dashboard=False, object_store_memory=100_000_000)
        try:
            actors = [Worker.remote(fs) for _ in range(workers)]  # type: ignore[attr-defined]
            ray.get([actor.counts.remote() for actor in actors])  # until all have started
            begun = time.perf_counter()
            pool = ray.util.ActorPool(actors)
            parts = list(
                pool.map_unordered(lambda actor, file: actor.scan.remote(file), fs.ls(path, detail=False))
            )
            print(f"{workers} workers, {time.perf_counter() - begun:.1f} s")
            compare(*combine(parts), files)
            for pid, requests, size in ray.get([actor.counts.remote() for actor in actors]):
                print(f"worker {pid}: {requests} requests, {size:,} bytes")
        finally:
            ray.shutdown()
        fs.rm(path, recursive=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
