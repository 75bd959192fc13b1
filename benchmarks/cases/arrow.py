"""Arrow: Parquet through `pyarrow`, on the filesystem of each peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

import opendalfs
import opendalfs_arrow
from benchmarks.cases.model import (
    LIMIT,
    LOCAL,
    OURS,
    S3FS,
    TUNED,
    Axis,
    Case,
    Peer,
    Work,
    files_of,
    limit,
    table_digest,
)
from benchmarks.context import Context
from benchmarks.data import order_bounds
from benchmarks.raw_http import Part, parquet_waves

PYARROW = "pyarrow S3FileSystem"
# The columns of TPC-H query 6: three adjacent ones, and the date apart from them.
QUERY_6 = ["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"]
# Between any two of these lie columns that are not read.
APART = ["l_orderkey", "l_quantity", "l_returnflag", "l_commitdate"]
THREE = ["l_orderkey", "l_extendedprice", "l_shipdate"]
YEAR = 1995

# The work, as a function of a pyarrow filesystem (None: local) and a path.
Read = Callable[[Any, str], Any]
Where = Callable[[Context], Path]


def _lineitem(context: Context) -> Path:
    return context.lineitem


def _parts(context: Context) -> Path:
    return context.parts


def _hive(context: Context) -> Path:
    return context.hive


def peers(read: Read, where: Where = _lineitem, *, tuned: bool = True) -> dict[str, Peer]:
    """Return the peers of one piece of work on a pyarrow filesystem.

    Parameters
    ----------
    read : callable
        The work.
    where : callable
        Returns the local data; each peer reads the copy on the storage.
    tuned : bool
        Whether the settings of s3fs make a difference here.

    Returns
    -------
    dict
        The peers, with the local file, which is decoding alone.
    """

    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            filesystem, path = give(context), context.remote(where(context))
            return lambda: read(filesystem, path)

        return peer

    def local(context: Context) -> Work:
        path = str(where(context))
        return lambda: read(None, path)

    found = {
        OURS: on(lambda c: opendalfs.arrow(c.opendalfs())),
        S3FS: on(lambda c: c.s3fs()),
        TUNED: on(lambda c: c.s3fs_tuned()),
        PYARROW: on(lambda c: c.pyarrow),
        LOCAL: local,
    }
    return found if tuned else {name: peer for name, peer in found.items() if name != TUNED}


def _with_limit(
    found: dict[str, Peer],
    read: Read,
    where: Where,
    columns: list[str] | None,
    choose: Callable[[Path], list[int]] | None = None,
    keep: Callable[[Path], bool] = lambda _: True,
) -> dict[str, Peer]:
    """Add the limit: the footers, then the chunks of the chosen columns and row groups."""

    def plan(context: Context) -> list[list[Part]]:
        local = where(context)
        files = [(local, context.remote(local))] if local.is_file() else files_of(context, local)
        groups = choose(local) if choose is not None else None
        return parquet_waves([pair for pair in files if keep(pair[0])], columns, groups)

    def decode(context: Context) -> Work:
        path = str(where(context))
        return lambda: read(None, path)

    return {**found, LIMIT: limit(plan, decode)}


def read_columns(columns: list[str] | None) -> dict[str, Peer]:
    """Return the peers that read some columns of lineitem with ``pq.read_table``."""

    def read(filesystem: Any, path: str) -> Any:
        return pq.read_table(path, columns=columns, filesystem=filesystem)

    return _with_limit(peers(read), read, _lineitem, columns)


def _filtered() -> dict[str, Peer]:
    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            local = context.lineitem
            first, _ = order_bounds(local)[-1]
            filesystem = give(context)
            path = str(local) if filesystem is None else context.remote(local)
            chosen = pc.field("l_orderkey") > first
            return lambda: pq.read_table(path, columns=QUERY_6, filters=chosen, filesystem=filesystem)

        return peer

    local = on(lambda _: None)

    def plan(context: Context) -> list[list[Part]]:
        file = context.lineitem
        last = len(order_bounds(file)) - 1
        return parquet_waves([(file, context.remote(file))], [*QUERY_6, "l_orderkey"], [last])

    return {
        OURS: on(lambda c: opendalfs.arrow(c.opendalfs())),
        S3FS: on(lambda c: c.s3fs()),
        TUNED: on(lambda c: c.s3fs_tuned()),
        PYARROW: on(lambda c: c.pyarrow),
        LOCAL: local,
        LIMIT: limit(plan, local),
    }


def _parquet_file() -> dict[str, Peer]:
    def read(filesystem: Any, path: str) -> Any:
        return pq.ParquetFile(path, filesystem=filesystem).read(THREE)

    return _with_limit(peers(read), read, _lineitem, THREE)


def _batches() -> dict[str, Peer]:
    def read(filesystem: Any, path: str) -> Any:
        scanned = ds.dataset(path, filesystem=filesystem).to_batches(columns=QUERY_6)
        return sum(batch.num_rows for batch in scanned)

    return _with_limit(peers(read), read, _lineitem, QUERY_6)


def _directory() -> dict[str, Peer]:
    def read(filesystem: Any, path: str) -> Any:
        return pq.read_table(path, columns=THREE, filesystem=filesystem)

    return _with_limit(peers(read, _parts), read, _parts, THREE)


def _tree() -> dict[str, Peer]:
    columns = ["o_orderkey", "o_totalprice", "o_orderdate"]

    def read(filesystem: Any, path: str) -> Any:
        return pq.read_table(path, columns=columns, filters=[("o_year", "=", YEAR)], filesystem=filesystem)

    def keep(file: Path) -> bool:
        return file.parent.name == f"o_year={YEAR}"

    return _with_limit(peers(read, _hive), read, _hive, columns, keep=keep)


def _count() -> dict[str, Peer]:
    def read(filesystem: Any, path: str) -> Any:
        return ds.dataset(path, filesystem=filesystem).count_rows()

    return _with_limit(peers(read, _parts), read, _parts, [])


def _infos() -> dict[str, Peer]:
    def on(give: Callable[[Context], pafs.FileSystem]) -> Peer:
        def peer(context: Context) -> Work:
            paths = context.fill("asked", context.count(200), 8)
            filesystem = give(context)
            return lambda: [info.size for info in filesystem.get_file_info(paths)]

        return peer

    def through_fsspec(context: Context) -> pafs.FileSystem:
        handler: Any = pafs.FSSpecHandler
        return pafs.PyFileSystem(handler(context.s3fs()))

    return {
        OURS: on(lambda c: opendalfs.arrow(c.opendalfs())),
        S3FS: on(through_fsspec),
        PYARROW: on(lambda c: c.pyarrow),
    }


def _planned() -> dict[str, Peer]:
    """Return our own `read_table` and, for the other peers, ``pq.read_table``."""
    others = read_columns(QUERY_6)

    def ours(context: Context) -> Work:
        filesystem, path = opendalfs.arrow(context.opendalfs()), context.remote(context.lineitem)
        return lambda: opendalfs_arrow.read_table(path, columns=QUERY_6, filesystem=filesystem)

    return {**others, OURS: ours}


def _case(name: str, found: dict[str, Peer], digest: Callable[[Any], object] = table_digest) -> Case:
    return Case("arrow", name, found, digest)


CASES = [
    _case("pq.read_table, 4 columns, 3 of them adjacent", read_columns(QUERY_6)),
    _case("pq.read_table, 4 columns that lie apart", read_columns(APART)),
    _case("pq.read_table, 4 columns, filter to 1 row group", _filtered()),
    _case("pq.read_table, all columns", read_columns(None)),
    _case("opendalfs_arrow.read_table, 4 columns", _planned()),
    _case("ParquetFile.read, 3 columns", _parquet_file()),
    _case("dataset.to_batches, 4 columns", _batches(), repr),
    _case("directory of 20 files, 3 columns", _directory()),
    _case("hive tree with a partition filter", _tree()),
    _case("count_rows, 20 files", _count(), repr),
    _case("get_file_info, 200 files", _infos(), repr),
]


# How it grows


def _grown(context: Context, count: int) -> Path:
    return context.growth / str(count)


def _of_files(count: int) -> Case:
    def read(filesystem: Any, path: str) -> Any:
        table = pq.read_table(path, columns=["c0", "c3", "c6"], filesystem=filesystem)
        return table.num_rows, pc.sum(table["c6"]).as_py()

    def where(context: Context) -> Path:
        context.remote(context.growth)
        return _grown(context, count)

    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            filesystem, path = give(context), f"{context.remote(context.growth)}/{count}"
            return lambda: read(filesystem, path)

        return peer

    return Case(
        "growth",
        f"directory of {count:,} files, 3 columns",
        {
            OURS: on(lambda c: opendalfs.arrow(c.opendalfs())),
            S3FS: on(lambda c: c.s3fs()),
            PYARROW: on(lambda c: c.pyarrow),
        },
        repr,
        axis=Axis("files", "files in a directory", count),
        once=count >= 1_000,
    )


def _at(milliseconds: int) -> Case:
    found = read_columns(QUERY_6)
    return Case(
        "growth",
        f"pq.read_table, 4 columns, {milliseconds} ms",
        {name: found[name] for name in (OURS, S3FS, PYARROW)},
        table_digest,
        latency=milliseconds / 1000,
        axis=Axis("latency", "milliseconds to the first byte", milliseconds),
    )


GROWTH = [*map(_at, (0, 10, 30, 100)), *map(_of_files, (1, 10, 100, 1_000))]
