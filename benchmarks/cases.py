"""What is measured, as data: each case names a piece of work and the peers that can do it.

To add one, write a function per peer that takes the `Context` and gives the work as a callable
without arguments; what the function itself does is not measured. List it in `CASES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import opendalfs
from benchmarks.context import Context

Work = Callable[[], Any]
Peer = Callable[[Context], Work]

OURS = "opendalfs"
# Quantity, price and discount lie side by side in the file, the date apart from them.
QUERY_6 = ["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"]


@dataclass(frozen=True)
class Case:
    """One piece of work that several peers do.

    Parameters
    ----------
    group : str
        Kind of work, such as ``"arrow"``.
    name : str
        What is done.
    peers : mapping
        Who does it, ours first.
    digest : callable
        Makes something small of a result, which must be the same for every peer.
    """

    group: str
    name: str
    peers: Mapping[str, Peer]
    digest: Callable[[Any], object]

    @property
    def label(self) -> str:
        """Group and name in one."""
        return f"{self.group}: {self.name}"


def table_digest(table: pa.Table) -> object:
    """Tell tables apart by shape and by the sums of their numbers."""
    numbers = [
        column
        for column in table.columns
        if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
    ]
    return table.shape, [pc.sum(column).as_py() for column in numbers]


def _read_table(filesystem: Any, path: str, columns: list[str] | None) -> Work:
    return lambda: pq.read_table(path, columns=columns, filesystem=filesystem)


def read_lineitem(columns: list[str] | None) -> dict[str, Peer]:
    """Give the peers of ``pq.read_table`` on lineitem.

    Parameters
    ----------
    columns : list of str or None
        Columns to read; None for all.

    Returns
    -------
    dict
        The peers, with a local file as the floor: decoding alone.
    """

    def ours(context: Context) -> Work:
        filesystem = opendalfs.arrow(context.opendalfs())
        return _read_table(filesystem, context.remote["lineitem"], columns)

    def s3fs(context: Context) -> Work:
        return _read_table(context.s3fs(), context.remote["lineitem"], columns)

    def pyarrow(context: Context) -> Work:
        return _read_table(context.pyarrow, context.remote["lineitem"], columns)

    def local(context: Context) -> Work:
        return _read_table(None, str(context.local["lineitem"]), columns)

    return {OURS: ours, "s3fs": s3fs, "pyarrow S3FileSystem": pyarrow, "local file": local}


CASES = [
    Case(
        group="arrow",
        name="pq.read_table, 4 of 16 columns of lineitem",
        peers=read_lineitem(QUERY_6),
        digest=table_digest,
    ),
]
