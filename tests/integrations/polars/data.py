"""Data for the Polars tests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

ROWS = 20_000
ODD_NAMES = ("a b", "50%", "p%20q", "c+d", "ccd", "e#f", "g&h=i", "ünï ✓", "semi;colon", "it's", "(x)$|y")


def frame(rows: int = ROWS) -> pl.DataFrame:
    """Make a table in which every column differs."""
    i = pl.int_range(rows, eager=True).alias("id")
    return pl.DataFrame(
        {
            "id": i,
            "name": "row " + i.cast(pl.String),
            "group": "g" + (i % 7).cast(pl.String),
            "value": (i * 37 % 1009) / 8,
            "odd": i % 2 == 1,
            "maybe": pl.select(pl.when(i % 5 > 0).then(i)).to_series(),
        }
    )


def write_tree(folder: Path) -> None:
    """Write one file of each format, two hive trees, parts for globs, and files with odd names."""
    data = frame()
    data.write_parquet(folder / "flat.parquet", row_group_size=5_000)
    data.write_csv(folder / "flat.csv")
    data.write_ndjson(folder / "flat.ndjson")
    data.write_ipc(folder / "flat.ipc", record_batch_size=5_000)
    for k in range(3):
        part = data.slice(k * 1_000, 1_000)
        (folder / "parts").mkdir(exist_ok=True)
        part.write_parquet(folder / "parts" / f"part-{k}.parquet")
        part.write_csv(folder / "parts" / f"part-{k}.csv")
        part.write_ndjson(folder / "parts" / f"part-{k}.ndjson")
        part.write_ipc(folder / "parts" / f"part-{k}.ipc")
        for month in (1, 2):
            day = date(2024 + k, month, 1)
            leaf = folder / "hive" / f"year={day.year}" / f"day={day.isoformat()}"
            leaf.mkdir(parents=True)
            part.write_parquet(leaf / "0.parquet")
    (folder / "odd").mkdir()
    for k, name in enumerate(ODD_NAMES):
        data.slice(k, 3).write_parquet(folder / "odd" / f"{name}.parquet")
