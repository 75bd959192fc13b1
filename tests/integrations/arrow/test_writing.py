"""Writes through pyarrow: published whole or not at all, in few large requests."""

from __future__ import annotations

import gc
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector

import opendalfs
from opendalfs.testing import S3Server
from tests.integrations.arrow.places import Place, numbers, run_python, s3_place

TABLE = numbers(5_000)
OLD = numbers(10, seed=9)


class Stop(Exception):
    """What the tests throw."""


@pytest.fixture(params=["memory", "fs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return Place("memory", opendalfs.arrow("memory"), uuid.uuid4().hex)
    if request.param == "fs":
        return Place("fs", opendalfs.arrow("fs"), str(tmp_path))
    return s3_place(request.getfixturevalue("s3_server"))


def collected() -> None:
    """Collect what was dropped; a file that was never closed warns about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def files(place: Place) -> list[str]:
    found = place.fs.get_file_info(FileSelector(place.root, recursive=True, allow_not_found=True))
    return [i.path.removeprefix(place.root + "/") for i in found if i.is_file]


def failing_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from table.to_batches(max_chunksize=1_000)
    raise Stop


def write_half(place: Place, name: str) -> None:
    with pq.ParquetWriter(place.path(name), TABLE.schema, filesystem=place.fs) as writer:
        writer.write_table(TABLE)
        raise Stop


def write_half_csv(place: Place, name: str) -> None:
    with (
        place.fs.open_output_stream(place.path(name)) as out,
        pyarrow.csv.CSVWriter(out, TABLE.schema) as writer,
    ):
        writer.write_table(TABLE)
        raise Stop


def stream_half(place: Place, name: str, *pieces: bytes) -> None:
    with place.fs.open_output_stream(place.path(name)) as out:
        for piece in pieces:
            out.write(piece)
        raise Stop


class TestFailures:
    def test_an_exception_within_a_parquet_writer_publishes_nothing(self, place: Place) -> None:
        with pytest.raises(Stop):
            write_half(place, "w.parquet")
        collected()
        assert files(place) == []

    def test_an_object_survives_an_overwrite_that_fails(self, place: Place) -> None:
        pq.write_table(OLD, place.path("w.parquet"), filesystem=place.fs)
        with pytest.raises(Stop):
            write_half(place, "w.parquet")
        collected()
        assert pq.read_table(place.path("w.parquet"), filesystem=place.fs).equals(OLD)

    def test_an_exception_within_a_stream_publishes_nothing(self, place: Place) -> None:
        with pytest.raises(Stop):
            stream_half(place, "s.bin", b"half")
        with pytest.raises(Stop):
            write_half_csv(place, "s.csv")
        assert files(place) == []

    def test_a_writer_that_an_exception_left_open_publishes_nothing(self, place: Place) -> None:
        def job() -> None:
            writer = pq.ParquetWriter(place.path("w.parquet"), TABLE.schema, filesystem=place.fs)
            writer.write_table(TABLE)
            raise Stop

        with pytest.raises(Stop):
            job()
        collected()
        assert files(place) == []

    def test_a_writer_that_nobody_closed_publishes_nothing(self, place: Place) -> None:
        writer = pq.ParquetWriter(place.path("w.parquet"), TABLE.schema, filesystem=place.fs)
        writer.write_table(TABLE)
        del writer
        collected()
        assert files(place) == []

    @pytest.mark.parametrize("options", [{"buffer_size": 100}, {"compression": "gzip"}])
    def test_a_stream_with_a_buffer_that_nobody_closed_is_closed_by_arrow(self, options: Any) -> None:
        # A fact of pyarrow that the documentation of open_output_stream states.
        place = Place("memory", opendalfs.arrow("memory"), uuid.uuid4().hex)
        out = place.fs.open_output_stream(place.path("a"), **options)
        out.write(b"half")
        assert files(place) == []
        del out
        collected()
        assert files(place) == ["a"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_source_that_fails_publishes_no_part_of_a_dataset(self, place: Place) -> None:
        with pytest.raises(Stop):
            ds.write_dataset(
                failing_batches(TABLE),
                place.path("d"),
                schema=TABLE.schema,
                format="parquet",
                filesystem=place.fs,
            )
        collected()
        assert files(place) == []

    def test_a_write_within_an_except_block_is_published(self, place: Place) -> None:
        try:
            raise Stop
        except Stop:
            pq.write_table(OLD, place.path("kept.parquet"), filesystem=place.fs)
        assert pq.read_table(place.path("kept.parquet"), filesystem=place.fs).equals(OLD)

    def test_a_failed_upload_of_many_parts_shows_nothing(self, s3: Place) -> None:
        path = s3.path("large.bin")
        s3.core.pipe_file(path, b"old")
        with pytest.raises(Stop):
            stream_half(s3, "large.bin", *[bytes(1 << 20)] * 40)
        assert s3.core.cat_file(path) == b"old"

    @pytest.mark.parametrize("megabytes", [0, 20])
    def test_a_writer_left_open_at_exit_publishes_nothing(
        self, s3: Place, s3_server: S3Server, megabytes: int
    ) -> None:
        s3.core.pipe_file(s3.path("w.parquet"), b"old")
        result = run_python(
            """
            import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq, opendalfs
            path, endpoint, key, secret, megabytes = sys.argv[1:]
            fs = opendalfs.arrow("s3", endpoint=endpoint, region="us-east-1", key=key, secret=secret)
            table = pa.table({"x": np.random.default_rng(0).random(1000 + int(megabytes) * 131072)})
            writer = pq.ParquetWriter(path, table.schema, filesystem=fs)
            writer.write_table(table)
            """,
            s3.path("w.parquet"),
            s3_server.endpoint,
            s3_server.access_key,
            s3_server.secret_key,
            str(megabytes),
        )
        assert result.returncode == 0, result.stderr
        assert s3.core.cat_file(s3.path("w.parquet")) == b"old"


class TestRequests:
    def test_tiny_writes_go_up_in_large_parts(self, s3: Place) -> None:
        data = bytes(range(256)) * 100
        with opendalfs.trace() as trace, s3.fs.open_output_stream(s3.path("tiny.bin")) as out:
            for _ in range(1_000):
                out.write(data)
        # 25.6 MB in parts of 8 MiB: begin, four parts, complete.
        assert trace.requests <= 6
        assert s3.core.cat_file(s3.path("tiny.bin")) == data * 1_000

    def test_a_small_table_is_one_request(self, s3: Place) -> None:
        with opendalfs.trace() as trace:
            pq.write_table(TABLE, s3.path("small.parquet"), filesystem=s3.fs)
        assert [(r.operation, r.requests) for r in trace.records] == [("write", 1)]

    def test_what_was_written_is_read_from_the_server_not_from_memory(self, s3: Place) -> None:
        path = s3.path("t.parquet")
        for seed in range(3):
            table = numbers(1_000, seed=seed)
            pq.write_table(table, path, filesystem=s3.fs)
            assert pq.read_table(path, filesystem=s3.fs).equals(table)
            assert pq.ParquetFile(path, filesystem=s3.fs).read().equals(table)
