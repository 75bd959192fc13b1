"""The operations that are ended in the middle. Child processes run them, and the tests repeat them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import opendalfs

ROWS = 1_400_000
"""Eight bytes each: three parts of an upload, and of a read."""

CHUNK = 5 << 20
"""Bytes of a part of an upload and of a read."""

FOLDER = "target"
SOURCE = "source"


def content(seed: int) -> bytes:
    """Return the bytes of a file."""
    return random.Random(seed).randbytes(8 * ROWS)


def table(seed: int) -> pa.Table:
    """Return the rows of a file."""
    numbers = pa.Array.from_buffers(pa.int64(), ROWS, [None, pa.py_buffer(content(seed))])
    return pa.table({"x": numbers})


class Files:
    """The filesystem of a test, and the names of its files.

    Parameters
    ----------
    service : str
        ``"s3"`` or ``"fs"``.
    options : dict
        Options of the filesystem.
    root : str
        A directory of the service that is the test's own.
    local : str
        A directory of this machine, for uploads and downloads.
    """

    def __init__(self, service: str, options: dict[str, Any], root: str, local: str) -> None:
        self.service = service
        self.options = {**options, "read_chunk": CHUNK, "write_chunk": CHUNK, "io_timeout": 60, "timeout": 60}
        self.root = root
        self.local = Path(local)
        self.fs = opendalfs.filesystem(service, **self.options)

    @property
    def target(self) -> str:
        """Path of the file that is written."""
        return f"{self.root}/{FOLDER}/file.parquet"

    @property
    def source(self) -> str:
        """Path of the file that is read; it is no target."""
        return f"{self.root}/{SOURCE}/file.parquet"

    @property
    def downloaded(self) -> Path:
        """Where `get` puts its file."""
        return self.local / FOLDER / "file.parquet"

    @property
    def uploaded(self) -> Path:
        """The local file that `put` reads."""
        return self.local / SOURCE / "file.parquet"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def rows_digest(rows: pa.Table) -> str:
    """Return the checksum of the rows, whatever file format and chunks they had."""
    return digest(b"".join(chunk.to_numpy().tobytes() for chunk in rows["x"].chunks))


# Writes. Each replaces the target with the rows or bytes of `NEW`.

OLD, NEW = 1, 2


def pipe(files: Files) -> None:
    files.fs.pipe_file(files.target, content(NEW)[: CHUNK // 2])


def put(files: Files) -> None:
    files.fs.put_file(str(files.uploaded), files.target)


def open_wb(files: Files) -> None:
    data = content(NEW)
    with files.fs.open(files.target, "wb") as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])


def write_table(files: Files) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        table(NEW),
        files.target,
        filesystem=opendalfs.arrow(files.fs),
        compression="none",
        use_dictionary=False,
    )


def duckdb_copy(files: Files) -> None:
    import duckdb

    import opendalfs_duckdb

    con = duckdb.connect()
    opendalfs_duckdb.register(con, files.fs)
    con.register("new", table(NEW))
    url = files.fs.unstrip_protocol(files.target)
    con.execute(f"COPY new TO '{url}' (FORMAT parquet, COMPRESSION uncompressed)")


def polars_sink(files: Files) -> None:
    import polars as pl

    import opendalfs_polars

    frame = pl.from_arrow(table(NEW))
    assert isinstance(frame, pl.DataFrame)
    opendalfs_polars.sink_parquet(
        frame.lazy(),
        files.fs.unstrip_protocol(files.target),
        storage_options=files.options,
        backend="gateway",
        compression="uncompressed",
    )


# Reads. Each returns a checksum of what it has read.


def get(files: Files) -> str:
    files.fs.get_file(files.source, str(files.downloaded))
    return digest(files.downloaded.read_bytes())


def cat(files: Files) -> str:
    return digest(files.fs.cat_file(files.source))


def dataset_scan(files: Files) -> str:
    import pyarrow.dataset as ds

    data = ds.dataset(files.source, filesystem=opendalfs.arrow(files.fs))
    return rows_digest(pa.Table.from_batches(data.to_batches()))


def duckdb_scan(files: Files) -> str:
    import duckdb

    import opendalfs_duckdb

    con = duckdb.connect()
    opendalfs_duckdb.register(con, files.fs, cache=False)
    return rows_digest(con.sql(f"FROM '{files.fs.unstrip_protocol(files.source)}'").to_arrow_table())


def polars_scan(files: Files) -> str:
    import opendalfs_polars

    url = files.fs.unstrip_protocol(files.source)
    frame = opendalfs_polars.scan_parquet(url, storage_options=files.options, backend="gateway")
    return rows_digest(frame.collect().to_arrow())


def _named(*functions: Callable[[Files], Any]) -> dict[str, Callable[[Files], Any]]:
    return {function.__name__: function for function in functions}


WRITES = _named(pipe, put, open_wb, write_table, duckdb_copy, polars_sink)
READS = _named(get, cat, dataset_scan, duckdb_scan, polars_scan)
OPERATIONS = {**WRITES, **READS}
