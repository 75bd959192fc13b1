"""Operations of PyArrow, DuckDB and Polars."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import opendalfs
import opendalfs_polars as op

from .operation import MANY, Objects, Operation, Place

__all__ = ["ENGINES"]

ROWS = 150_000
GROUP = 50_000
LONG_ROWS = 360_000


def _table(rows: int, seed: int) -> pa.Table:
    """Return a table that does not compress."""
    random = np.random.default_rng(seed)
    return pa.table({name: random.integers(0, 1 << 62, rows) for name in ("i", "v")})


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=GROUP)
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa_csv.write_csv(table, sink)
    return sink.getvalue()


FILE = {"t.parquet": _parquet(_table(ROWS, 1))}
FILES = {f"d/{number}.parquet": _parquet(_table(2_000, 10 + number)) for number in range(3)}
CSV = {f"c/{number}.csv": _csv(_table(2_000, 20 + number)) for number in range(3)}
OLD_ROWS = _table(10, 3)
OLD = {"w.parquet": _parquet(OLD_ROWS)}
OLD_CSV = {"w.csv": _csv(OLD_ROWS)}
NEW = _table(2_000, 4)
LONG = _table(LONG_ROWS, 5)


# ------------------------------------------------------------------ reads


@cache
def _decode(name: str, data: bytes) -> pa.Table:
    """Return the rows of an object; none of one that the proxy has overwritten."""
    if data.startswith(b"!"):
        return _table(0, 0)
    if name.endswith(".csv"):
        return pa_csv.read_csv(io.BytesIO(data))
    return pq.read_table(io.BytesIO(data))


def _rows(objects: Objects) -> Any:
    return _sorted(pa.concat_tables([_decode(name, data) for name, data in sorted(objects.items())]))


def _sorted(table: pa.Table) -> Any:
    """Return rows that can be compared, in an order of their own: engines do not promise one."""
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _read_table(place: Place) -> Any:
    return _sorted(pq.read_table(place.path("t.parquet"), filesystem=opendalfs.arrow(place.fs)))


def _dataset(place: Place) -> Any:
    found = ds.dataset(place.path("d"), filesystem=opendalfs.arrow(place.fs), format="parquet")
    return _sorted(found.to_table())


def _connection(place: Place) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"threads": 2})
    con.register_filesystem(opendalfs.duckdb(place.fs))
    return con


def _url(place: Place, name: str) -> str:
    return f"opendal+s3://{place.path(name)}"


def _select(function: str, name: str) -> Callable[[Place], Any]:
    def run(place: Place) -> Any:
        with _connection(place) as con:
            return sorted(con.execute(f"SELECT i, v FROM {function}('{_url(place, name)}')").fetchall())

    return run


def _scan(scan: Callable[..., pl.LazyFrame], name: str) -> Callable[[Place], Any]:
    def run(place: Place) -> Any:
        found = scan(_url(place, name), storage_options=place.options, backend="gateway").collect()
        return sorted(found.select("i", "v").rows())

    return run


# ------------------------------------------------------------------ writes


def _write_table(place: Place) -> None:
    pq.write_table(LONG, place.path("w.parquet"), filesystem=opendalfs.arrow(place.fs))


def _write_dataset(place: Place) -> None:
    ds.write_dataset(
        NEW,
        place.path("out"),
        filesystem=opendalfs.arrow(place.fs),
        format="parquet",
        max_rows_per_file=500,
        max_rows_per_group=500,
        existing_data_behavior="overwrite_or_ignore",
    )


def _copy(rows: pa.Table, name: str) -> Callable[[Place], None]:
    def run(place: Place) -> None:
        with _connection(place) as con:
            con.register("rows", rows)
            con.execute(f"COPY (SELECT * FROM rows) TO '{_url(place, name)}'")

    return run


def _sink(sink: Callable[..., Any], rows: pa.Table, name: str) -> Callable[[Place], None]:
    def run(place: Place) -> None:
        frame = pl.LazyFrame(pl.from_arrow(rows))
        sink(frame, _url(place, name), storage_options=place.options, backend="gateway")

    return run


def _local(name: str, write: Callable[[Path], Any]) -> Objects:
    """Return the objects that an engine writes, from what it writes to local files."""
    with TemporaryDirectory() as directory:
        write(Path(directory) / name)
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in Path(directory).rglob("*")
            if path.is_file()
        }


def _copy_locally(rows: pa.Table) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        with duckdb.connect(config={"threads": 2}) as con:
            con.register("rows", rows)
            con.execute(f"COPY (SELECT * FROM rows) TO '{path}'")

    return write


def _write_dataset_locally(path: Path) -> None:
    ds.write_dataset(NEW, path, format="parquet", max_rows_per_file=500, max_rows_per_group=500)


PATIENT = {"timeout": 8.0, "io_timeout": 8.0}
"""For the parts of an upload on a loaded machine."""
UPLOAD = {"create": 1, "part": MANY, "complete": 1}
ARROW = (OSError, pa.ArrowException)  # engines drop the errno of our errors
DUCKDB = (OSError, duckdb.Error)
POLARS = (
    OSError,
    pl.exceptions.PolarsError,
)

ENGINES = [
    Operation("pq.read_table", {"head": 1, "get": MANY}, _read_table, _rows, FILE, calls=4, errors=ARROW),
    Operation(
        "pyarrow.dataset",
        {"head": 1, "list": 1, "get": MANY},
        _dataset,
        _rows,
        FILES,
        calls=8,
        # The footers may arrive slowly but in time, before the columns do not.
        fails=2,
        errors=ARROW,
    ),
    Operation(
        "pq.write_table",
        UPLOAD,
        _write_table,
        before=OLD,
        after=_local("w.parquet", lambda path: pq.write_table(LONG, path)),
        options=PATIENT,
        calls=4,
        errors=ARROW,
    ),
    Operation(
        "pyarrow.dataset.write_dataset",
        {"list": 1, "put": MANY},
        _write_dataset,
        before={"out/part-0.parquet": _parquet(OLD_ROWS)},
        after=_local("out", _write_dataset_locally),
        calls=8,
        errors=ARROW,
    ),
    Operation(
        "DuckDB, a select from Parquet",
        {"head": 1, "get": MANY},
        _select("read_parquet", "t.parquet"),
        _rows,
        FILE,
        calls=8,
        errors=DUCKDB,
    ),
    Operation(
        "DuckDB, a select from CSV",
        {"list": 1, "get": MANY},
        _select("read_csv", "c/*.csv"),
        _rows,
        CSV,
        calls=8,
        errors=DUCKDB,
    ),
    Operation(
        "DuckDB, COPY to Parquet",
        {"head": MANY, "list": 1, **UPLOAD, "copy": 1, "delete": 1},
        _copy(LONG, "w.parquet"),
        before=OLD,
        after=_local("w.parquet", _copy_locally(LONG)),
        staged=("tmp_w.parquet",),
        options=PATIENT,
        calls=6,
        fails=3,
        errors=DUCKDB,
    ),
    Operation(
        "DuckDB, COPY to CSV",
        {"head": MANY, "list": 1, "put": 1, "copy": 1, "delete": 1},
        _copy(NEW, "w.csv"),
        before=OLD_CSV,
        after=_local("w.csv", _copy_locally(NEW)),
        staged=("tmp_w.csv",),
        calls=4,
        fails=3,
        errors=DUCKDB,
    ),
    Operation(
        "Polars, scan_parquet, gateway",
        {"list": 1, "get": MANY},
        _scan(op.scan_parquet, "d/*.parquet"),
        _rows,
        FILES,
        calls=8,
        # Sometimes a second read fails in its turn before the query does.
        fails=2,
        errors=POLARS,
    ),
    Operation(
        "Polars, scan_csv, gateway",
        {"list": 1, "head": MANY, "get": MANY},
        _scan(op.scan_csv, "c/*.csv"),
        _rows,
        CSV,
        calls=8,
        # Polars opens more files before it looks at the errors of the first ones.
        fails=3,
        errors=POLARS,
    ),
    Operation(
        "Polars, sink_parquet, gateway",
        UPLOAD,
        _sink(op.sink_parquet, LONG, "w.parquet"),
        before=OLD,
        after=_local("w.parquet", lambda path: pl.LazyFrame(pl.from_arrow(LONG)).sink_parquet(path)),
        options=PATIENT,
        calls=8,
        errors=POLARS,
    ),
    Operation(
        "Polars, sink_csv, gateway",
        {"put": 1},
        _sink(op.sink_csv, NEW, "w.csv"),
        before=OLD_CSV,
        after=_local("w.csv", lambda path: pl.LazyFrame(pl.from_arrow(NEW)).sink_csv(path)),
        calls=4,
        errors=POLARS,
    ),
]
