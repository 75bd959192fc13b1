"""Services that transfer a whole value for any range: one read of many ranges receives the value once."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs import ChangedError, OpendalFileSystem
from opendalfs.fs.copies import copy_object
from opendalfs.read import plan
from opendalfs.read.async_reader import fetch
from opendalfs.read.reader import Reader
from opendalfs.services import SERVICES
from opendalfs.storage.version import Version
from opendalfs.testing import MariaDB, Memcached, PostgreSQL, ServerUnavailable
from tests.conformance.targets import TARGETS

LOCAL = ("cacache", "persy", "redb", "sled", "sqlite")
SERVERS: dict[str, Any] = {"memcached": Memcached, "mysql": MariaDB, "postgresql": PostgreSQL}
SIZE = 900_000
"""Bytes, below the 1 MiB that memcached takes."""

VALUE = bytes(i % 251 for i in range(SIZE))
STARTS = [i * 18_000 for i in range(50)]


@pytest.fixture(
    scope="module", params=[*LOCAL, *(pytest.param(s, marks=pytest.mark.services) for s in SERVERS)]
)
def fs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpendalFileSystem]:
    if request.param in LOCAL:
        folder = tmp_path_factory.mktemp("values")
        yield TARGETS[request.param].connect(request.getfixturevalue, folder)[0]
        return
    try:
        server = SERVERS[request.param]().start()
    except ServerUnavailable as missing:
        pytest.skip(str(missing))
    yield opendalfs.filesystem(request.param, skip_instance_cache=True, read_chunk=10_000, **server.options)
    server.stop()


@pytest.fixture
def path(fs: OpendalFileSystem) -> str:
    fs.pipe_file("value", VALUE)
    return "value"


def reads(work: Callable[[], object]) -> tuple[int, int]:
    """Return the number of read requests, and the bytes that they received."""
    with opendalfs.trace() as trace:
        work()
    return trace.count("read"), trace.bytes


def test_a_whole_read_of_more_than_a_mebibyte_asks_for_no_size(fs: OpendalFileSystem) -> None:
    """OpenDAL receives the value for its size, too."""
    if fs.service.scheme == "memcached":
        pytest.skip("memcached takes no value of more than 1 MiB")
    fs.pipe_file("large", VALUE * 4)
    with opendalfs.trace() as trace:
        assert fs.cat_file("large") == VALUE * 4
    assert (trace.count("read"), trace.count("stat")) == (1, 0)


@pytest.mark.parametrize("gap", [None, 0])
@pytest.mark.parametrize("end", ["inside", "past the end"])
def test_cat_ranges_receives_the_value_once(
    fs: OpendalFileSystem, path: str, gap: int | None, end: str
) -> None:
    ends = [start + (1000 if end == "inside" else SIZE) for start in STARTS]
    found: list[bytes] = []
    once = reads(lambda: found.extend(fs.cat_ranges([path] * 50, STARTS, ends, max_gap=gap)))
    assert once == (1, SIZE)
    assert found == [VALUE[start:stop] for start, stop in zip(STARTS, ends, strict=True)]


def test_negative_and_open_ranges_are_cut_as_slices(fs: OpendalFileSystem, path: str) -> None:
    found = fs.cat_ranges([path] * 3, [-5, None, 10], [None, 3, -SIZE + 12])
    assert found == [VALUE[-5:], VALUE[:3], VALUE[10:12]]


def test_coroutines_receive_the_value_once(fs: OpendalFileSystem, path: str) -> None:
    async def work() -> None:
        found = await fs._cat_ranges([path] * 50, STARTS, [start + 10 for start in STARTS], max_gap=0)
        assert found == [VALUE[start : start + 10] for start in STARTS]

    assert reads(lambda: asyncio.run(work())) == (1, SIZE)


def test_an_open_file_receives_the_value_once(fs: OpendalFileSystem, path: str) -> None:
    def work() -> None:
        with fs.open(path, "rb", block_size=10_000) as file:
            assert [file.read_at(start, 7) for start in STARTS] == [VALUE[s : s + 7] for s in STARTS]
            assert file.read() == VALUE

    assert reads(work) == (1, SIZE)


def test_an_open_file_of_coroutines_receives_the_value_once(fs: OpendalFileSystem, path: str) -> None:
    async def work() -> None:
        async with await fs.open_async(path) as file:
            pieces = [await file.read(100_000) for _ in range(9)]
        assert b"".join(pieces) == VALUE

    assert reads(lambda: asyncio.run(work())) == (1, SIZE)


def test_a_download_receives_the_value_once(fs: OpendalFileSystem, path: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    assert reads(lambda: fs.get_file(path, str(local))) == (1, SIZE)
    assert local.read_bytes() == VALUE


@pytest.mark.parametrize("limit", [256 << 20, 0])
def test_a_copy_receives_the_value_once(
    fs: OpendalFileSystem, path: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for some parts each, which might be those of two values."""
    monkeypatch.setattr(plan.VALUES, "limit", limit)
    held = plan.VALUES.held
    target = opendalfs.MemoryFileSystem(write_chunk=50_000, skip_instance_cache=True)
    copy = copy_object(*fs.locate(path), *target.locate("copies/value"))
    assert reads(lambda: asyncio.run(copy)) == (1, 2 * SIZE)
    assert target.cat_file("copies/value") == VALUE
    assert plan.VALUES.held == held


@pytest.mark.parametrize("limit", [256 << 20, 0])
def test_a_download_to_a_file_like_object_receives_the_value_once(
    fs: OpendalFileSystem, path: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan.VALUES, "limit", limit)
    monkeypatch.setattr("opendalfs.read.download._WINDOW", 100_000)
    held = plan.VALUES.held
    written = io.BytesIO()
    assert reads(lambda: fs.get_file(path, written)) == (1, SIZE)
    assert written.getvalue() == VALUE
    assert plan.VALUES.held == held


def test_two_reads_at_once_of_an_open_file_of_coroutines_receive_the_value_once(
    fs: OpendalFileSystem, path: str
) -> None:
    held = plan.VALUES.held

    async def work() -> None:
        async with await fs.open_async(path) as file:
            found = await asyncio.gather(*(file.read(10) for _ in range(20)))
            assert plan.VALUES.held == held + SIZE
        assert set(found) <= {VALUE[i : i + 10] for i in range(0, 200, 10)}
        assert plan.VALUES.held == held

    assert reads(lambda: asyncio.run(work())) == (1, SIZE)


def test_read_table_receives_the_value_once_for_each_time_that_pyarrow_opens_it(
    fs: OpendalFileSystem,
) -> None:
    # Of more than 1 MiB, as smaller files are read whole by any service.
    columns = [pa.Array.from_buffers(pa.int64(), 40_000, [None, pa.py_buffer(os.urandom(320_000))])] * 10
    table = pa.table({f"c{i}": column for i, column in enumerate(columns)})
    with fs.open("table.parquet", "wb") as file:
        pq.write_table(table, file, row_group_size=8_000)
    size = fs.size("table.parquet")
    lake = opendalfs.arrow(fs)
    wanted = ["c1", "c5", "c9"]
    found: list[pa.Table] = []
    once = reads(lambda: found.append(pq.read_table("table.parquet", columns=wanted, filesystem=lake)))
    assert found == [table.select(wanted)]
    # pyarrow opens the file twice.
    assert once[0] <= 2
    assert once[1] == once[0] * size


def test_reads_are_right_where_the_budget_has_no_memory(
    fs: OpendalFileSystem, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan.VALUES, "limit", SIZE - 1)
    with fs.open(path, "rb", cache_type="none") as file:
        assert [file.read(10), file.read(10)] == [VALUE[:10], VALUE[10:20]]
    assert plan.VALUES.held == 0


def test_the_memory_of_a_value_is_released_when_its_file_is_closed(fs: OpendalFileSystem, path: str) -> None:
    held = plan.VALUES.held
    with fs.open(path, "rb", cache_type="none") as file:
        file.read(10)
        assert plan.VALUES.held == held + SIZE
    assert plan.VALUES.held == held


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_a_value_of_another_size_raises_changed_error(fs: OpendalFileSystem, path: str, size: int) -> None:
    """A longer value must not be cut at the size of the older one."""
    connection, key = fs.locate(path)
    with pytest.raises(ChangedError):
        Reader(connection, key, Version(size)).read(0, 10)
    with pytest.raises(ChangedError):
        asyncio.run(fetch(connection, key, [(0, 10)], Version(size)))


def test_every_service_that_transfers_whole_values_is_known() -> None:
    assert {name for name, row in SERVICES.items() if row.whole_values} == {
        *LOCAL,
        *SERVERS,
        "gridfs",
        "mongodb",
    }
