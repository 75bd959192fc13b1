"""Packs: many small records in one file, which any number of processes append to."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs.read.cache import BlockCache, background, object_blocks, packs
from opendalfs.read.cache.folder import CacheFolder
from opendalfs.read.cache.pack import Record
from opendalfs.read.cache.packs import Bucket
from opendalfs.read.ranges import Range

from .conftest import MakeFileSystem

MiB = 1 << 20


def open_bucket(path: Path, limit: int = 64 * MiB) -> Bucket:
    """Return a bucket as a new process sees it."""
    return BlockCache(CacheFolder(str(path)), limit).packs.bucket(bytes(20), "folder/x")


def record(number: int, size: int = 100) -> Record:
    """Return a record of random bytes."""
    return Record(b"%020d" % number, Range(number, number + size), random.Random(number).randbytes(size))


def read(bucket: Bucket, wanted: Record) -> bytes | None:
    """Return what a bucket has of a record."""
    location = bucket.find(wanted.digest).get(wanted.range)
    return None if location is None else bucket.read(wanted.digest, wanted.range, location)


def files(bucket: Bucket) -> list[Path]:
    """Return the packs of a bucket, the newest last."""
    return sorted(Path(bucket.path).iterdir())


def test_records_of_all_processes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "_RESCAN_SECONDS", -1.0)
    first, second = open_bucket(tmp_path), open_bucket(tmp_path)
    wanted = [record(i, size) for i, size in enumerate((0, 1, 5000, 250_000))]
    first.write(wanted[:2])
    assert read(second, wanted[0]) == b""
    second.write(wanted[2:])
    first.scan()
    for bucket in (first, second, open_bucket(tmp_path)):
        assert [read(bucket, one) for one in wanted] == [one.content for one in wanted]
    assert len(files(first)) == 1
    assert files(first)[0].stat().st_mode & 0o777 == 0o600


def test_the_last_of_equal_records_counts(tmp_path: Path) -> None:
    bucket = open_bucket(tmp_path)
    old, new = record(1), record(1)._replace(content=b"new")
    bucket.write([old, new])
    assert read(bucket, old) == b"new"
    assert read(open_bucket(tmp_path), old) == b"new"
    bucket.write([old])
    assert read(open_bucket(tmp_path), old) == old.content


@given(data=st.data())
def test_damage_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    bucket = open_bucket(tmp_path_factory.mktemp("damage"))
    wanted = [record(i, data.draw(st.integers(0, 300))) for i in range(5)]
    bucket.write(wanted[:3])
    bucket.write(wanted[3:])
    (path,) = files(bucket)
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        del content[start:]
    else:
        content[start : start + 20] = data.draw(st.binary(max_size=40))
    path.write_bytes(content)
    again = open_bucket(Path(bucket.path).parents[2])
    for reader in (bucket, again):
        for one in wanted:
            assert read(reader, one) in (None, one.content)
    # What is added then is found by all.
    again.write(wanted)
    for reader in (again, open_bucket(Path(bucket.path).parents[2])):
        assert [read(reader, one) for one in wanted] == [one.content for one in wanted]


@pytest.mark.parametrize("left", [1, 10, 60, 200])
def test_a_batch_of_a_killed_writer_ends_its_pack(tmp_path: Path, left: int) -> None:
    bucket = open_bucket(tmp_path)
    wanted = [record(i) for i in range(4)]
    bucket.write([wanted[0]])
    (path,) = files(bucket)
    size = path.stat().st_size
    bucket.write(wanted[1:3])
    os.truncate(path, size + left)
    again = open_bucket(tmp_path)
    again.write([wanted[3]])
    assert len(files(again)) == 2
    for reader in (again, open_bucket(tmp_path)):
        assert [read(reader, one) for one in wanted] == [wanted[0].content, None, None, wanted[3].content]


def test_a_full_pack_is_followed_by_another_and_the_oldest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "_MOST_PACKS", 3)
    monkeypatch.setattr(packs, "_MOST_RECORDS", 2)
    bucket = open_bucket(tmp_path)
    wanted = [record(i) for i in range(10)]
    for i, one in enumerate(wanted):
        bucket.write([one])
        os.utime(files(bucket)[-1], (1000 + i, 1000 + i))
        if i == 5:
            # The first one was used last.
            os.utime(files(bucket)[0], (5000, 5000))
    assert len(files(bucket)) == 3
    kept = [i for i, one in enumerate(wanted) if read(open_bucket(tmp_path), one)]
    assert kept == [0, 1, 6, 7, 8, 9]


@pytest.mark.parametrize("empty", [False, True], ids=["with records", "empty"])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    bucket = open_bucket(tmp_path)
    if not empty:
        bucket.write([record(1)])
    written = os.write

    def write(descriptor: int, data: Any) -> int:
        if len(data) > 50:
            return written(descriptor, data[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                bucket.write([record(2)])
    bucket.write([record(3)])
    assert len(files(bucket)) == 1
    assert [bool(read(open_bucket(tmp_path), record(i))) for i in (1, 2, 3)] == [not empty, False, True]


def test_small_files_share_a_file_of_the_cache(connect: MakeFileSystem, folder: Path) -> None:
    fs = connect()
    contents = {f"small/{i}": bytes([i]) * 1000 for i in range(50)}
    fs.pipe(contents)
    assert fs.cat("small/*") == contents
    background.flush()
    (pack,) = (path for path in (folder / "opendalfs-1" / "packs").rglob("*") if path.is_file())
    assert pack.stat().st_size < 60_000
    with opendalfs.trace() as trace:
        assert connect().cat("small/*") == contents
    assert (trace.requests, trace.count("list"), trace.cache_hits) == (1, 1, 50)
    opendalfs.clear_cache(folder)
    with opendalfs.trace() as trace:
        assert connect().cat("small/*") == contents
    assert trace.cache_hits == 0


def test_of_many_ranges_of_an_object_each_is_found(
    connect: MakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blocks, "_MOST_COMPARED", 10)
    data = random.Random(1).randbytes(300_000)
    fs = connect()
    fs.pipe_file("many", data)
    starts = list(range(0, 300_000, 15_000))
    with fs.open("many") as file:
        for start in starts:
            file.read_at(start, 100)
    background.flush()
    with opendalfs.trace() as trace, connect().open("many") as file:
        assert [file.read_at(start, 100) for start in starts] == [data[s : s + 100] for s in starts]
        assert file.read_at(50, 100) == data[50:150]
    assert trace.count("read") == 1, "parts of ranges are not looked for"
