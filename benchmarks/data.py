"""The data: TPC-H tables by ``tpchgen-cli`` and files made of them, created once and cached.

At scale 2 with row groups of 64 MB before compression, lineitem is one file of 323 MB with 13 row
groups of 16 columns, and orders one of 80 MB with 4.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from opendalfs.testing import tpch_tables

TABLES = ("lineitem", "orders")
PARTS = 20
GROWTH = 1_000
_CACHE = Path(__file__).parents[1] / ".cache"
_GROWTH_ROWS = 2_000
_CSV_ROWS = 150_000


def tpch(scale: float, row_group: str = "64MB") -> dict[str, Path]:
    """Create lineitem and orders of TPC-H, unless they are cached.

    Parameters
    ----------
    scale : float
        Scale factor; 1 is about 6 million rows of lineitem.
    row_group : str
        Size of a row group before compression.

    Returns
    -------
    dict
        The Parquet file of each table.
    """
    directory = _kept(
        f"tpch-{scale:g}-{row_group}",
        lambda fresh: tpch_tables(fresh, scale, tables=TABLES, row_group=row_group),
    )
    return {table: directory / f"{table}.parquet" for table in TABLES}


def parts(scale: float) -> Path:
    """Create lineitem as a directory of 20 files with several row groups each.

    Parameters
    ----------
    scale : float
        Scale factor of all together.

    Returns
    -------
    Path
        The directory.
    """

    def make(fresh: Path) -> None:
        made = tpch_tables(fresh, scale, tables=["lineitem"], row_group="16MB", parts=PARTS)["lineitem"]
        for file in made.iterdir():
            file.rename(fresh / f"part-{int(file.stem.rpartition('.')[2]):02}.parquet")
        made.rmdir()

    return _kept(f"parts-{scale:g}", make)


def hive(scale: float) -> Path:
    """Create orders as a hive tree, ``o_year=1995/...``, with several files per year.

    Parameters
    ----------
    scale : float
        Scale factor.

    Returns
    -------
    Path
        The directory.
    """

    def make(fresh: Path) -> None:
        orders = _orders(scale)
        orders = orders.append_column("o_year", pc.year(orders["o_orderdate"]).cast(pa.int32()))
        rows = max(1_000, orders.num_rows // 21)
        schema = pa.schema([("o_year", pa.int32())])
        ds.write_dataset(
            orders,
            fresh,
            format="parquet",
            partitioning=ds.partitioning(schema, flavor="hive"),
            max_rows_per_file=rows,
            max_rows_per_group=rows,
        )

    return _kept(f"hive-{scale:g}", make)


def csv(scale: float) -> Path:
    """Create a ``csv.gz`` with a part of orders.

    Parameters
    ----------
    scale : float
        Scale factor.

    Returns
    -------
    Path
        The file.
    """

    def make(fresh: Path) -> None:
        rows = int(_CSV_ROWS * max(scale, 0.1))
        plain = pa.BufferOutputStream()
        pa.csv.write_csv(_orders(scale).slice(0, rows), plain)
        with gzip.open(fresh / "orders.csv.gz", "wb", compresslevel=1) as file:
            file.write(plain.getvalue())

    return _kept(f"csv-{scale:g}", make) / "orders.csv.gz"


def small(count: int, size: int) -> list[Path]:
    """Create small files.

    Parameters
    ----------
    count : int
        How many.
    size : int
        Bytes of each.

    Returns
    -------
    list of Path
        The files.
    """

    def make(fresh: Path) -> None:
        for i in range(count):
            (fresh / f"{i:04}").write_bytes(bytes([i % 251]) * size)

    return sorted(_kept(f"small-{count}-{size}", make).iterdir())


def growth() -> Path:
    """Create a thousand small files of one table; the directory ``<n>`` holds the first n.

    Returns
    -------
    Path
        The directory, which holds ``1``, ``10``, ``100`` and ``1000``.
    """

    def make(fresh: Path) -> None:
        for count in (1, 10, 100, GROWTH):
            (fresh / str(count)).mkdir()
        for i, file in enumerate(_write_tables(fresh / str(GROWTH), GROWTH)):
            for count in (1, 10, 100):
                if i < count:
                    shutil.copy(file, fresh / str(count) / file.name)

    return _kept("growth", make)


def small_tables(count: int) -> Path:
    """Create a directory of small files of one table.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    Path
        The directory.
    """
    return _kept(f"tables-{count}", lambda fresh: _write_tables(fresh, count))


def _write_tables(directory: Path, count: int) -> list[Path]:
    """Write small files of one table, and return them."""
    numbers = pa.array(range(count * _GROWTH_ROWS), pa.int64())
    table = pa.table({f"c{i}": pc.add(numbers, i) for i in range(8)})
    files = [directory / f"{i:04}.parquet" for i in range(count)]
    for i, file in enumerate(files):
        pq.write_table(table.slice(i * _GROWTH_ROWS, _GROWTH_ROWS), file)
    return files


def order_bounds(lineitem: Path) -> list[tuple[int, int]]:
    """Return the first and the last order number of each row group; lineitem is sorted by it.

    Parameters
    ----------
    lineitem : Path
        The local file.

    Returns
    -------
    list of (int, int)
        By row group.
    """
    metadata = pq.read_metadata(lineitem)
    found: list[Any] = [metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups)]
    return [(statistics.min, statistics.max) for statistics in found]


def _orders(scale: float) -> pa.Table:
    """Read orders with plain strings, as Arrow's writers do not take the views that its schema names."""
    table = pq.read_table(tpch(scale)["orders"])
    kinds = [pa.string() if pa.types.is_string_view(f.type) else f.type for f in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _kept(name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory of the cache, which a function creates if it is missing."""
    directory = _CACHE / name
    if directory.exists():
        return directory
    _CACHE.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="fresh-", dir=_CACHE))
    try:
        make(fresh)
        # Complete or absent, also when two processes come here at once: the first one wins.
        with suppress(OSError):
            fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return directory
