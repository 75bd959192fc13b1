"""The second run, in a new process, reads from the cache on disk."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs_polars
from opendalfs.read.cache import background
from opendalfs.testing import S3Server

from .program import FOLDERS, READS, TABLES, Job, measure, run

ROWS = 60_000


def table() -> bytes:
    """Return a Parquet file of some 2 MB, in row groups."""
    numbers = random.Random(1)
    columns = {name: [numbers.getrandbits(60) for _ in range(ROWS)] for name in "abcd"}
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, row_group_size=ROWS // 3)
    return target.getvalue()


class Runs(NamedTuple):
    """What the reads of this process took, and the same reads of a new one, by `cache_ttl` and name."""

    first: dict[tuple[int | None, str], dict[str, Any]]
    second: dict[tuple[int | None, str], dict[str, Any]]
    shared: list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run all reads here and in a new process, each with its own cache; and the engines with one cache."""
    bucket = f"cache-{uuid4().hex[:12]}"
    s3_server.make_bucket(bucket)
    for key in ("a.parquet", "folder/a.parquet", "folder/b.parquet"):
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=table())
    folder = tmp_path_factory.mktemp("caches")

    def job(read: str, cache: str, ttl: int | None) -> Job:
        cached = {"cache_dir": str(folder / cache), "cache_size": "1 GiB", "cache_ttl": ttl}
        return read, f"{bucket}/a.parquet", s3_server.options | cached

    names = [(ttl, read) for ttl in (0, None) for read in (*READS, *FOLDERS)]
    jobs = [job(read, f"{read}-{ttl}", ttl) for ttl, read in names]
    first = [measure(*one) for one in (*jobs, job("cat_file", "shared", 0))]
    assert background.flush()
    second = run([*jobs, *(job(read, "shared", 0) for read in TABLES)])
    return Runs(
        dict(zip(names, first, strict=False)), dict(zip(names, second, strict=False)), second[len(jobs) :]
    )


@pytest.mark.parametrize("read", READS)
def test_the_second_run_takes_one_stat_and_no_get(read: str, runs: Runs) -> None:
    first, second = runs.first[0, read], runs.second[0, read]
    assert first["requests"]["read"] >= 1
    assert second["requests"] == {"stat": 1}
    assert second["hits"] >= 1
    assert second["sha"] == first["sha"]


@pytest.mark.parametrize("read", sorted(FOLDERS.keys() - {"look_up"}))
def test_the_second_run_of_a_folder_takes_one_list_and_no_get(read: str, runs: Runs) -> None:
    first, second = runs.first[0, read], runs.second[0, read]
    assert first["requests"]["read"] >= 2
    assert second["requests"].keys() <= {"list", "stat"}
    assert second["requests"]["list"] == 1
    # pyarrow looks up what kind of path it is.
    assert second["requests"].get("stat", 0) <= (read == "read_dataset")
    assert second["sha"] == first["sha"]


@pytest.mark.parametrize("read", [*READS, *FOLDERS])
def test_the_second_run_of_immutable_files_takes_no_request(read: str, runs: Runs) -> None:
    first, second = runs.first[None, read], runs.second[None, read]
    assert first["requests"]["read"] >= 1
    assert second["requests"] == {}
    assert second["sha"] == first["sha"]


def test_the_three_engines_share_the_cache(runs: Runs) -> None:
    assert [found["requests"] for found in runs.shared] == [{"stat": 1}] * len(TABLES)


def test_polars_takes_the_gateway_where_the_cache_is_used(tmp_path: Path) -> None:
    given: dict[str, Any] = {"key": "k", "secret": "s", "region": "us-east-1"}
    url = "opendal+s3://lake/a.parquet"
    assert opendalfs_polars.target(url, given).backend == "native"
    found = opendalfs_polars.target(url, given | {"cache_dir": str(tmp_path)})
    assert (found.backend, found.reason) == ("gateway", "Polars cannot use the cache of opendalfs on disk")
    local = f"opendal+fs://{tmp_path}/a.parquet"
    assert opendalfs_polars.target(local, {"cache_dir": str(tmp_path), "cache_ttl": None}).backend == "native"
