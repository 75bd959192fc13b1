"""Reads in threads and in coroutines return the same bytes by the same requests and raise the same errors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import ChangedError, OpendalFileSystem
from opendalfs.read.async_reader import fetch, read_some
from opendalfs.read.plan import Slice
from opendalfs.read.reader import Reader
from opendalfs.storage.version import Version
from opendalfs.testing import S3Server

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
OPTIONS = {"read_chunk": 1_000, "max_gap": 100}

RANGES: dict[str, list[Slice]] = {
    "one": [(10, 20)],
    "none": [],
    "empty": [(5, 5)],
    "reversed": [(20, 10)],
    "past the end": [(SIZE - 5, SIZE + 50)],
    "beyond the end": [(SIZE + 5, SIZE + 50)],
    "from the end": [(-10, None)],
    "to the end": [(SIZE - 10, None)],
    "all": [(None, None)],
    "near each other": [(0, 10), (50, 60), (120, 130)],
    "far from each other": [(0, 10), (5_000, 5_010), (9_000, 9_010)],
    "in any order": [(9_000, 9_010), (0, 10), (5_000, 5_010)],
    "overlapping": [(0, 300), (100, 400), (100, 200), (0, 300)],
    "larger than a request": [(100, 4_700)],
    "large and small": [(100, 4_700), (4_690, 4_710), (2_000, 2_001)],
    "touching": [(0, 10), (10, 20)],
}


class At(NamedTuple):
    """A file on some service."""

    fs: OpendalFileSystem
    path: str

    def version(self) -> Version:
        return Version.from_info(self.fs.info(self.path))

    def write(self, data: bytes) -> None:
        self.fs.pipe_file(self.path, data)


@pytest.fixture(params=["memory", "fs", "s3"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> At:
    name = uuid4().hex
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        fs = opendalfs.filesystem("s3", **server.options, **OPTIONS)
        found = At(fs, f"{server.bucket}/{name}/a")
    elif request.param == "fs":
        found = At(OpendalFileSystem("fs", root=str(tmp_path), **OPTIONS), "a")
    else:
        found = At(opendalfs.filesystem("memory", **OPTIONS), f"readers/{name}")
    found.write(DATA)
    return found


def in_threads(at: At, ranges: list[Slice], version: Version | None, gap: int | None) -> list[bytes]:
    return Reader(*at.fs.locate(at.path), version).read_some(ranges, gap)


def in_coroutines(at: At, ranges: list[Slice], version: Version | None, gap: int | None) -> list[bytes]:
    # On a loop of its own, as a program of coroutines has one.
    return asyncio.run(read_some(*at.fs.locate(at.path), ranges, version, gap))


READERS: dict[str, Callable[..., list[bytes]]] = {"threads": in_threads, "coroutines": in_coroutines}


def outcome(call: Callable[[], Any]) -> Any:
    with opendalfs.trace() as trace:
        try:
            found = call()
        except OSError as exc:
            found = type(exc), exc.errno, exc.filename, str(exc)
    reads = sorted((r.operation, r.offset, r.size) for r in trace.records if r.operation == "read")
    return found, reads, trace.bytes_wanted


@pytest.mark.parametrize("sized", [False, True], ids=["size unknown", "size known"])
@pytest.mark.parametrize("gap", [None, 0])
@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_both_return_the_slices_of_the_object_by_the_same_requests(
    at: At, ranges: list[Slice], gap: int | None, sized: bool
) -> None:
    version = at.version() if sized else None
    blocking, coroutines = (
        outcome(lambda read=read: read(at, ranges, version, gap)) for read in READERS.values()
    )
    assert blocking[0] == [DATA[slice(*r)] for r in ranges]
    assert blocking == coroutines


@pytest.mark.parametrize("sized", [False, True], ids=["size unknown", "size known"])
@pytest.mark.parametrize("ranges", [[(0, 10)], [(0, 10), (9_000, 9_010)]], ids=["one", "two"])
def test_both_raise_the_same_error_for_a_missing_object(at: At, ranges: list[Slice], sized: bool) -> None:
    version = at.version() if sized else None
    at.fs.rm_file(at.path)
    blocking, coroutines = (
        outcome(lambda read=read: read(at, ranges, version, None)) for read in READERS.values()
    )
    assert blocking[0][0] is FileNotFoundError
    assert blocking[0] == coroutines[0]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("data", [DATA[::-1], DATA[:100], DATA + b"more"], ids=["same size", "less", "more"])
@pytest.mark.parametrize("ranges", [[(50, 60)], [(0, 10), (9_000, 9_010)]], ids=["one", "two"])
def test_a_deleted_version_raises(
    at: At, read: Callable[..., list[bytes]], data: bytes, ranges: list[Slice]
) -> None:
    version = at.version()
    at.write(data)
    if at.fs.service.scheme == "fs":
        # The clock of a disk may be coarse.
        local = Path(at.fs.storage_options["root"], at.path)
        os.utime(local, ns=(1, local.stat().st_mtime_ns + 10_000_000))
    with pytest.raises(ChangedError):
        read(at, ranges, version, None)


def test_more_bytes_than_fit_into_memory_are_refused_by_both() -> None:
    connection, key = opendalfs.filesystem("memory").locate("readers/claims-to-be-large")
    version = Version(1 << 50)
    with pytest.raises(OSError, match="do not fit into memory"):
        Reader(connection, key, version).read_ranges([(0, None)])
    with pytest.raises(OSError, match="do not fit into memory"):
        asyncio.run(fetch(connection, key, [(0, None)], version))


@pytest.mark.parametrize("size", [10, 1_000, 4_700])
def test_a_positioned_read_takes_as_many_requests_as_its_size_needs(at: At, size: int) -> None:
    reader = Reader(*at.fs.locate(at.path), at.version())
    with opendalfs.trace() as trace:
        assert reader.read(100, size) == DATA[100 : 100 + size]
    assert trace.count("read") == -(-size // 1_000)
    assert trace.bytes_wanted == size
    assert reader.read(SIZE, 10) == b""
    assert reader.read(SIZE - 1, 10) == DATA[-1:]
    with pytest.raises(ValueError, match="must be 0 or more"):
        reader.read(-1, 10)
