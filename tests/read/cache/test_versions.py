"""Which version an open reads: that of storage now, or one of at most `cache_ttl` seconds ago."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_polars
from opendalfs.read.cache import background
from opendalfs.testing import S3Server
from opendalfs_arrow import file_cache

from .conftest import MakeFileSystem


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


@pytest.mark.parametrize("name", ["a.parquet", "*.parquet"])
def test_each_scan_of_polars_asks_storage(name: str, s3_server: S3Server, bucket: str, folder: Path) -> None:
    options = {**s3_server.options, "cache_dir": str(folder)}
    for value in (1, 2, 3):
        file = io.BytesIO()
        pl.DataFrame({"a": [value] * 3}).write_parquet(file)
        replace(s3_server, bucket, "polars/a.parquet", file.getvalue())
        frame = opendalfs_polars.scan_parquet(f"opendal+s3://{bucket}/polars/{name}", storage_options=options)
        assert frame.collect()["a"].to_list() == [value] * 3
        background.flush()


@pytest.mark.parametrize("rows", [3, 300_000])
def test_later_opens_of_pyarrow_ask_storage(
    rows: int, connect: MakeFileSystem, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call found before was used for 30 seconds, and no read of cached bytes noticed a change."""
    monkeypatch.setattr(file_cache, "_OPENED_SECONDS", 0.0)
    arrow = opendalfs.arrow(connect())
    for value in range(3):
        file = io.BytesIO()
        pq.write_table(pa.table({"a": np.arange(rows) + value}), file, use_dictionary=False, compression=None)
        replace(s3_server, bucket, f"arrow/{rows}.parquet", file.getvalue())
        with pq.ParquetFile(f"arrow/{rows}.parquet", filesystem=arrow) as opened:
            assert opened.read()["a"][0].as_py() == value
        assert pq.read_table(f"arrow/{rows}.parquet", filesystem=arrow)["a"][0].as_py() == value
        background.flush()


def test_opens_of_pyarrow_within_one_call_ask_storage_once(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str
) -> None:
    for name in ("a", "b", "c"):
        file = io.BytesIO()
        pq.write_table(pa.table({"a": [1, 2, 3]}), file)
        replace(s3_server, bucket, f"once/{name}.parquet", file.getvalue())
    pq.read_table("once/a.parquet", filesystem=opendalfs.arrow(connect()))
    pq.read_table("once", filesystem=opendalfs.arrow(connect()))
    background.flush()
    with opendalfs.trace() as one:
        pq.read_table("once/a.parquet", filesystem=opendalfs.arrow(connect()))
    with opendalfs.trace() as all_of_them:
        pq.read_table("once", filesystem=opendalfs.arrow(connect()))
    assert one.requests == 1, one
    assert all_of_them.requests == 2, all_of_them


def test_a_lazy_frame_that_is_collected_again_reads_the_version_of_its_first_collect(
    s3_server: S3Server, bucket: str, folder: Path
) -> None:
    # Polars keeps the footer and sends the same reads again: they look like those of a collect that goes on.
    options = {**s3_server.options, "cache_dir": str(folder)}

    def write(value: int) -> None:
        file = io.BytesIO()
        pl.DataFrame({"a": [value] * 3}).write_parquet(file)
        replace(s3_server, bucket, "lazy/a.parquet", file.getvalue())

    def scan() -> pl.LazyFrame:
        return opendalfs_polars.scan_parquet(f"opendal+s3://{bucket}/lazy/a.parquet", storage_options=options)

    write(1)
    frame = scan()
    assert frame.collect()["a"].to_list() == [1] * 3
    background.flush()
    write(2)
    assert frame.collect()["a"].to_list() == [1] * 3
    assert scan().collect()["a"].to_list() == [2] * 3


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


@pytest.mark.parametrize("change", ["write", "write without cache_ttl", "remove_tree", "move_tree"])
def test_a_change_through_opendalfs_is_seen_at_once(connect: MakeFileSystem, change: str) -> None:
    fs = connect(cache_ttl=None)
    fs.pipe({"d/e/a": b"old", "from/e/a": b"new"})
    assert fs.cat_file("d/e/a") == b"old"
    assert connect(cache_ttl=None).cat_file("d/e/a") == b"old"
    background.flush()
    if change == "write":
        fs.pipe_file("d/e/a", b"new")
    elif change == "write without cache_ttl":
        connect().pipe_file("d/e/a", b"new")
    else:
        fs.rm("d", recursive=True)
        if change == "remove_tree":
            with pytest.raises(FileNotFoundError):
                fs.cat_file("d/e/a")
            fs.pipe_file("d/e/a", b"new")
        else:
            fs.mv("from", "d", recursive=True)
    assert connect(cache_ttl=None).cat_file("d/e/a") == b"new"


def test_a_recorded_version_that_is_gone_is_read_again(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str
) -> None:
    for read in ("cat_file", "cat_ranges", "async"):
        replace(s3_server, bucket, "a", b"old" * 100)
        fs = connect(cache_ttl=None)
        fs.invalidate_cache("a")
        assert fs.cat_file("a", end=10) == b"oldoldoldo"
        background.flush()
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
    (pack,) = (path for path in (folder / "opendalfs-1" / "packs").rglob("*") if path.is_file())
    data = pack.read_bytes()
    found = re.search(rb"\[\d{10}\.", data)
    assert found is not None
    pack.write_bytes(data[: found.start() + 1] + b"9" + data[found.start() + 2 :])
    assert connect(cache_ttl=None).cat_file("a") == b"new"


def names(fs: Any, method: str, path: str, **options: Any) -> list[str]:
    """Return the names in a directory."""
    found: list[str] = getattr(fs, method)(path, detail=False, **options)
    return found


class TestFolders:
    """Listings within `cache_ttl`."""

    def test_a_listing_is_used_for_its_time_and_no_longer(
        self, connect: MakeFileSystem, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace(s3_server, bucket, "listed/a", b"a")
        for method in ("ls", "find"):
            assert names(connect(cache_ttl=100), method, "listed") == ["listed/a"]
        background.flush()
        replace(s3_server, bucket, "listed/b", b"b")
        clock = time.time
        for method in ("ls", "find"):
            with opendalfs.trace() as trace:
                assert names(connect(cache_ttl=100), method, "listed") == ["listed/a"]
                assert names(connect(cache_ttl=None), method, "listed") == ["listed/a"]
            assert trace.requests == 0
            assert names(connect(cache_ttl=0), method, "listed") == ["listed/a", "listed/b"]
            monkeypatch.setattr(time, "time", lambda: clock() + 101)
            assert names(connect(cache_ttl=100), method, "listed") == ["listed/a", "listed/b"]
            monkeypatch.setattr(time, "time", clock)

    def test_refresh_lists_again(self, connect: MakeFileSystem, s3_server: S3Server, bucket: str) -> None:
        replace(s3_server, bucket, "again/a", b"a")
        assert names(connect(cache_ttl=None), "ls", "again") == ["again/a"]
        assert connect(cache_ttl=None).find("again") == ["again/a"]
        background.flush()
        replace(s3_server, bucket, "again/b", b"b")
        assert names(connect(cache_ttl=None), "ls", "again", refresh=True) == ["again/a", "again/b"]
        assert connect(cache_ttl=None).find("again", refresh=True) == ["again/a", "again/b"]
        assert connect(cache_ttl=None).info("again/b", refresh=True)["size"] == 1

    @pytest.mark.parametrize("change", ["pipe", "rm", "mv", "cp", "touch"])
    def test_a_change_through_opendalfs_is_seen_at_once(self, connect: MakeFileSystem, change: str) -> None:
        fs = connect(cache_ttl=None)
        fs.pipe({f"{change}/d/a": b"a", f"{change}/other": b"other"})
        assert connect(cache_ttl=None).find(change) == [f"{change}/d/a", f"{change}/other"]
        assert names(connect(cache_ttl=None), "ls", f"{change}/d") == [f"{change}/d/a"]
        background.flush()
        left = {
            "pipe": lambda: fs.pipe_file(f"{change}/d/b", b"b"),
            "rm": lambda: fs.rm(f"{change}/d/a"),
            "mv": lambda: fs.mv(f"{change}/other", f"{change}/d/b"),
            "cp": lambda: fs.cp_file(f"{change}/other", f"{change}/d/b"),
            "touch": lambda: fs.touch(f"{change}/d/b"),
        }
        left[change]()
        found = [] if change == "rm" else [f"{change}/d/a", f"{change}/d/b"]
        assert [path for path in connect(cache_ttl=None).find(change) if "/d/" in path] == found
        if found:
            assert names(connect(cache_ttl=None), "ls", f"{change}/d") == found

    @pytest.mark.parametrize("change", ["rm", "rm pattern", "mv", "cp"])
    def test_a_change_lists_again(
        self, connect: MakeFileSystem, s3_server: S3Server, bucket: str, change: str
    ) -> None:
        root = f"tree-{change.replace(' ', '-')}"
        replace(s3_server, bucket, f"{root}/a", b"a")
        assert connect(cache_ttl=None).find(root) == [f"{root}/a"]
        assert connect(cache_ttl=None).glob(f"{root}/*") == [f"{root}/a"]
        background.flush()
        replace(s3_server, bucket, f"{root}/b", b"b")
        fs = connect(cache_ttl=None)
        if change == "rm":
            fs.rm(root, recursive=True, maxdepth=3)
        elif change == "rm pattern":
            fs.rm(f"{root}/*")
        elif change == "mv":
            fs.mv(root, f"{root}-2", recursive=True)
        else:
            fs.cp(root, f"{root}-2", recursive=True)
        if change in ("mv", "cp"):
            assert connect(cache_ttl=0).find(f"{root}-2") == [f"{root}-2/a", f"{root}-2/b"]
        assert connect(cache_ttl=0).find(root) == ([f"{root}/a", f"{root}/b"] if change == "cp" else [])

    def test_infos_are_complete(self, connect: MakeFileSystem) -> None:
        fs = connect(cache_ttl=None)
        fs.pipe_file("complete/a.txt", b"a", content_type="text/plain", metadata={"who": "me"})
        stored = connect(cache_ttl=0)
        expected = [stored.info("complete/a.txt"), stored.info("complete"), stored.ls("complete")]
        expected.append(stored.find("complete", withdirs=True, detail=True))
        for _ in range(2):
            with opendalfs.trace() as trace:
                new = connect(cache_ttl=None)
                found = [new.info("complete/a.txt"), new.info("complete"), new.ls("complete")]
                found.append(new.find("complete", withdirs=True, detail=True))
            assert found == expected
            background.flush()
        assert trace.requests == 0


def test_info_and_clear(connect: MakeFileSystem, folder: Path) -> None:
    assert opendalfs.cache_info(folder) == opendalfs.CacheInfo(str(folder), 0, 0, 0)
    fs = connect(cache_ttl=60)
    fs.pipe({"a": b"a" * 1000, "b": b"b" * 2000})
    fs.cat(["a", "b"])
    info = opendalfs.cache_info(str(folder))
    assert (info.objects, info.blocks) == (2, 2)
    assert 3000 < info.bytes < 5000
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
