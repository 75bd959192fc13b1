"""Polars' sinks and writers for URLs of any service, without any patching.

Each takes what its namesake in Polars takes, but `storage_options` in opendalfs's names, and ``backend``
as `target` does. What is no URL of ours goes to Polars as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from . import calls
from .target import Backend

__all__ = [
    "sink_csv",
    "sink_ipc",
    "sink_ndjson",
    "sink_parquet",
    "write_csv",
    "write_ipc",
    "write_ndjson",
    "write_parquet",
]

_Options = Mapping[str, Any] | None


def _write(
    function: Any, frame: Any, sink: Any, options: _Options, backend: Backend, arguments: dict[str, Any]
) -> Any:
    given = {**arguments, "storage_options": options}
    if calls.named(sink):
        return calls.write(function, frame, sink, given, backend)
    return function(frame, sink, **given)


def sink_parquet(
    frame: pl.LazyFrame,
    path: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> Any:
    """Run a query and write its result as Parquet; the object shows when all of it is written.

    Parameters
    ----------
    frame : LazyFrame
        The query.
    path : str, path-like or PartitionBy
        ``opendal+<service>://...``, or a PartitionBy with such a base; then each file shows when it is
        written.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``LazyFrame.sink_parquet`` takes them.

    Returns
    -------
    None or LazyFrame
        A LazyFrame with ``lazy=True``.

    Raises
    ------
    OptionError
        For an option that the service does not have.
    UnsupportedError
        For a service that cannot write.

    Examples
    --------
    >>> sink_parquet(pl.LazyFrame({"a": [1, 2]}), "opendal+memory://doc/sink.parquet")
    """
    return _write(pl.LazyFrame.sink_parquet, frame, path, storage_options, backend, arguments)


def write_parquet(
    frame: pl.DataFrame,
    file: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> None:
    """Write a DataFrame as Parquet; parameters and errors as of `sink_parquet`.

    Examples
    --------
    >>> write_parquet(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/write.parquet")
    """
    _write(pl.DataFrame.write_parquet, frame, file, storage_options, backend, arguments)


def sink_csv(
    frame: pl.LazyFrame,
    path: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> Any:
    """Run a query and write its result as CSV; the object shows when all of it is written.

    Parameters
    ----------
    frame : LazyFrame
        The query.
    path : str, path-like or PartitionBy
        ``opendal+<service>://...``, or a PartitionBy with such a base; then each file shows when it is
        written.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``LazyFrame.sink_csv`` takes them.

    Returns
    -------
    None or LazyFrame
        A LazyFrame with ``lazy=True``.

    Raises
    ------
    OptionError
        For an option that the service does not have.
    UnsupportedError
        For a service that cannot write.

    Examples
    --------
    >>> sink_csv(pl.LazyFrame({"a": [1, 2]}), "opendal+memory://doc/sink.csv")
    """
    return _write(pl.LazyFrame.sink_csv, frame, path, storage_options, backend, arguments)


def write_csv(
    frame: pl.DataFrame,
    file: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> None:
    """Write a DataFrame as CSV; parameters and errors as of `sink_csv`.

    Examples
    --------
    >>> write_csv(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/write.csv")
    """
    _write(pl.DataFrame.write_csv, frame, file, storage_options, backend, arguments)


def sink_ndjson(
    frame: pl.LazyFrame,
    path: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> Any:
    """Run a query and write its result as newline-delimited JSON; the object shows when all of it is written.

    Parameters
    ----------
    frame : LazyFrame
        The query.
    path : str, path-like or PartitionBy
        ``opendal+<service>://...``, or a PartitionBy with such a base; then each file shows when it is
        written.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``LazyFrame.sink_ndjson`` takes them.

    Returns
    -------
    None or LazyFrame
        A LazyFrame with ``lazy=True``.

    Raises
    ------
    OptionError
        For an option that the service does not have.
    UnsupportedError
        For a service that cannot write.

    Examples
    --------
    >>> sink_ndjson(pl.LazyFrame({"a": [1, 2]}), "opendal+memory://doc/sink.ndjson")
    """
    return _write(pl.LazyFrame.sink_ndjson, frame, path, storage_options, backend, arguments)


def write_ndjson(
    frame: pl.DataFrame,
    file: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> None:
    """Write a DataFrame as newline-delimited JSON; parameters and errors as of `sink_ndjson`.

    Examples
    --------
    >>> write_ndjson(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/write.ndjson")
    """
    _write(pl.LazyFrame.sink_ndjson, frame.lazy(), file, storage_options, backend, arguments)


def sink_ipc(
    frame: pl.LazyFrame,
    path: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> Any:
    """Run a query and write its result as Arrow IPC; the object shows when all of it is written.

    Parameters
    ----------
    frame : LazyFrame
        The query.
    path : str, path-like or PartitionBy
        ``opendal+<service>://...``, or a PartitionBy with such a base; then each file shows when it is
        written.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``LazyFrame.sink_ipc`` takes them.

    Returns
    -------
    None or LazyFrame
        A LazyFrame with ``lazy=True``.

    Raises
    ------
    OptionError
        For an option that the service does not have.
    UnsupportedError
        For a service that cannot write.

    Examples
    --------
    >>> sink_ipc(pl.LazyFrame({"a": [1, 2]}), "opendal+memory://doc/sink.arrow")
    """
    return _write(pl.LazyFrame.sink_ipc, frame, path, storage_options, backend, arguments)


def write_ipc(
    frame: pl.DataFrame,
    file: Any,
    *,
    storage_options: _Options = None,
    backend: Backend = "auto",
    **arguments: Any,
) -> None:
    """Write a DataFrame as Arrow IPC; parameters and errors as of `sink_ipc`.

    Examples
    --------
    >>> write_ipc(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/write.arrow")
    """
    _write(pl.DataFrame.write_ipc, frame, file, storage_options, backend, arguments)
