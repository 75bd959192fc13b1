"""A request that fails raises in the calls that wait for it, and is repeated for later calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs_arrow
from opendalfs.budget import Budget
from opendalfs.read.ranges import Range
from opendalfs.read.readahead import ReadAhead, Settings
from opendalfs.read.reader import Reader
from opendalfs.testing import Fault, FaultProxy, RefusingProxy, Request, S3Server
from opendalfs_arrow import footer
from opendalfs_arrow.files import StreamFile
from opendalfs_arrow.footer import Tail
from opendalfs_arrow.scan import Scan
from opendalfs_duckdb.read_handle import READ_AHEAD
from tests.integrations.arrow.places import TABLE, Place, numbers, s3_place
from tests.waiting import eventually

ALL = 1_000_000
"""Times to refuse: a request in advance that failed before anybody waited for it is made again."""

READS: dict[str, Callable[[Place, str], pa.Table]] = {
    "read_table": lambda place, path: pq.read_table(path, filesystem=place.fs),
    "planned": lambda place, path: opendalfs_arrow.read_table(path, filesystem=place.fs),
    "file": lambda place, path: pq.ParquetFile(path, filesystem=place.fs).read(),
    "dataset": lambda place, path: ds.dataset(path, filesystem=place.fs).to_table(),
    "directory": lambda place, path: pq.read_table(path.rpartition("/")[0], filesystem=place.fs),
    "fsspec": lambda place, path: pq.read_table(path, filesystem=place.core),
    "pandas": lambda place, path: pa.Table.from_pandas(
        pd.read_parquet(path, filesystem=place.core), TABLE.schema
    ),
}


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[RefusingProxy]:
    with RefusingProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def fault_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def place(s3_server: S3Server, proxy: RefusingProxy) -> Iterator[Place]:
    yield s3_place(s3_server, **proxy.through(s3_server.options), retries=0)
    proxy.refuse(0)


def put(place: Place) -> str:
    """Write a file in a directory of which nothing is remembered."""
    path = place.path(uuid4().hex, "t.parquet")
    pq.write_table(TABLE, path, filesystem=place.fs)
    return path


class TestParquet:
    @pytest.mark.parametrize("how", ["403", "cut"])
    @pytest.mark.parametrize("read", READS)
    def test_a_read_after_one_that_failed_asks_again(
        self, place: Place, proxy: RefusingProxy, read: str, how: str
    ) -> None:
        path = put(place)
        proxy.refuse(ALL, how, key="t.parquet")
        with pytest.raises(OSError):  # noqa: PT011
            READS[read](place, path)
        proxy.refuse(0)
        assert READS[read](place, path).equals(TABLE)

    def test_each_read_is_refused_for_as_long_as_the_permission_is_missing(
        self, place: Place, proxy: RefusingProxy
    ) -> None:
        path = put(place)
        for _ in range(3):
            proxy.refuse(ALL, key="t.parquet")
            with pytest.raises(PermissionError):
                pq.read_table(path, filesystem=place.fs)
            assert proxy.refused >= 1
        proxy.refuse(0)
        assert pq.read_table(path, filesystem=place.fs).equals(TABLE)

    def test_a_file_that_stays_open_asks_again(self, place: Place, proxy: RefusingProxy) -> None:
        path = put(place)
        place.fs.get_file_info(path)
        proxy.refuse(ALL, key="t.parquet")
        file = place.fs.open_input_file(path)
        with pytest.raises(PermissionError):
            file.read_at(100, 0)
        proxy.refuse(0)
        assert file.read_at(4, 0) == b"PAR1"
        assert file.size() == place.core.size(path)

    def test_an_end_that_was_read_in_advance_and_failed_is_read_again(
        self, place: Place, proxy: RefusingProxy
    ) -> None:
        path = put(place)
        handler = place.fs.handler
        place.fs.get_file_info(path)
        proxy.refuse(1, key="t.parquet")
        handler.prefetch_tails([path])
        assert eventually(lambda: proxy.refused == 1)
        assert eventually(lambda: all(tail.failed for tail in tails(handler, path)))
        assert pq.read_table(path, filesystem=place.fs).equals(TABLE)

    def test_an_end_that_is_not_that_of_a_parquet_file_is_read_again(
        self, s3_server: S3Server, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(footer, "WHOLE", 0)
        monkeypatch.setattr(footer, "TAIL", 2_000)
        place = s3_place(s3_server, **fault_proxy.through(s3_server.options), retries=0)
        path = put(place)
        fault_proxy.inject(Fault("get", "wrong-range"))
        with pytest.raises(pa.ArrowInvalid):
            pq.read_table(path, filesystem=place.fs)
        assert fault_proxy.injected() == 1
        assert pq.read_table(path, filesystem=place.fs).equals(TABLE)

    def test_those_who_wait_for_one_request_share_its_failure(
        self, place: Place, proxy: RefusingProxy
    ) -> None:
        path = put(place)
        place.fs.get_file_info(path)
        both = threading.Barrier(3)

        def late(request: Request) -> str | None:
            if request.method != "GET" or "t.parquet" not in request.target or proxy.refused:
                return None
            both.wait()
            return "403"

        proxy.refused = 0
        proxy.refuses = late
        tail = Tail(place.fs.handler.reader(path))

        def wait() -> BaseException | None:
            future = tail._begin()
            both.wait()
            return future.exception()

        with ThreadPoolExecutor(2) as threads:
            errors = [waiting.result() for waiting in [threads.submit(wait) for _ in range(2)]]
        assert isinstance(errors[0], PermissionError)
        assert errors[0] is errors[1]
        assert proxy.refused == 1
        assert bytes(tail.get(Range(0, 4)) or b"") == b"PAR1"

    def test_hinted_columns_are_fetched_together_once_the_footer_is_there(
        self, place: Place, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(footer, "WHOLE", 0)
        monkeypatch.setattr(footer, "TAIL", 70_000)
        path = place.path(uuid4().hex, "t.parquet")
        table = numbers(40_000, 6)
        pq.write_table(table, path, filesystem=place.fs, row_group_size=10_000, compression="none")
        fs = opendalfs_arrow.with_columns(place.fs, ["c1", "c4"])
        fs.get_file_info(path)
        proxy.refuse(ALL, key="t.parquet")
        file = fs.open_input_file(path)
        with pytest.raises(PermissionError):
            file.read_at(4, 0)
        proxy.refuse(0)
        assert pq.ParquetFile(file).read(["c1", "c4"]).equals(table.select(["c1", "c4"]))


def tails(handler: Any, path: str) -> list[Tail]:
    shared = handler.cache.tails._tails.get(path)
    return [] if shared is None else [shared.tail]


DATA = bytes(range(256)) * 4_096


class TestRequestsInAdvance:
    """Requests that failed before anybody waited for them."""

    @pytest.fixture
    def reader(self, place: Place) -> Reader:
        path = place.path(uuid4().hex, "data.bin")
        place.core.pipe_file(path, DATA)
        connection, key = place.core.locate(path)
        reader = Reader(connection, key)
        assert reader.size == len(DATA)
        return reader

    def test_a_column_chunk_is_fetched_again(
        self, reader: Reader, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(footer, "WHOLE", 0)
        budget = Budget(1 << 30)
        tail = Tail(reader)
        assert tail.size == len(DATA)
        proxy.refuse(1, key="data.bin")
        scan = Scan(tail, plan=[Range(0, 1_000)], budget=budget)
        assert eventually(lambda: proxy.refused == 1 and not scan._requests.in_flight)
        assert bytes(scan.read(0, 1_000)) == DATA[:1_000]
        assert budget.held == 0
        scan.close()

    def test_a_part_of_a_stream_is_fetched_again(
        self, reader: Reader, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("opendalfs_arrow.files.READ_AHEAD", Settings(first=1_000, largest=1_000, ahead=3))
        stream = StreamFile(reader)
        assert stream.read(100) == DATA[:100]
        proxy.refuse(3, key="data.bin")
        # The next three parts are requested along with what is left of the first.
        assert stream.read(100) == DATA[100:200]
        assert eventually(lambda: proxy.refused == 3)
        assert eventually(lambda: all(r.future.done() for r in stream._stream._window._requests.values()))
        assert stream.read(3_000) == DATA[200:3_200]
        stream.close()

    def test_a_block_of_duckdbs_text_is_fetched_again(
        self, reader: Reader, proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ahead = ReadAhead(reader, replace(READ_AHEAD, whole=0, ahead=1))
        first = 256 * 1024
        assert ahead.read(0, first) == DATA[:first]
        proxy.refuse(1, key="data.bin")
        proxy.refuses = refused_from(proxy.refuses, 3 * first)
        assert ahead.read(first, 10) == DATA[first : first + 10]
        assert eventually(lambda: proxy.refused == 1)
        assert eventually(lambda: all(r.future.done() for r in ahead._window._requests.values()))
        assert ahead.read(3 * first, 10) == DATA[3 * first : 3 * first + 10]


def refused_from(refuses: Callable[..., str | None], start: int) -> Callable[..., str | None]:
    """Restrict refusals to ranges that begin at an offset or after it."""

    def later(request: Request) -> str | None:
        return refuses(request) if request.range(1 << 40)[0] >= start else None

    return later


def test_a_look_at_a_path_after_one_that_failed_asks_again(place: Place, proxy: RefusingProxy) -> None:
    path = put(place)
    proxy.refuse(1, method="HEAD", key="t.parquet")
    with pytest.raises(PermissionError):
        place.fs.get_file_info(path)
    assert place.fs.get_file_info(path).type == pafs.FileType.File
