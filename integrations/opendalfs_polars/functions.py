"""Polars' readers and sinks for URLs of any service, without any patching.

Each takes what its namesake in Polars takes, which `inspect.signature` shows, but `storage_options` in
opendalfs's names, and ``backend`` as `target` does. What is no URL of ours goes to Polars as it is.
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
        """Take what the namesake in Polars takes, and opendalfs's URLs and options."""


class _Sink(Protocol):
    """A method that runs a query and writes its result, with the query for its self."""

    def __call__(
        self,
        frame: pl.LazyFrame,
        path: Any,
        *,
        storage_options: _Options = None,
        backend: Backend = "auto",
        **arguments: Any,
    ) -> Any:
        """Take what the namesake in Polars takes, and opendalfs's URLs and options."""


class _Writer(Protocol):
    """A method that writes a DataFrame, with that for its self."""

    def __call__(
        self,
        frame: pl.DataFrame,
        file: Any,
        *,
        storage_options: _Options = None,
        backend: Backend = "auto",
        **arguments: Any,
    ) -> None:
        """Take what the namesake in Polars takes, and opendalfs's URLs and options."""


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
_READS: Final = """{verb} {what}, with all that Polars pushes down.

Parameters
----------
source : str, path-like, or list of these
    ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end.
storage_options : Mapping, optional
    Options of the service, in opendalfs's names.
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
    With ``backend="native"`` when anything would be lost.

Examples
--------
>>> from opendalfs_polars import write_{format}
>>> write_{format}(pl.DataFrame({{"a": [1, 2]}}), "opendal+memory://doc/{name}")
>>> {name}("opendal+memory://doc/{name}").lazy().collect().height
2
"""

_WRITES: Final = """{verb} {what}.

The object shows when all of it is written, and not when that fails. With ``lazy=True`` nothing tells when a
query has failed, and what Polars completes all the same is published.

Parameters
----------
frame : {owner}
    What is written.
{where} : str, path-like or PartitionBy
    ``opendal+<service>://...``, or a PartitionBy with such a base, whose files show at the end, or when more
    than 256 MiB of them wait for it.
storage_options : Mapping, optional
    Options of the service, in opendalfs's names.
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
    For a service that cannot write.

Examples
--------
>>> {name}(pl.{owner}({{"a": [1, 2]}}), "opendal+memory://doc/{name}")
"""


def _made(owner: Any, name: str, call: wrap.Call = wrap.write) -> Any:
    """Make our function for one of Polars, or for a method, whose self is called `frame` here."""
    polars = wrap.Function(getattr(owner, name), call)

    def function(*args: Any, backend: Backend = "auto", **kwargs: Any) -> Any:
        if "frame" in kwargs:
            kwargs["self"] = kwargs.pop("frame")
        if kwargs.get("storage_options") is None:
            # Not every function of Polars takes them.
            kwargs.pop("storage_options", None)
        return polars(args, kwargs, None, backend)

    verb, _, format = name.partition("_")
    function.__module__, function.__name__, function.__qualname__ = __name__, name, name
    function.__signature__ = _signature(polars.signature)  # type: ignore[attr-defined]
    function.__doc__ = (_READS if owner is pl else _WRITES).format(
        name=name,
        verb=_VERBS[verb],
        format=format,
        what=_FORMATS[format],
        owner=owner.__name__,
        where=polars.where,
    )
    return function


def _signature(polars: Signature) -> Signature:
    """Give what our function takes: what Polars' takes, but for what is private there or of no use here."""
    shown = [
        parameter.replace(name="frame") if name == "self" else parameter
        for name, parameter in polars.parameters.items()
        if not name.startswith("_") and name not in ("credential_provider", "storage_options")
    ]
    options = Parameter("storage_options", Parameter.KEYWORD_ONLY, default=None, annotation=_Options)
    backend = Parameter("backend", Parameter.KEYWORD_ONLY, default="auto", annotation=Backend)
    return polars.replace(parameters=[*shown, options, backend])


scan_parquet: _Reader[pl.LazyFrame] = _made(pl, "scan_parquet", wrap.read)
scan_csv: _Reader[pl.LazyFrame] = _made(pl, "scan_csv", wrap.read)
scan_ndjson: _Reader[pl.LazyFrame] = _made(pl, "scan_ndjson", wrap.read)
scan_ipc: _Reader[pl.LazyFrame] = _made(pl, "scan_ipc", wrap.read)

read_parquet: _Reader[pl.DataFrame] = _made(pl, "read_parquet", wrap.read)
read_csv: _Reader[pl.DataFrame] = _made(pl, "read_csv", wrap.read)
read_ndjson: _Reader[pl.DataFrame] = _made(pl, "read_ndjson", wrap.read)
read_ipc: _Reader[pl.DataFrame] = _made(pl, "read_ipc", wrap.read)

sink_parquet: _Sink = _made(pl.LazyFrame, "sink_parquet")
sink_csv: _Sink = _made(pl.LazyFrame, "sink_csv")
sink_ndjson: _Sink = _made(pl.LazyFrame, "sink_ndjson")
sink_ipc: _Sink = _made(pl.LazyFrame, "sink_ipc")

write_parquet: _Writer = _made(pl.DataFrame, "write_parquet")
write_csv: _Writer = _made(pl.DataFrame, "write_csv")
write_ndjson: _Writer = _made(pl.DataFrame, "write_ndjson", wrap.write_ndjson)
write_ipc: _Writer = _made(pl.DataFrame, "write_ipc")
