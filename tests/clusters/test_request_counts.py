"""How requests grow with files, row groups and workers: the formula of docs/beyond_one_machine.md."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.clusters.scan import scan, scan_row_groups

ROWS = 40_000
"""Of a row group: a column has 320 kB, more than `max_gap` and than the end of a file that is read first."""

RUNS = 2
"""The columns a and c of a, b, c, d are no neighbours: one request each for a row group."""


@pytest.fixture(scope="module")
def workers() -> Iterator[list[ProcessPoolExecutor]]:
    """Yield three processes, each with an executor of its own."""
    context = multiprocessing.get_context("spawn")
    started = [ProcessPoolExecutor(1, mp_context=context) for _ in range(3)]
    yield started
    for worker in started:
        worker.shutdown()


def write(fs: opendalfs.OpendalFileSystem, folder: str, files: int, row_groups: int) -> list[str]:
    table = pa.table({name: np.random.default_rng(0).random(ROWS * row_groups) for name in "abcd"})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROWS, compression="none", use_dictionary=False)
    paths = [f"{folder}/{number}.parquet" for number in range(files)]
    fs.pipe(dict.fromkeys(paths, sink.getvalue().to_pybytes()))
    return paths


@pytest.mark.parametrize(
    ("files", "row_groups", "processes"),
    [(2, 1, 1), (4, 2, 2), pytest.param(6, 3, 3, marks=pytest.mark.services)],
)
def test_whole_files_cost_a_stat_an_end_and_a_request_for_each_run_of_columns(
    s3_server: S3Server,
    prefix: str,
    workers: list[ProcessPoolExecutor],
    files: int,
    row_groups: int,
    processes: int,
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    paths = write(fs, prefix, files, row_groups)
    with opendalfs.trace() as trace:
        listed = sorted(fs.ls(prefix, detail=False, refresh=True))
    assert listed == paths
    assert trace.requests == 1
    shares = [listed[number::processes] for number in range(processes)]
    running = [worker.submit(scan, fs, share) for worker, share in zip(workers, shares, strict=False)]
    done = [future.result() for future in running]
    assert len({pid for pid, *_ in done}) == processes
    assert sum(rows for *_, rows in done) == files * row_groups * ROWS
    # The number of workers does not matter.
    assert sum(requests for _, requests, _ in done) == files * (2 + row_groups * RUNS)


def test_a_file_that_workers_share_costs_each_of_them_a_stat_and_an_end(
    s3_server: S3Server, prefix: str, workers: list[ProcessPoolExecutor]
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    paths = write(fs, prefix, files=2, row_groups=3)
    running = [
        worker.submit(scan_row_groups, fs, paths, index)
        for worker, index in zip(workers, range(3), strict=True)
    ]
    done = [future.result() for future in running]
    assert sum(rows for _, rows in done) == 2 * 3 * ROWS
    for index, (requests, _) in enumerate(done):
        # The row group after the first one that is read may be prefetched.
        prefetched = RUNS if index < 2 else 0
        assert 2 * (2 + RUNS) <= requests <= 2 * (2 + RUNS + prefetched)
