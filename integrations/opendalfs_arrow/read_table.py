"""read_table: Parquet planned from its footers before the first byte of data is asked for.

Arrow's own scanner does the reading, so results are those of `pyarrow.parquet.read_table`; what changes is
that the files it opens have their column chunks under way already, of the row groups that the filter leaves
and of nothing else.
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
"""Files whose chunks are under way at a time."""

_FOOTERS_AHEAD: Final = 48


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
    """Read Parquet as `pyarrow.parquet.read_table` does, with every request planned from the footers.

    Parameters
    ----------
    source : str or sequence of str
        A file, a directory (with hive partitions or without), a glob, or a list of files.
    columns : sequence of str, or dict of pyarrow.compute.Expression, optional
        Columns to read, or to compute by name; all by default.
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
    # A dict stays one; what is wrong with a str pyarrow says itself.
    chosen: Any = columns if columns is None or isinstance(columns, (Mapping, str)) else list(columns)
    handler = _handler(filesystem, storage_options)
    planned = _Planned(handler.fs, handler.options)
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
    """Give the same filesystem for Parquet reads that will want certain columns.

    They are fetched together, from the first row group on, instead of being inferred one by one. A wrong
    name costs its bytes, never the result.

    Parameters
    ----------
    filesystem : pyarrow.fs.PyFileSystem
        What `opendalfs.arrow` made.
    columns : sequence of str
        Names of columns; a nested one stands for all below it.

    Returns
    -------
    pyarrow.fs.PyFileSystem

    Raises
    ------
    TypeError
        For a filesystem of another kind.

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


class _Planned(Handler):
    """A handler for one call of `read_table`: the files it opens have their chunks under way already."""

    def __init__(self, fs: OpendalFileSystem | None, options: dict[str, Any]) -> None:
        super().__init__(fs, options, call_hints=False)
        self._planned: Prefetch | None = None

    def begin(self, plans: dict[str, list[Range]]) -> None:
        """Fetch what is planned for each path, some files ahead of the one that is opened."""

        def begun(path: str) -> Scan:
            tail = self.cache.tails.get(path, self.reader(path), begin=False)
            return Scan(tail, plan=plans[path], budget=self.cache.budget)

        self._planned = Prefetch(begun, plans, _FILES_AHEAD)
        self._planned.begin()

    def end(self) -> None:
        """Stop what is under way and was not opened."""
        if self._planned is not None:
            self._planned.close()

    def scan(self, path: str) -> Scan:
        """Give the scan under way for a file, and begin those of the files after it."""
        scan = None if self._planned is None else self._planned.take(path)
        return super().scan(path) if scan is None else scan


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
        return [handler.normalize_path(_path(s)) for s in source]
    path = handler.normalize_path(_path(source))
    # What matches nothing may still be the name of a file.
    return (_glob(handler, path) if has_magic(path) else []) or path


def _path(source: Any) -> str:
    path = stringify_path(source)
    if not isinstance(path, str) or hasattr(source, "read"):
        raise TypeError(
            f"source is a path or a list of paths, not {source!r}: pyarrow.parquet reads open files"
        )
    return path


def _glob(handler: Handler, pattern: str) -> list[str]:
    """Give the files that match a pattern, with what the listing tells of them kept."""
    fs, inner = handler.paths.resolve(pattern)
    found = tasks.run(fs._glob, inner, detail=True)
    return [handler.infos.add(fs, info).path for _, info in sorted(found.items()) if info["type"] == "file"]


def _plans(
    handler: Handler,
    dataset: pq.ParquetDataset,
    names: Sequence[str],
    filters: Any,
) -> dict[str, list[Range]]:
    """Decide which bytes of which files are needed."""
    fragments = fragments_to_read(dataset, filters)
    if not fragments or handler.paths.local_path(fragments[0].path) is not None:
        return {}
    plans: dict[str, list[Range]] = {}
    for fragment in _with_footers(handler, fragments):
        subset = fragment if filters is None else fragment.subset(filter=filters, schema=dataset.schema)
        footer = handler.cache.tails.get(fragment.path, handler.reader(fragment.path), opened=False).footer
        # An encrypted file is read without a plan.
        if footer is not None:
            columns = footer.columns(names)
            groups = [g.id for g in subset.row_groups if g.id < footer.groups]
            plans[fragment.path] = [c.range for g in groups for c in footer.chunks(g) if c.column in columns]
    return plans


def _with_footers(handler: Handler, fragments: Sequence[Any]) -> Iterator[Any]:
    """Give fragments in order, with the ends of many files under way."""
    for i, fragment in enumerate(fragments):
        if i % _FOOTERS_AHEAD == 0:
            handler.prefetch_tails([f.path for f in fragments[i : i + 2 * _FOOTERS_AHEAD]])
        yield fragment


def _names(
    schema: pa.Schema, columns: Iterable[str] | None, filters: ds.Expression | None, with_index: bool
) -> list[str]:
    """Give the columns that are read, those that pandas keeps its index in among them."""
    names = needed(schema.names, columns, filters)
    index = schema.pandas_metadata["index_columns"] if with_index and schema.pandas_metadata else []
    return list(dict.fromkeys([*names, *(n for n in index if isinstance(n, str))]))
