"""How many requests each call may cost, by our own trace and by a proxy that counts what passes.

The trace counts a server-side copy as one request. OpenDAL sends a HEAD of the source before each CopyObject,
so the proxy sees two; `requests_on_the_wire` allows for exactly that.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import S3FileSystem, Trace
from opendalfs.testing import DelayProxy, Moto

# The servers' own trees do not matter here, and moto's flat keys are what S3's are.


@pytest.fixture(scope="module")
def proxy(moto_server: Moto) -> Iterator[DelayProxy]:
    """Yield a proxy that counts requests."""
    with DelayProxy(moto_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def fs(proxy: DelayProxy, moto_server: Moto) -> S3FileSystem:
    """Return a filesystem that connects through the proxy, with an empty listings cache."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **proxy.through(moto_server.options))


@pytest.fixture
def root(moto_server: Moto) -> str:
    """Return an unused prefix."""
    return f"{moto_server.bucket}/budgets/{uuid4().hex}"


@pytest.fixture
def tree(fs: S3FileSystem, root: str) -> str:
    """Write 60 files in 20 directories, and return their root."""
    fs.pipe({f"{root}/dir-{i % 20:02}/file-{i:02}": b"x" * 100 for i in range(60)})
    fs.invalidate_cache()
    return root


@pytest.fixture
def bill(proxy: DelayProxy) -> Iterator[Trace]:
    """Record; at the end, compare with what the proxy has counted."""
    proxy.reset()
    with opendalfs.trace() as trace:
        yield trace
    requests_on_the_wire = trace.requests + trace.count("copy")
    assert proxy.counters().requests == requests_on_the_wire


def test_open_and_read_of_a_small_file(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    with fs.open(f"{tree}/dir-00/file-00") as file:
        assert len(file.read()) == 100
    assert bill.requests <= 2


def test_cat_file(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.cat_file(f"{tree}/dir-00/file-00")) == 100
    assert bill.requests == 1


def test_cat_of_60_files(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.cat([f"{tree}/dir-{i % 20:02}/file-{i:02}" for i in range(60)])) == 60
    assert bill.requests == 60


def test_cat_file_of_a_range(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.cat_file(f"{tree}/dir-00/file-00", 10, 20)) == 10
    assert bill.requests == 1


def test_exists_of_a_file(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert fs.exists(f"{tree}/dir-00/file-00")
    assert bill.requests == 1


def test_exists_of_a_directory(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert fs.exists(f"{tree}/dir-00")
    assert bill.requests <= 2


def test_exists_of_a_missing_key(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert not fs.exists(f"{tree}/missing")
    assert bill.requests <= 2


def test_find(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.find(tree)) == 60
    assert bill.requests == 1


def test_du(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert fs.du(tree) == 6000
    assert bill.requests == 1


def test_glob(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len([p for p in fs.glob(f"{tree}/**") if "file" in p]) == 60
    assert bill.requests == 1


def test_glob_of_one_level_of_directories(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.glob(f"{tree}/dir-*/file-0*")) == 10
    assert bill.requests == 1


def test_walk(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert sum(len(files) for _, _, files in fs.walk(tree)) == 60
    assert bill.requests == 1


def test_ls_twice(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    assert len(fs.ls(tree)) == 20
    assert len(fs.ls(tree)) == 20
    assert bill.requests == 1


def test_info_after_ls(fs: S3FileSystem, tree: str, proxy: DelayProxy) -> None:
    fs.ls(f"{tree}/dir-00")
    proxy.reset()
    assert fs.info(f"{tree}/dir-00/file-00")["size"] == 100
    assert fs.exists(f"{tree}/dir-00/file-20")
    assert proxy.counters().requests == 0


def test_cp_recursive_of_60_files(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    fs.cp(tree, f"{tree}-copy", recursive=True)
    assert bill.requests <= 62
    assert bill.count("copy") == 60


def test_mv_of_a_file(fs: S3FileSystem, tree: str, bill: Trace) -> None:
    fs.mv(f"{tree}/dir-00/file-00", f"{tree}/moved")
    assert bill.requests <= 4
    assert bill.count("copy") == bill.count("delete") == 1


def test_50_near_ranges(fs: S3FileSystem, root: str, proxy: DelayProxy) -> None:
    fs.pipe_file(f"{root}/file", bytes(100_000))
    proxy.reset()
    starts = list(range(0, 100_000, 2_000))
    with opendalfs.trace() as trace:
        found = fs.cat_ranges([f"{root}/file"] * 50, starts, [start + 100 for start in starts])
    assert [len(data) for data in found] == [100] * 50
    assert trace.requests == proxy.counters().requests == 1


def test_cat_ranges_of_many_files_after_a_find(fs: S3FileSystem, tree: str, proxy: DelayProxy) -> None:
    paths = fs.find(tree)
    proxy.reset()
    assert [len(data) for data in fs.cat_ranges(paths, -10, None)] == [10] * 60
    assert proxy.counters().requests == 60


def test_no_more_requests_are_in_flight_than_the_filesystem_allows(
    fs: S3FileSystem, tree: str, proxy: DelayProxy, moto_server: Moto
) -> None:
    paths = fs.find(tree)
    few = opendalfs.filesystem(
        "s3", concurrency=3, skip_instance_cache=True, **proxy.through(moto_server.options)
    )
    proxy.set(latency=0.03, bandwidth=0)
    try:
        proxy.reset()
        assert len(few.cat(paths)) == 60
        assert few.cat_ranges(paths, 0, 10) == [b"x" * 10] * 60
        # The proxy may see the next request before it has seen that the one before has ended.
        assert 3 <= proxy.counters().peak <= 6
    finally:
        proxy.set(latency=0, bandwidth=0)


@pytest.mark.services
def test_thousands_of_keys(fs: S3FileSystem, root: str, proxy: DelayProxy, moto_server: Moto) -> None:
    fs.pipe({f"{root}/many/{i:04}": b"" for i in range(2_500)})
    fs.pipe({f"{root}/thousand/{i:04}": b"" for i in range(1_000)})
    for call in (
        lambda: fs.find(f"{root}/many"),
        lambda: fs.glob(f"{root}/many/**"),
        lambda: fs.ls(f"{root}/many"),
    ):
        fs.invalidate_cache()
        proxy.reset()
        with opendalfs.trace() as trace:
            assert len([path for path in call() if path != f"{root}/many"]) >= 2_500
        # Three pages, the names of directories beside the second, and what follows a last page that is full.
        assert trace.requests <= 5
        assert proxy.counters().requests <= 5
    fs.invalidate_cache()
    proxy.reset()
    with opendalfs.trace() as trace:
        fs.rm(f"{root}/thousand", recursive=True)
    assert trace.requests <= 5
    assert proxy.counters().requests <= 7
    assert fs.find(f"{root}/thousand") == []
