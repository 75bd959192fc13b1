"""The planner of Parquet reads: always the same bytes as a plain read, and no more of them than need be."""

from __future__ import annotations

import base64
import io
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import opendalfs
import opendalfs_arrow
from opendalfs import ChangedError
from opendalfs.budget import Budget
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.testing import DelayProxy, S3Server
from opendalfs_arrow import footer
from opendalfs_arrow import scan as parquet
from opendalfs_arrow.files import RandomFile
from opendalfs_arrow.footer import Footer, Tail
from opendalfs_arrow.scan import Scan
from tests.integrations.arrow_places import (
    Place,
    chunk_bytes,
    data_reads,
    numbers,
    read_twice,
    run_python,
    s3_place,
)

MEMORY = opendalfs.filesystem("memory")
FS = opendalfs.arrow("memory")


def store(data: bytes) -> str:
    """Keep a file in memory, in a directory that nothing is remembered of."""
    path = f"planner/{uuid.uuid4().hex}/f.parquet"
    MEMORY.pipe_file(path, data)
    return path


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def mixed(rows: int, seed: int = 0) -> pa.Table:
    """Make a table with columns of every shape: flat, repeated words, nulls, lists, structs, maps."""
    rng = np.random.default_rng(seed)
    ids = np.arange(rows)
    return pa.table(
        {
            "id": ids,
            "word": pa.array([("alpha", "beta", "gamma")[i % 3] for i in ids]),
            "maybe": pa.array([None if i % 5 == 0 else float(i) for i in ids], pa.float64()),
            "noise": rng.random(rows),
            "list": pa.array([list(range(i % 4)) for i in ids], pa.list_(pa.int32())),
            "struct": pa.array([{"x": int(i), "y": {"z": str(i)}} for i in ids]),
            "map": pa.array([[("k", int(i))] for i in ids], pa.map_(pa.string(), pa.int64())),
            "name with.dot": rng.random(rows),
        }
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all sizes so small that files of a few kilobytes are tails, parts, holes and windows."""
    shrink(monkeypatch, tail=512, part=700, gap=64)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all sizes small but the tail's: Arrow's first read is of the last 64 KiB, whatever is there."""
    shrink(monkeypatch, tail=70_000, part=7_000, gap=64)


def shrink(monkeypatch: pytest.MonkeyPatch, tail: int, part: int, gap: int) -> None:
    monkeypatch.setattr(footer, "WHOLE", 0)
    monkeypatch.setattr(footer, "TAIL", tail)
    monkeypatch.setattr(parquet, "_PART", part)
    monkeypatch.setattr(parquet, "_GAP", gap)


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
        cover = scan._cover

        def late(wanted: Range) -> Any:
            blocks = cover(wanted)
            assert tail.get(Range(size - 1, size)) is not None
            return blocks

        monkeypatch.setattr(scan, "_cover", late)
        assert bytes(scan.read(size - 300, 250)) == self.NOISE[-300:-50]
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
        group=st.integers(100, 2_000),
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


class TestOddFiles:
    def test_an_empty_file_is_told_as_such(self) -> None:
        with pytest.raises(pa.ArrowInvalid, match="0 bytes"):
            pq.read_table(store(b""), filesystem=FS)

    @pytest.mark.parametrize("size", [3, 500, 2_000_000])
    def test_what_is_no_parquet_is_told_as_such(self, size: int) -> None:
        with pytest.raises(pa.ArrowInvalid, match=r"[Pp]arquet"):
            pq.ParquetFile(store(bytes(size)), filesystem=FS)

    @pytest.mark.usefixtures("tiny")
    def test_a_truncated_file_is_told_as_such(self) -> None:
        data = written(mixed(300))
        with pytest.raises(pa.ArrowInvalid, match="magic bytes not found"):
            pq.ParquetFile(store(data[:-200]), filesystem=FS)
        end = data[-8:]
        for length in (0, 2**31, len(data)):
            broken = data[:-8] + length.to_bytes(4, "little") + end[4:]
            with pytest.raises((pa.ArrowInvalid, OSError), match=r"(?i)footer|metadata|thrift"):
                pq.ParquetFile(store(broken), filesystem=FS)

    @pytest.mark.parametrize(
        "table", [pa.table({"a": pa.array([], pa.int64())}), pa.table({})], ids=["rows", "columns"]
    )
    def test_tables_of_nothing_come_back(self, table: pa.Table) -> None:
        path = store(written(table))
        assert pq.read_table(path, filesystem=FS).equals(table)
        assert opendalfs_arrow.read_table(path, filesystem=FS).equals(table)

    def test_a_footer_larger_than_the_tail_is_fetched_once(self) -> None:
        table = pa.table({f"column_{i}": pa.array([i] * 40) for i in range(1_000)})
        data = written(table, row_group_size=4)
        length = int.from_bytes(data[-8:-4], "little")
        assert length > footer.TAIL
        path = store(data)
        with opendalfs.trace() as trace:
            found = pq.read_table(path, columns=["column_7", "column_900"], filesystem=FS)
        assert found.equals(table.select(["column_7", "column_900"]))
        assert read_twice(trace) == 0
        start = len(data) - length - 8
        assert sum(r.bytes for r in trace.records if r.offset >= start) == length + 8

    def test_other_formats_read_through_the_same_handles(self) -> None:
        table = numbers(200_000)
        path = f"planner/{uuid.uuid4().hex}/f.arrow"
        with FS.open_output_stream(path) as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=30_000)
        found = ds.dataset(path, format="ipc", filesystem=FS)
        assert found.to_table().equals(table)
        assert found.to_table(columns=["c2"]).equals(table.select(["c2"]))


class Keys(pe.KmsClient):  # type: ignore[misc]
    """Wraps keys by themselves, which is enough to have them wrapped."""

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


class TestEncryption:
    CRYPTO = pe.CryptoFactory(Keys)
    CONNECTION = pe.KmsConnectionConfig()
    TABLE = mixed(12_000).select(["id", "word", "noise"])

    def store(self, plain_footer: bool) -> str:
        config = pe.EncryptionConfiguration(
            footer_key="footer", column_keys={"column": ["word"]}, plaintext_footer=plain_footer
        )
        sink = io.BytesIO()
        properties = self.CRYPTO.file_encryption_properties(self.CONNECTION, config)
        with pq.ParquetWriter(sink, self.TABLE.schema, encryption_properties=properties) as writer:
            for start in range(0, 12_000, 2_000):
                writer.write_table(self.TABLE.slice(start, 2_000))
        return store(sink.getvalue())

    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("plain_footer", [False, True])
    @pytest.mark.parametrize("columns", [None, ["id"], ["word"], ["noise", "word"]], ids=str)
    @pytest.mark.parametrize("read", [pq.read_table, opendalfs_arrow.read_table], ids=["inferred", "planned"])
    def test_encrypted_files_come_back(
        self, plain_footer: bool, columns: list[str] | None, read: Callable[..., pa.Table]
    ) -> None:
        path = self.store(plain_footer)
        keys = self.CRYPTO.file_decryption_properties(self.CONNECTION)
        with opendalfs.trace() as trace:
            found = read(path, columns=columns, filesystem=FS, decryption_properties=keys)
        assert found.equals(self.TABLE if columns is None else self.TABLE.select(columns))
        assert read_twice(trace) == 0

    @pytest.mark.usefixtures("small")
    def test_plain_columns_of_a_signed_footer_are_read_without_keys(self) -> None:
        path = self.store(plain_footer=True)
        assert pq.ParquetFile(path, filesystem=FS).read(["id"]).equals(self.TABLE.select(["id"]))


@pytest.fixture(scope="module")
def far(s3_server: S3Server) -> Iterator[dict[str, Any]]:
    """Give the options of the S3 server as from far away, where round trips show on a busy machine too."""
    with DelayProxy(s3_server.endpoint, latency=0.03) as proxy:
        yield proxy.through(s3_server.options)


@pytest.fixture(scope="module")
def s3(s3_server: S3Server, far: dict[str, Any]) -> Place:
    return s3_place(s3_server, **far)


class Wide:
    """16 columns in 8 row groups, 25 MB, on S3."""

    NAMES: ClassVar = ["c1", "c5", "c6", "c11"]

    def __init__(self, place: Place) -> None:
        self.place = place
        self.table = numbers(200_000, 16)
        sink = io.BytesIO()
        pq.write_table(self.table, sink, row_group_size=25_000, compression="none", use_dictionary=False)
        self.data = sink.getvalue()
        self.metadata = pq.read_metadata(io.BytesIO(self.data))
        self.chosen = chunk_bytes(self.metadata, self.NAMES)

    def put(self) -> str:
        """Give the file in a directory that nothing is remembered of."""
        path = self.place.path(uuid.uuid4().hex, "wide.parquet")
        self.place.core.pipe_file(path, self.data)
        return path


@pytest.fixture(scope="module")
def wide(s3: Place) -> Wide:
    return Wide(s3)


class TestRequests:
    def test_a_plan_costs_a_stat_a_tail_and_the_chunks(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = opendalfs_arrow.read_table(path, columns=wide.NAMES, filesystem=wide.place.fs)
        assert found.equals(wide.table.select(wide.NAMES))
        assert trace.count("stat") == 1
        reads = data_reads(trace, len(wide.data))
        assert trace.count("read") == len(reads) + 1
        # c5 and c6 lie side by side.
        assert len(reads) == 3 * wide.metadata.num_row_groups
        assert sum(r.bytes for r in reads) <= 1.05 * wide.chosen
        assert read_twice(trace) == 0
        # One after another it would be 26.
        assert trace.round_trips <= 12

    def test_inference_costs_a_stat_a_tail_and_little_more_than_the_chunks(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = pq.read_table(path, columns=wide.NAMES, filesystem=wide.place.fs)
        assert found.equals(wide.table.select(wide.NAMES))
        assert trace.count("stat") == 1
        reads = data_reads(trace, len(wide.data))
        assert trace.count("read") == len(reads) + 1
        assert sum(r.bytes for r in reads) <= 1.25 * wide.chosen
        assert read_twice(trace) == 0
        assert trace.round_trips < 3 * wide.metadata.num_row_groups / 2

    def test_a_second_scan_remembers_the_columns(self, wide: Wide) -> None:
        path = wide.put()
        pq.ParquetFile(path, filesystem=wide.place.fs).read(wide.NAMES)
        with opendalfs.trace() as trace:
            found = pq.ParquetFile(path, filesystem=wide.place.fs).read(wide.NAMES)
        assert found.equals(wide.table.select(wide.NAMES))
        first = [r for r in data_reads(trace, len(wide.data)) if r.offset < 25_000 * 16 * 8]
        assert len(first) == 3
        assert max(r.start for r in first) < min(r.end for r in first)

    def test_named_columns_are_fetched_together_from_the_first_group_on(self, wide: Wide) -> None:
        fs = opendalfs_arrow.with_columns(wide.place.fs, wide.NAMES)
        path = wide.put()
        with opendalfs.trace() as trace:
            assert pq.ParquetFile(path, filesystem=fs).read_row_group(0, wide.NAMES).num_rows == 25_000
        first = [r for r in data_reads(trace, len(wide.data)) if r.offset < 25_000 * 16 * 8]
        assert len(first) == 3
        assert max(r.start for r in first) < min(r.end for r in first)

    @pytest.mark.parametrize("group", [0, 3, 7])
    @pytest.mark.parametrize("warm", [False, True])
    def test_a_filter_fetches_its_row_group_and_at_most_one_guess(
        self, wide: Wide, group: int, warm: bool
    ) -> None:
        path = wide.put()
        if warm:
            pq.read_table(path, columns=wide.NAMES, filesystem=wide.place.fs)
        start = group * 25_000
        with opendalfs.trace() as trace:
            found = pq.read_table(
                path,
                columns=wide.NAMES,
                filters=[("id", ">=", start + 10), ("id", "<", start + 20)],
                filesystem=wide.place.fs,
            )
        assert found.equals(wide.table.slice(start + 10, 10).select(wide.NAMES))
        bounds = [g.range.start for g in (Footer(wide.metadata).chunks(i)[0] for i in range(8))]
        groups = {sum(b <= r.offset for b in bounds) - 1 for r in data_reads(trace, len(wide.data))}
        assert groups <= {group, group + 1}
        one = chunk_bytes(wide.metadata, [*wide.NAMES, "id"], [group])
        assert sum(r.bytes for r in data_reads(trace, len(wide.data))) <= 2 * one

    def test_a_planned_filter_fetches_its_row_group_alone(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = opendalfs_arrow.read_table(
                path, columns=wide.NAMES, filters=pc.field("id") == 80_000, filesystem=wide.place.fs
            )
        assert found.num_rows == 1
        moved = sum(r.bytes for r in data_reads(trace, len(wide.data)))
        assert moved <= 1.05 * chunk_bytes(wide.metadata, [*wide.NAMES, "id"], [3])

    def test_a_filter_that_no_row_can_pass_fetches_no_data(self, wide: Wide) -> None:
        path = wide.put()
        for read in (pq.read_table, opendalfs_arrow.read_table):
            with opendalfs.trace() as trace:
                found = read(path, filters=[("id", "<", -5)], filesystem=wide.place.fs)
            assert found.num_rows == 0
            assert data_reads(trace, len(wide.data)) == []

    def test_all_columns_are_fetched_once_in_large_parts(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = pq.read_table(path, filesystem=wide.place.fs)
        assert found.equals(wide.table)
        assert read_twice(trace) == 0
        assert trace.bytes <= len(wide.data)
        assert trace.count("read") <= len(wide.data) // (2 << 20) + 2
        assert trace.in_flight >= 4

    def test_counting_rows_of_many_files_reads_their_ends_together(self, s3: Place) -> None:
        folder = s3.path(uuid.uuid4().hex)
        small = numbers(100)
        for i in range(20):
            pq.write_table(small, f"{folder}/{i:02}.parquet", filesystem=s3.fs)
        with opendalfs.trace() as trace:
            assert ds.dataset(folder, filesystem=s3.fs).count_rows() == 2_000
        assert trace.count("read") == 20
        assert trace.count("list") == 1
        assert trace.count("stat") <= 2
        assert trace.in_flight >= 4

    def test_a_directory_is_read_with_one_look_at_each_file(self, s3: Place) -> None:
        folder = s3.path(uuid.uuid4().hex)
        table = numbers(400_000, 4)
        for i in range(4):
            pq.write_table(table.slice(i * 100_000, 100_000), f"{folder}/{i}.parquet", filesystem=s3.fs)
        with opendalfs.trace() as trace:
            assert pq.read_table(folder, columns=["c1", "c3"], filesystem=s3.fs).equals(
                table.select(["c1", "c3"])
            )
        assert trace.count("list") == 1
        assert trace.count("stat") <= 2
        assert read_twice(trace) == 0


class TestChange:
    @pytest.mark.parametrize("how", ["file", "dataset", "planned"])
    def test_a_file_overwritten_in_the_middle_of_a_scan_raises(
        self, wide: Wide, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = wide.put()
        fs = opendalfs_arrow.arrow(wide.place.core)
        # Nothing past the middle is fetched before the reader is near it.
        fs.handler.cache.budget = Budget(0)
        sink = io.BytesIO()
        pq.write_table(
            numbers(200_000, 16, seed=5),
            sink,
            row_group_size=25_000,
            compression="none",
            use_dictionary=False,
        )
        overwritten = threading.Lock()
        fetch = Reader.fetch

        def overwrite_half_way(reader: Reader, part: Range) -> Any:
            half = reader.size // 2
            if half < part.start < reader.size - footer.TAIL and overwritten.acquire(blocking=False):
                wide.place.core.pipe_file(path, sink.getvalue())
            return fetch(reader, part)

        monkeypatch.setattr(Reader, "fetch", overwrite_half_way)
        seen = []
        with pytest.raises(ChangedError):
            seen.extend(_batches(fs, path, how))
        assert overwritten.locked()
        fs.handler.cache.budget = None
        # The dataset's threads may run into the change before it has given anything.
        assert seen or how == "dataset"
        got = pa.Table.from_batches(seen, schema=wide.table.schema)
        assert got.equals(wide.table.slice(0, got.num_rows))


def _batches(fs: Any, path: str, how: str) -> Any:
    if how == "dataset":
        found = ds.dataset(path, filesystem=fs, format=ds.ParquetFileFormat(pre_buffer=False))
        return found.to_batches(batch_readahead=0, fragment_readahead=0)
    if how == "file":
        return pq.ParquetFile(path, filesystem=fs, pre_buffer=False).iter_batches(batch_size=25_000)
    return _planned(fs, path)


def _planned(fs: Any, path: str) -> Any:
    metadata = pq.read_metadata(path, filesystem=fs)
    plan = [c.range for g in range(8) for c in Footer(metadata).chunks(g)]
    scan = Scan(Tail(fs.handler.reader(path)), plan=plan, budget=Budget(0))
    file = pa.PythonFile(RandomFile(scan), mode="r")
    return pq.ParquetFile(file, metadata=metadata, pre_buffer=False).iter_batches(batch_size=25_000)


SCANS = {
    # Arrow takes what it is given at once; this shows that nothing is kept of what it has taken.
    "dataset": "ds.dataset(path, filesystem=fs).to_batches(batch_readahead=2, fragment_readahead=1)",
    # The reader is slow enough for the whole file to be here by its end, if it were asked for.
    "file": "slowly(pq.ParquetFile(path, filesystem=fs, pre_buffer=False).iter_batches(50_000))",
}


class TestMemory:
    @pytest.mark.parametrize("scan", SCANS)
    def test_a_streaming_scan_stays_within_the_budget(
        self, wide: Wide, s3_server: S3Server, scan: str
    ) -> None:
        path = wide.place.path(uuid.uuid4().hex, "large.parquet")
        with pq.ParquetWriter(
            path, wide.table.schema, filesystem=wide.place.fs, compression="none"
        ) as writer:
            for _ in range(8):
                writer.write_table(wide.table, row_group_size=50_000)
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
            path,
            SCANS[scan],
            s3_server.endpoint,
            s3_server.access_key,
            s3_server.secret_key,
        )
        assert result.returncode == 0, result.stderr
        rows, grown, arrow = map(int, result.stdout.split())
        assert rows == 8 * wide.table.num_rows
        # The file has 200 MB.
        assert grown <= (16 << 20) + arrow + (24 << 20)
