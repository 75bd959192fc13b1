"""Query Parquet on any service with Polars, and write the result back.

It runs on the in-memory service. Pass a URL and options to use your own storage::

    python polars_scan.py opendal+s3://my-bucket/demo key=... secret=... region=eu-west-1
"""

from __future__ import annotations

import sys

import polars as pl

import opendalfs


def main(url: str = "opendal+memory://demo", *options: str) -> None:
    storage_options = dict(option.split("=", 1) for option in options)
    orders = pl.DataFrame(
        {
            "year": [2024, 2024, 2025, 2025],
            "country": ["SE", "NO", "SE", "NO"],
            "amount": [10.0, 20.0, 30.0, 40.0],
        }
    )
    with opendalfs.polars(), opendalfs.trace() as trace:
        # A tree of Parquet files, one folder a year.
        orders.lazy().sink_parquet(
            pl.PartitionBy(f"{url}/orders/", key="year"), storage_options=storage_options
        )
        # Polars opens only what the query needs.
        totals = (
            pl.scan_parquet(f"{url}/orders/", storage_options=storage_options)
            .filter(pl.col("year") == 2025)
            .group_by("country")
            .agg(pl.col("amount").sum())
            .sort("country")
        )
        totals.sink_csv(f"{url}/totals.csv", storage_options=storage_options)
        print(pl.read_csv(f"{url}/totals.csv", storage_options=storage_options))
    print(trace)


if __name__ == "__main__":
    main(*sys.argv[1:])
