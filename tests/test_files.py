"""File objects: what is read is one version; what is written shows at a successful close and only then."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import os
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pandas as pd
import pytest

import opendalfs
from opendalfs import ChangedError, OpendalFileSystem, OptionError, UnsupportedError
from opendalfs.testing import S3Server

MiB = 1 << 20
DATA = random.Random(7).randbytes(200_000)
LINES = b"".join(b"line %d\n" % i for i in range(3000))


class Boom(Exception):
    """Raised by the tests."""


class Place:
    """A filesystem and a folder on it that nobody else uses."""

    def __init__(self, fs: OpendalFileSystem, folder: str) -> None:
        self.fs = fs
        self.folder = folder

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def there(self) -> list[str]:
        """Names of the files in the folder; hidden ones, of writes under way, included."""
        found = self.fs.find(self.folder) if self.fs.exists(self.folder) else []
        return [name.rpartition("/")[2] for name in found]


@pytest.fixture(params=["memory", "fs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        options = {"write_chunk": 5 * MiB, "use_listings_cache": False, **server.options}
        yield Place(opendalfs.S3FileSystem(**options), request.getfixturevalue("prefix"))
    elif request.param == "fs":
        yield Place(opendalfs.FsFileSystem(use_listings_cache=False), str(tmp_path))
    else:
        fs = opendalfs.MemoryFileSystem(use_listings_cache=False)
        folder = f"files-{uuid4().hex}"
        yield Place(fs, folder)
        if fs.exists(folder):
            fs.rm(folder, recursive=True)


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


def test_the_file_says_what_it_can(place: Place, stored: str) -> None:
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


def test_a_block_size_of_its_own_reads_ahead_that_much(place: Place, stored: str) -> None:
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
    fs.pipe_file(f"{bucket}/key", b"first")
    first = fs.info(f"{bucket}/key", refresh=True)["VersionId"]
    with fs.open(f"{bucket}/key", cache_type="none") as pinned:
        fs.pipe_file(f"{bucket}/key", b"second")
        assert pinned.read() == b"first"
    with fs.open(f"{bucket}/key", version_id=first) as old:
        assert old.read() == b"first"
    assert fs.cat_file(f"{bucket}/key") == b"second"
    assert fs.cat_file(f"{bucket}/key", version_id=first) == b"first"
    assert fs.cat_file(f"{bucket}/key", 1, 3, version_id=first) == b"ir"
    assert fs.cat_ranges([f"{bucket}/key"] * 2, [0, -3], [2, None], version_id=first) == [b"fi", b"rst"]
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


# Compression


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "lzma", "zstd"])
class TestCompression:
    def test_goes_in_and_out(self, place: Place, compression: str) -> None:
        path = place.path("lines")
        with place.fs.open(path, "wb", compression=compression) as file:
            assert file.write(LINES) == len(LINES)
        assert place.fs.size(path) < len(LINES) / 2
        with place.fs.open(path, "rb", compression=compression) as file:
            assert file.read() == LINES
        with place.fs.open(path, "rt", compression=compression) as text:
            assert text.readline() == "line 0\n"

    def test_goes_in_as_text(self, place: Place, compression: str) -> None:
        with place.fs.open(place.path("t"), "wt", compression=compression) as text:
            text.write("h\u00e9llo\n" * 1000)
        with place.fs.open(place.path("t"), "rt", compression=compression) as text:
            assert text.read() == "h\u00e9llo\n" * 1000

    def test_publishes_nothing_on_an_exception(self, place: Place, compression: str) -> None:
        for mode, data in (("wb", LINES), ("wt", LINES.decode())):
            with (
                suppress(Boom),
                place.fs.open(place.path("t"), mode, compression=compression) as file,
            ):
                file.write(data)
                raise Boom
        assert place.there() == []

    def test_publishes_nothing_when_lost(self, place: Place, compression: str) -> None:
        for mode, data in (("wb", LINES), ("wt", LINES.decode())):
            file = place.fs.open(place.path("t"), mode, compression=compression)
            file.write(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del file
                gc.collect()
        assert place.there() == []


def test_compression_is_inferred_from_the_name(place: Place) -> None:
    with place.fs.open(place.path("a.gz"), "wb", compression="infer") as file:
        file.write(LINES)
    assert gzip.decompress(place.fs.cat_file(place.path("a.gz"))) == LINES


# Writing


@pytest.mark.parametrize("size", [0, 1, 5 * MiB, 5 * MiB + 1, 17 * MiB + 3])
@pytest.mark.parametrize("step", [MiB - 1, 20 * MiB])
def test_what_was_written_is_there_after_the_close(place: Place, size: int, step: int) -> None:
    data = random.Random(size).randbytes(size)
    with place.fs.open(place.path("new"), "wb") as file:
        for i in range(0, size, step):
            assert file.write(memoryview(data)[i : i + step]) == len(data[i : i + step])
            assert file.tell() == len(data[: i + step])
        assert "new" not in place.there()
    assert place.fs.cat_file(place.path("new")) == data
    assert place.there() == ["new"]


def test_the_file_being_written_says_what_it_can(place: Place) -> None:
    with place.fs.open(place.path("new"), "wb") as file:
        assert (file.readable(), file.writable(), file.seekable()) == (False, True, False)
        assert file.name == place.path("new")
        file.flush()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    file.close()
    assert place.fs.cat_file(place.path("new")) == b""


def test_text_is_written_encoded(place: Place) -> None:
    with place.fs.open(place.path("t"), "w", encoding="utf-16", newline="\r\n") as text:
        text.write("h\u00e9\n")
    assert place.fs.cat_file(place.path("t")).decode("utf-16") == "h\u00e9\r\n"


def test_options_of_a_write_are_checked_and_kept(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    with fs.open(f"{prefix}/a", "wb", content_type="text/x-test", metadata={"who": "me"}) as file:
        file.write(b"x")
    head = s3_server.client.head_object(Bucket=s3_server.bucket, Key=f"{prefix}/a".partition("/")[2])
    assert (head["ContentType"], head["Metadata"]) == ("text/x-test", {"who": "me"})
    with pytest.raises(OptionError, match="content_typ"):
        fs.open(f"{prefix}/a", "wb", content_typ="x")


def test_a_write_replaces_only_the_version_that_it_names(s3_server: S3Server, prefix: str) -> None:
    fs, path = opendalfs.S3FileSystem(**s3_server.options), f"{prefix}/a"
    fs.pipe_file(path, b"first")
    first = fs.info(path, refresh=True)["ETag"]
    fs.pipe_file(path, b"second", if_match=first)
    with pytest.raises(FileExistsError, match="not the one that was expected"):
        fs.pipe_file(path, b"third", if_match=first)
    with pytest.raises(FileExistsError), fs.open(path, "wb", if_match=first) as file:
        file.write(b"third")
    assert fs.cat_file(path) == b"second"


# Ways to fail


def fill(file: Any, mode: str) -> None:
    file.write("x" * 6 * MiB if "b" not in mode else b"x" * 6 * MiB)


def fail_in_with(place: Place, path: str, mode: str) -> None:
    with suppress(Boom), place.fs.open(path, mode) as file:
        fill(file, mode)
        raise Boom


def fail_in_open_file(place: Place, path: str, mode: str) -> None:
    url = place.fs.unstrip_protocol(path)
    with suppress(Boom), fsspec.open(url, mode, **dict(place.fs.storage_options)) as file:
        fill(file, mode)
        raise Boom


def fail_in_compressed_open_file(place: Place, path: str, mode: str) -> None:
    url = place.fs.unstrip_protocol(path)
    options = dict(place.fs.storage_options)
    with suppress(Boom), fsspec.open(url, mode, compression="gzip", **options) as file:
        fill(file, mode)
        raise Boom


def fail_before_finally(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)

    def work() -> None:
        try:
            fill(file, mode)
            raise Boom
        finally:
            file.close()

    with pytest.raises(OSError, match="Not published: closed while Boom was being handled"):
        work()


def fail_and_close_in_the_handler(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    try:
        fill(file, mode)
        raise Boom
    except Boom:
        with pytest.raises(OSError, match="Not published: closed while Boom was being handled"):
            file.close()


def discarded(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    fill(file, mode)
    file.discard()
    file.close()


def lost(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    fill(file, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del file
        gc.collect()


def lost_in_a_circle(place: Place, path: str, mode: str) -> None:
    circle: list[Any] = [place.fs.open(path, mode)]
    circle.append(circle)
    fill(circle[0], mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del circle
        gc.collect()


def rolled_back(place: Place, path: str, mode: str) -> None:
    with suppress(Boom), place.fs.transaction:
        with place.fs.open(path, mode) as file:
            fill(file, mode)
        raise Boom


def never_committed(place: Place, path: str, mode: str) -> None:
    with place.fs.open(path, mode, autocommit=False) as file:
        fill(file, mode)


FAILURES: list[Callable[[Place, str, str], None]] = [
    fail_in_with,
    fail_in_open_file,
    fail_in_compressed_open_file,
    fail_before_finally,
    fail_and_close_in_the_handler,
    discarded,
    lost,
    lost_in_a_circle,
    rolled_back,
    never_committed,
]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("mode", ["wb", "w", "ab"])
@pytest.mark.parametrize("fail", FAILURES)
def test_a_write_that_fails_publishes_nothing(
    place: Place, fail: Callable[[Place, str, str], None], mode: str, existing: bool
) -> None:
    path = place.path("target")
    if existing:
        place.fs.pipe_file(path, b"before")
    fail(place, path, mode)
    assert place.there() == (["target"] if existing else [])
    if existing:
        assert place.fs.cat_file(path) == b"before"


def test_a_table_that_fails_midway_publishes_nothing(place: Place) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise Boom

    frame = pd.DataFrame({"a": [1] * 50_000 + [Unprintable()]}, dtype=object)
    url = place.fs.unstrip_protocol(place.path("t.csv"))
    with pytest.raises(Boom):
        frame.to_csv(url, storage_options=dict(place.fs.storage_options), chunksize=1000)
    assert place.there() == []
    pd.DataFrame({"a": [1, 2]}).to_csv(url, index=False, storage_options=dict(place.fs.storage_options))
    assert place.fs.cat_file(place.path("t.csv")) == b"a\n1\n2\n"


def test_a_lost_file_warns(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    file.write(b"x")
    held = [file]
    del file
    with pytest.warns(ResourceWarning, match="never closed, so it was not published"):
        held.clear()


def test_a_close_outside_of_exceptions_publishes(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    file.write(b"x")
    file.close()
    assert place.fs.cat_file(place.path("new")) == b"x"


def test_a_file_opened_while_an_exception_is_handled_publishes(place: Place) -> None:
    try:
        raise Boom
    except Boom:
        with place.fs.open(place.path("report"), "wb") as file:
            file.write(b"failed")
        text = place.fs.open(place.path("text"), "w")
        text.write("failed")
        text.close()
    assert place.fs.cat_file(place.path("report")) == b"failed"
    assert place.fs.cat_file(place.path("text")) == b"failed"


def test_commit_publishes_even_in_a_handler(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    try:
        file.write(b"x")
        raise Boom
    except Boom:
        file.commit()
        file.close()
    assert place.fs.cat_file(place.path("new")) == b"x"


# Transactions


def test_a_transaction_publishes_all_at_its_end(place: Place) -> None:
    with place.fs.transaction:
        for name in ("a", "b"):
            with place.fs.open(place.path(name), "wb") as file:
                file.write(name.encode() * 6 * MiB)
        with place.fs.open(place.path("t"), "w") as text:
            text.write("text")
        assert [name for name in place.there() if not name.startswith(".")] == []
    assert place.there() == ["a", "b", "t"]
    assert place.fs.cat_file(place.path("b")) == b"b" * 6 * MiB


def test_a_block_that_fails_within_a_transaction_is_left_out(place: Place) -> None:
    with place.fs.transaction:
        with place.fs.open(place.path("a"), "wb") as file:
            file.write(b"a")
        with suppress(Boom), place.fs.open(place.path("b"), "wb") as file:
            file.write(b"b")
            raise Boom
    assert place.there() == ["a"]


def test_without_autocommit_the_commit_publishes(place: Place) -> None:
    with place.fs.open(place.path("a"), "wb", autocommit=False) as file:
        file.write(b"a")
    assert place.there() == []
    file.commit()
    assert place.fs.cat_file(place.path("a")) == b"a"


# Create


@pytest.mark.parametrize("mode", ["xb", "x"])
def test_create_fails_eagerly_where_the_file_exists(place: Place, stored: str, mode: str) -> None:
    with pytest.raises(FileExistsError) as info:
        place.fs.open(stored, mode)
    assert info.value.filename
    assert place.fs.cat_file(stored) == DATA


@pytest.mark.parametrize("size", [3, 6 * MiB])
def test_create_publishes_and_a_failed_create_leaves_nothing(place: Place, size: int) -> None:
    path = place.path("new")
    with suppress(Boom), place.fs.open(path, "xb") as file:
        file.write(b"x" * size)
        raise Boom
    assert place.there() == []
    with place.fs.open(path, "xb") as file:
        file.write(b"y" * size)
    assert place.fs.cat_file(path) == b"y" * size


@pytest.mark.parametrize("size", [3, 6 * MiB])
def test_a_creator_that_comes_late_fails_at_the_close(place: Place, size: int) -> None:
    path = place.path("new")
    first, second = place.fs.open(path, "xb"), place.fs.open(path, "xb")
    first.write(b"1" * size)
    second.write(b"2" * size)
    second.close()
    with pytest.raises(FileExistsError):
        first.close()
    assert place.fs.cat_file(path) == b"2" * size


def test_of_many_creators_exactly_one_wins(place: Place) -> None:
    path = place.path("new")
    barrier = threading.Barrier(6)

    def create(i: int) -> bool:
        barrier.wait()
        try:
            with place.fs.open(path, "xb") as file:
                file.write(bytes([i]) * 1000)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        won = list(threads.map(create, range(6)))
    assert won.count(True) == 1
    assert place.fs.cat_file(path) == bytes([won.index(True)]) * 1000
    assert place.there() == ["new"]


# Append


@pytest.mark.parametrize(
    "before", [None, b"", b"hello ", b"h" * 6 * MiB], ids=["new", "empty", "short", "long"]
)
def test_append_keeps_what_was_there(place: Place, before: bytes | None) -> None:
    path = place.path("log")
    if before is not None:
        place.fs.pipe_file(path, before)
    with place.fs.open(path, "ab") as file:
        assert file.tell() == len(before or b"")
        file.write(b"wor")
        file.write(b"ld")
    assert place.fs.cat_file(path) == (before or b"") + b"world"
    with place.fs.open(path, "a") as text:
        text.write("!")
    assert place.fs.tail(path, 6) == b"world!"


def test_append_on_a_disk_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"hello ")
    fs = opendalfs.FsFileSystem()
    with opendalfs.trace() as trace, fs.open(f"{tmp_path}/log", "ab") as file:
        file.write(b"world")
    assert (tmp_path / "log").read_bytes() == b"hello world"
    assert trace.count("read") == 0


def test_an_append_does_not_undo_a_write_in_between(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    path = f"{prefix}/log"
    fs.pipe_file(path, b"one")
    file = fs.open(path, "ab")
    file.write(b" two")
    fs.pipe_file(path, b"other")
    with pytest.raises(OSError, match="not the one that was expected"):
        file.close()
    assert fs.cat_file(path) == b"other"


# Coroutines


async def test_open_async_reads_and_writes(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    path = place.path("new")
    async with await fs.open_async(path, "wb") as file:
        assert await file.write(b"hello ") == 6
        await file.write(b"x" * 6 * MiB)
        assert file.tell() == 6 + 6 * MiB
    async with await fs.open_async(path) as file:
        assert file.size == 6 + 6 * MiB
        assert await file.read(6) == b"hello "
        assert file.seek(-3, 2) == 3 + 6 * MiB
        assert await file.read() == b"xxx"
        assert await file.read() == b""


async def test_open_async_publishes_nothing_on_an_exception_or_a_discard(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    with suppress(Boom):
        async with await fs.open_async(place.path("new"), "wb") as file:
            await file.write(b"x" * 6 * MiB)
            raise Boom
    file = await fs.open_async(place.path("new"), "xb")
    await file.write(b"x")
    await file.discard()
    await file.close()
    assert not await fs._exists(place.path("new"))


async def test_a_cancelled_write_leaves_nothing(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})

    async def write() -> None:
        async with await fs.open_async(place.path("new"), "wb") as file:
            while True:
                await file.write(b"x" * 6 * MiB)

    task = asyncio.ensure_future(write())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await fs._find(place.folder) == []


async def test_open_async_creates_atomically_and_refuses_what_it_cannot(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    async with await fs.open_async(place.path("new"), "xb") as file:
        await file.write(b"x")
    with pytest.raises(FileExistsError):
        await fs.open_async(place.path("new"), "xb")
    for mode in ("ab", "r+b", "r"):
        with pytest.raises(UnsupportedError, match="modes"):
            await fs.open_async(place.path("new"), mode)
    with pytest.raises(FileNotFoundError):
        await fs.open_async(place.path("nothing"))


def test_write_files_are_what_io_expects(place: Place) -> None:
    with place.fs.open(place.path("new"), "wb") as raw:
        assert isinstance(raw, io.IOBase)
        buffered = io.BufferedWriter(raw, 100)
        buffered.write(b"x" * 1000)
        buffered.flush()
        buffered.detach()
    assert place.fs.cat_file(place.path("new")) == b"x" * 1000
