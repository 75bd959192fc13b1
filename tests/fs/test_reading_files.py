"""Files opened for reading: positions, text, caches, and one version from the opening to the close."""

from __future__ import annotations

import asyncio
import io
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec.caching
import fsspec.callbacks
import pytest

import opendalfs
from opendalfs import ChangedError, OptionError, UnsupportedError
from opendalfs.testing import S3Server
from tests.fs.places import Place

DATA = random.Random(7).randbytes(200_000)
LINES = b"".join(b"line %d\n" % i for i in range(3000))


@pytest.fixture
def stored(place: Place) -> str:
    place.fs.pipe_file(place.path("data"), DATA)
    return place.path("data")


# Reading


@pytest.mark.parametrize(
    "cache_type",
    ["none", "mmap", "bytes", "readahead", "adaptive", "blockcache", "first", "all", "background"],
)
# fsspec's mmap cache leaves its file open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_cache_of_fsspec_reads_the_right_bytes(place: Place, stored: str, cache_type: str) -> None:
    if cache_type not in fsspec.caching.caches:
        pytest.skip("this version of fsspec has no such cache")
    rng = random.Random(3)
    with place.fs.open(stored, cache_type=cache_type, block_size=1000) as file:
        for _ in range(30):
            start, size = rng.randrange(len(DATA) + 10), rng.choice([0, 1, 10, 999, 5000])
            file.seek(start)
            assert file.read(size) == DATA[start : start + size]
            assert file.tell() == max(start, min(start + size, len(DATA)))
        file.seek(0)
        assert file.read() == DATA
        assert file.read() == b""


def test_the_parts_cache_reads_what_it_was_given(place: Place, stored: str) -> None:
    options = {"data": {(0, 4): DATA[:4], (100, 110): DATA[100:110]}, "strict": True}
    with place.fs.open(stored, cache_type="parts", cache_options=options) as file:
        file.seek(100)
        assert file.read(10) == DATA[100:110]


def test_seeks_count_from_start_here_and_end(place: Place, stored: str) -> None:
    with place.fs.open(stored) as file:
        assert file.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert file.read() == DATA[-10:]
        assert file.seek(5) == 5
        assert file.seek(5, os.SEEK_CUR) == 10
        assert file.read(3) == DATA[10:13]
        with pytest.raises(ValueError, match=r"[Ss]eek"):
            file.seek(-1)


def test_an_open_file_is_readable_and_seekable_and_not_writable(place: Place, stored: str) -> None:
    with place.fs.open(stored) as file:
        assert (file.readable(), file.writable(), file.seekable()) == (True, False, True)
        assert file.size == len(DATA)
        target = bytearray(10)
        assert file.readinto(target) == 10
        assert bytes(target) == DATA[:10]
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_text_lines_and_iteration(place: Place) -> None:
    path = place.path("lines.txt")
    place.fs.pipe_file(path, LINES)
    with place.fs.open(path, block_size=100) as file:
        assert file.readline() == b"line 0\n"
        assert next(iter(file)) == b"line 1\n"
        assert file.readlines() == LINES.splitlines(keepends=True)[2:]
    with place.fs.open(path, "r") as text:
        assert list(text) == LINES.decode().splitlines(keepends=True)
    with place.fs.open(path, "rt", newline="", encoding="ascii") as text:
        assert text.read(6) == "line 0"


def test_block_size_sets_the_size_of_the_read_ahead(place: Place, stored: str) -> None:
    with opendalfs.trace() as trace, place.fs.open(stored, block_size=50_000) as file:
        for _ in range(40):
            file.read(1000)
    assert trace.count("read") == 1


def test_reads_at_positions_from_many_threads_do_not_mix(place: Place, stored: str) -> None:
    with place.fs.open(stored) as file, ThreadPoolExecutor(8) as threads:
        starts = [i * 997 % len(DATA) for i in range(200)]
        found = list(threads.map(lambda start: file.read_at(start, 700), starts))
        assert found == [DATA[s : s + 700] for s in starts]
        assert file.tell() == 0


def test_reads_from_many_threads_are_whole(place: Place, stored: str) -> None:
    with place.fs.open(stored, block_size=4096) as file, ThreadPoolExecutor(8) as threads:
        pieces = list(threads.map(lambda _: file.read(1000), range(len(DATA) // 1000)))
    assert sorted(pieces) == sorted(DATA[i : i + 1000] for i in range(0, len(DATA), 1000))


def test_opening_what_is_not_there_fails_at_once(place: Place) -> None:
    with pytest.raises(FileNotFoundError) as info:
        place.fs.open(place.path("nothing"))
    assert info.value.filename == place.path("nothing")


def test_a_directory_is_no_file(place: Place, stored: str) -> None:
    with pytest.raises(IsADirectoryError):
        place.fs.open(place.folder)
    with pytest.raises((IsADirectoryError, UnsupportedError)):
        place.fs.open(place.fs.root_marker, "wb")


def test_modes_that_storage_has_not_are_refused(place: Place, stored: str) -> None:
    for mode in ("r+b", "w+b"):
        with pytest.raises(UnsupportedError, match="not changed in place"):
            place.fs.open(stored, mode)


def overwrite(place: Place, path: str, data: bytes) -> None:
    if place.fs.service.scheme == "fs":
        # Times of files are as coarse as the kernel's tick.
        time.sleep(0.02)
    place.fs.pipe_file(path, data)


@pytest.mark.parametrize(
    "new", [DATA[::-1], DATA + b"more", DATA[:100]], ids=["same size", "longer", "shorter"]
)
def test_a_file_overwritten_while_it_is_read_is_noticed(place: Place, stored: str, new: bytes) -> None:
    with place.fs.open(stored, block_size=1000, cache_type="none") as file:
        assert file.read(1000) == DATA[:1000]
        overwrite(place, stored, new)
        file.seek(150_000)
        with pytest.raises(ChangedError, match="open it again") as info:
            file.read(1000)
    assert stored.endswith(str(info.value.filename))
    with place.fs.open(stored) as file:
        assert file.read() == new


def test_a_file_removed_while_it_is_read_is_noticed(place: Place, stored: str) -> None:
    with place.fs.open(stored, cache_type="none") as file:
        place.fs.rm_file(stored)
        with pytest.raises(OSError, match=r"changed|No such file"):
            file.read(10)


def test_versions_are_kept_apart(s3_server: S3Server, bucket: str) -> None:
    versioning = {"Status": "Enabled"}
    s3_server.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
    fs = opendalfs.S3FileSystem(version_aware=True, **s3_server.options)
    fs.pipe_file(f"{bucket}/key", b"first", metadata={"number": "1"})
    first = fs.info(f"{bucket}/key", refresh=True)["VersionId"]
    with fs.open(f"{bucket}/key", cache_type="none") as pinned:
        fs.pipe_file(f"{bucket}/key", b"second", metadata={"number": "2"})
        assert pinned.read() == b"first"
    with fs.open(f"{bucket}/key", version_id=first) as old:
        assert old.read() == b"first"
    assert fs.cat_file(f"{bucket}/key") == b"second"
    assert fs.cat_file(f"{bucket}/key", version_id=first) == b"first"
    assert fs.cat_file(f"{bucket}/key", 1, 3, version_id=first) == b"ir"
    assert fs.cat_ranges([f"{bucket}/key"] * 2, [0, -3], [2, None], version_id=first) == [b"fi", b"rst"]
    assert fs.metadata(f"{bucket}/key", version_id=first) == {"number": "1"}
    assert fs.getxattr(f"{bucket}/key", "number", version_id=first) == "1"
    assert fs.metadata(f"{bucket}/key") == {"number": "2"}
    target = io.BytesIO()
    fs.get_file(f"{bucket}/key", target, version_id=first)
    assert target.getvalue() == b"first"
    fs.pipe({f"{bucket}/key2": b"", f"{bucket}/key/below": b""})
    told = fs.object_version_info(f"{bucket}/key")
    assert [(info["name"], info["size"]) for info in told] == [(f"{bucket}/key", 6), (f"{bucket}/key", 5)]
    assert told[1]["VersionId"] == first
    with pytest.raises(FileNotFoundError):
        fs.object_version_info(f"{bucket}/ke")
    page = s3_server.client.list_object_versions(Bucket=bucket)
    for found in page.get("Versions", []):
        s3_server.client.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])


# Options


@pytest.mark.parametrize("misspelt", ["versionid", "verson_id", "generation", "if_match"])
def test_an_unknown_option_of_a_read_is_an_error(tmp_path: Path, misspelt: str) -> None:
    """A misspelt `version_id` would read the newest version without a word."""
    fs: Any = opendalfs.filesystem("memory", skip_instance_cache=True)
    path = f"{uuid4().hex}/a"
    fs.pipe_file(path, b"newest")
    option = {misspelt: "1"}
    reads: dict[str, Callable[[], object]] = {
        "cat_file": lambda: fs.cat_file(path, **option),
        "cat": lambda: fs.cat([path], on_error="omit", **option),
        "cat_ranges": lambda: fs.cat_ranges([path], 0, 1, **option),
        "read_bytes": lambda: fs.read_bytes(path, **option),
        "read_text": lambda: fs.read_text(path, **option),
        "open": lambda: fs.open(path, **option),
        "open_text": lambda: fs.open(path, "r", compression="gzip", **option),
        "get_file": lambda: fs.get_file(path, str(tmp_path / "a"), **option),
        "get": lambda: fs.get(path, str(tmp_path / "a"), **option),
        "get_nothing": lambda: fs.get(f"{path}*.none", str(tmp_path / "a"), **option),
        "info": lambda: fs.info(path, **option),
        "exists": lambda: fs.exists(path, **option),
    }
    for name, read in reads.items():
        with pytest.raises(OptionError, match=f"unknown option of a read: '{misspelt}'"):
            pytest.fail(f"{name} returned {read()!r}")
    for coroutine in (fs._cat_ranges([path], [0], [1], **option), fs.open_async(path, "rb", **option)):
        with pytest.raises(OptionError, match="unknown option of a read"):
            asyncio.run(coroutine)
    with pytest.raises(TypeError, match=misspelt):
        fs.metadata(path, **option)
    assert not list(tmp_path.iterdir())


def test_the_error_of_an_unknown_option_names_the_nearest() -> None:
    fs: Any = opendalfs.filesystem("memory")
    with pytest.raises(OptionError, match="unknown option of a read: 'versionid': did you mean 'version_id'"):
        fs.cat_file("a", versionid="1")
    with pytest.raises(OptionError, match="Pass options of the service to the filesystem"):
        fs.open("a", requester_pays=True)


def test_options_of_fsspec_that_change_no_byte_are_accepted(tmp_path: Path) -> None:
    """What fsspec's generic code, s3fs's callers and Dask pass."""
    fs: Any = opendalfs.filesystem("memory")
    path = f"{uuid4().hex}/a"
    fs.pipe_file(path, b"newest")
    buffers = {"block_size": 4, "cache_type": "none", "cache_options": {}, "fill_cache": False}
    # The options with which kerchunk's documentation opens files.
    buffers |= {"default_cache_type": "first", "default_fill_cache": False, "default_block_size": 4}
    with fs.open(path, "rb", autocommit=True, default_cache="none", size=6, encoding=None, **buffers) as file:
        assert file.read() == b"newest"
    with fs.open(path, "r", encoding="utf-8", errors="strict", newline="", **buffers) as file:
        assert file.read() == "newest"
    assert fs.cat_file(path, 0, 3, **buffers) == b"new"
    assert fs.cat(path, batch_size=2, start=3, **buffers) == b"est"
    assert fs.cat_ranges([path], 0, 3, batch_size=2, **buffers) == [b"new"]
    fs.get(path, str(tmp_path / "a"), callback=fsspec.callbacks.NoOpCallback(), **buffers)
    assert (tmp_path / "a").read_bytes() == b"newest"
