"""The correctness harness: every shape of query, over and over, against DuckDB on the same local files."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

import opendalfs_duckdb

SHAPES = {
    "full": "FROM '{root}/one.parquet'",
    "two columns": "SELECT c1, c4 FROM '{root}/one.parquet'",
    "filter": "FROM '{root}/one.parquet' WHERE c0 BETWEEN 21000 AND 29000",
    "many files": "FROM '{root}/many/*.parquet'",
    "hive": "FROM read_parquet('{root}/hive/**/*.parquet', hive_partitioning = true) WHERE m = 1",
    "csv": "FROM '{root}/table.csv'",
    "csv.gz": "FROM '{root}/table.csv.gz'",
    "json": "FROM '{root}/table.json'",
}
SETTINGS = {
    "default": (),
    "async_threads=32": ("SET GLOBAL async_threads = 32",),
    "cache": (),
    "threads=1": ("SET threads = 1",),
}


def make_files(folder: Path, rows: int = 50_000) -> None:
    """Write the tables of all shapes into a local folder."""
    con = duckdb.connect()
    con.execute(
        f"CREATE TABLE t AS SELECT range AS c0, (hash(range) % 1000)::INT AS c1, range * 0.5 AS c2, "
        f"md5(range::VARCHAR)[:12] AS c3, (hash(range + 1) % 7)::INT AS c4 FROM range({rows})"
    )
    con.execute(f"COPY t TO '{folder}/one.parquet' (ROW_GROUP_SIZE 4096)")
    for name in ("table.csv", "table.csv.gz", "table.json"):
        con.execute(f"COPY (FROM t WHERE c0 < {rows // 4}) TO '{folder}/{name}'")
    (folder / "many").mkdir()
    for i in range(20):
        con.execute(f"COPY (FROM t WHERE c0 % 20 = {i}) TO '{folder}/many/part-{i:02}.parquet'")
    con.execute(
        f"COPY (SELECT c0, c3, 2020 + c4 % 2 AS y, c1 % 3 AS m FROM t) TO '{folder}/hive' "
        "(FORMAT parquet, PARTITION_BY (y, m))"
    )
    con.close()


def answer(con: duckdb.DuckDBPyConnection, shape: str, root: str) -> Any:
    """Run a shape of query and give a digest of all its rows, whatever their order."""
    query = SHAPES[shape].format(root=root)
    return con.execute(f"SELECT count(*), sum(hash(q)), bit_xor(hash(q)) FROM ({query}) q").fetchone()


def answers(folder: Path) -> dict[str, Any]:
    """Return the results of DuckDB on the local files."""
    con = duckdb.connect()
    found = {shape: answer(con, shape, str(folder)) for shape in SHAPES}
    con.close()
    return found


@contextmanager
def busy_thread() -> Iterator[None]:
    """Switch threads as often as possible, with a Python thread that never waits."""
    interval = sys.getswitchinterval()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(200))
            time.sleep(0.0002)

    thread = threading.Thread(target=work)
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def empty_the_cache(con: duckdb.DuckDBPyConnection) -> None:
    """Empty the external file cache of DuckDB, which holds blocks of ``s3://`` files by default."""
    for value in ("false", "true"):
        con.execute(f"SET GLOBAL enable_external_file_cache = {value}")


def wrong(
    con: duckdb.DuckDBPyConnection, shape: str, root: str, expected: Any, repeats: int, *, cold: bool = True
) -> list[str]:
    """Repeat a query and tell of each time that it failed or gave another answer."""
    found = []
    for i in range(repeats):
        if cold:
            empty_the_cache(con)
        try:
            got = answer(con, shape, root)
        except duckdb.Error as exc:
            found.append(f"{shape} at {root}, time {i}: {str(exc)[-300:]}")
            continue
        if got != expected:
            found.append(f"{shape} at {root}, time {i}: {got} is not {expected}")
    return found


def connect(options: dict[str, Any], setting: str) -> duckdb.DuckDBPyConnection | None:
    """Return a connection with ``opendal+s3://`` and ``s3://``, or None if DuckDB lacks the setting."""
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", schemes=("s3",), cache=setting == "cache", **options)
    known = {name for (name,) in con.execute("SELECT name FROM duckdb_settings()").fetchall()}
    for statement in SETTINGS[setting]:
        if statement.split(" = ")[0].split()[-1] not in known:
            con.close()
            return None
        con.execute(statement)
    return con
