"""read_table: Parquet planned from its footers before the first byte of data is asked for.

Arrow's own scanner does the reading, so results are those of `pyarrow.parquet.read_table`; what changes is
that the files it opens have their column chunks under way already, of the row groups that the filter leaves
and of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import has_magic
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec.utils import stringify_path

from opendalfs.errors import OptionError
from opendalfs.fs import OpendalFileSystem

from .handler import Handler

__all__ = ["columns_hint", "read_table"]

_FILES_AHEAD: Final = 8


def read_table(
    source: str | Sequence[str],
    *,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    filesystem: pafs.FileSystem | OpendalFileSystem | None = None,
    storage_options: dict[str, Any] | None = None,
    use_threads: bool = True,
    use_pandas_metadata: bool = False,
    **kwargs: Any,
) -> pa.Table:
    """Read Parquet as `pyarrow.parquet.read_table` does, with every request planned from the footers.

    Parameters
    ----------
    source : str or sequence of str
        A file, a directory (with hive partitions or without), a glob, or a list of files.
    columns : sequence of str, optional
        Columns to read; all by default.
    filters : list of tuples, or pyarrow.compute.Expression, optional
        Rows to read, as pyarrow takes them; row groups that they rule out are not fetched.
    filesystem : pyarrow.fs.PyFileSystem or OpendalFileSystem, optional
        What `opendalfs.arrow` made; without it `source` is a URL.
    storage_options : dict, optional
        Without `filesystem`, options of the service.
    use_threads : bool
        Decode in parallel.
    use_pandas_metadata : bool
        Also read the columns that pandas keeps its index in.
    **kwargs
        Others of `pyarrow.parquet.ParquetDataset`: ``schema``, ``partitioning``, ``ignore_prefixes``,
        ``read_dictionary``, ...

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    FileNotFoundError
        When there is no such file or directory, or no file matches the glob.

    Examples
    --------
    >>> import opendalfs, pyarrow as pa, pyarrow.parquet as pq
    >>> fs = opendalfs.arrow("memory")
    >>> pq.write_table(pa.table({"x": [1, 2], "y": [3, 4]}), "doc/t.parquet", filesystem=fs)
    >>> read_table("doc/t.parquet", columns=["y"], filesystem=fs)["y"].to_pylist()
    [3, 4]
    """
    handler = _handler(filesystem, storage_options)
    arrow_fs = pafs.PyFileSystem(handler)
    dataset = pq.ParquetDataset(_expand(handler, source), filesystem=arrow_fs, filters=filters, **kwargs)
    plans = _plan(handler, dataset, arrow_fs, columns, filters)
    with handler.planned(plans, _FILES_AHEAD):
        return dataset.read(
            columns=None if columns is None else list(columns),
            use_threads=use_threads,
            use_pandas_metadata=use_pandas_metadata,
        )


@contextmanager
def columns_hint(filesystem: pafs.PyFileSystem, columns: Sequence[str]) -> Iterator[None]:
    """Tell which columns the Parquet reads within the block will want.

    They are then fetched together, from the first row group on, instead of being inferred one by one. A wrong
    hint costs its bytes, never the result.

    Parameters
    ----------
    filesystem : pyarrow.fs.PyFileSystem
        What `opendalfs.arrow` made.
    columns : sequence of str
        Names of columns; a nested one stands for all below it.

    Examples
    --------
    >>> import opendalfs, pyarrow as pa, pyarrow.parquet as pq
    >>> fs = opendalfs.arrow("memory")
    >>> pq.write_table(pa.table({"x": [1, 2]}), "doc/hint.parquet", filesystem=fs)
    >>> with columns_hint(fs, ["x"]):
    ...     pq.read_table("doc/hint.parquet", columns=["x"], filesystem=fs).num_rows
    2
    """
    handler = _handler(filesystem, None)
    before, handler.hint = handler.hint, tuple(columns)
    try:
        yield
    finally:
        handler.hint = before


def _handler(filesystem: Any, storage_options: dict[str, Any] | None) -> Handler:
    if filesystem is None:
        return Handler(None, storage_options)
    if storage_options:
        raise OptionError("filesystem= has its options already: give storage_options= without it")
    if isinstance(filesystem, OpendalFileSystem):
        return Handler(filesystem)
    handler = getattr(filesystem, "handler", None)
    if isinstance(handler, Handler):
        return handler
    raise TypeError(
        f"filesystem= is what opendalfs.arrow() made, or a filesystem of opendalfs, not {filesystem!r}"
    )


def _expand(handler: Handler, source: str | Sequence[str]) -> str | list[str]:
    """Bring paths into the handler's form and resolve a glob."""
    if isinstance(source, (list, tuple)):
        return [handler.normalize_path(stringify_path(s)) for s in source]
    text = stringify_path(source)
    if not has_magic(text):
        return handler.normalize_path(text)
    found = handler.glob(text)
    if not found:
        raise FileNotFoundError(2, "No file matches", text)
    return found


def _plan(
    handler: Handler,
    dataset: pq.ParquetDataset,
    arrow_fs: pafs.FileSystem,
    columns: Sequence[str] | None,
    filters: Any,
) -> dict[str, dict[str, Any]]:
    """Decide which columns of which row groups of which files are needed."""
    fragments: Sequence[Any] = dataset.fragments
    if not fragments:
        return {}
    expression = filters
    if filters is not None and not isinstance(filters, ds.Expression):
        expression = pq.filters_to_expression(filters)
    if expression is not None:
        whole = ds.FileSystemDataset(list(fragments), dataset.schema, fragments[0].format, arrow_fs)
        fragments = list(whole.get_fragments(filter=expression))
    handler.begin_tails([f.path for f in fragments])
    names = _names(dataset.schema, columns, expression)
    plans: dict[str, dict[str, Any]] = {}
    for fragment in fragments:
        subset = fragment if expression is None else fragment.subset(filter=expression, schema=dataset.schema)
        plans[fragment.path] = {"hint": names, "groups": [g.id for g in subset.row_groups]}
    return plans


def _names(schema: pa.Schema, columns: Sequence[str] | None, expression: ds.Expression | None) -> list[str]:
    """Give the columns that are read: those asked for, and those the filter names.

    The filter is searched as text, as pyarrow lists no fields of an expression; a name too many costs bytes.
    """
    if columns is None:
        return list(schema.names)
    names = list(columns)
    if expression is not None:
        words = set(re.findall(r"[^\s()\[\]{},]+", str(expression)))
        names += [n for n in schema.names if n in words or (" " in n and n in str(expression))]
    return list(dict.fromkeys(names))
