"""Scans of Parquet files return the bytes of a plain read, within the memory budget."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import opendalfs
import opendalfs_arrow
from opendalfs.budget import Budget
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.testing import S3Server
from opendalfs_arrow.footer import Footer, Tail
from opendalfs_arrow.scan import Scan
from tests.integrations.arrow.parquet import FS, MEMORY, Wide, mixed, shrink, store, written
from tests.integrations.arrow.places import (
    Place,
    read_twice,
    run_python,
    s3_place,
)


class TestScan:
    """Against a plain model: the bytes themselves."""

    FILE = written(mixed(600), row_group_size=100)
    NOISE = bytes(np.random.default_rng(1).integers(0, 256, 9_000, dtype=np.uint8))

    @settings(max_examples=60, deadline=None)
    @given(
        data=st.sampled_from([FILE, NOISE, FILE[:-100], FILE[:20]]),
        reads=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 9_000)), max_size=12),
        sizes=st.tuples(st.integers(8, 3_000), st.integers(1, 4_000), st.integers(0, 500)),
        budget=st.sampled_from([0, 2_000, 1 << 20]),
        plan=st.none() | st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 2_000)), max_size=8),
        begin=st.booleans(),
    )
    # A read that lies in the tail, which was not there yet when the read began.
    @example(FILE, [(0, 1), (len(FILE) - 11, 1)], (12, 1, 0), 0, [(len(FILE) - 2_010, 2_000)], False)
    def test_any_read_gives_the_bytes_of_the_file(
        self,
        data: bytes,
        reads: list[tuple[int, int]],
        sizes: tuple[int, int, int],
        budget: int,
        plan: list[tuple[int, int]] | None,
        begin: bool,
    ) -> None:
        path = store(data)
        held = Budget(budget)
        ranges = plan and [Range(min(a, len(data)), min(a + n, len(data))) for a, n in plan]
        with pytest.MonkeyPatch.context() as patch:
            shrink(patch, *sizes)
            tail = Tail(Reader(*MEMORY.locate(path)), begin=begin)
            scan = Scan(tail, plan=ranges, budget=held)
            for offset, size in reads:
                assert bytes(scan.read(offset, size)) == data[offset : offset + size]
            scan.close()
        assert held.held == 0
        MEMORY.rm(path)

    def test_the_end_may_be_read_for_another_scan_in_the_middle_of_a_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shrink(monkeypatch, tail=512, part=100, gap=64)
        size = len(self.NOISE)
        tail = Tail(Reader(*MEMORY.locate(store(self.NOISE))), begin=False)
        scan = Scan(tail, plan=[Range(0, size)])
        require = scan._requests.require

        def late(wanted: Range) -> Any:
            blocks = require(wanted)
            assert tail.get(Range(size - 1, size)) is not None
            return blocks

        monkeypatch.setattr(scan._requests, "require", late)
        assert bytes(scan.read(size - 300, 250)) == self.NOISE[-300:-50]
        scan.close()

    def test_a_plan_may_reach_into_an_end_that_is_read_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shrink(monkeypatch, tail=512, part=100, gap=64)
        size = len(self.NOISE)
        tail = Tail(Reader(*MEMORY.locate(store(self.NOISE))), begin=False)
        scan = Scan(tail, plan=[Range(size - 300, size)], budget=Budget(0))
        assert tail.get(Range(size - 1, size)) is not None
        assert bytes(scan.read(size - 200, 100)) == self.NOISE[-200:-100]
        scan.close()

    def test_a_read_allocates_its_bytes_once_and_one_of_a_single_request_none(self) -> None:
        data = self.NOISE * 1_000
        scan = Scan(Tail(Reader(*MEMORY.locate(store(data)))), plan=[Range(0, 8 << 20)])
        before = pa.total_allocated_bytes()
        whole = scan.read(100, 6 << 20)
        assert pa.total_allocated_bytes() - before == 6 << 20
        del whole
        part = scan.read(7 << 20, 1 << 20)
        assert pa.total_allocated_bytes() == before
        assert bytes(part) == data[7 << 20 : 8 << 20]
        scan.close()

    @pytest.mark.usefixtures("tiny")
    def test_a_read_of_a_closed_scan_is_refused(self) -> None:
        held = Budget(1 << 30)
        scan = Scan(Tail(Reader(*MEMORY.locate(store(self.FILE)))), budget=held)
        scan.close()
        with pytest.raises(ValueError, match="closed"):
            scan.read(0, 100)
        assert held.held == 0

    @pytest.mark.usefixtures("tiny")
    def test_several_threads_read_one_scan(self) -> None:
        scan = Scan(Tail(Reader(*MEMORY.locate(store(self.FILE)))))
        wrong: list[int] = []

        def work(first: int) -> None:
            places = range(first, len(self.FILE), 997)
            wrong.extend(at for at in places if bytes(scan.read(at, 1_500)) != self.FILE[at : at + 1_500])

        threads = [threading.Thread(target=work, args=(i * 131,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @pytest.mark.usefixtures("tiny")
    def test_the_budget_is_respected_while_reading_in_order(self) -> None:
        held = Budget(8_000)
        scan = Scan(Tail(Reader(*MEMORY.locate(store(self.FILE)))), budget=held)
        most = 0
        for chunk in [c for g in range(6) for c in Footer(pq.read_metadata(io.BytesIO(self.FILE))).chunks(g)]:
            scan.read(chunk.range.start, chunk.range.size)
            most = max(most, held.held)
        # One read that is wanted now may come on top.
        assert 0 < most <= 8_000 + 2 * 700


READS: dict[str, Callable[[pq.ParquetFile], pa.Table]] = {
    "read": lambda f: f.read(),
    "some columns": lambda f: f.read(columns=["noise", "struct.y", "list.list.element"]),
    "one group": lambda f: f.read_row_group(2),
    "groups out of order": lambda f: f.read_row_groups([4, 0, 3], columns=["id", "word"]),
    "batches": lambda f: pa.Table.from_batches(list(f.iter_batches(batch_size=70, columns=["id", "map"]))),
    "the last": lambda f: f.read_row_group(f.num_row_groups - 1, columns=["maybe"]),
    "twice": lambda f: pa.concat_tables([f.read(["id"]), f.read(["id"])]),
    "wrong guesses": lambda f: pa.concat_tables(
        [f.read_row_group(g, columns=[c]) for g, c in ((0, "id"), (5, "noise"), (1, "word"), (4, "map"))],
        promote_options="default",
    ),
}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"use_dictionary": False, "compression": "none"},
    "dictionary": {"use_dictionary": True, "compression": "zstd"},
    "small pages": {"data_page_size": 64, "compression": "snappy", "data_page_version": "2.0"},
    "checksums": {"write_page_checksum": True, "write_page_index": True},
}


class TestResults:
    TABLE = mixed(600)

    @pytest.mark.usefixtures("tiny")
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("read", READS)
    @pytest.mark.parametrize("pre_buffer", [False, True])
    def test_files_read_as_from_memory(self, form: str, read: str, pre_buffer: bool) -> None:
        data = written(self.TABLE, row_group_size=100, **FORMS[form])
        expected = READS[read](pq.ParquetFile(io.BytesIO(data)))
        assert expected.num_rows
        file = pq.ParquetFile(store(data), filesystem=FS, pre_buffer=pre_buffer)
        assert READS[read](file).equals(expected)

    @pytest.mark.usefixtures("tiny")
    @pytest.mark.parametrize("buffer_size", [0, 300])
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"columns": ["noise", "id"]},
            {"filters": [("id", ">=", 450)]},
            {"columns": ["word"], "filters": [[("id", "<", 50)], [("id", ">", 520)]]},
            {"filters": pc.field("maybe").is_null()},
        ],
        ids=str,
    )
    def test_scans_read_as_from_memory(self, form: str, query: dict[str, Any], buffer_size: int) -> None:
        data = written(self.TABLE, row_group_size=100, **FORMS[form])
        found = pq.read_table(store(data), filesystem=FS, buffer_size=buffer_size, **query)
        assert found.equals(pq.read_table(io.BytesIO(data), **query))

    LONG = mixed(5_000, seed=3)

    @settings(max_examples=20, deadline=None)
    @given(
        rows=st.integers(0, 5_000),
        group=st.integers(100, 2_000) | st.integers(100, 300),
        columns=st.sets(st.sampled_from(mixed(1).column_names), min_size=1),
        part=st.integers(1_000, 50_000),
        gap=st.integers(0, 5_000),
        limit=st.sampled_from([0, 30_000, 1 << 20]),
    )
    def test_any_shape_reads_as_from_memory_and_nothing_is_fetched_twice(
        self, rows: int, group: int, columns: set[str], part: int, gap: int, limit: int
    ) -> None:
        data = written(self.LONG.slice(0, rows), row_group_size=group)
        names = sorted(columns)
        fs = opendalfs_arrow.arrow(MEMORY)
        fs.handler.cache.budget = Budget(limit)
        with pytest.MonkeyPatch.context() as patch, opendalfs.trace() as trace:
            # Arrow's first read is of the last 64 KiB, whatever is there.
            shrink(patch, 70_000, part, gap)
            path = store(data)
            found = pq.read_table(path, columns=names, filesystem=fs)
        fs.handler.cache.budget = None
        MEMORY.rm(path)
        assert found.equals(pq.read_table(io.BytesIO(data), columns=names))
        assert read_twice(trace) == 0

    @pytest.mark.usefixtures("tiny")
    def test_several_threads_read_several_files(self) -> None:
        tables = [mixed(300, seed=i) for i in range(6)]
        paths = [store(written(t, row_group_size=50)) for t in tables]
        wrong: list[str] = []

        def work(i: int) -> None:
            found = [pq.read_table(paths[i], filesystem=FS) for _ in range(3)]
            wrong.extend(paths[i] for table in found if not table.equals(tables[i]))

        threads = [threading.Thread(target=work, args=(i % 6,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.fixture(scope="module")
def s3(s3_server: S3Server, far: dict[str, Any]) -> Place:
    return s3_place(s3_server, **far)


SCANS = {
    # Arrow takes what it is given at once; this shows that nothing is kept of what it has taken.
    "dataset": "ds.dataset(path, filesystem=fs).to_batches(batch_readahead=2, fragment_readahead=1)",
    # The reader is slow enough for the whole file to be here by its end, if it were asked for.
    "file": "slowly(pq.ParquetFile(path, filesystem=fs, pre_buffer=False).iter_batches(50_000))",
}


@pytest.fixture(scope="module")
def large(wide: Wide) -> str:
    """Write a file of 100 MB, and return its path."""
    path = wide.place.path(uuid.uuid4().hex, "large.parquet")
    with pq.ParquetWriter(path, wide.table.schema, filesystem=wide.place.fs, compression="none") as writer:
        for _ in range(4):
            writer.write_table(wide.table, row_group_size=50_000)
    return path


class TestMemory:
    @pytest.mark.parametrize("scan", SCANS)
    def test_a_streaming_scan_stays_within_the_budget(
        self, wide: Wide, large: str, s3_server: S3Server, scan: str
    ) -> None:
        result = run_python(
            """
            import resource, sys, time
            import opendalfs, pyarrow.dataset as ds, pyarrow as pa, pyarrow.parquet as pq
            from opendalfs.budget import Budget

            def peak():
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

            def slowly(batches):
                for batch in batches:
                    time.sleep(0.05)
                    yield batch

            path, scan, endpoint, key, secret = sys.argv[1:]
            fs = opendalfs.arrow("s3", endpoint=endpoint, region="us-east-1", key=key, secret=secret)
            fs.handler.cache.budget = Budget(16 << 20)
            pq.read_metadata(path, filesystem=fs)
            before = peak()
            rows = sum(b.num_rows for b in eval(scan))
            print(rows, peak() - before, pa.default_memory_pool().max_memory())
            """,
            large,
            SCANS[scan],
            s3_server.endpoint,
            s3_server.access_key,
            s3_server.secret_key,
        )
        assert result.returncode == 0, result.stderr
        rows, grown, arrow = map(int, result.stdout.split())
        assert rows == 4 * wide.table.num_rows
        # The file has 100 MB.
        assert grown <= (16 << 20) + arrow + (24 << 20)
