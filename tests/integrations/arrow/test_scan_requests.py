"""The number of requests that a scan of Parquet files costs."""

from __future__ import annotations

import uuid
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_arrow
from opendalfs.testing import S3Server
from opendalfs_arrow.footer import Footer
from tests.integrations.arrow.parquet import Wide
from tests.integrations.arrow.places import (
    LOOKS,
    Place,
    chunk_bytes,
    data_reads,
    numbers,
    read_twice,
    s3_place,
)


@pytest.fixture(scope="module")
def s3(s3_server: S3Server, far: dict[str, Any]) -> Place:
    return s3_place(s3_server, **far)


class TestRequests:
    def test_a_plan_costs_a_stat_a_tail_and_the_chunks(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = opendalfs_arrow.read_table(path, columns=wide.NAMES, filesystem=wide.place.fs)
        assert found.equals(wide.table.select(wide.NAMES))
        assert trace.count("stat") == LOOKS
        reads = data_reads(trace, len(wide.data))
        assert trace.count("read") == len(reads) + 1
        # c5 and c6 lie side by side.
        assert len(reads) == 3 * wide.metadata.num_row_groups
        assert sum(r.bytes for r in reads) <= 1.05 * wide.chosen
        assert read_twice(trace) == 0
        # One after another it would be 26.
        assert trace.round_trips <= 12

    @pytest.mark.parametrize(
        ("options", "requests"), [({}, 3), ({"max_gap": 700_000}, 2), ({"read_chunk": 300_000}, 7)]
    )
    def test_the_options_of_the_filesystem_set_the_sizes_of_requests(
        self,
        wide: Wide,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
        requests: int,
    ) -> None:
        # Half of `read_chunk` if the server is not near, as this one is on a busy machine.
        monkeypatch.setattr("opendalfs.read.plan.is_near", lambda _: False)
        path, fs = wide.put(), opendalfs.arrow("s3", **s3_server.options, **options)
        with opendalfs.trace() as trace:
            found = opendalfs_arrow.read_table(path, columns=wide.NAMES, filesystem=fs)
        assert found.equals(wide.table.select(wide.NAMES))
        # Each row group has chunks of 200 KB: c1, then c5 and c6 600 KB behind it, then c11 800 KB behind.
        assert len(data_reads(trace, len(wide.data))) == requests * wide.metadata.num_row_groups

    def test_inference_costs_a_stat_a_tail_and_little_more_than_the_chunks(self, wide: Wide) -> None:
        path = wide.put()
        with opendalfs.trace() as trace:
            found = pq.read_table(path, columns=wide.NAMES, filesystem=wide.place.fs)
        assert found.equals(wide.table.select(wide.NAMES))
        assert trace.count("stat") == LOOKS
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
