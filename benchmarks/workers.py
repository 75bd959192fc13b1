"""Scan the same files with 1, 2 and 4 worker processes over a distant S3 server, and print the speed-up.

::

    python -m benchmarks.workers

The workers import everything before the clock starts. Each reads whole files, one after the other, and sends
one request at a time. What is measured is the wait for the server, as far as the processors of this machine
allow.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import opendalfs
from opendalfs.testing import DelayProxy, s3_server

FILES = 24
ROW_GROUPS = 2
ROWS = 20_000
LATENCY = 0.1


def scan(fs: opendalfs.OpendalFileSystem, paths: list[str]) -> int:
    """Read two columns of each file; return the requests."""
    with opendalfs.trace() as trace:
        for path in paths:
            pq.read_table(path, columns=["a", "c"], filesystem=opendalfs.arrow(fs))
    return trace.requests


def main() -> None:
    """Write the files, and read them with each number of workers."""
    table = pa.table(
        {name: pa.array(np.random.default_rng(0).random(ROWS * ROW_GROUPS)) for name in "abcdef"}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROWS, compression="none", use_dictionary=False)
    context = multiprocessing.get_context("spawn")
    with s3_server() as server, DelayProxy(server.endpoint) as proxy, ExitStack() as processes:
        fs = opendalfs.filesystem("s3", concurrency=1, **proxy.through(server.options))
        pools = [processes.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in range(4)]
        alone = 0.0
        for workers in (1, 2, 4):
            # New files, as a worker remembers the ends of those that it has read.
            paths = [f"{server.bucket}/workers/{workers}/{number}.parquet" for number in range(FILES)]
            proxy.set(latency=0, bandwidth=0)
            fs.pipe(dict.fromkeys(paths, sink.getvalue().to_pybytes()))
            warm = [pool.submit(scan, fs, [paths[0]]) for pool in pools]
            for future in warm:
                future.result()
            proxy.set(latency=LATENCY, bandwidth=0)
            proxy.reset()
            begun = time.perf_counter()
            shares = [paths[1 + number :: workers] for number in range(workers)]
            running = [pool.submit(scan, fs, share) for pool, share in zip(pools, shares, strict=False)]
            requests = [future.result() for future in running]
            seconds = time.perf_counter() - begun
            alone = alone or seconds
            speed = f"{workers} workers: {seconds:.2f} s, {alone / seconds:.2f}x"
            print(f"{speed}, {sum(requests)} requests {requests}, {proxy.counters().sent:,} bytes")


if __name__ == "__main__":
    main()
