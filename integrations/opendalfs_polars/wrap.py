"""One call of a Polars function with our URLs in it: translated, made, tidied up.

Both `functions` and `hooks` come here, so that a URL means the same with the hooks and without.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import polars as pl
from polars.io.partition import PartitionBy, SinkedPathsCallbackArgs

from opendalfs_gateway.server import gateway

from .target import Backend, Target, is_ours, place_of, resolve

__all__ = ["Call", "Function", "named", "read", "write", "write_file", "write_ndjson"]

_Arguments = dict[str, Any]
_Bound = partial[Any]
Call = Callable[[_Bound, Any, Mapping[str, Any], Backend], Any]
"""Calls a function of Polars, its self bound, with URLs of ours and the other arguments.

``storage_options`` are among these, in opendalfs's names. It returns what the function returns, and raises
ValueError for a credential_provider, which opendalfs has no use for.
"""

_ENCODINGS: Final = frozenset({"utf8", "utf8-lossy"})


def named(source: object) -> bool:
    """Tell whether an argument holds URLs of ours: a string, a path, a list of these, or a PartitionBy."""
    if isinstance(source, PartitionBy):
        return is_ours(source._pl_partition_by.base_path)
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return any(map(is_ours, source))
    return is_ours(source)


class Function:
    """A function or method of Polars, the first argument of which but self may name storage.

    Parameters
    ----------
    original : callable
        Such as ``pl.scan_parquet`` or ``pl.LazyFrame.sink_parquet``.
    call : Call
        Makes the calls that have URLs of ours: `read`, `write`, `write_ndjson` or `write_file`.
    """

    def __init__(self, original: Callable[..., Any], call: Call) -> None:
        self.original = original
        self.signature = inspect.signature(original)
        self._call = call
        self._names = list(self.signature.parameters)
        self._before = int(self._names[0] == "self")
        self.where = self._names[self._before]

    def __call__(
        self, args: tuple[Any, ...], kwargs: _Arguments, options: Mapping[str, Any] | None, backend: Backend
    ) -> Any:
        """Make a call with the arguments as they came, and storage options for where it has none.

        One that has no URL of ours goes through to Polars untouched.
        """
        place = args[self._before] if len(args) > self._before else kwargs.get(self.where)
        if not named(place):
            return self.original(*args, **kwargs)
        known = {name: value for name, value in kwargs.items() if name in self._names}
        # Names that Polars has given up, or never had, are for it to judge.
        given = {**kwargs, **self.signature.bind(*args, **known).arguments}
        bound = partial(self.original, *(given.pop(name) for name in self._names[: self._before]))
        del given[self.where]
        if given.get("storage_options") is None:
            given["storage_options"] = options
        return self._call(bound, place, given, backend)


def read(function: _Bound, source: Any, arguments: Mapping[str, Any], backend: Backend) -> Any:
    """Call a function that scans or reads."""
    given = dict(arguments)
    if given.get("use_pyarrow") or given.get("encoding", "utf8") not in _ENCODINGS:
        # Polars then opens the file by fsspec, which knows our URLs itself.
        return function(source, **given)
    glob = bool(given.get("glob", True))
    found = resolve(source, given.pop("storage_options", None), backend, glob=glob)
    result = None
    try:
        result = function(found.source, **_cloud(function, found, given))
    finally:
        if found.backend == "gateway" and not isinstance(result, pl.LazyFrame):
            for base in found.shown:
                gateway().release(base)
    column = given.get("include_file_paths")
    return result.with_columns(_named(column, found)) if column else result


def _named(column: str, found: Target) -> pl.Expr:
    """Give a column of what Polars calls the files, with the user's URLs in their place."""
    path = pl.col(column)
    named = path
    for base, shown in found.shown.items():
        renamed = pl.lit(shown) + path.str.strip_prefix(base)
        named = pl.when(path.str.starts_with(base)).then(renamed).otherwise(named)
    return named.alias(column)


def write(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> Any:
    """Call a method that sinks or writes."""
    given = dict(arguments)
    if given.get("use_pyarrow"):
        # pyarrow would look for the gateway's bucket at AWS. It takes a file.
        if (given.get("pyarrow_options") or {}).get("partition_cols"):
            raise ValueError("pyarrow's partition_cols take no URL: use partition_by, without use_pyarrow")
        return write_file(function, sink, given, backend)
    options = given.pop("storage_options", None)
    parted = isinstance(sink, PartitionBy)
    url = sink._pl_partition_by.base_path if parted else sink
    lazy = bool(given.get("lazy"))
    found = resolve(url, options, backend, write=True, hold=not lazy)
    path = _rebased(sink, str(found.source)) if parted else found.source
    told: list[SinkedPathsCallbackArgs] = []
    tell = given.get("sinked_paths_callback")
    if tell:
        # Where it can wait for it, not before the files are there to be read.
        given["sinked_paths_callback"] = partial(_tell, tell, found) if lazy else told.append
    with _published(found, lazy=lazy):
        result = function(path, **_cloud(function, found, given))
    for args in told:
        _tell(tell, found, args)
    return result


def _tell(tell: Any, found: Target, args: SinkedPathsCallbackArgs) -> None:
    """Tell the user what was written, by the user's URLs."""
    paths = [dataclasses.replace(path, path=found.name(path.path)) for path in args.paths]
    tell(dataclasses.replace(args, paths=paths))


@contextmanager
def _published(found: Target, *, lazy: bool) -> Iterator[None]:
    """Publish what a sink has written when it has succeeded, and drop it when it fails.

    Nothing tells when a lazy sink is over, so what it writes is published as Polars completes it.
    """
    if found.backend == "native" or lazy:
        yield
        return
    try:
        yield
    except BaseException:
        for base in found.shown:
            gateway().end(base)
        raise
    for base in found.shown:
        gateway().publish(base)


def write_ndjson(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> None:
    """Call ``DataFrame.write_ndjson``, which takes no storage options, by way of the sink, which does."""
    (frame,) = function.args
    write(partial(pl.LazyFrame.sink_ndjson, frame.lazy()), sink, arguments, backend)


def write_file(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> None:
    """Call a method that writes to a file object only, with one of ours; it is published at the end."""
    given = dict(arguments)
    place, paths = place_of([sink], given.pop("storage_options", None) or {})
    with place.open(paths[0], "wb") as file:
        function(file, **given)


def _cloud(function: _Bound, found: Target, given: _Arguments) -> _Arguments:
    if given.pop("credential_provider", "auto") not in ("auto", None):
        raise ValueError("with a URL of opendalfs credentials go into storage_options")
    arguments = {**given, "storage_options": found.storage_options or None}
    if "credential_provider" in inspect.signature(function).parameters:
        # None: Polars must not look for others than those that were given.
        arguments["credential_provider"] = None
    return arguments


def _rebased(sink: PartitionBy, base: str) -> PartitionBy:
    """Copy a PartitionBy with another base."""
    rebased = copy.copy(sink)
    rebased._pl_partition_by = dataclasses.replace(sink._pl_partition_by, base_path=base)
    return rebased
