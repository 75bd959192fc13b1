"""What `pyarrow.parquet.read_table` was asked for.

It tells its filesystem nothing of the columns it will read, and its files are opened in threads of Arrow's.
So a scan that is asked for its first data looks for the call on the stacks of the running threads. What is
found there is a hint: when it is wrong, or pyarrow changes, it costs bytes or time, never the result.
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from opendalfs.fs.core import OpendalFileSystem

from .projection import Mentions, needed

__all__ = ["Asked", "Call", "asked_of", "call_of", "fragments_of"]

_CODE = pq.read_table.__code__


@dataclass(frozen=True)
class Asked:
    """The arguments of one call.

    Parameters
    ----------
    columns : tuple of str, or dict of pyarrow.compute.Expression, optional
        Columns to read, or to compute; None for all.
    filters : object
        As pyarrow takes them; None for all rows. They may be large, so they are looked through once a call
        and not once a file.
    """

    columns: tuple[str, ...] | dict[str, Any] | None
    filters: Any

    @cached_property
    def expression(self) -> Any:
        """The filters as one expression; None for all rows."""
        return pq.filters_to_expression(self.filters) if isinstance(self.filters, list) else self.filters

    @cached_property
    def _mentions(self) -> Mentions | None:
        return None if self.filters is None else Mentions([self.expression])

    @cached_property
    def _texts(self) -> dict[int, frozenset[str]]:
        return {}

    def names(self, known: list[str]) -> list[str]:
        """Return the columns that are read, out of those of a file."""
        return needed(known, self.columns, self._mentions)

    def may_take(self, path: str) -> bool:
        """Tell whether a file will be looked into, by the hive partitions in its path; False when unsure."""
        if not isinstance(self.filters, list):
            return self.filters is None
        parts = dict(part.split("=", 1) for part in unquote(path).split("/") if "=" in part)
        either = self.filters if all(isinstance(test, list) for test in self.filters) else [self.filters]
        return any(all(self._may_pass(parts, *test) for test in tests) for tests in either)

    def _may_pass(self, parts: dict[str, str], name: str, operator: str, value: Any) -> bool:
        if name not in parts:
            return True
        if operator in ("=", "=="):
            return str(value) == parts[name]
        if operator != "in":
            return False
        if id(value) not in self._texts:
            self._texts[id(value)] = frozenset(map(str, value))
        return parts[name] in self._texts[id(value)]

    def takes_all(self, known: list[str]) -> bool:
        """Tell whether every row of a file is read, as when the filter is of partitions only."""
        return self._mentions is None or not self._mentions.among(known)


class Call(NamedTuple):
    """A running call of read_table.

    Parameters
    ----------
    asked : Asked
        Its arguments.
    dataset : pyarrow.parquet.ParquetDataset, optional
        What it reads, once it has found its files. It lives as long as the call, unless somebody keeps it.
    """

    asked: Asked
    dataset: pq.ParquetDataset | None


def fragments_of(dataset: pq.ParquetDataset, expression: Any) -> list[Any]:
    """Give the files that a dataset will read, in order: those that the filter's partitions leave.

    Parameters
    ----------
    dataset : pyarrow.parquet.ParquetDataset
        The dataset.
    expression : pyarrow.compute.Expression, optional
        The filter.

    Returns
    -------
    list of pyarrow.dataset.Fragment
    """
    fragments: list[Any] = list(dataset.fragments)
    if expression is None or len(fragments) < 2:
        return fragments
    first = fragments[0]
    whole = ds.FileSystemDataset(fragments, dataset.schema, first.format, first.filesystem)
    return list(whole.get_fragments(filter=expression))


def asked_of(fs: OpendalFileSystem | None, path: str) -> Asked | None:
    """Tell what the one running call that reads a file asks for; as `call_of` finds it."""
    call = call_of(fs, path)
    return None if call is None else call.asked


def call_of(fs: OpendalFileSystem | None, path: str) -> Call | None:
    """Find the one running call that reads a file.

    Parameters
    ----------
    fs : OpendalFileSystem or None
        Where the file is; None for a filesystem of URLs.
    path : str
        Of the file.

    Returns
    -------
    Call or None
        None when no call reads it, or several do that ask for different things.
    """
    found = [call for values in _calls() if (call := _call_on(values, fs, path)) is not None]
    if not found or not all(_same(call.asked, found[0].asked) for call in found[1:]):
        return None
    # Which of several it is that opens the file is not to be told.
    return found[0] if len(found) == 1 else Call(found[0].asked, None)


def _calls() -> list[dict[str, Any]]:
    """Give the local variables of every call of read_table that runs."""
    found: list[dict[str, Any]] = []
    frame: FrameType | None
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_code is _CODE:
                found.append(dict(frame.f_locals))
            frame = frame.f_back
    # One of these frames was this very function's: it must not end holding itself, and so all above it.
    frame = None
    return found


class _Arguments(NamedTuple):
    """What a call asks for, and the paths it names, without scheme and outer slashes."""

    asked: Asked
    sources: frozenset[str]


_kept: dict[int, _Arguments] = {}
"""The arguments of the calls that have found their files, by the id of the call's dataset."""


def _call_on(values: dict[str, Any], fs: OpendalFileSystem | None, path: str) -> Call | None:
    """Return the call with some local variables, if it reads a file."""
    used = values.get("filesystem")
    handler = getattr(used, "handler", used)
    if getattr(handler, "fs", handler) is not fs and getattr(handler, "fs", handler) != fs:
        return None
    found = values.get("dataset")
    dataset = found if isinstance(found, pq.ParquetDataset) else None
    arguments = _arguments(values) if dataset is None else _kept_arguments(values, dataset)
    # A path may be written as a URL, or be a directory above the file.
    parts = path.split("/")
    runs = ("/".join(parts[i:j]) for i in range(len(parts)) for j in range(len(parts), i, -1))
    return Call(arguments.asked, dataset) if any(run in arguments.sources for run in runs) else None


def _kept_arguments(values: dict[str, Any], dataset: pq.ParquetDataset) -> _Arguments:
    """Return the arguments of a call, which are looked at once: many files or a large filter take time."""
    number = id(dataset)
    arguments = _kept.get(number)
    if arguments is None:
        arguments = _kept[number] = _arguments(values)
        weakref.finalize(dataset, _kept.pop, number, None).atexit = False
    return arguments


def _arguments(values: dict[str, Any]) -> _Arguments:
    columns, source = values.get("columns"), values.get("source")
    kept = columns if columns is None or isinstance(columns, dict) else tuple(columns)
    texts = (str(s).rstrip("/") for s in (source if isinstance(source, list) else [source]) if s is not None)
    sources = frozenset(text.rpartition("://")[2].lstrip("/") for text in texts)
    return _Arguments(Asked(kept, values.get("filters")), sources)


def _same(a: Asked, b: Asked) -> bool:
    """Whether two calls ask for the same."""
    return a is b or (_equal(a.columns, b.columns) and _equal(a.filters, b.filters))


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, pc.Expression) or isinstance(b, pc.Expression):
        return isinstance(a, pc.Expression) and isinstance(b, pc.Expression) and a.equals(b)  # type: ignore[attr-defined]
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    try:
        return bool(a == b)
    except Exception:
        # Such as of arrays, whose comparison is no truth value.
        return False
