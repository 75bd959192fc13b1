"""The gateway keeps scans and sinks as long as a LazyFrame may need them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import polars as pl
import pytest
from botocore.exceptions import ClientError

import opendalfs
import opendalfs_polars as op
from opendalfs_gateway import listings, mounts
from opendalfs_gateway import server as gateway_module
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, status_of

FOLDERS = 40


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Yield a new gateway, which the functions of Polars use."""
    found = Gateway()
    monkeypatch.setattr(gateway_module, "_gateway", found)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return URLs of files in different folders, each of which becomes a mount."""
    root = tmp_path_factory.mktemp("folders")
    for i in range(FOLDERS):
        (root / str(i)).mkdir()
        pl.DataFrame({"a": [i]}).write_parquet(root / str(i) / "a.parquet")
    return [f"opendal+fs://{root}/{i}/a.parquet" for i in range(FOLDERS)]


def scan(url: str) -> pl.LazyFrame:
    return op.scan_parquet(url, backend="gateway")


def test_reads_leave_no_scan_and_few_mounts(server: Gateway, urls: list[str]) -> None:
    for url in urls:
        op.read_parquet(url, backend="gateway")
    assert server._mounts.scans == 0
    server._mounts.evict()
    assert len(server._mounts) <= mounts._IDLE_MOUNTS


def test_reads_that_fail_leave_no_scan(server: Gateway, urls: list[str]) -> None:
    with pytest.raises(FileNotFoundError):
        op.read_parquet(f"{urls[0]}.missing", backend="gateway")
    assert server._mounts.scans == 0


def test_sinks_leave_no_scan(server: Gateway, tmp_path: object) -> None:
    op.sink_csv(pl.LazyFrame({"a": [1]}), f"opendal+fs://{tmp_path}/a.csv")
    with pytest.raises(pl.exceptions.PolarsError):
        op.sink_csv(pl.LazyFrame({"a": ["x"]}).cast(pl.Int8), f"opendal+fs://{tmp_path}/b.csv")
    assert server._mounts.scans == 0
    assert not len(server._uploads.sinks)


def test_mounts_that_no_scan_uses_are_forgotten_after_a_while(
    server: Gateway, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    op.read_parquet(urls[0], backend="gateway")
    server._mounts.evict()
    assert len(server._mounts) == 1
    monkeypatch.setattr(mounts, "_IDLE_SECONDS", 0.0)
    server._mounts.evict()
    assert len(server._mounts) == 0
    assert not server._mounts._buckets


def test_a_lazy_frame_is_collected_long_after_its_scan(
    server: Gateway, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = scan(urls[0]).filter(pl.col("a") == 0)
    assert query.collect().height == 1
    again = query.select("a")
    del query
    gc.collect()
    monkeypatch.setattr(mounts, "_IDLE_MOUNTS", 0)
    monkeypatch.setattr(mounts, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(listings, "_KEPT_SECONDS", 0.0)
    for url in urls[1:]:
        op.read_parquet(url, backend="gateway")
    server._mounts.evict()
    server._handlers.expire()
    assert len(server._mounts) == 1
    assert again.collect().item() == 0


def test_the_most_recent_scans_are_kept_and_an_older_one_raises(
    server: Gateway, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_MAX_SCANS", 5)
    queries = [scan(url) for url in urls[:5]]
    # The first one is used, so that the second is the oldest.
    assert queries[0].collect().item() == 0
    queries.append(scan(urls[5]))
    assert server._mounts.scans == 5
    with pytest.raises(FileNotFoundError, match="scan the files again"):
        queries[1].collect()
    for i in (0, 2, 3, 4, 5):
        assert queries[i].collect().item() == i


def test_versions_of_objects_are_bounded_over_all_scans(
    server: Gateway, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = [scan(url) for url in urls]
    for query in queries:
        query.collect()
    monkeypatch.setattr(mounts, "_MAX_VERSIONS", 20)
    server._mounts.evict()
    assert sum(mount.versions for mount in server._mounts._mounts.values()) <= 20 + FOLDERS
    assert server._mounts.scans < FOLDERS
    assert queries[-1].collect().item() == FOLDERS - 1


def test_a_scan_of_many_files_keeps_the_version_of_each(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_MAX_VERSIONS", 10)
    fs = opendalfs.filesystem("memory")
    fs.pipe({f"many-versions/{i:02}": b"old" for i in range(30)})
    mounted = Mounted(server, "many-versions", write=False)
    mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=mounted.prefix)
    server._mounts.evict()
    fs.pipe({f"many-versions/{i:02}": b"newer" for i in range(30)})
    for i in range(30):
        with pytest.raises(ClientError) as error:
            mounted.get(f"{i:02}", Range="bytes=0-1")
        assert status_of(error) == 412


def test_lazy_sinks_are_bounded_in_number(server: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MAX_SCANS", 3)
    frame = pl.LazyFrame({"a": [1]})
    sinks = [op.sink_csv(frame, f"opendal+memory://lazy-sinks/{i}.csv", lazy=True) for i in range(4)]
    assert len(server._uploads.sinks) == 3
    with pytest.raises(PermissionError, match="has ended"):
        sinks[0].collect()
    sinks[3].collect()
    assert opendalfs.filesystem("memory").ls("lazy-sinks", detail=False) == ["lazy-sinks/3.csv"]


def test_the_rest_of_a_listing_is_forgotten_after_a_while(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = Mounted(server, "pages")
    mounted.fs.pipe({f"pages/{i}": b"" for i in range(4)})
    first = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=mounted.prefix, MaxKeys=2)
    server._handlers.expire()
    assert len(server._handlers.listings) == 1
    monkeypatch.setattr(listings, "_KEPT_SECONDS", 0.0)
    server._handlers.expire()
    assert not len(server._handlers.listings)
    token = first["NextContinuationToken"]
    rest = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=mounted.prefix, ContinuationToken=token)
    assert [item["Key"] for item in rest["Contents"]] == [f"{mounted.prefix}{i}" for i in (2, 3)]
