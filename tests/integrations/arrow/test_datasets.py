"""Tables and datasets of every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tests.integrations.arrow.places import TABLE, Place


class TestTables:
    def test_tables_come_back(self, place: Place) -> None:
        pq.write_table(TABLE, place.path("t.parquet"), filesystem=place.fs)
        assert pq.read_table(place.path("t.parquet"), filesystem=place.fs).equals(TABLE)
        assert pq.read_schema(place.path("t.parquet"), filesystem=place.fs).equals(TABLE.schema)

    def test_metadata_files_come_back(self, place: Place) -> None:
        pq.write_metadata(TABLE.schema, place.path("_common_metadata"), filesystem=place.fs)
        found = pq.read_metadata(place.path("_common_metadata"), filesystem=place.fs)
        assert found.schema.to_arrow_schema().equals(TABLE.schema)

    @pytest.mark.parametrize("form", ["parquet", "csv", "ipc"])
    def test_datasets_come_back(self, place: Place, form: str) -> None:
        ds.write_dataset(
            TABLE,
            place.path(form),
            format=form,
            filesystem=place.fs,
            max_rows_per_file=900,
            max_rows_per_group=900,
        )
        found = ds.dataset(place.path(form), format=form, filesystem=place.fs)
        assert len(found.files) == 3
        assert found.count_rows() == TABLE.num_rows
        assert found.to_table().sort_by("id").equals(TABLE)

    def test_partitions_are_written_found_and_pruned(self, place: Place) -> None:
        table = TABLE.append_column("year", pa.array([2020 + i % 3 for i in range(TABLE.num_rows)]))
        part = ds.partitioning(pa.schema([("year", pa.int64())]), flavor="hive")
        ds.write_dataset(table, place.path("h"), format="parquet", partitioning=part, filesystem=place.fs)
        found = ds.dataset(place.path("h"), partitioning="hive", filesystem=place.fs)
        assert sorted(f.removeprefix(place.root) for f in found.files) == [
            f"/h/year={y}/part-0.parquet" for y in (2020, 2021, 2022)
        ]
        only = found.to_table(filter=ds.field("year") == 2021)
        assert only.num_rows == sum(1 for i in range(TABLE.num_rows) if i % 3 == 1)

    def test_existing_data_behavior_is_honoured(self, place: Place) -> None:
        def write(table: pa.Table, **kwargs: Any) -> int:
            ds.write_dataset(table, place.path("w"), format="parquet", filesystem=place.fs, **kwargs)
            return int(ds.dataset(place.path("w"), filesystem=place.fs).count_rows())

        rows = TABLE.num_rows
        assert write(TABLE) == rows
        with pytest.raises(pa.ArrowInvalid, match="not empty"):
            write(TABLE)
        more = {"existing_data_behavior": "overwrite_or_ignore", "basename_template": "more-{i}.parquet"}
        assert write(TABLE, **more) == 2 * rows
        assert write(TABLE.slice(0, 10), existing_data_behavior="delete_matching") == 10

    def test_copy_files_copies_a_tree_in_and_out(self, place: Place, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        (source / "sub").mkdir(parents=True)
        (source / "a.bin").write_bytes(b"a" * 3_000_000)
        (source / "sub" / "b.bin").write_bytes(b"b")
        local = pafs.LocalFileSystem()
        pafs.copy_files(str(source), place.path("in"), local, place.fs)
        pafs.copy_files(place.path("in"), place.path("within"), place.fs, place.fs)
        pafs.copy_files(place.path("within"), str(tmp_path / "out"), place.fs, local)
        assert (tmp_path / "out" / "a.bin").read_bytes() == b"a" * 3_000_000
        assert (tmp_path / "out" / "sub" / "b.bin").read_bytes() == b"b"
