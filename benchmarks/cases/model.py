"""A case: a piece of work, the peers that can do it, and a digest to compare their results.

To add one, write a function per peer that takes the `Context` and returns the work as a callable without
arguments; what the function itself does is not measured. List the case in ``CASES`` of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.context import Context
from benchmarks.raw_http import Part

__all__ = [
    "LIMIT",
    "LOCAL",
    "OBSTORE",
    "OURS",
    "S3FS",
    "TUNED",
    "Axis",
    "Case",
    "OnFilesystem",
    "Peer",
    "Work",
    "limit",
    "on_fsspec",
    "rows",
    "table_digest",
]

Work = Callable[[], Any]
Peer = Callable[[Context], Work]
OnFilesystem = Callable[[Any], Any]

OURS = "opendalfs"
S3FS = "s3fs"
TUNED = "s3fs, tuned"
OBSTORE = "obstore"
LIMIT = "limit"
LOCAL = "local file"


@dataclass(frozen=True)
class Axis:
    """The position of a case on a plot: what grows, and its value in this case."""

    plot: str
    label: str
    value: float


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
        The peers that do it, opendalfs first.
    digest : callable
        Returns something small for a result, which must be the same for every peer.
    near : bool
        Whether it runs without delay and bandwidth limit, so that the client's own work takes the time.
    latency : float, optional
        Seconds to the first byte; the default is the latency of the settings.
    writes : bool
        Whether it changes what is stored.
    axis : Axis, optional
        For cases that are drawn as a line.
    once : bool
        Measure one round without a warm-up, because it takes some peers minutes.
    """

    group: str
    name: str
    peers: Mapping[str, Peer]
    digest: Callable[[Any], object]
    near: bool = False
    latency: float | None = None
    writes: bool = False
    axis: Axis | None = None
    once: bool = False

    @property
    def label(self) -> str:
        """Group and name in one."""
        return f"{self.group}: {self.name}"


def table_digest(table: pa.Table) -> object:
    """Return the shape of a table and the sums of its numeric columns."""
    names = sorted(table.column_names)
    numbers = [
        name
        for name in names
        if pa.types.is_integer(table.schema.field(name).type)
        or pa.types.is_decimal(table.schema.field(name).type)
    ]
    return table.shape, [pc.sum(table[name]).as_py() for name in numbers]


def rows(found: Any) -> object:
    """Return rows as text, so that the rows of any client compare."""
    return [[str(value) for value in row] for row in found]


def on_fsspec(make: Callable[[Context], OnFilesystem], *, tuned: bool = True) -> dict[str, Peer]:
    """Return opendalfs and s3fs as peers, for work that is the same on every fsspec filesystem.

    Parameters
    ----------
    make : callable
        Prepares the work, unmeasured, and returns it as a function of the filesystem.
    tuned : bool
        Whether the settings of s3fs make a difference here.

    Returns
    -------
    dict
        The peers.
    """

    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            do, fs = make(context), give(context)
            return lambda: do(fs)

        return peer

    peers = {OURS: on(lambda c: c.opendalfs()), S3FS: on(lambda c: c.s3fs())}
    return {**peers, TUNED: on(lambda c: c.s3fs_tuned())} if tuned else peers


def limit(
    plan: Callable[[Context], Sequence[Sequence[Part]]],
    decode: Callable[[Context], Work] | None = None,
) -> Peer:
    """Return the limit: the fewest round trips and bytes by plain HTTP, then the same work on local files.

    A client that decodes while it fetches can be faster.

    Parameters
    ----------
    plan : callable
        Returns what to fetch, wave by wave.
    decode : callable, optional
        Returns the work on local files; without it the fetched bytes, joined, are the result.

    Returns
    -------
    Peer
        The limit.
    """

    def peer(context: Context) -> Work:
        waves = plan(context)
        context.raw.prepare(waves)
        local = decode(context) if decode is not None else None

        def work() -> Any:
            fetched = context.raw.fetch(waves)
            return local() if local is not None else fetched

        return work

    return peer


def files_of(context: Context, local: Path) -> list[tuple[Path, str]]:
    """Return the Parquet files of a local directory, each with the path of its copy on the storage."""
    remote = context.remote(local)
    found = sorted(local.rglob("*.parquet"))
    return [(file, f"{remote}/{file.relative_to(local).as_posix()}") for file in found]
