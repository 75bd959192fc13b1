"""Reads with a cache on disk, each in a process of its own, with the requests that it took."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def cat_file(path: str, options: dict[str, Any]) -> bytes:
    """Read a file whole."""
    import opendalfs

    return bytes(opendalfs.filesystem("s3", **options).cat_file(path))


def cat_ranges(path: str, options: dict[str, Any]) -> bytes:
    """Read ranges of a file."""
    import opendalfs

    ranges = opendalfs.filesystem("s3", **options).cat_ranges(
        [path] * 3, [0, 500_000, -100], [10, 600_000, None]
    )
    return b"".join(ranges)


def open_and_read(path: str, options: dict[str, Any]) -> bytes:
    """Read a file object to its end."""
    import opendalfs

    with opendalfs.filesystem("s3", **options).open(path) as file:
        return bytes(file.read())


def open_async_and_read(path: str, options: dict[str, Any]) -> bytes:
    """Read a file object of coroutines to its end."""
    import asyncio

    import opendalfs

    async def read() -> bytes:
        fs: Any = opendalfs.filesystem("s3", asynchronous=True, **options)
        async with await fs.open_async(path) as file:
            return bytes(await file.read())

    return asyncio.run(read())


def get(path: str, options: dict[str, Any]) -> bytes:
    """Download a file."""
    import io

    import opendalfs

    target = io.BytesIO()
    opendalfs.filesystem("s3", **options).get_file(path, target)
    return target.getvalue()


def read_table(path: str, options: dict[str, Any]) -> bytes:
    """Read a table by pyarrow."""
    import pyarrow.parquet as pq

    import opendalfs

    table = pq.read_table(path, columns=["a", "c"], filesystem=opendalfs.arrow("s3", **options))
    return str(table.to_pydict()).encode()


def duckdb_select(path: str, options: dict[str, Any]) -> bytes:
    """Read a table by DuckDB."""
    import duckdb

    import opendalfs

    with duckdb.connect() as connection:
        connection.register_filesystem(opendalfs.duckdb("s3", **options))
        rows = connection.execute(f"SELECT a, c FROM 'opendal+s3://{path}'").fetchall()
    return str({"a": [row[0] for row in rows], "c": [row[1] for row in rows]}).encode()


def polars_scan(path: str, options: dict[str, Any]) -> bytes:
    """Read a table by Polars."""
    import opendalfs_polars

    frame = opendalfs_polars.scan_parquet(f"opendal+s3://{path}", storage_options=options)
    return str(frame.select("a", "c").collect().to_dict(as_series=False)).encode()


def cat_folder(path: str, options: dict[str, Any]) -> bytes:
    """Read all files of a directory."""
    import opendalfs

    found = opendalfs.filesystem("s3", **options).cat(f"{folder_of(path)}/*")
    return b"".join(data for _, data in sorted(found.items()))


def get_folder(path: str, options: dict[str, Any]) -> bytes:
    """Download a directory."""
    import tempfile

    import opendalfs

    with tempfile.TemporaryDirectory() as target:
        opendalfs.filesystem("s3", **options).get(f"{folder_of(path)}/", target, recursive=True)
        return b"".join(file.read_bytes() for file in sorted(Path(target).rglob("*")) if file.is_file())


def look_up(path: str, options: dict[str, Any]) -> bytes:
    """Look up files and directories, and read one by a pattern."""
    import opendalfs

    fs = opendalfs.filesystem("s3", **options)
    folder = folder_of(path)
    found = [fs.isdir(folder), fs.isfile(path), fs.exists(path), fs.size(path), fs.ls(folder, detail=False)]
    found += [fs.glob(f"{folder}/*.parquet"), sorted(fs.walk(folder)), fs.du(folder)]
    return str(found).encode() + bytes(fs.cat_file(fs.glob(f"{folder}/*.parquet")[0]))


def read_dataset(path: str, options: dict[str, Any]) -> bytes:
    """Read a directory of tables by pyarrow."""
    import pyarrow.parquet as pq

    import opendalfs

    table = pq.read_table(folder_of(path), columns=["a"], filesystem=opendalfs.arrow("s3", **options))
    return str(sorted(table["a"].to_pylist())).encode()


def duckdb_glob(path: str, options: dict[str, Any]) -> bytes:
    """Read tables by DuckDB and a pattern."""
    import duckdb

    import opendalfs

    with duckdb.connect() as connection:
        connection.register_filesystem(opendalfs.duckdb("s3", **options))
        url = f"opendal+s3://{folder_of(path)}/*.parquet"
        return str(connection.execute(f"SELECT sum(a), count(c) FROM '{url}'").fetchall()).encode()


def polars_glob(path: str, options: dict[str, Any]) -> bytes:
    """Read tables by Polars and a pattern."""
    import opendalfs_polars

    url = f"opendal+s3://{folder_of(path)}/*.parquet"
    frame = opendalfs_polars.scan_parquet(url, storage_options=options)
    return str(sorted(frame.select("a").collect()["a"].to_list())).encode()


def folder_of(path: str) -> str:
    """Return the directory of files of the same kind beside a file."""
    return path.rpartition("/")[0] + "/folder"


READS: dict[str, Callable[[str, dict[str, Any]], bytes]] = {
    function.__name__: function
    for function in (
        cat_file,
        cat_ranges,
        open_and_read,
        open_async_and_read,
        get,
        read_table,
        duckdb_select,
        polars_scan,
    )
}
FOLDERS: dict[str, Callable[[str, dict[str, Any]], bytes]] = {
    function.__name__: function
    for function in (cat_folder, get_folder, look_up, read_dataset, duckdb_glob, polars_glob)
}
TABLES = ["read_table", "duckdb_select", "polars_scan"]


Job = tuple[str, str, dict[str, Any]]
"""Name of a read, path, and options."""


def run(jobs: list[Job]) -> list[dict[str, Any]]:
    """Read in a new process; return the requests, cache hits and digest of each read."""
    result = subprocess.run(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        input=json.dumps(jobs),
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    return found


def measure(read: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Read in this process, and return what it took."""
    import opendalfs

    with opendalfs.trace() as trace:
        data = (READS | FOLDERS)[read](path, options)
    return {
        "requests": {r.operation: trace.count(r.operation) for r in trace.records if r.requests},
        "hits": trace.cache_hits,
        "sha": hashlib.sha256(data).hexdigest(),
    }


if __name__ == "__main__":
    print(json.dumps([measure(*job) for job in json.load(sys.stdin)]))
