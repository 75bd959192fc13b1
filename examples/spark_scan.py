"""TPC-H Q1 and Q6 on Spark: Python workers read Parquet from S3 through opendalfs, with `mapPartitions`.

Spark's own readers take no Python filesystem, so each worker reads the files of its partition with PyArrow,
and the driver adds up their results. Everything runs on this machine: the script starts an S3 server and a
local Spark, uploads ``lineitem`` in several files, and compares the results with those of DuckDB on the local
files. Spark needs Java (on Debian: default-jre-headless)::

    pip install "/path/to/checkout[all,testing]" pyspark
    python spark_scan.py           # or with a number of workers: python spark_scan.py 4

Spark pickles the filesystem with the function: it becomes the same class with the same options in each
worker.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import SparkConf, SparkContext

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


def scan(fs: opendalfs.OpendalFileSystem, paths: Iterator[str]) -> Iterator[tuple[int, int, int, pa.Table]]:
    """Read the files of one partition; this runs in a worker."""
    for path in paths:
        with opendalfs.trace() as trace:
            table = pq.read_table(path, columns=SCHEMA.names, schema=SCHEMA, filesystem=opendalfs.arrow(fs))
        yield os.getpid(), trace.requests, trace.bytes, sums(table)


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


def run(spark: SparkContext, fs: opendalfs.OpendalFileSystem, path: str, files: Path, workers: int) -> None:
    """Run both queries, and print what each worker has requested."""
    begun = time.perf_counter()
    paths = spark.parallelize(fs.ls(path, detail=False), workers)
    parts = paths.mapPartitions(lambda share: scan(fs, share)).collect()
    print(f"{workers} workers, {time.perf_counter() - begun:.1f} s")
    compare(*combine([table for *_, table in parts]), files)
    for worker in sorted({pid for pid, *_ in parts}):
        requests = sum(part[1] for part in parts if part[0] == worker)
        size = sum(part[2] for part in parts if part[0] == worker)
        print(f"worker {worker}: {requests} requests, {size:,} bytes")


def main(workers: int = 2) -> None:
    """Start server and Spark, upload, and run both queries."""
    # The workers run this Python. Spark forks them from a process that never uses storage.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryDirectory() as directory, s3_server() as server:
        files = tpch_tables(directory, 0.1, tables=["lineitem"], row_group="4MB", parts=8)["lineitem"]
        fs = opendalfs.filesystem("s3", **server.options)
        path = f"{server.bucket}/spark-scan/lineitem"
        fs.put(f"{files}/", f"{path}/", recursive=True)
        conf = SparkConf().setMaster(f"local[{workers}]").setAppName("scan").set("spark.ui.enabled", "false")
        spark = SparkContext(conf=conf)
        try:
            run(spark, fs, path, files, workers)
        finally:
            spark.stop()
        fs.rm(path, recursive=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
