"""Read Parquet from object storage through opendalfs, and count the requests.

Without arguments everything runs on this machine. The script starts an S3 server, uploads tables of TPC-H,
reads them with ``pq.read_table`` through opendalfs and through s3fs, queries them with DuckDB and Polars, and
compares all results with the local files::

    pip install "/path/to/checkout[all,testing]" s3fs
    python quickstart.py

With a URL it uses your storage, and removes the files that it wrote::

    python quickstart.py --url opendal+s3://bucket/prefix -o region=eu-central-1
    python quickstart.py --url opendal+fs:///tmp/lake
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import DelayProxy, s3_server, tpch_tables

SCALE = 0.1
COLUMNS = {
    "lineitem": ["l_shipdate", "l_extendedprice"],
    "orders": ["o_orderdate", "o_totalprice"],
}


@dataclass
class Storage:
    """URL of the tables, and options of its filesystem."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    proxy: DelayProxy | None = None  # counts the requests of every client


@contextmanager
def local_s3() -> Iterator[Storage]:
    """Start an S3 server behind a proxy that counts requests."""
    with s3_server() as server, DelayProxy(server.endpoint) as proxy:
        # opendalfs accepts the option names of s3fs: key, secret, endpoint_url, ...
        options = proxy.through(server.options)
        yield Storage(f"opendal+s3://{server.bucket}/quickstart", options, proxy)


def read(table: str, filesystem: Any, path: str) -> pa.Table:
    """Read two columns of a table."""
    return pq.read_table(path, columns=COLUMNS[table], filesystem=filesystem)


def report(name: str, what: str, work: Callable[[], Any], proxy: DelayProxy | None) -> Any:
    """Run `work`, and print its requests, bytes and seconds."""
    with opendalfs.trace() as trace:
        if proxy:
            proxy.reset()
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
    # s3fs leaves no trace, so on this machine the proxy counts.
    requests, size = trace.requests, trace.bytes
    if proxy:
        seen = proxy.counters()
        requests, size = seen.requests, seen.sent
    counted = f"{requests:>10}{size / 1e6:>9.2f}" if requests else f"{'not traced':>19}"
    print(f"  {what:<10}{name:<11}{counted}{seconds:>10.3f}")
    return result


def read_tables(storage: Storage, fs: Any, paths: dict[str, str], files: dict[str, Path]) -> None:
    """Read two columns of each table with PyArrow, and compare them with the local files."""
    print("\nTwo columns of each table, by pq.read_table:")
    print(f"  {'table':<10}{'client':<11}{'requests':>10}{'MB':>9}{'seconds':>10}")
    for table, path in paths.items():
        # opendalfs.arrow returns a pyarrow filesystem over the storage.
        read(table, opendalfs.arrow(fs), path)  # the first read also imports and connects
        result = report("opendalfs", table, partial(read, table, opendalfs.arrow(fs), path), storage.proxy)
        if result != pq.read_table(files[table], columns=COLUMNS[table]):
            raise SystemExit(f"{path} differs from {files[table]}")

        if storage.proxy:
            theirs = fsspec.filesystem("s3", **storage.options)  # s3fs
            read(table, theirs, path)
            theirs.invalidate_cache()
            report("s3fs", table, partial(read, table, theirs, path), storage.proxy)
    print("The tables are equal to the local files.")


def query_engines(storage: Storage, url: str, file: Path) -> None:
    """Sum a column with DuckDB and Polars, and compare it with PyArrow's sum of the local file."""
    con = duckdb.connect()
    opendalfs_duckdb.register(con, url.partition("://")[0], **storage.options)
    opendalfs.polars()

    def by_duckdb() -> Any:
        return con.execute(f"SELECT sum(o_totalprice), count(*) FROM '{url}'").fetchone()

    def by_polars() -> Any:
        orders = pl.scan_parquet(url, storage_options=storage.options)
        return orders.select(pl.col("o_totalprice").sum(), pl.len()).collect().row(0)

    local = pq.read_table(file, columns=["o_totalprice"])["o_totalprice"]
    print("\nThe sum of all orders:")
    for name, work in {"duckdb": by_duckdb, "polars": by_polars}.items():
        answer = report(name, "orders", work, storage.proxy)
        if tuple(answer) != (pc.sum(local).as_py(), len(local)):
            raise SystemExit(f"{name} finds {answer}")
    print(f"Both find {answer[0]:,} in {answer[1]:,} orders, as the local file has it.")


def run(storage: Storage) -> None:
    """Upload the tables, read and query them, and remove them."""
    # From a URL that starts with "opendal+": the filesystem, and the path in it.
    fs, root = fsspec.url_to_fs(storage.url, **storage.options)
    paths = {table: f"{root}/opendalfs-quickstart/{table}.parquet" for table in COLUMNS}

    print(f"TPC-H at scale {SCALE}, on {storage.url}")
    with tempfile.TemporaryDirectory() as directory:
        files = tpch_tables(directory, SCALE, row_group="7MB")
        try:
            for table, path in paths.items():
                fs.put_file(str(files[table]), path)
                print(f"  uploaded {table}.parquet, {files[table].stat().st_size / 1e6:.1f} MB")
            read_tables(storage, fs, paths, files)
            query_engines(storage, fs.unstrip_protocol(paths["orders"]), files["orders"])
        finally:
            for path in paths.values():
                if fs.exists(path):
                    fs.rm_file(path)


def own_storage(url: str, options: list[str]) -> Storage:
    """Return the storage that the arguments name; exit with one line if they are wrong."""
    if not url.startswith("opendal+"):
        scheme, found, rest = url.partition("://")
        hint = f"opendal+{scheme}://{rest}" if found else "opendal+s3://bucket/prefix"
        raise SystemExit(f"--url {url} does not begin with 'opendal+': pass {hint}")
    if not all("=" in option for option in options):
        # It may be a secret, so it is not shown.
        raise SystemExit("an option of -o has no value: pass -o KEY=VALUE")
    return Storage(url, dict(option.split("=", 1) for option in options))


def main(arguments: list[str]) -> None:
    """Choose the storage and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="your storage, such as opendal+s3://bucket/prefix")
    parser.add_argument("-o", metavar="KEY=VALUE", action="append", default=[], dest="options")
    given = parser.parse_args(arguments)
    if given.url:
        storage = own_storage(given.url, given.options)
        try:
            run(storage)
        except (OSError, ValueError) as exc:
            # What storage or an option refuses needs no traceback; the first line says what to do.
            raise SystemExit(f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}") from None
        return
    if given.options:
        raise SystemExit("-o is for your own storage: pass --url opendal+s3://bucket/prefix too")
    with local_s3() as local:
        run(local)
    print("\nOn your own bucket:")
    print('  make demo ARGS="--url opendal+s3://BUCKET/PREFIX -o region=REGION"')


if __name__ == "__main__":
    main(sys.argv[1:])
