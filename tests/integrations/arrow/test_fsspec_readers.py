"""pandas, Dask and pyarrow's fsspec bridge use the scan planner and read-ahead too."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import dask
import dask.dataframe as dd
import fsspec.config
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.integrations.arrow.places import Place, chunk_bytes, data_reads, numbers, read_twice, s3_place
from tests.versions import since

NAMES = ["c1", "c5", "c6", "c11"]


@pytest.fixture(scope="module")
def s3(s3_server: S3Server, far: dict[str, Any]) -> Place:
    return s3_place(s3_server, **far)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return numbers(200_000, 16)


@pytest.fixture
def file(s3: Place, table: pa.Table) -> str:
    """Return a file of 25 MB and 8 row groups in a directory that no cache knows."""
    path = s3.path(uuid.uuid4().hex, "wide.parquet")
    pq.write_table(
        table, path, filesystem=s3.fs, row_group_size=25_000, compression="none", use_dictionary=False
    )
    return path


@pytest.fixture
def configured(far: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the options of the S3 server for all of fsspec, as its config file does."""
    monkeypatch.setitem(fsspec.config.conf, "opendal+s3", far)
    opendalfs.S3FileSystem.clear_instance_cache()
    yield
    opendalfs.S3FileSystem.clear_instance_cache()


def metadata_and_size(s3: Place, file: str) -> tuple[pq.FileMetaData, int]:
    """Return what pyarrow reads from the end of a file, with its size; the planner sees none of it."""
    data = s3.core.cat_file(file)
    return pq.read_metadata(io.BytesIO(data)), len(data)


def assert_planned(trace: opendalfs.Trace, size: int, chosen: int) -> None:
    reads = data_reads(trace, size)
    assert trace.count("read") - len(reads) == 1
    assert sum(r.bytes for r in reads) <= 1.25 * chosen
    assert read_twice(trace) == 0
    # Without a plan each of the 32 chunks costs a round trip.
    assert trace.round_trips <= 16


class TestReaders:
    def test_pandas(self, s3: Place, far: dict[str, Any], file: str, table: pa.Table) -> None:
        metadata, size = metadata_and_size(s3, file)
        with opendalfs.trace() as trace:
            frame = pd.read_parquet(f"opendal+s3://{file}", columns=NAMES, storage_options=far)
        assert frame.equals(table.select(NAMES).to_pandas())
        assert_planned(trace, size, chunk_bytes(metadata, NAMES))

    @since("pyarrow", "26", "18 takes a fsspec+ URL for a local path")
    @pytest.mark.usefixtures("configured")
    def test_a_url_of_pyarrows_bridge(self, s3: Place, file: str, table: pa.Table) -> None:
        metadata, size = metadata_and_size(s3, file)
        with opendalfs.trace() as trace:
            found = pq.read_table(f"fsspec+opendal+s3://{file}", columns=NAMES)
        assert found.equals(table.select(NAMES))
        assert_planned(trace, size, chunk_bytes(metadata, NAMES))

    def test_an_fsspec_filesystem_and_an_open_file(self, s3: Place, file: str, table: pa.Table) -> None:
        metadata, size = metadata_and_size(s3, file)
        with opendalfs.trace() as trace:
            assert pq.read_table(file, columns=NAMES, filesystem=s3.core).equals(table.select(NAMES))
        assert_planned(trace, size, chunk_bytes(metadata, NAMES))
        with s3.core.open(file) as opened, opendalfs.trace() as trace:
            assert pq.ParquetFile(opened).read(NAMES).equals(table.select(NAMES))
        assert read_twice(trace) == 0
        assert trace.round_trips <= 16

    def test_dask_by_either_filesystem(self, s3: Place, far: dict[str, Any]) -> None:
        folder = s3.path(uuid.uuid4().hex)
        whole = numbers(40_000, 4)
        for i in range(4):
            pq.write_table(whole.slice(10_000 * i, 10_000), f"{folder}/{i}.parquet", filesystem=s3.fs)
        expected = whole.select(["c1", "c3"]).to_pandas()
        with dask.config.set(scheduler="threads"), opendalfs.trace() as trace:
            by_arrow = dd.read_parquet(folder, columns=["c1", "c3"], filesystem=s3.fs).compute()
        assert by_arrow.reset_index(drop=True).equals(expected)
        assert trace.count("read") <= 8
        with dask.config.set(scheduler="threads"):
            by_url = dd.read_parquet(
                f"opendal+s3://{folder}", columns=["c1", "c3"], storage_options=far
            ).compute()
        assert by_url.reset_index(drop=True).equals(expected)


class TestHandle:
    """The file object itself: plain reads and pyarrow's share one position."""

    DATA = bytes(range(256)) * 20_000

    @pytest.fixture
    def handle(self, s3: Place) -> Any:
        path = s3.path("handle.bin")
        s3.core.pipe_file(path, self.DATA)
        with s3.core.open(path) as handle:
            yield handle

    def test_reads_and_buffers_go_on_from_each_other(self, handle: Any) -> None:
        assert handle.read(10) == self.DATA[:10]
        assert bytes(handle.read_buffer(100)) == self.DATA[10:110]
        assert handle.tell() == 110
        handle.seek(-7, 2)
        assert bytes(handle.read_buffer()) == self.DATA[-7:]
        assert bytes(handle.read_buffer(5)) == b""
        handle.seek(3)
        assert bytes(handle.read_buffer(-1)) == self.DATA[3:]

    def test_a_closed_file_gives_nothing(self, handle: Any) -> None:
        handle.read_buffer(1)
        handle.close()
        with pytest.raises(ValueError, match="closed"):
            handle.read_buffer(1)

    def test_a_file_closed_before_it_was_read_gives_nothing(self, handle: Any) -> None:
        handle.close()
        with pytest.raises(ValueError, match="closed"):
            handle.read_buffer(1)

    def test_the_core_knows_no_engine_until_one_asks(self) -> None:
        code = (
            "import opendalfs, sys; fs = opendalfs.filesystem('memory'); fs.pipe('a', b'1');"
            "f = fs.open('a'); f.read(); f.close();"
            "assert not {'pyarrow', 'pandas', 'opendalfs_arrow'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def lines(rows: int) -> bytes:
    numbers = np.arange(rows)
    sink = pa.BufferOutputStream()
    table = pa.table({"a": numbers, "b": numbers * 7})
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False))
    return sink.getvalue().to_pybytes()


TEXT = lines(2_000_000)


@pytest.fixture(scope="module")
def text(s3: Place) -> str:
    path = s3.path("stream", "numbers.csv")
    s3.core.pipe_file(path, TEXT)
    return path


@pytest.fixture(scope="module")
def blob(s3: Place) -> str:
    path = s3.path("stream", "blob")
    s3.core.pipe_file(path, TEXT)
    return path


class TestStreams:
    def assert_ahead(self, trace: opendalfs.Trace) -> None:
        assert read_twice(trace) <= 1 << 18
        assert trace.bytes <= len(TEXT) + (1 << 18)
        assert trace.in_flight >= 3
        assert trace.count("read") <= len(TEXT) // (4 << 20) + 6

    def test_csv_reads_ahead(self, s3: Place, text: str) -> None:
        with opendalfs.trace() as trace, s3.fs.open_input_stream(text) as stream:
            found = pyarrow.csv.read_csv(stream, pyarrow.csv.ReadOptions(column_names=["a", "b"]))
        assert found.num_rows == 2_000_000
        self.assert_ahead(trace)

    def test_a_csv_dataset_reads_ahead(self, s3: Place, text: str) -> None:
        form = ds.CsvFileFormat(read_options=pyarrow.csv.ReadOptions(column_names=["a", "b"]))
        found = ds.dataset(text, format=form, filesystem=s3.fs)
        with opendalfs.trace() as trace:
            assert found.count_rows() == 2_000_000
        self.assert_ahead(trace)

    def test_copying_files_reads_ahead(self, s3: Place, text: str, blob: str, tmp_path: Any) -> None:
        for path in (text, blob):
            with opendalfs.trace() as trace:
                pafs.copy_files(path, str(tmp_path / "copy"), s3.fs, pafs.LocalFileSystem())
            assert (tmp_path / "copy").read_bytes() == TEXT
            self.assert_ahead(trace)

    def test_fsspecs_files_read_ahead_under_pyarrow(self, s3: Place, text: str, blob: str) -> None:
        for path in (text, blob):
            with opendalfs.trace() as trace, s3.core.open(path) as file:
                stream = pa.PythonFile(file, mode="r")
                read = 0
                while data := stream.read_buffer(1 << 20):
                    assert data.to_pybytes() == TEXT[read : read + (1 << 20)]
                    read += len(data)
            assert read == len(TEXT)
            self.assert_ahead(trace)

    def test_a_stream_that_is_cut_short_fetches_little_more_than_it_read(self, s3: Place, text: str) -> None:
        with opendalfs.trace() as trace, s3.fs.open_input_stream(text) as stream:
            assert stream.read(1_000) == TEXT[:1_000]
        assert trace.bytes <= 4 << 20

    def test_compressed_streams_come_back(self, s3: Place) -> None:
        path = s3.path("stream", "numbers.csv.gz")
        s3.core.pipe_file(path, gzip.compress(TEXT[:1_000_000]))
        with s3.fs.open_input_stream(path, compression="gzip") as stream:
            assert stream.read() == TEXT[:1_000_000]
