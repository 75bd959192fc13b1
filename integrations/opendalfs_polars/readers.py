"""Polars' readers for URLs of any service, without any patching.

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
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "scan_csv",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
]

_Options = Mapping[str, Any] | None


def _read(function: Any, source: Any, options: _Options, backend: Backend, arguments: dict[str, Any]) -> Any:
    given = {**arguments, "storage_options": options}
    if calls.named(source):
        return calls.read(function, source, given, backend)
    return function(source, **given)


def scan_parquet(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.LazyFrame:
    """Scan Parquet lazily, with all that Polars pushes down.

    Parameters
    ----------
    source : str, path-like, or list of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``pl.scan_parquet`` takes them.

    Returns
    -------
    LazyFrame

    Raises
    ------
    OptionError
        For an option that the service does not have.
    Refused
        With ``backend="native"`` when anything would be lost.

    Examples
    --------
    >>> from opendalfs_polars import write_parquet
    >>> write_parquet(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/scan.parquet")
    >>> scan_parquet("opendal+memory://doc/scan.parquet").select("a").sum().collect().item()
    3
    """
    frame: pl.LazyFrame = _read(pl.scan_parquet, source, storage_options, backend, arguments)
    return frame


def read_parquet(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.DataFrame:
    """Read Parquet; parameters and errors as of `scan_parquet`.

    Arguments are those of ``pl.read_parquet``.

    Examples
    --------
    >>> from opendalfs_polars import write_parquet
    >>> write_parquet(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/read.parquet")
    >>> read_parquet("opendal+memory://doc/read.parquet").height
    2
    """
    frame: pl.DataFrame = _read(pl.read_parquet, source, storage_options, backend, arguments)
    return frame


def scan_csv(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.LazyFrame:
    """Scan CSV lazily, with all that Polars pushes down.

    Parameters
    ----------
    source : str, path-like, or list of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``pl.scan_csv`` takes them.

    Returns
    -------
    LazyFrame

    Raises
    ------
    OptionError
        For an option that the service does not have.
    Refused
        With ``backend="native"`` when anything would be lost.

    Examples
    --------
    >>> from opendalfs_polars import write_csv
    >>> write_csv(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/scan.csv")
    >>> scan_csv("opendal+memory://doc/scan.csv").select("a").sum().collect().item()
    3
    """
    frame: pl.LazyFrame = _read(pl.scan_csv, source, storage_options, backend, arguments)
    return frame


def read_csv(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.DataFrame:
    """Read CSV; parameters and errors as of `scan_csv`.

    Arguments are those of ``pl.read_csv``.

    Examples
    --------
    >>> from opendalfs_polars import write_csv
    >>> write_csv(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/read.csv")
    >>> read_csv("opendal+memory://doc/read.csv").height
    2
    """
    frame: pl.DataFrame = _read(pl.read_csv, source, storage_options, backend, arguments)
    return frame


def scan_ndjson(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.LazyFrame:
    """Scan newline-delimited JSON lazily, with all that Polars pushes down.

    Parameters
    ----------
    source : str, path-like, or list of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``pl.scan_ndjson`` takes them.

    Returns
    -------
    LazyFrame

    Raises
    ------
    OptionError
        For an option that the service does not have.
    Refused
        With ``backend="native"`` when anything would be lost.

    Examples
    --------
    >>> from opendalfs_polars import write_ndjson
    >>> write_ndjson(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/scan.ndjson")
    >>> scan_ndjson("opendal+memory://doc/scan.ndjson").select("a").sum().collect().item()
    3
    """
    frame: pl.LazyFrame = _read(pl.scan_ndjson, source, storage_options, backend, arguments)
    return frame


def read_ndjson(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.DataFrame:
    """Read newline-delimited JSON; parameters and errors as of `scan_ndjson`.

    Arguments are those of ``pl.read_ndjson``.

    Examples
    --------
    >>> from opendalfs_polars import write_ndjson
    >>> write_ndjson(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/read.ndjson")
    >>> read_ndjson("opendal+memory://doc/read.ndjson").height
    2
    """
    frame: pl.DataFrame = _read(pl.read_ndjson, source, storage_options, backend, arguments)
    return frame


def scan_ipc(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.LazyFrame:
    """Scan Arrow IPC lazily, with all that Polars pushes down.

    Parameters
    ----------
    source : str, path-like, or list of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
    storage_options : Mapping, optional
        Options of the service, in opendalfs's names.
    backend : {"auto", "native", "gateway"}
        As `target` takes it.
    **arguments
        As ``pl.scan_ipc`` takes them.

    Returns
    -------
    LazyFrame

    Raises
    ------
    OptionError
        For an option that the service does not have.
    Refused
        With ``backend="native"`` when anything would be lost.

    Examples
    --------
    >>> from opendalfs_polars import write_ipc
    >>> write_ipc(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/scan.arrow")
    >>> scan_ipc("opendal+memory://doc/scan.arrow").select("a").sum().collect().item()
    3
    """
    frame: pl.LazyFrame = _read(pl.scan_ipc, source, storage_options, backend, arguments)
    return frame


def read_ipc(
    source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
) -> pl.DataFrame:
    """Read Arrow IPC; parameters and errors as of `scan_ipc`.

    Arguments are those of ``pl.read_ipc``.

    Examples
    --------
    >>> from opendalfs_polars import write_ipc
    >>> write_ipc(pl.DataFrame({"a": [1, 2]}), "opendal+memory://doc/read.arrow")
    >>> read_ipc("opendal+memory://doc/read.arrow").height
    2
    """
    frame: pl.DataFrame = _read(pl.read_ipc, source, storage_options, backend, arguments)
    return frame
