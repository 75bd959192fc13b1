"""The hooks: with them ``pl.scan_parquet("opendal+s3://...")`` and its siblings work.

Polars has no registry of object stores, so its functions are wrapped. A wrapper looks at the one argument
that may hold URLs. Without an opendalfs URL the call goes to Polars unchanged. Without the hooks Polars takes
such a URL for a local path: it does not find the file, or writes to a folder called ``opendal+s3:``. Nothing
of Polars could raise an error instead: it asks its default credential provider only for schemes that it
knows, and does not let a namespace replace one of its methods.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import polars as pl

from . import wrap
from .target import Backend

__all__ = ["Hooks", "polars"]

_FORMATS: Final = ("parquet", "csv", "ndjson", "ipc", "lines")
_READERS: Final = (
    *(f"scan_{name}" for name in _FORMATS),
    *(f"read_{name}" for name in _FORMATS),
    "read_parquet_metadata",
)
_METHODS: Final[tuple[tuple[type, tuple[str, ...], wrap.UrlCall], ...]] = (
    (pl.LazyFrame, ("sink_parquet", "sink_csv", "sink_ndjson", "sink_ipc"), wrap.call_sink),
    (pl.DataFrame, ("write_parquet", "write_csv", "write_ipc"), wrap.call_sink),
    (pl.DataFrame, ("write_ndjson",), wrap.call_ndjson_writer),
    (pl.DataFrame, ("write_avro", "write_ipc_stream", "write_json"), wrap.call_file_writer),
)

_lock = threading.Lock()
_active: list[Hooks] = []
_patches: list[tuple[Any, str, Any, Any]] = []


class Hooks:
    """Hooks in Polars' functions, installed until `uninstall` or the end of a ``with`` block.

    Parameters
    ----------
    backend : {"auto", "native", "gateway"}
        As `opendalfs_polars.target` takes it.
    storage_options : Mapping
        Options for calls that have none.

    Examples
    --------
    >>> with polars(backend="gateway") as hooks:
    ...     hooks.backend
    'gateway'
    """

    def __init__(self, backend: Backend, storage_options: Mapping[str, Any]) -> None:
        self.backend = backend
        self.storage_options = dict(storage_options)
        with _lock:
            if not _active:
                _patch()
            _active.append(self)

    def uninstall(self) -> None:
        """Remove the hooks. Without any hooks Polars is as before. A second call does nothing."""
        with _lock:
            if self in _active:
                _active.remove(self)
                if not _active:
                    _restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.uninstall()

    def __repr__(self) -> str:
        """Return a repr without the options, which may hold secrets."""
        return f"Hooks(backend={self.backend!r}, installed={self in _active})"


def polars(backend: Backend = "auto", **options: Any) -> Hooks:
    """Make Polars' own functions accept URLs of any service.

    ``pl.scan_*`` and ``pl.read_*`` of parquet, csv, ndjson and ipc, ``LazyFrame.sink_*`` and
    ``DataFrame.write_*`` then accept ``opendal+<service>://...`` strings, lists, globs, directories and
    PartitionBy base paths, with ``storage_options`` in opendalfs's names. All other calls go to Polars
    unchanged.

    Parameters
    ----------
    backend : {"auto", "native", "gateway"}
        As `opendalfs_polars.target` takes it.
    **options
        Options of the service, for calls without ``storage_options``.

    Returns
    -------
    Hooks
        Has ``uninstall()``, and is a context manager.

    Raises
    ------
    OptionError
        By a later call, for an option that its service does not have.

    Examples
    --------
    >>> import polars as pl
    >>> with polars():
    ...     pl.DataFrame({"a": [1, 2]}).write_parquet("opendal+memory://hooks/a.parquet")
    ...     pl.scan_parquet("opendal+memory://hooks/*.parquet").select(pl.len()).collect().item()
    2
    """
    return Hooks(backend, options)


def _wrapped(original: Callable[..., Any], call: wrap.UrlCall) -> Callable[..., Any]:
    """Return a wrapper of a function that accepts opendalfs URLs while any hooks are installed."""
    function = wrap.PolarsFunction(original, call)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # A copy: another thread may uninstall the hooks meanwhile.
        for hooks in _active[-1:]:
            return function(args, kwargs, hooks.storage_options, hooks.backend)
        return original(*args, **kwargs)

    return wrapper


def _patch() -> None:
    for name in _READERS:
        original = getattr(pl, name, None)
        if original is not None:
            _replace(_modules_with(name, original), name, original, _wrapped(original, wrap.call_reader))
    for owner, names, call in _METHODS:
        for name in names:
            original = owner.__dict__[name]
            _replace([owner], name, original, _wrapped(original, call))


def _modules_with(name: str, original: Any) -> list[Any]:
    """Return the modules of Polars that hold a function: some import it from another one."""
    modules = [m for n, m in list(sys.modules.items()) if n == "polars" or n.startswith("polars.")]
    return [m for m in modules if m.__dict__.get(name) is original]


def _replace(owners: list[Any], name: str, original: Any, wrapper: Any) -> None:
    for owner in owners:
        setattr(owner, name, wrapper)
        _patches.append((owner, name, original, wrapper))


def _restore() -> None:
    while _patches:
        owner, name, original, wrapper = _patches.pop()
        # If another library has wrapped our wrapper, it stays: it passes everything to Polars.
        if owner.__dict__.get(name) is wrapper:
            setattr(owner, name, original)
