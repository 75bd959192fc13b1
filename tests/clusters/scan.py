"""What one worker of a scan does; spawned processes import it."""

from __future__ import annotations

import os

import pyarrow.parquet as pq

import opendalfs

COLUMNS = ["a", "c"]


def scan(fs: opendalfs.OpendalFileSystem, paths: list[str]) -> tuple[int, int, int]:
    """Read two columns of some files; return the process, its requests without hedges, and the rows."""
    rows = 0
    with opendalfs.trace() as trace:
        for path in paths:
            rows += pq.read_table(path, columns=COLUMNS, filesystem=opendalfs.arrow(fs)).num_rows
    return os.getpid(), trace.requests - trace.hedges, rows


def scan_row_groups(fs: opendalfs.OpendalFileSystem, paths: list[str], index: int) -> tuple[int, int]:
    """Read two columns of one row group of each file; return requests without hedges, and rows."""
    rows = 0
    with opendalfs.trace() as trace:
        for path in paths:
            with opendalfs.arrow(fs).open_input_file(path) as source:
                rows += pq.ParquetFile(source).read_row_groups([index], columns=COLUMNS).num_rows
    return trace.requests - trace.hedges, rows
