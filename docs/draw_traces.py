"""Draw the plots of docs/tracing.md from real traces: ``python docs/draw_traces.py``.

A real S3 server runs on this machine, behind a proxy that adds 30 ms to each response.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import opendalfs
from opendalfs.testing import DelayProxy, S3Server, s3_server, tpch_tables

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS = ["l_shipdate", "l_extendedprice"]


def draw(folder: Path, server: S3Server) -> None:
    """Trace some work on a server, and write a plot of each trace into a folder."""
    with DelayProxy(server.endpoint) as proxy, tempfile.TemporaryDirectory() as local:
        options = proxy.through(server.options)
        lake = f"{server.bucket}/lake"
        fs = opendalfs.filesystem("s3", hedge_reads=False, **options)
        files = tpch_tables(local, 0.02, row_group="1MB")
        fs.put_file(str(files["lineitem"]), f"{lake}/lineitem.parquet")
        fs.pipe({f"{lake}/small/{i:02}.json": b"{}" * 500 for i in range(24)})
        paths = fs.find(f"{lake}/small")
        fs.cat(paths)  # makes the connections
        proxy.set(latency=0.030, bandwidth=90e6)

        def read_table(**more: Any) -> None:
            fresh = opendalfs.filesystem("s3", skip_instance_cache=True, hedge_reads=False, **options, **more)
            pq.read_table(f"{lake}/lineitem.parquet", columns=COLUMNS, filesystem=opendalfs.arrow(fresh))

        _plot(folder / "trace_loop.svg", lambda: [fs.cat_file(path) for path in paths])
        _plot(folder / "trace_cat.svg", lambda: fs.cat(paths))
        _plot(folder / "trace_parquet.svg", read_table)
        cache = f"{local}/cache"
        read_table(cache_dir=cache)
        # The cache is written behind the reads.
        for _ in range(100):
            if opendalfs.cache_info(cache).bytes > 800_000:
                break
            time.sleep(0.1)
        _plot(folder / "trace_cached.svg", lambda: read_table(cache_dir=cache))
        fs.rm(lake, recursive=True)


def _plot(path: Path, work: Callable[[], object]) -> None:
    with opendalfs.trace() as trace:
        work()
    trace.plot(str(path))
    print(f"{path.name}: {trace.requests} requests, {trace.round_trips} round trips")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    with s3_server() as started:
        draw(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, started)
