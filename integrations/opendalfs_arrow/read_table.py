"""`read_table`: reads of Parquet whose requests are all planned from the footers.

Arrow's own scanner decodes, so results are those of `pyarrow.parquet.read_table`. The files that it opens
have the requests for their column chunks in flight already, those of the row groups that the filter selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import has_magic
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec.utils import stringify_path

from opendalfs.errors import OptionError
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.read.ranges import Range
from opendalfs.runtime import tasks

from .call_hints import fragments_to_read
from .filesystem import ArrowFileSystem
from .handler import Handler
from .prefetch import Prefetch
from .projection import needed
from .scan import Scan

__all__ = ["read_table", "with_columns"]

_FILES_AHEAD: Final = 8
"""Files whose chunks are in flight or held before they are opened."""

_FOOTERS_AHEAD: Final = 48
"""Files whose footers are read before they are needed."""


def read_table(
    source: str | Sequence[str],
    *,
    columns: Sequence[str] | Mapping[str, ds.Expression] | None = None,
    filters: Any = None,
    filesystem: pafs.FileSystem | OpendalFileSystem | None = None,
    storage_options: dict[str, Any] | None = None,
    use_threads: bool = True,
    use_pandas_metadata: bool = False,
    **kwargs: Any,
) -> pa.Table:
    """Read Parquet as `pyarrow.parquet.read_table` does, with all requests planned from the footers.

    Parameters
    ----------
    source : str or sequence of str
        A file, a directory (with or without hive partitions), a glob, or a list of files.
    columns : sequence of str, or dict of pyarrow.compute.Expression, optional
        Columns to read, or expressions to compute by name; all columns by default.
    filters : list of tuples, or pyarrow.compute.Expression, optional
        Rows to read, as pyarrow accepts them; row groups that they rule out are not fetched.
    filesystem : pyarrow.fs.PyFileSystem or OpendalFileSystem, optional
        A filesystem from `opendalfs.arrow`, or a core filesystem. If omitted, `source` is a URL.
    storage_options : dict, optional
        Options of the service, if `filesystem` is omitted.
    use_threads : bool
        Whether to decode in parallel.
    use_pandas_metadata : bool
        Whether to read the columns that contain the index of pandas, too.
    **kwargs
        Other parameters of `pyarrow.parquet.ParquetDataset`, such as ``schema``, ``partitioning``,
        ``ignore_prefixes`` or ``read_dictionary``.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    FileNotFoundError
        If the file or directory does not exist, or no file matches the glob.
    OptionError
        If both `filesystem` and `storage_options` are given.
    TypeError
        If `source` is not a path, or `filesystem` is not one of opendalfs.

    Examples
    --------
    >>> import opendalfs, pyarrow as pa, pyarrow.parquet as pq
    >>> fs = opendalfs.arrow("memory")
    >>> pq.write_table(pa.table({"x": [1, 2], "y": [3, 4]}), "doc/t.parquet", filesystem=fs)
    >>> read_table("doc/t.parquet", columns=["y"], filesystem=fs)["y"].to_pylist()
    [3, 4]
    """
    # pyarrow raises for a str.
    chosen: Any = columns if columns is None or isinstance(columns, (Mapping, str)) else list(columns)
    handler = _handler(filesystem, storage_options)
    planned = _PlannedHandler(handler.fs, handler.options)
    paths = _expand(planned, source)
    arrow_fs = pafs.PyFileSystem(planned)
    if filters is not None:
        filters = pq.filters_to_expression(filters)
    dataset = pq.ParquetDataset(paths, filesystem=arrow_fs, filters=filters, **kwargs)
    names = _names(dataset.schema, chosen, filters, use_pandas_metadata)
    planned.begin(_plans(planned, dataset, names, filters))
    try:
        return dataset.read(
            columns=chosen,
            use_threads=use_threads,
            use_pandas_metadata=use_pandas_metadata,
        )
    finally:
        planned.end()


def with_columns(filesystem: pafs.PyFileSystem, columns: Sequence[str]) -> pafs.PyFileSystem:
    """Return a filesystem with the same files, for Parquet reads of certain columns.

    The columns are fetched together from the first row group on, instead of being inferred one by one. A
    wrong name costs bytes, never the result.

    Parameters
    ----------
    filesystem : pyarrow.fs.PyFileSystem
        A filesystem from `opendalfs.arrow`.
    columns : sequence of str
        Names of columns; the name of a nested column includes all below it.

    Returns
    -------
    pyarrow.fs.PyFileSystem

    Raises
    ------
    TypeError
        If `filesystem` is not one of opendalfs.

    Examples
    --------
    >>> import opendalfs, pyarrow as pa, pyarrow.parquet as pq
    >>> fs = opendalfs.arrow("memory")
    >>> pq.write_table(pa.table({"x": [1, 2]}), "doc/hint.parquet", filesystem=fs)
    >>> pq.ParquetFile("doc/hint.parquet", filesystem=with_columns(fs, ["x"])).read(["x"]).num_rows
    2
    """
    handler = _handler(filesystem, None)
    return ArrowFileSystem(Handler(handler.fs, handler.options, columns, handler.call_hints))


class _PlannedHandler(Handler):
    """A handler for one call of `read_table`: planned ranges are fetched before their file is opened."""

    def __init__(self, fs: OpendalFileSystem | None, options: dict[str, Any]) -> None:
        super().__init__(fs, options, call_hints=False)
        self._prefetched: Prefetch | None = None

    def begin(self, plans: dict[str, list[Range]]) -> None:
        """Begin to fetch the planned ranges of the first files."""

        def begun(path: str) -> Scan:
            tail = self.cache.tails.get(path, self.reader(path), begin=False)
            return Scan(tail, plan=plans[path], budget=self.cache.budget)

        self._prefetched = Prefetch(begun, plans, _FILES_AHEAD)
        self._prefetched.begin()

    def end(self) -> None:
        """Cancel the requests for files that were not opened."""
        if self._prefetched is not None:
            self._prefetched.close()

    def scan(self, path: str) -> Scan:
        """Return the scan of a file that was begun before, and begin those of the next files."""
        scan = None if self._prefetched is None else self._prefetched.take(path)
        return super().scan(path) if scan is None else scan


def _handler(filesystem: Any, storage_options: dict[str, Any] | None) -> Handler:
    if filesystem is None:
        return Handler(None, storage_options)
    if storage_options:
        raise OptionError("storage_options= does not apply to an existing filesystem=: pass one of the two")
    if isinstance(filesystem, OpendalFileSystem):
        return Handler(filesystem)
    handler = getattr(filesystem, "handler", None)
    if isinstance(handler, Handler):
        return handler
    raise TypeError(
        f"filesystem= is not a filesystem of opendalfs: {filesystem!r}: pass one from opendalfs.arrow()"
    )


def _expand(handler: Handler, source: str | Sequence[str]) -> str | list[str]:
    """Return paths in the form of the handler, with a glob resolved."""
    if isinstance(source, (list, tuple)):
        return [handler.normalize_path(_path(s)) for s in source]
    path = handler.normalize_path(_path(source))
    # A pattern that matches nothing may be the name of a file.
    return (_glob(handler, path) if has_magic(path) else []) or path


def _path(source: Any) -> str:
    path = stringify_path(source)
    if not isinstance(path, str) or hasattr(source, "read"):
        raise TypeError(
            f"source= is not a path or a list of paths: {source!r}: use pyarrow.parquet for open files"
        )
    return path


def _glob(handler: Handler, pattern: str) -> list[str]:
    """Return the files that match a pattern; their sizes and versions are kept for the opens."""
    fs, inner = handler.paths.resolve(pattern)
    found = tasks.run(fs._glob, inner, detail=True)
    return [handler.infos.add(fs, info).path for _, info in sorted(found.items()) if info["type"] == "file"]


def _plans(
    handler: Handler,
    dataset: pq.ParquetDataset,
    names: Sequence[str],
    filters: Any,
) -> dict[str, list[Range]]:
    """Return the ranges that are needed, by file."""
    fragments = fragments_to_read(dataset, filters)
    if not fragments or handler.paths.local_path(fragments[0].path) is not None:
        return {}
    plans: dict[str, list[Range]] = {}
    for fragment in _with_footers(handler, fragments):
        subset = fragment if filters is None else fragment.subset(filter=filters, schema=dataset.schema)
        footer = handler.cache.tails.get(fragment.path, handler.reader(fragment.path), opened=False).footer
        # None for an encrypted file, which is read without a plan.
        if footer is not None:
            columns = footer.columns(names)
            groups = [g.id for g in subset.row_groups if g.id < footer.groups]
            plans[fragment.path] = [c.range for g in groups for c in footer.chunks(g) if c.column in columns]
    return plans


def _with_footers(handler: Handler, fragments: Sequence[Any]) -> Iterator[Any]:
    """Yield fragments in order, with the reads of the next files' ends begun."""
    for i, fragment in enumerate(fragments):
        if i % _FOOTERS_AHEAD == 0:
            handler.prefetch_tails([f.path for f in fragments[i : i + 2 * _FOOTERS_AHEAD]])
        yield fragment


def _names(
    schema: pa.Schema, columns: Iterable[str] | None, filters: ds.Expression | None, with_index: bool
) -> list[str]:
    """Return the columns that are read, with those that contain the index of pandas."""
    names = needed(schema.names, columns, filters)
    index = schema.pandas_metadata["index_columns"] if with_index and schema.pandas_metadata else []
    return list(dict.fromkeys([*names, *(n for n in index if isinstance(n, str))]))
