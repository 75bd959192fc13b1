"""The hooks: with them ``pl.scan_parquet("opendal+s3://...")`` and its siblings work.

Polars has no place to register a store, so its functions are wrapped. A wrapper looks at the one argument
that may name storage; where it holds no URL of ours, the call goes through as it came. Without the hooks
Polars takes such a URL for a local path: it does not find it, or, worse, writes to a folder called
``opendal+s3:``.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import polars as pl

from . import calls
from .target import Backend

__all__ = ["Hooks", "polars"]

_FORMATS: Final = ("parquet", "csv", "ndjson", "ipc", "lines")
_READERS: Final = (
    *(f"scan_{name}" for name in _FORMATS),
    *(f"read_{name}" for name in _FORMATS),
    "read_parquet_metadata",
)
_SINKS: Final = ("sink_parquet", "sink_csv", "sink_ndjson", "sink_ipc")
_WRITERS: Final = ("write_parquet", "write_csv", "write_ipc")
_FILES: Final = ("write_avro", "write_ipc_stream", "write_json")

_lock = threading.Lock()
_active: list[Hooks] = []
_patches: list[tuple[Any, str, Any, Any]] = []


class Hooks:
    """Hooks that are installed until `uninstall`, or to the end of a ``with`` block.

    Parameters
    ----------
    backend : {"auto", "native", "gateway"}
        As `opendalfs_polars.target` takes it.
    storage_options : Mapping
        For calls that give none.
    """

    def __init__(self, backend: Backend, storage_options: Mapping[str, Any]) -> None:
        self.backend = backend
        self.storage_options = dict(storage_options)
        with _lock:
            if not _active:
                _patch()
            _active.append(self)

    def uninstall(self) -> None:
        """Take the hooks out; Polars is as it was when all are. Doing it twice is no error."""
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
        """Show whether they are installed; options may hold secrets."""
        return f"Hooks(backend={self.backend!r}, installed={self in _active})"


def polars(backend: Backend = "auto", **storage_options: Any) -> Hooks:
    """Let Polars' own functions take URLs of any service.

    Afterwards ``pl.scan_*`` and ``pl.read_*`` of parquet, csv, ndjson and ipc, ``LazyFrame.sink_*`` and
    ``DataFrame.write_*`` take ``opendal+<service>://...`` strings, lists, globs, directories and PartitionBy
    bases, with ``storage_options`` in opendalfs's names. Everything else goes through to Polars untouched.

    Parameters
    ----------
    backend : {"auto", "native", "gateway"}
        As `opendalfs_polars.target` takes it.
    **storage_options
        For calls that give none.

    Returns
    -------
    Hooks
        With ``uninstall()``; also a context manager.

    Examples
    --------
    >>> import polars as pl
    >>> with polars():
    ...     pl.DataFrame({"a": [1, 2]}).write_parquet("opendal+memory://doc/hooks.parquet")
    ...     pl.scan_parquet("opendal+memory://doc/*.parquet").select(pl.len()).collect().item()
    2
    """
    return Hooks(backend, storage_options)


_Call = Callable[[Callable[..., Any], tuple[Any, ...], Any, dict[str, Any], Backend], Any]


def _reads(function: Any, before: tuple[Any, ...], source: Any, given: dict[str, Any], how: Backend) -> Any:
    return calls.read(function, source, given, how)


def _writes(call: Callable[..., Any]) -> _Call:
    def made(function: Any, before: tuple[Any, ...], sink: Any, given: dict[str, Any], how: Backend) -> Any:
        return call(function, before[0], sink, given, how)

    return made


def _wrapped(original: Callable[..., Any], call: _Call, position: int) -> Callable[..., Any]:
    """Wrap a function whose argument at a position may name storage."""
    names = list(inspect.signature(original).parameters)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        where = args[position] if len(args) > position else kwargs.get(names[position])
        if not _active or not calls.named(where):
            return original(*args, **kwargs)
        hooks = _active[-1]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        before = tuple(given.pop(name) for name in names[:position])
        given.pop(names[position])
        if given.get("storage_options") is None:
            given["storage_options"] = hooks.storage_options
        return call(original, before, where, given, hooks.backend)

    return wrapper


def _patch() -> None:
    for name in _READERS:
        original = getattr(pl, name, None)
        if original is not None:
            _replace(_homes(name, original), name, original, _wrapped(original, _reads, 0))
    methods = (
        (pl.LazyFrame, _SINKS, calls.write),
        (pl.DataFrame, _WRITERS, calls.write),
        (pl.DataFrame, ("write_ndjson",), calls.write_ndjson),
        (pl.DataFrame, _FILES, calls.write_file),
    )
    for owner, names, call in methods:
        for name in names:
            original = owner.__dict__[name]
            _replace([owner], name, original, _wrapped(original, _writes(call), 1))


def _homes(name: str, original: Any) -> list[Any]:
    """Give the modules of Polars that hold a function; some call each other's by their own name for it."""
    modules = [m for n, m in list(sys.modules.items()) if n == "polars" or n.startswith("polars.")]
    return [m for m in modules if m.__dict__.get(name) is original]


def _replace(owners: list[Any], name: str, original: Any, wrapper: Any) -> None:
    for owner in owners:
        setattr(owner, name, wrapper)
        _patches.append((owner, name, original, wrapper))


def _restore() -> None:
    while _patches:
        owner, name, original, wrapper = _patches.pop()
        # Where another library has put its own wrapper around ours, ours stays: it passes everything through.
        if owner.__dict__.get(name) is wrapper:
            setattr(owner, name, original)
