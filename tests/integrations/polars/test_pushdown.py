"""Polars pushes down to storage what it can: counted in requests and bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_polars as op
from opendalfs import Trace
from opendalfs.testing import S3Server

COLUMNS = 16
GROUPS = 8
ROWS = 400_000
FOOTER = 256 * 1024
"""Bytes from the end of a Parquet file that Polars reads first."""


@pytest.fixture(scope="module")
def content() -> bytes:
    """Make a file whose columns do not compress, sorted by the first."""
    columns = {
        f"c{i}": pl.Series(range(ROWS)).hash(seed=i) if i else pl.Series(range(ROWS)) for i in range(COLUMNS)
    }
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(
        buffer, row_group_size=ROWS // GROUPS, compression="uncompressed", statistics=True
    )
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["s3", "memory", "fs"])
def file(
    request: pytest.FixtureRequest, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any]]]:
    name = f"pushdown-{uuid4().hex[:12]}"
    options: dict[str, Any] = {}
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        url, options = f"opendal+s3://{server.bucket}/{name}/wide.parquet", server.options
    elif request.param == "memory":
        url = f"opendal+memory://{name}/wide.parquet"
    else:
        url = f"opendal+fs://{tmp_path_factory.mktemp(name)}/wide.parquet"
    fs = opendalfs.filesystem(request.param, **options)
    fs.pipe_file(url, content)
    yield url, options
    fs.rm(url)


def chunk_bytes(content: bytes, columns: list[int], groups: range = range(GROUPS)) -> int:
    """Bytes of some columns' chunks in some row groups."""
    metadata = pq.read_metadata(io.BytesIO(content))
    return sum(metadata.row_group(g).column(c).total_compressed_size for g in groups for c in columns)


def scan(file: tuple[str, dict[str, Any]]) -> pl.LazyFrame:
    return op.scan_parquet(file[0], storage_options=file[1], backend="gateway")


def run(query: pl.LazyFrame) -> tuple[pl.DataFrame, Trace]:
    with opendalfs.trace() as trace:
        return query.collect(engine="streaming"), trace


def test_a_projection_reads_its_columns_only(file: tuple[str, dict[str, Any]], content: bytes) -> None:
    found, trace = run(scan(file).select(pl.col("c3", "c8", "c14").max()))
    assert found.shape == (1, 3)
    assert chunk_bytes(content, [3, 8, 14]) <= trace.bytes - FOOTER
    assert trace.bytes <= 1.1 * chunk_bytes(content, [3, 8, 14])
    assert trace.count("read") <= 1 + 3 * GROUPS


def test_a_filter_reads_the_row_group_that_is_left(file: tuple[str, dict[str, Any]], content: bytes) -> None:
    found, trace = run(scan(file).filter(pl.col("c0").is_between(170_000, 170_009)).select("c5"))
    assert found.height == 10
    assert trace.bytes <= FOOTER + 1.1 * chunk_bytes(content, [0, 5], range(1))
    assert trace.count("read") <= 3


def test_len_reads_the_footer_only(file: tuple[str, dict[str, Any]]) -> None:
    found, trace = run(scan(file).select(pl.len()))
    assert found.item() == ROWS
    assert trace.count("read") == 1
    assert trace.bytes <= FOOTER


def test_head_reads_one_row_group(file: tuple[str, dict[str, Any]], content: bytes) -> None:
    found, trace = run(scan(file).head(10).select("c1"))
    assert found.height == 10
    assert trace.bytes <= FOOTER + 1.1 * chunk_bytes(content, [1], range(1))


def test_a_large_range_is_split_and_read_in_parallel(s3_server: S3Server, bucket: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    data = pl.DataFrame({"a": pl.Series(range(4_000_000)).hash(seed=1)})
    buffer = io.BytesIO()
    data.write_parquet(buffer, row_group_size=4_000_000, compression="uncompressed")
    fs.pipe_file(f"{bucket}/one-chunk.parquet", buffer.getvalue())
    url = f"opendal+s3://{bucket}/one-chunk.parquet"
    query = op.scan_parquet(url, storage_options=s3_server.options, backend="gateway")
    found, trace = run(query.select(pl.col("a").max()))
    assert found.item() == data["a"].max()
    parts = [r for r in trace.records if r.operation == "read" and r.bytes > FOOTER]
    assert len(parts) >= 4
    assert max(r.bytes for r in parts) <= fs.tuning.read_chunk


def test_a_second_scan_of_the_same_version_asks_for_no_size(
    s3_server: S3Server, prefix: str, content: bytes
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{prefix}/wide.parquet", content)
    file = (f"opendal+s3://{prefix}/wide.parquet", s3_server.options)
    run(scan(file).select(pl.len()))
    _, trace = run(scan(file).select(pl.len()))
    assert [r.operation for r in trace.records] == ["read"]


def test_hive_partitions_in_the_root_of_a_bucket(s3_server: S3Server, bucket: str) -> None:
    """Polars by itself reads their names wrongly there."""
    options = s3_server.options
    fs = opendalfs.filesystem("s3", **options)
    for year in range(2020, 2026):
        buffer = io.BytesIO()
        pl.DataFrame({"v": [year]}).write_parquet(buffer)
        fs.pipe_file(f"{bucket}/year={year}/0.parquet", buffer.getvalue())
    query = op.scan_parquet(f"opendal+s3://{bucket}/", storage_options=options)
    found, trace = run(query.filter(pl.col("year") == 2023).select("v", "year"))
    assert found.rows() == [(2023, 2023)]
    assert trace.count("list") == 1
    # The listing tells the sizes, so no file is asked for its own.
    assert trace.count("stat") == 0
