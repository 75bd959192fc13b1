"""DuckDB over any OpenDAL service: write and query a partitioned table, here on the in-memory service.

Against a real service only the line with ``register`` changes::

    opendalfs_duckdb.register(con, "s3", region="eu-central-1")           # opendal+s3://bucket/...
    opendalfs_duckdb.register(con, "s3", name="prod", profile="prod")     # opendal+prod://bucket/...
    opendalfs_duckdb.register(con, "s3", schemes=("s3",))                 # s3://bucket/..., without httpfs
"""

from __future__ import annotations

import duckdb

import opendalfs
import opendalfs_duckdb


def main() -> None:
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "memory")

    con.execute("""
        COPY (SELECT range AS id, range % 3 AS shop, 2025 + range % 2 AS year FROM range(100_000))
        TO 'opendal+memory://lake/sales' (FORMAT parquet, PARTITION_BY (year, shop))
    """)
    query = """
        SELECT shop, count(*) AS sales
        FROM read_parquet('opendal+memory://lake/sales/**/*.parquet', hive_partitioning = true)
        WHERE year = 2026 GROUP BY shop ORDER BY shop
    """
    with opendalfs.trace() as trace:
        print(con.sql(query))
    print(trace)

    # `name` gives a location a scheme of its own, such as one for each of several accounts.
    opendalfs_duckdb.register(con, "opendal+memory://lake/sales/year=2025", name="last-year")
    print(con.execute("SELECT count(*) FROM 'opendal+last-year://**/*.parquet'").fetchall())


if __name__ == "__main__":
    main()
