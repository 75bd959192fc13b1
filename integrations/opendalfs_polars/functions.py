"""Readers and sinks of Polars for URLs of any service, without changes to Polars itself.

Each function takes the arguments of the Polars function with the same name (`inspect.signature` shows them),
except that `storage_options` has opendalfs's names, and ``backend`` as `target` takes it. Other URLs and
paths go to Polars unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any, Final, Protocol, TypeVar

import polars as pl

from . import wrap
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
_Frame = TypeVar("_Frame", covariant=True)


class _Reader(Protocol[_Frame]):
    """A function that scans or reads."""

    def __call__(
        self, source: Any, *, storage_options: _Options = None, backend: Backend = "auto", **arguments: Any
    ) -> _Frame:
        """Call the Polars function with the same name, with opendalfs URLs and options."""


class _Sink(Protocol):
    """A method that runs a query and writes its result; the query is the first argument."""

    def __call__(
        self,
        frame: pl.LazyFrame,
        path: Any,
        *,
        storage_options: _Options = None,
        backend: Backend = "auto",
        **arguments: Any,
    ) -> Any:
        """Call the Polars function with the same name, with opendalfs URLs and options."""


class _Writer(Protocol):
    """A method that writes a DataFrame, which is the first argument."""

    def __call__(
        self,
        frame: pl.DataFrame,
        file: Any,
        *,
        storage_options: _Options = None,
        backend: Backend = "auto",
        **arguments: Any,
    ) -> None:
        """Call the Polars function with the same name, with opendalfs URLs and options."""


_FORMATS: Final = {
    "parquet": "Parquet",
    "csv": "CSV",
    "ndjson": "newline-delimited JSON",
    "ipc": "Arrow IPC",
}
_VERBS: Final = {
    "scan": "Scan",
    "read": "Read",
    "sink": "Run a query and write its result as",
    "write": "Write a DataFrame as",
}
_READER_DOC: Final = """{verb} {what}, with everything that Polars pushes down.

Parameters
----------
source : str, path-like, or list of these
    ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
storage_options : Mapping, optional
    Options of the service, in opendalfs's names. An argument ``credential_provider`` is one of them; with it
    the gateway is used.
backend : {{"auto", "native", "gateway"}}
    As `target` takes it.
**arguments
    As ``polars.{name}`` takes them.

Returns
-------
LazyFrame or DataFrame
    As of ``polars.{name}``.

Raises
------
OptionError
    For an option that the service does not have.
NativeBackendError
    With ``backend="native"``, if Polars' own store cannot do the same.

Examples
--------
>>> from opendalfs_polars import write_{format}
>>> write_{format}(pl.DataFrame({{"a": [1, 2]}}), "opendal+memory://doc/{name}")
>>> {name}("opendal+memory://doc/{name}").lazy().collect().height
2
"""

_WRITER_DOC: Final = """{verb} {what}.

The object is visible when all of it is written; if that fails, nothing is published. With ``lazy=True`` a
failed query cannot be detected, so a file that Polars completes is published even then.

Parameters
----------
frame : {owner}
    The data.
{where} : str, path-like or PartitionBy
    ``opendal+<service>://...``, or a PartitionBy with such a base path. Its files become visible at the end,
    or earlier while more than 256 MiB of them are complete.
storage_options : Mapping, optional
    Options of the service, in opendalfs's names. An argument ``credential_provider`` is one of them; with it
    the gateway is used.
backend : {{"auto", "native", "gateway"}}
    As `target` takes it.
**arguments
    As ``{owner}.{name}`` takes them.

Returns
-------
None or LazyFrame
    A LazyFrame for a sink with ``lazy=True``.

Raises
------
OptionError
    For an option that the service does not have.
UnsupportedError
    If the service cannot write.

Examples
--------
>>> {name}(pl.{owner}({{"a": [1, 2]}}), "opendal+memory://doc/{name}")
"""


def _make(owner: Any, name: str, call: wrap.UrlCall = wrap.call_sink) -> Any:
    """Return our function for a function of Polars, or for a method, whose self is called `frame` here."""
    polars = wrap.PolarsFunction(getattr(owner, name), call)

    def function(*args: Any, backend: Backend = "auto", **kwargs: Any) -> Any:
        if "frame" in kwargs:
            kwargs["self"] = kwargs.pop("frame")
        if kwargs.get("storage_options") is None:
            # Not every function of Polars has this parameter.
            kwargs.pop("storage_options", None)
        return polars(args, kwargs, None, backend)

    verb, _, format = name.partition("_")
    function.__module__, function.__name__, function.__qualname__ = __name__, name, name
    function.__signature__ = _signature(polars.signature)  # type: ignore[attr-defined]
    function.__doc__ = (_READER_DOC if owner is pl else _WRITER_DOC).format(
        name=name,
        verb=_VERBS[verb],
        format=format,
        what=_FORMATS[format],
        owner=owner.__name__,
        where=polars.where,
    )
    return function


def _signature(polars: Signature) -> Signature:
    """Return the signature of our function: that of Polars, without private parameters."""
    shown = [
        parameter.replace(name="frame") if name == "self" else parameter
        for name, parameter in polars.parameters.items()
        if not name.startswith("_") and name != "storage_options"
    ]
    options = Parameter("storage_options", Parameter.KEYWORD_ONLY, default=None, annotation=_Options)
    backend = Parameter("backend", Parameter.KEYWORD_ONLY, default="auto", annotation=Backend)
    return polars.replace(parameters=[*shown, options, backend])


scan_parquet: _Reader[pl.LazyFrame] = _make(pl, "scan_parquet", wrap.call_reader)
scan_csv: _Reader[pl.LazyFrame] = _make(pl, "scan_csv", wrap.call_reader)
scan_ndjson: _Reader[pl.LazyFrame] = _make(pl, "scan_ndjson", wrap.call_reader)
scan_ipc: _Reader[pl.LazyFrame] = _make(pl, "scan_ipc", wrap.call_reader)

read_parquet: _Reader[pl.DataFrame] = _make(pl, "read_parquet", wrap.call_reader)
read_csv: _Reader[pl.DataFrame] = _make(pl, "read_csv", wrap.call_reader)
read_ndjson: _Reader[pl.DataFrame] = _make(pl, "read_ndjson", wrap.call_reader)
read_ipc: _Reader[pl.DataFrame] = _make(pl, "read_ipc", wrap.call_reader)

sink_parquet: _Sink = _make(pl.LazyFrame, "sink_parquet")
sink_csv: _Sink = _make(pl.LazyFrame, "sink_csv")
sink_ndjson: _Sink = _make(pl.LazyFrame, "sink_ndjson")
sink_ipc: _Sink = _make(pl.LazyFrame, "sink_ipc")

write_parquet: _Writer = _make(pl.DataFrame, "write_parquet")
write_csv: _Writer = _make(pl.DataFrame, "write_csv")
write_ndjson: _Writer = _make(pl.DataFrame, "write_ndjson", wrap.call_ndjson_writer)
write_ipc: _Writer = _make(pl.DataFrame, "write_ipc")
