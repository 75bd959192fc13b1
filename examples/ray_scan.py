"""TPC-H Q1 and Q6 on Ray: two worker processes read Parquet from S3 through opendalfs.

Everything runs on this machine: the script starts an S3 server and Ray, uploads ``lineitem`` in several
files, and compares the results with those of DuckDB on the local files: see `tpch.py` beside it::

    pip install "/path/to/checkout[all,testing]" ray
    python ray_scan.py             # or with a number of workers: python ray_scan.py 4

Ray pickles the filesystem: it becomes the same class with the same options in each worker, with connections
of its own. `ray.data.read_parquet(paths, filesystem=opendalfs.arrow(fs))` works the same way.
"""

from __future__ import annotations

import os
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import tpch

import opendalfs


@ray.remote(num_cpus=1)
class Worker:
    """One process, which scans files and counts its requests."""

    def __init__(self, fs: opendalfs.OpendalFileSystem) -> None:
        self.fs = opendalfs.arrow(fs)
        self.requests = self.bytes = 0

    def scan(self, path: str) -> pa.Table:
        """Return the sums of both queries for one file."""
        with opendalfs.trace() as trace:
            table = pq.read_table(path, columns=tpch.SCHEMA.names, schema=tpch.SCHEMA, filesystem=self.fs)
        self.requests += trace.requests
        self.bytes += trace.bytes
        return tpch.sums(table)

    def counts(self) -> tuple[int, int, int]:
        """Return the process's id, its requests and its bytes."""
        return os.getpid(), self.requests, self.bytes


def main(workers: int = 2) -> None:
    """Start server and Ray, upload, run both queries, and print what each worker has requested."""
    with tpch.lineitem_on_s3("ray-scan") as (server, path, files):
        fs = opendalfs.filesystem("s3", **server.options)
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
            tpch.compare(*tpch.combine(parts), files)
            for pid, requests, size in ray.get([actor.counts.remote() for actor in actors]):
                print(f"worker {pid}: {requests} requests, {size:,} bytes")
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
