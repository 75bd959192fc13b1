"""Mode ``x`` creates a file only where none exists, also with several writers; mode ``a`` appends."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.fs.places import Boom, MiB, Place

DATA = random.Random(7).randbytes(200_000)


@pytest.fixture
def stored(place: Place) -> str:
    place.fs.pipe_file(place.path("data"), DATA)
    return place.path("data")


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
    with pytest.raises(OSError, match="exists or has changed"):
        file.close()
    assert fs.cat_file(path) == b"other"
