"""Libraries that write through a file object and fail midway publish nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

import opendalfs
from tests.write.conftest import dropped_files_may_warn
from tests.write.places import FILES, Boom, Place, binary, put, text

# Other libraries


class Unprintable:
    def __str__(self) -> str:
        raise Boom


def pandas_csv(place: Place, fail: bool) -> None:
    rows = [1] * 50_000 + ([Unprintable()] if fail else [])
    frame = pd.DataFrame({"a": rows}, dtype=object)
    frame.to_csv(place.url, storage_options=place.options, chunksize=1000)


def pandas_compressed_csv(place: Place, fail: bool) -> None:
    rows = [1] * 50_000 + ([Unprintable()] if fail else [])
    frame = pd.DataFrame({"a": rows}, dtype=object)
    frame.to_csv(place.url, storage_options=place.options, chunksize=1000, compression="gzip")


def arrow_batches(fail: bool) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"x": [1, 2, 3]})
    if fail:
        raise Boom


def parquet_writer(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with pq.ParquetWriter(place.path, schema, filesystem=opendalfs.arrow(place.fs)) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def parquet_writer_of_a_file(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pq.ParquetWriter(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def arrow_csv(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pyarrow.csv.CSVWriter(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def arrow_ipc(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pa.ipc.new_file(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def json_dump(place: Place, fail: bool) -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: object) -> str:
            if fail:
                raise Boom
            return "x"

    with text(place) as file:
        json.dump({"a": ["x"] * 10_000, "b": object()}, file, cls=Encoder)


def numpy_savez(place: Place, fail: bool) -> None:
    class Odd:
        def __reduce__(self) -> Any:
            if fail:
                raise Boom
            return (Odd, ())

    with binary(place) as file:
        np.savez(file, a=np.zeros(100), b=np.array([int] if not fail else [Odd()], dtype=object))


def numpy_savetxt(place: Place, fail: bool) -> None:
    """It tries to write text, and writes bytes when that is a TypeError."""
    with binary(place) as file:
        np.savetxt(file, np.zeros(10))
        if fail:
            raise Boom


def image(place: Place, fail: bool) -> None:
    with binary(place) as file:
        Image.new("RGB", (10, 10)).save(file, "png")
        if fail:
            raise Boom


def zip_file(place: Place, fail: bool) -> None:
    with binary(place) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"x")
        if fail:
            raise Boom


LIBRARIES = [
    pandas_csv,
    pandas_compressed_csv,
    parquet_writer,
    parquet_writer_of_a_file,
    arrow_csv,
    arrow_ipc,
    json_dump,
    numpy_savez,
    numpy_savetxt,
    image,
    zip_file,
]


@pytest.mark.parametrize("write", LIBRARIES)
def test_a_library_that_fails_in_mid_write_publishes_nothing(
    memory: Place, write: Callable[[Place, bool], None]
) -> None:
    with pytest.raises(Boom) as info:
        write(memory, True)
    assert type(info.value) is Boom
    dropped_files_may_warn()
    assert not memory.published
    write(memory, False)
    assert memory.published


def test_a_file_that_a_finalizer_closes_is_not_published_and_logged(
    memory: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class Owner:
        def __init__(self) -> None:
            self.file = binary(memory)
            self.file.write(b"half")

        def __del__(self) -> None:
            self.file.close()

    owners = [Owner()]
    owners.clear()
    assert "was not published: a finalizer closed it" in caplog.text
    assert not memory.published


@pytest.mark.parametrize("opening", FILES)
def test_a_file_that_a_finalizer_opens_and_closes_is_published(
    memory: Place, opening: Callable[[Place], Any]
) -> None:
    class Owner:
        def __del__(self) -> None:
            with opening(memory) as file:
                put(file)

    owners = [Owner()]
    owners.clear()
    assert memory.published
