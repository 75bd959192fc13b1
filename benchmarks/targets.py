"""What the project sets itself: by how much to beat whom, at what."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cases.model import OURS
from benchmarks.runner import Result

__all__ = ["TARGETS", "Target"]

S3FS = "s3fs"
OBSTORE = "obstore"
PYARROW = "pyarrow S3FileSystem"
HTTPFS = "DuckDB httpfs"
GATEWAY = "opendalfs gateway"
POLARS = "Polars native"


@dataclass(frozen=True)
class Target:
    """One ratio to reach.

    Parameters
    ----------
    label : str
        The case.
    peer : str
        Whom to beat.
    ratio : float
        How many times more the peer is to take, at least.
    what : str
        Of what: a field of `benchmarks.runner.Sample`.
    ours : str
        Who of ours.
    """

    label: str
    peer: str
    ratio: float
    what: str = "seconds"
    ours: str = OURS

    def reached(self, result: Result) -> float | None:
        """Give the ratio that was measured; None where it was not."""
        return result.ratio(self.peer, self.what, self.ours)


def _all(group: str, *told: tuple[str, str, float]) -> list[Target]:
    return [Target(f"{group}: {name}", peer, ratio) for name, peer, ratio in told]


_PLANNED = "opendalfs_arrow.read_table, 4 columns"

TARGETS = [
    *_all(
        "raw",
        ("cat_file, the big file", S3FS, 1.3),
        ("cat_file, the big file", OBSTORE, 2.5),
        ("cat_ranges, 150 x 1 MB", S3FS, 1.6),
        ("cat_ranges, 150 x 1 MB", OBSTORE, 1.1),
    ),
    Target("raw: cat_ranges, 1,000 x 64 KiB, no delay", S3FS, 4.0, "cpu"),
    Target("raw: cat_ranges, 1,000 x 64 KiB, no delay", OBSTORE, 1 / 1.2, "cpu"),
    *_all(
        "raw",
        ("find, 20,000 keys, no delay", S3FS, 8.0),
        ("find, 20,000 keys, no delay", OBSTORE, 0.9),
        ("get, the big file", S3FS, 1.5),
        ("get, the big file", OBSTORE, 1.5),
        ("put, the big file", S3FS, 1.5),
        ("put, the big file", OBSTORE, 1.5),
        ("cat, 500 small files", S3FS, 2.0),
        ("cat, 500 small files", OBSTORE, 1.0),
        ("pipe, 500 small files", S3FS, 2.0),
        ("pipe, 500 small files", OBSTORE, 1.0),
        ("rm(recursive), 500 small files", S3FS, 2.0),
        ("rm(recursive), 500 small files", OBSTORE, 1.0),
        ("200 info via asyncio", S3FS, 2.0),
        ("200 info via asyncio", OBSTORE, 0.9),
        ("200 exists via asyncio", S3FS, 2.0),
        ("200 exists via asyncio", OBSTORE, 0.9),
    ),
    *_all(
        "arrow",
        ("pq.read_table, 4 columns, 3 of them adjacent", S3FS, 9.0),
        ("pq.read_table, 4 columns, 3 of them adjacent", PYARROW, 1.4),
        ("pq.read_table, 4 columns, filter to 1 row group", S3FS, 4.0),
        ("pq.read_table, 4 columns, filter to 1 row group", PYARROW, 1.1),
        ("pq.read_table, all columns", S3FS, 1.3),
        ("pq.read_table, all columns", PYARROW, 1.0),
        ("ParquetFile.read, 3 columns", S3FS, 4.0),
        ("ParquetFile.read, 3 columns", PYARROW, 2.5),
        ("directory of 20 files, 3 columns", S3FS, 3.0),
        ("directory of 20 files, 3 columns", PYARROW, 2.0),
        ("hive tree with a partition filter", S3FS, 3.0),
        ("hive tree with a partition filter", PYARROW, 2.0),
        ("count_rows, 20 files", S3FS, 3.0),
        ("count_rows, 20 files", PYARROW, 2.0),
        ("get_file_info, 200 files", S3FS, 3.0),
        ("get_file_info, 200 files", PYARROW, 2.0),
        (_PLANNED, S3FS, 12.0),
        (_PLANNED, PYARROW, 1.8),
    ),
    *_all(
        "duckdb",
        ("Q6, cold", S3FS, 6.0),
        ("Q6, cold", HTTPFS, 1.5),
        ("Q6, warm", S3FS, 20.0),
        ("point query, cold", S3FS, 5.0),
        ("count(*), cold", S3FS, 2.0),
        ("glob of 20 files, cold", S3FS, 4.0),
        ("csv.gz, cold", S3FS, 1.0),
    ),
    *_all(
        "polars",
        ("4 columns", POLARS, 0.97),
        ("4 columns", "scan_pyarrow_dataset, s3fs", 5.0),
        ("4 columns, filter to 1 row group", POLARS, 0.97),
        ("4 columns, filter to 1 row group", "scan_pyarrow_dataset, s3fs", 5.0),
    ),
    Target("polars: 4 columns", POLARS, 0.8, ours=GATEWAY),
    Target("polars: 4 columns, filter to 1 row group", POLARS, 0.8, ours=GATEWAY),
]
