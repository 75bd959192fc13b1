"""A filesystem for pyarrow over every service of OpenDAL, whose Parquet reads are planned and prefetched."""

from __future__ import annotations

from typing import Any

from opendalfs import installation
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.registry import from_source
from opendalfs.runtime import interrupts

installation.require("pyarrow")

from .filesystem import ArrowFileSystem
from .handler import Handler
from .read_table import read_table, with_columns

__all__ = ["ArrowFileSystem", "Handler", "arrow", "read_table", "with_columns"]


def arrow(
    source: str | OpendalFileSystem | None = None, *, call_hints: bool = True, **options: Any
) -> ArrowFileSystem:
    """Make a filesystem for pyarrow.

    Parameters
    ----------
    source : str or OpendalFileSystem, optional
        Name of a service (``"s3"``), a URL of it, or a filesystem. Without it paths are URLs of any service,
        and a path without a scheme is local.
    call_hints : bool, default True
        Whether reads use the ``columns`` and ``filters`` of the `pyarrow.parquet.read_table` that makes them,
        found in the caller's frame. They decide what is prefetched, never what is returned.
    **options
        Options of the service, as `opendalfs.filesystem` takes them. For services whose URLs name a server,
        credentials need ``endpoint`` as well: a path must not decide which server they are sent to.

    Returns
    -------
    ArrowFileSystem
        A `pyarrow.fs.PyFileSystem`; its repr shows the service and the options, without secrets.

    Raises
    ------
    OptionError
        For an unknown option, with the nearest known one; without `source` at the first use of a service.
    ValueError
        For an unknown service, with the nearest known ones.

    Notes
    -----
    Ctrl-C ends a read that waits for storage. For reads in Arrow's own threads it takes up to ``io_timeout``
    if SIGINT has a handler other than Python's own, or if another library uses `signal.set_wakeup_fd`.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.parquet as pq, opendalfs
    >>> fs = opendalfs.arrow("memory")
    >>> pq.write_table(pa.table({"x": [1, 2, 3]}), "tables/x.parquet", filesystem=fs)
    >>> pq.read_table("tables/x.parquet", filesystem=fs).num_rows
    3
    """
    interrupts.watch()
    if source is None:
        return ArrowFileSystem(Handler(None, options, call_hints=call_hints))
    return ArrowFileSystem(Handler(from_source(source, **options), call_hints=call_hints))
