"""One call of a Polars function with our URLs in it: translated, made, tidied up.

Both `functions` and `hooks` come here, so that a URL means the same with the hooks and without.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import polars as pl
from polars.io.partition import PartitionBy

from .gateway import gateway
from .target import Backend, Target, is_ours, place_of, resolve

__all__ = ["named", "read", "write", "write_file", "write_ndjson"]

T = TypeVar("T")
_Arguments = dict[str, Any]

_ENCODINGS: Final = frozenset({"utf8", "utf8-lossy"})


def named(source: object) -> bool:
    """Tell whether an argument holds URLs of ours: a string, a path, a list of these, or a PartitionBy."""
    if isinstance(source, PartitionBy):
        return is_ours(source._pl_partition_by.base_path)
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return any(map(is_ours, source))
    return is_ours(source)


def read(function: Callable[..., T], source: Any, arguments: Mapping[str, Any], backend: Backend) -> T:
    """Call a function of Polars that scans or reads.

    Parameters
    ----------
    function : callable
        Such as ``pl.scan_parquet``.
    source : str, path, or list of these
        URLs of ours.
    arguments : Mapping
        The others, ``storage_options`` in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    ValueError
        For a credential_provider, which opendalfs has no use for.
    """
    given = dict(arguments)
    if given.get("use_pyarrow") or given.get("encoding", "utf8") not in _ENCODINGS:
        # Polars then opens the file by fsspec, which knows our URLs itself.
        return function(source, **given)
    found = resolve(source, given.pop("storage_options", None), backend)
    result = function(found.source, **_cloud(function, found, given))
    column = given.get("include_file_paths")
    if column and found.base and isinstance(result, (pl.LazyFrame, pl.DataFrame)):
        shown = pl.col(column).str.strip_prefix(found.base)
        return result.with_columns((pl.lit(found.shown) + shown).alias(column))  # type: ignore[return-value]
    return result


def write(
    function: Callable[..., T],
    frame: pl.LazyFrame | pl.DataFrame,
    sink: Any,
    arguments: Mapping[str, Any],
    backend: Backend,
) -> T:
    """Call a method of Polars that sinks or writes.

    Parameters
    ----------
    function : callable
        Such as ``pl.LazyFrame.sink_parquet``.
    frame : LazyFrame or DataFrame
        Its self.
    sink : str, path or PartitionBy
        With a URL of ours.
    arguments : Mapping
        The others, ``storage_options`` in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.

    Returns
    -------
    object
        What the method returns.
    """
    given = dict(arguments)
    options = given.pop("storage_options", None)
    parted = isinstance(sink, PartitionBy)
    url = sink._pl_partition_by.base_path if parted else sink
    lazy = bool(given.get("lazy"))
    found = resolve(url, options, backend, write=True, hold=not lazy)
    path = _rebased(sink, str(found.source)) if parted else found.source
    with _published(found, lazy=lazy):
        return function(frame, path, **_cloud(function, found, given))


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
        gateway().end(found.base)
        raise
    gateway().publish(found.base)


def write_ndjson(
    function: Callable[..., Any],
    frame: pl.DataFrame,
    sink: Any,
    arguments: Mapping[str, Any],
    backend: Backend,
) -> None:
    """Call ``DataFrame.write_ndjson``, which takes no storage options, by way of the sink, which does."""
    write(pl.LazyFrame.sink_ndjson, frame.lazy(), sink, arguments, backend)


def write_file(
    function: Callable[..., Any],
    frame: pl.DataFrame,
    sink: Any,
    arguments: Mapping[str, Any],
    backend: Backend,
) -> None:
    """Call a method that writes to a file object only, with one of ours; it is published at the end."""
    given = dict(arguments)
    place, paths = place_of([sink], given.pop("storage_options", None) or {})
    with place.open(paths[0], "wb") as file:
        function(frame, file, **given)


def _cloud(function: Callable[..., Any], found: Target, given: _Arguments) -> _Arguments:
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
