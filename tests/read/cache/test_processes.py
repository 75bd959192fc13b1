"""The second run, in a new process, reads from the cache on disk."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs_polars
from opendalfs.testing import S3Server

from .program import READS, TABLES, run

ROWS = 60_000


def table() -> bytes:
    """Return a Parquet file of some 2 MB, in row groups."""
    numbers = random.Random(1)
    columns = {name: [numbers.getrandbits(60) for _ in range(ROWS)] for name in "abcd"}
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, row_group_size=ROWS // 3)
    return target.getvalue()


@pytest.fixture(scope="module")
def path(s3_server: S3Server) -> str:
    """Write a Parquet file, and return its path."""
    bucket = f"cache-{uuid4().hex[:12]}"
    s3_server.make_bucket(bucket)
    s3_server.client.put_object(Bucket=bucket, Key="a.parquet", Body=table())
    return f"{bucket}/a.parquet"


def options(server: S3Server, folder: Path, **more: Any) -> dict[str, Any]:
    """Return the options of a filesystem with a cache."""
    return server.options | {"cache_dir": str(folder / "cache"), "cache_size": "1 GiB"} | more


@pytest.mark.parametrize("read", READS)
def test_the_second_run_takes_one_stat_and_no_get(
    read: str, path: str, s3_server: S3Server, tmp_path: Path
) -> None:
    chosen = options(s3_server, tmp_path)
    first = run(read, path, chosen)
    second = run(read, path, chosen)
    assert first["requests"]["read"] >= 1
    assert second["requests"] == {"stat": 1}
    assert second["hits"] >= 1
    assert second["sha"] == first["sha"]


@pytest.mark.parametrize("read", sorted(READS.keys() - {"get"}))
def test_the_second_run_of_immutable_files_takes_no_request(
    read: str, path: str, s3_server: S3Server, tmp_path: Path
) -> None:
    chosen = options(s3_server, tmp_path, cache_ttl=None)
    first = run(read, path, chosen)
    second = run(read, path, chosen)
    assert second["requests"] == {}
    assert second["sha"] == first["sha"]


def test_the_three_engines_share_the_cache(path: str, s3_server: S3Server, tmp_path: Path) -> None:
    chosen = options(s3_server, tmp_path)
    first = run("cat_file", path, chosen)
    assert first["requests"]["read"] >= 1
    for read in sorted(TABLES):
        assert run(read, path, chosen)["requests"] == {"stat": 1}


def test_polars_takes_the_gateway_where_the_cache_is_used(tmp_path: Path) -> None:
    given: dict[str, Any] = {"key": "k", "secret": "s", "region": "us-east-1"}
    url = "opendal+s3://lake/a.parquet"
    assert opendalfs_polars.target(url, given).backend == "native"
    found = opendalfs_polars.target(url, given | {"cache_dir": str(tmp_path)})
    assert (found.backend, found.reason) == ("gateway", "Polars cannot use the cache of opendalfs on disk")
    local = f"opendal+fs://{tmp_path}/a.parquet"
    assert opendalfs_polars.target(local, {"cache_dir": str(tmp_path), "cache_ttl": None}).backend == "native"
