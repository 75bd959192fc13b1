"""Hints from a running `pyarrow.parquet.read_table`: the columns and filters it was called with.

pyarrow does not pass them to a filesystem. It does call `get_file_info` and the first `open_input_file` of a
call in the caller's own thread, so the arguments are in a frame a few levels above. `find_call` finds
them there and keeps them, once a call, for the files that the call later opens in Arrow's threads.

A hint decides what is fetched ahead. If it is wrong, or pyarrow changes, that costs bytes or time, never the
result. ``opendalfs.arrow(..., call_hints=False)`` turns hints off; `read_table` and `with_columns` of this
package need none.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import unquote

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from .projection import Mentions, needed

__all__ = [
    "CallHint",
    "RunningCall",
    "find_call",
    "fragments_to_read",
    "look_at_caller",
    "running_calls",
]

_FRAMES: Final = 16
"""Frames that are looked at. pyarrow 26 has at most six between `read_table` and a filesystem."""

_IDLE_SECONDS: Final = 30.0
"""How long a call that opens no file is kept. A failed call lives as long as its error is referenced."""

_MOST_CALLS: Final = 64
"""Calls that are kept at a time, one a thread."""

# A library that instruments pyarrow may have replaced them by objects without code: then there are no hints.
_READ_TABLE: Final = getattr(inspect.unwrap(pq.read_table), "__code__", None)
_DATASET_INIT: Final = getattr(inspect.unwrap(pq.ParquetDataset.__init__), "__code__", None)


@dataclass(frozen=True)
class CallHint:
    """The arguments of one call.

    Parameters
    ----------
    columns : tuple of str, or dict of pyarrow.compute.Expression, optional
        Columns to read, or to compute; None for all.
    filters : object
        As pyarrow accepts them; None for all rows. They may be large, so they are searched once a call and
        not once a file.
    """

    columns: tuple[str, ...] | dict[str, Any] | None
    filters: Any

    @cached_property
    def expression(self) -> Any:
        """The filters as one expression; None for all rows."""
        return None if self.filters is None else pq.filters_to_expression(self.filters)

    @cached_property
    def _mentions(self) -> Mentions | None:
        return None if self.filters is None else Mentions([self.expression])

    @cached_property
    def _value_texts(self) -> dict[int, frozenset[str]]:
        return {}

    def columns_of(self, names: list[str]) -> list[str]:
        """Return the columns of a file that the call reads."""
        return needed(names, self.columns, self._mentions)

    def reads_all_rows(self, names: list[str]) -> bool:
        """Whether every row of a file with these columns is read: the filters name partitions only."""
        return self._mentions is None or not self._mentions.among(names)

    def may_read(self, path: str) -> bool:
        """Whether the filters select a file by the hive partitions in its path; False if unclear."""
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
        if id(value) not in self._value_texts:
            self._value_texts[id(value)] = frozenset(map(str, value))
        return parts[name] in self._value_texts[id(value)]

    def same_as(self, other: CallHint) -> bool:
        """Whether two calls read the same columns and rows; False when that cannot be compared."""
        return self is other or (_equal(self.columns, other.columns) and _equal(self.filters, other.filters))


class Closeable(Protocol):
    """Protocol for resources that are closed when a call ends."""

    def close(self) -> None:
        """Stop the requests in flight."""


_Resource = TypeVar("_Resource", bound=Closeable)


class RunningCall:
    """A running call of `read_table` and the files that it opens.

    Parameters
    ----------
    owner : object
        The filesystem or handler that the call reads through.
    path : str
        The file or directory there that the call was found with.
    hint : CallHint
        The call's arguments.
    dataset : pyarrow.parquet.ParquetDataset
        What it reads, perhaps before its files are known. It lives as long as the call, or as an error that
        references it.
    strip : callable, optional
        Returns the form that the owner's paths have; None if the dataset's paths have it already.
    """

    def __init__(
        self,
        owner: object,
        path: str,
        hint: CallHint,
        dataset: pq.ParquetDataset,
        strip: Callable[[str], str] | None = None,
    ) -> None:
        self.hint = hint
        self.used = time.monotonic()
        self._owner = owner
        self._path = path
        self._dataset = weakref.ref(dataset)
        self._strip = strip
        self._files: dict[str, None] | None = None
        self._resources: dict[str, Any] = {}
        self._ended = False

    def is_of(self, dataset: pq.ParquetDataset) -> bool:
        """Whether this is the call that reads a dataset."""
        return self._dataset() is dataset

    def files(self) -> Collection[str] | None:
        """Return the files that the call opens, in order; None before it has found them."""
        dataset = self._dataset()
        if self._files is None and dataset is not None:
            try:
                fragments = fragments_to_read(dataset, self.hint.expression)
            except Exception:
                # Its constructor is still running, or pyarrow will raise for the filters itself.
                return None
            strip = self._strip or str
            self._files = dict.fromkeys(strip(fragment.path) for fragment in fragments)
        return self._files

    def opens(self, owner: object, path: str) -> bool:
        """Whether a file is one that this call opens."""
        if owner is not self._owner:
            return False
        files = self.files()
        if files is not None:
            return path in files
        # It opens one file for the schema before it has found all of them.
        return path == self._path or path.startswith(f"{self._path.rstrip('/')}/")

    def resource(self, make: Callable[[], _Resource]) -> _Resource:
        """Return the resource of this call, which `make` makes once. It is closed when the call ends."""
        # There is no lock, as the garbage collector may end the call in any thread.
        resource: _Resource = self._resources.get("") or self._resources.setdefault("", make())
        if self._ended:
            resource.close()
        return resource

    def end(self) -> None:
        """Close the call's resource."""
        self._ended = True
        for resource in list(self._resources.values()):
            resource.close()


def fragments_to_read(dataset: pq.ParquetDataset, expression: Any) -> list[Any]:
    """Return the fragments of a dataset that a filter's partitions leave, in order.

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


_calls: dict[int, RunningCall] = {}
"""The calls that run, the latest one of each thread, by the number of the thread.

There is no lock: the garbage collector may end a call in any thread, whatever that thread holds.
"""


def running_calls() -> list[RunningCall]:
    """Return the calls that are known to run."""
    return list(_calls.copy().values())


def find_call(owner: object, path: str, strip: Callable[[str], str] | None = None) -> RunningCall | None:
    """Return the call of `read_table` that opens a file.

    Parameters
    ----------
    owner : object
        The filesystem or handler that opens the file.
    path : str
        Its path there.
    strip : callable, optional
        As `RunningCall` takes it.

    Returns
    -------
    RunningCall or None
        None if no known call opens the file, or if several do that read different columns or rows.
    """
    # Always looked for, as a failed call is kept as long as its error is referenced.
    call = look_at_caller(owner, path, strip)
    if call is not None and not call.opens(owner, path):
        call = None
    if call is None:
        # Arrow opens most files in its own threads, where no caller can be seen.
        calls = [other for other in running_calls() if other.opens(owner, path)]
        if not calls or not all(other.hint.same_as(calls[0].hint) for other in calls):
            return None
        call = calls[0]
    call.used = time.monotonic()
    return call


def look_at_caller(owner: object, path: str, strip: Callable[[str], str] | None = None) -> RunningCall | None:
    """Return the call that this thread runs, from the frames above; end the one it ran before.

    Parameters
    ----------
    owner : object
        The filesystem or handler that is called.
    path : str
        The file or directory that it is called for.
    strip : callable, optional
        As `RunningCall` takes it.

    Returns
    -------
    RunningCall or None
    """
    found = _arguments_and_dataset()
    thread = threading.get_ident()
    before = _calls.get(thread)
    if before is not None:
        if found is not None and before.is_of(found[1]):
            return before
        _end(thread, before)
    if found is None:
        return None
    hint, dataset = found
    call = _calls[thread] = RunningCall(owner, path, hint, dataset, strip)
    weakref.finalize(dataset, _end, thread, call).atexit = False
    _end_idle()
    return call


def _arguments_and_dataset() -> tuple[CallHint, pq.ParquetDataset] | None:
    """Return the arguments of `read_table`, and its dataset, from the frames of this thread."""
    dataset: Any = None
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_FRAMES):
        if frame is None:
            return None
        if frame.f_code is _DATASET_INIT:
            dataset = frame.f_locals.get("self")
        elif frame.f_code is _READ_TABLE:
            values = frame.f_locals
            dataset = values.get("dataset", dataset)
            columns = values.get("columns")
            # Anything else, such as a generator, can be iterated over once only, which pyarrow does.
            if not isinstance(columns, Collection | None) or not isinstance(dataset, pq.ParquetDataset):
                return None
            kept = columns if columns is None or isinstance(columns, dict) else tuple(columns)
            return CallHint(kept, values.get("filters")), dataset
        frame = frame.f_back
    return None


def _end_idle() -> None:
    """End calls that have opened nothing for long, and the longest idle ones of too many."""
    now = time.monotonic()
    by_use = sorted(_calls.copy().items(), key=lambda item: item[1].used, reverse=True)
    for i, (thread, call) in enumerate(by_use):
        if i >= _MOST_CALLS or now - call.used > _IDLE_SECONDS:
            _end(thread, call)


def _end(thread: int, call: RunningCall) -> None:
    if _calls.get(thread) is call:
        _calls.pop(thread, None)
    call.end()


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
        # Arrays, for example, do not compare to one truth value.
        return False
