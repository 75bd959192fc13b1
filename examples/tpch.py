"""What the examples of clusters share: ``lineitem`` of TPC-H on an S3 server, and its queries Q1 and Q6.

`lineitem_on_s3` starts the server and uploads the table in several files. `sums` computes the sums of both
queries for one file, on any worker; `combine` adds them up. `compare` checks the results against those of
DuckDB on the local files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

import opendalfs
from opendalfs.testing import S3Server, s3_server, tpch_tables

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

Rows: TypeAlias = list[tuple[Any, ...]]

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


@contextmanager
def lineitem_on_s3(folder: str) -> Iterator[tuple[S3Server, str, Path]]:
    """Start a server and upload ``lineitem`` in 8 files; yield the server, their path and the local files.

    The path is that of a folder with this name in the server's bucket. The upload is removed at the end.
    """
    with tempfile.TemporaryDirectory() as directory, s3_server() as server:
        files = tpch_tables(directory, 0.1, tables=["lineitem"], row_group="4MB", parts=8)["lineitem"]
        fs = opendalfs.filesystem("s3", **server.options)
        path = f"{server.bucket}/{folder}/lineitem"
        fs.put(f"{files}/", f"{path}/", recursive=True)
        yield server, path, files
        fs.rm(path, recursive=True)


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


def combine(parts: list[pa.Table]) -> tuple[Rows, Decimal]:
    """Return the results of Q1 and Q6 from the sums of the files, with the digits that DuckDB has."""
    groups = pa.concat_tables(parts).group_by(["flag", "status"])
    totals = groups.aggregate([(name, "sum") for name in SUMS])
    digits = {"quantity": 2, "price": 2, "disc_price": 4, "charge": 6, "rows": 0}
    rows = totals.sort_by([("flag", "ascending"), ("status", "ascending")]).to_pylist()
    first = [
        (row["flag"], row["status"], *(Decimal(row[f"{name}_sum"]).scaleb(-n) for name, n in digits.items()))
        for row in rows
    ]
    return first, Decimal(sum(row["revenue_sum"] for row in rows)).scaleb(-4)


def compare(first: Rows, sixth: Decimal, files: Path) -> None:
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
