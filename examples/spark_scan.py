"""TPC-H Q1 and Q6 on Spark: Python workers read Parquet from S3 through opendalfs, with `mapPartitions`.

Spark's own readers take no Python filesystem, so each worker reads the files of its partition with PyArrow,
and the driver adds up their results. Everything runs on this machine: the script starts an S3 server and a
local Spark, uploads ``lineitem`` in several files, and compares the results with those of DuckDB on the local
files: see `tpch.py` beside it. Spark needs Java (on Debian: default-jre-headless)::

    pip install "/path/to/checkout[all,testing]" pyspark
    python spark_scan.py           # or with a number of workers: python spark_scan.py 4

Spark pickles the filesystem with the function: it becomes the same class with the same options in each
worker.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tpch
from pyspark import SparkConf, SparkContext

import opendalfs


def scan(fs: opendalfs.OpendalFileSystem, paths: Iterator[str]) -> Iterator[tuple[int, int, int, pa.Table]]:
    """Read the files of one partition; this runs in a worker."""
    for path in paths:
        with opendalfs.trace() as trace:
            table = pq.read_table(
                path, columns=tpch.SCHEMA.names, schema=tpch.SCHEMA, filesystem=opendalfs.arrow(fs)
            )
        yield os.getpid(), trace.requests, trace.bytes, tpch.sums(table)


def run(spark: SparkContext, fs: opendalfs.OpendalFileSystem, path: str, files: Path, workers: int) -> None:
    """Run both queries, and print what each worker has requested."""
    begun = time.perf_counter()
    paths = spark.parallelize(fs.ls(path, detail=False), workers)
    parts = paths.mapPartitions(lambda share: scan(fs, share)).collect()
    print(f"{workers} workers, {time.perf_counter() - begun:.1f} s")
    tpch.compare(*tpch.combine([table for *_, table in parts]), files)
    for worker in sorted({pid for pid, *_ in parts}):
        requests = sum(part[1] for part in parts if part[0] == worker)
        size = sum(part[2] for part in parts if part[0] == worker)
        print(f"worker {worker}: {requests} requests, {size:,} bytes")


def main(workers: int = 2) -> None:
    """Start server and Spark, upload, and run both queries."""
    # The workers run this Python. Spark forks them from a process that never uses storage.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tpch.lineitem_on_s3("spark-scan") as (server, path, files):
        fs = opendalfs.filesystem("s3", **server.options)
        conf = SparkConf().setMaster(f"local[{workers}]").setAppName("scan").set("spark.ui.enabled", "false")
        # The workers import the module whose function they call.
        spark = SparkContext(conf=conf, pyFiles=[tpch.__file__])
        try:
            run(spark, fs, path, files, workers)
        finally:
            spark.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
