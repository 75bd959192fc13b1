"""Which version an open reads: that of storage now, or one of at most `cache_ttl` seconds ago."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.read.cache import background, version_record
from opendalfs.testing import S3Server

from .conftest import MakeFileSystem
from .test_faults import blocks


def replace(server: S3Server, bucket: str, key: str, data: bytes) -> None:
    """Write an object by another program."""
    server.client.put_object(Bucket=bucket, Key=key, Body=data)


def test_each_open_asks_storage(connect: MakeFileSystem, s3_server: S3Server, bucket: str) -> None:
    fs = connect(use_listings_cache=False)
    for data in (b"one", b"two", b"three"):
        replace(s3_server, bucket, "a", data)
        assert fs.cat_file("a") == data
        assert fs.cat_ranges(["a"], 0, None) == [data]
        assert fs.open("a").read() == data


def test_a_version_is_used_for_its_time_and_no_longer(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(s3_server, bucket, "a", b"old")
    assert connect(cache_ttl=100).cat_file("a") == b"old"
    background.flush()
    replace(s3_server, bucket, "a", b"new")
    assert connect(cache_ttl=100).cat_file("a") == b"old"
    assert connect(cache_ttl=None).cat_file("a") == b"old"
    assert connect(cache_ttl=0).cat_file("a") == b"new"
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 101)
    assert connect(cache_ttl=100).cat_file("a") == b"new"


def pyarrow_read(fs: Any) -> bytes:
    """Read a file by pyarrow, which looks it up first."""
    arrow = opendalfs.arrow(fs)
    assert arrow.get_file_info("a").is_file
    return bytes(arrow.open_input_file("a").read())


@pytest.mark.parametrize(
    "read",
    [lambda fs: fs.cat_file("a"), lambda fs: fs.open("a").read(), pyarrow_read],
    ids=["cat_file", "open", "pyarrow"],
)
def test_a_use_of_a_version_does_not_extend_its_time(
    read: Callable[[Any], bytes],
    connect: MakeFileSystem,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(s3_server, bucket, "a", b"old")
    clock = time.time
    assert read(connect(cache_ttl=100)) == b"old"
    background.flush()
    replace(s3_server, bucket, "a", b"new")
    monkeypatch.setattr(time, "time", lambda: clock() + 60)
    assert read(connect(cache_ttl=100)) == b"old"
    background.flush()
    monkeypatch.setattr(time, "time", lambda: clock() + 120)
    assert read(connect(cache_ttl=100)) == b"new"


def test_a_version_of_the_future_is_not_used(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(s3_server, bucket, "a", b"old")
    connect(cache_ttl=None).cat_file("a")
    background.flush()
    replace(s3_server, bucket, "a", b"new")
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 3600)
    assert connect(cache_ttl=None).cat_file("a") == b"new"


@pytest.mark.parametrize("change", ["write", "remove_tree", "move_tree"])
def test_a_change_through_opendalfs_is_seen_at_once(connect: MakeFileSystem, change: str) -> None:
    fs = connect(cache_ttl=None)
    fs.pipe({"d/e/a": b"old", "from/e/a": b"new"})
    assert fs.cat_file("d/e/a") == b"old"
    assert connect(cache_ttl=None).cat_file("d/e/a") == b"old"
    background.flush()
    if change == "write":
        fs.pipe_file("d/e/a", b"new")
    else:
        fs.rm("d", recursive=True)
        if change == "remove_tree":
            with pytest.raises(FileNotFoundError):
                fs.cat_file("d/e/a")
            fs.pipe_file("d/e/a", b"new")
        else:
            fs.mv("from", "d", recursive=True)
    version_record._changes.clear()
    assert connect(cache_ttl=None).cat_file("d/e/a") == b"new"


def test_a_recorded_version_that_is_gone_is_read_again(
    connect: MakeFileSystem, folder: Path, s3_server: S3Server, bucket: str
) -> None:
    for read in ("cat_file", "cat_ranges", "async"):
        replace(s3_server, bucket, "a", b"old" * 100)
        fs = connect(cache_ttl=None)
        fs.invalidate_cache("a")
        assert fs.cat_file("a") == b"old" * 100
        for path in blocks(folder):
            path.unlink()
        replace(s3_server, bucket, "a", b"new")
        fs = connect(cache_ttl=None)
        found = fs.cat_ranges(["a"], 0, None)[0] if read == "cat_ranges" else fs.cat_file("a", start=0)
        assert found == b"new"
        assert fs.open("a").read() == b"new"


def test_a_damaged_record_is_not_used(
    connect: MakeFileSystem, folder: Path, s3_server: S3Server, bucket: str
) -> None:
    replace(s3_server, bucket, "a", b"old")
    connect(cache_ttl=None).cat_file("a")
    background.flush()
    replace(s3_server, bucket, "a", b"new")
    records = [path for path in (folder / "opendalfs-1" / "versions").rglob("*") if path.is_file()]
    assert len(records) == 1
    os.truncate(records[0], records[0].stat().st_size - 1)
    assert connect(cache_ttl=None).cat_file("a") == b"new"


def test_info_and_clear(connect: MakeFileSystem, folder: Path) -> None:
    assert opendalfs.cache_info(folder) == opendalfs.CacheInfo(str(folder), 0, 0, 0)
    fs = connect(cache_ttl=60)
    fs.pipe({"a": b"a" * 1000, "b": b"b" * 2000})
    fs.cat(["a", "b"])
    info = opendalfs.cache_info(str(folder))
    assert (info.objects, info.blocks) == (2, 2)
    assert 3000 < info.bytes < 3400
    opendalfs.clear_cache(folder)
    assert opendalfs.cache_info(folder).blocks == 0
    with opendalfs.trace() as trace:
        assert connect(cache_ttl=60).cat_file("a") == b"a" * 1000
    assert trace.count("read") == trace.count("stat") == 1


def test_the_trace_shows_hits(connect: MakeFileSystem) -> None:
    fs = connect()
    fs.pipe_file("a", b"a" * 1000)
    fs.cat_file("a")
    background.flush()
    with opendalfs.trace() as trace:
        connect().cat_file("a")
    assert (trace.cache_hits, trace.bytes_saved, trace.bytes, trace.requests) == (1, 1000, 0, 1)
    assert "1 cache hits, 1,000 bytes saved" in str(trace)
    assert [record.operation for record in trace.records] == ["stat", "cache"]
    assert "cache" in trace._repr_html_()
    assert trace.round_trips == 1


def test_the_environment_sets_the_cache(
    connect: MakeFileSystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENDALFS_CACHE_DIR", str(folder))
    monkeypatch.setenv("OPENDALFS_CACHE_SIZE", "2 MiB")
    tuning = opendalfs.Tuning()
    assert (tuning.cache_dir, tuning.cache_size) == (str(folder), 2 << 20)
    assert connect(cache_dir=None, cache_size=None).tuning.cache_dir == str(folder)
    assert connect(cache_dir="").tuning.cache_dir is None
    monkeypatch.setenv("OPENDALFS_CACHE_SIZE", "much")
    with pytest.raises(opendalfs.OptionError, match=r'OPENDALFS_CACHE_SIZE must be .* "20 GiB"'):
        connect(cache_size=None)


@pytest.mark.parametrize(
    ("text", "size"), [("20 GiB", 20 << 30), ("1.5gb", 1_500_000_000), (4096, 4096), ("64k", 65536)]
)
def test_sizes_have_units(text: str | int, size: int) -> None:
    assert opendalfs.filesystem("memory", cache_size=text).tuning.cache_size == size


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cache_size", "20 bananas"),
        ("cache_size", 0),
        ("cache_size", True),
        ("cache_ttl", -1),
        ("cache_dir", 3),
    ],
)
def test_wrong_values_are_errors(option: str, value: object) -> None:
    with pytest.raises(opendalfs.OptionError, match=option):
        opendalfs.filesystem("memory", **{option: value})


def test_services_without_etags_are_not_cached(folder: Path) -> None:
    fs = opendalfs.filesystem("memory", cache_dir=str(folder))
    fs.pipe_file("cached/a", b"a")
    assert fs.cat_file("cached/a") == b"a"
    assert not folder.exists()
