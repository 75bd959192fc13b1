"""Calls of Polars' functions with opendalfs URLs: the URL is translated, and the call made.

Both `functions` and `hooks` use this module, so that a URL means the same with the hooks and without.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import polars as pl
from polars.io.partition import PartitionBy, SinkedPathsCallbackArgs

from opendalfs_gateway import gateway

from .partition import base_path, with_base_path
from .target import Backend, Target, is_opendalfs_url, make_target, parse_urls

__all__ = [
    "PolarsFunction",
    "UrlCall",
    "call_file_writer",
    "call_ndjson_writer",
    "call_reader",
    "call_sink",
    "has_opendalfs_url",
]

_Arguments = dict[str, Any]
_Bound = partial[Any]
UrlCall = Callable[[_Bound, Any, Mapping[str, Any], Backend], Any]
"""Calls a function of Polars, its self bound, with opendalfs URLs and the other arguments.

These include ``storage_options`` in opendalfs's names. It returns what the function returns.
"""

_ENCODINGS: Final = frozenset({"utf8", "utf8-lossy"})


def has_opendalfs_url(source: object) -> bool:
    """Whether an argument holds an opendalfs URL: a string, a path, a list of these, or a PartitionBy."""
    if isinstance(source, PartitionBy):
        return is_opendalfs_url(base_path(source))
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return any(map(is_opendalfs_url, source))
    return is_opendalfs_url(source)


class PolarsFunction:
    """A function or method of Polars whose first argument, after self, may hold URLs.

    Parameters
    ----------
    original : callable
        Such as ``pl.scan_parquet`` or ``pl.LazyFrame.sink_parquet``.
    call : UrlCall
        Makes the calls with opendalfs URLs: one of the ``call_*`` functions of this module.

    Attributes
    ----------
    where : str
        Name of the argument that may hold URLs.
    """

    def __init__(self, original: Callable[..., Any], call: UrlCall) -> None:
        self.original = original
        self.signature = inspect.signature(original)
        self._call = call
        self._names = list(self.signature.parameters)
        self._self_count = int(self._names[0] == "self")
        self.where = self._names[self._self_count]

    def __call__(
        self, args: tuple[Any, ...], kwargs: _Arguments, options: Mapping[str, Any] | None, backend: Backend
    ) -> Any:
        """Call the function; without an opendalfs URL, with unchanged arguments.

        Parameters
        ----------
        args, kwargs : tuple and dict
            The arguments of the caller.
        options : Mapping, optional
            Storage options for a call that has none.
        backend : {"auto", "native", "gateway"}
            As `target` takes it.
        """
        source = args[self._self_count] if len(args) > self._self_count else kwargs.get(self.where)
        if not has_opendalfs_url(source):
            return self.original(*args, **kwargs)
        known = {name: value for name, value in kwargs.items() if name in self._names}
        # Polars itself handles deprecated and unknown names.
        arguments = {**kwargs, **self.signature.bind(*args, **known).arguments}
        bound = partial(self.original, *(arguments.pop(name) for name in self._names[: self._self_count]))
        del arguments[self.where]
        if arguments.get("storage_options") is None:
            arguments["storage_options"] = options
        provider = arguments.pop("credential_provider", "auto")
        if provider not in ("auto", None):
            arguments["storage_options"] = {
                **(arguments["storage_options"] or {}),
                "credential_provider": provider,
            }
        return self._call(bound, source, arguments, backend)


def call_reader(function: _Bound, source: Any, arguments: Mapping[str, Any], backend: Backend) -> Any:
    """Call a function that scans or reads."""
    remaining = dict(arguments)
    if remaining.get("use_pyarrow") or remaining.get("encoding", "utf8") not in _ENCODINGS:
        # Polars then opens the file with fsspec, which accepts opendalfs URLs itself.
        return function(source, **remaining)
    glob = bool(remaining.get("glob", True))
    target = make_target(source, remaining.pop("storage_options", None), backend, glob=glob)
    result = None
    try:
        result = function(target.source, **_cloud_arguments(function, target, remaining))
    finally:
        if target.backend == "gateway" and not isinstance(result, pl.LazyFrame):
            for base in target.shown:
                gateway().release(base)
    column = remaining.get("include_file_paths")
    return result.with_columns(_user_urls(column, target)) if column else result


def _user_urls(column: str, target: Target) -> pl.Expr:
    """Return an expression that replaces Polars' names of files by the URLs of the user."""
    path = pl.col(column)
    url = path
    for base, shown in target.shown.items():
        renamed = pl.lit(shown) + path.str.strip_prefix(base)
        url = pl.when(path.str.starts_with(base)).then(renamed).otherwise(url)
    return url.alias(column)


def call_sink(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> Any:
    """Call a method that sinks or writes."""
    remaining = dict(arguments)
    if remaining.get("use_pyarrow"):
        # pyarrow would look for the gateway's bucket at AWS. It takes a file.
        if (remaining.get("pyarrow_options") or {}).get("partition_cols"):
            raise ValueError(
                "pyarrow's partition_cols are not supported with a URL: use partition_by, without use_pyarrow"
            )
        return call_file_writer(function, sink, remaining, backend)
    options = remaining.pop("storage_options", None)
    is_partitioned = isinstance(sink, PartitionBy)
    url = base_path(sink) if is_partitioned else sink
    lazy = bool(remaining.get("lazy"))
    target = make_target(url, options, backend, write=True, hold=not lazy)
    path = with_base_path(sink, str(target.source)) if is_partitioned else target.source
    written: list[SinkedPathsCallbackArgs] = []
    callback = remaining.get("sinked_paths_callback")
    if callback:
        # The files can be read when the callback is called, but for lazy sinks.
        remaining["sinked_paths_callback"] = partial(_call_back, callback, target) if lazy else written.append
    with _publishing(target, lazy=lazy):
        result = _interrupted_once(partial(function, path, **_cloud_arguments(function, target, remaining)))
    for args in written:
        _call_back(callback, target, args)
    return result


def _interrupted_once(function: _Bound) -> Any:
    """Call a function of Polars, and raise once for one Ctrl-C.

    Polars raises KeyboardInterrupt itself. Python then raises it again for the same signal, at its next
    check, where it would end the removal of what a sink has written.
    """
    try:
        return function()
    except KeyboardInterrupt:
        try:  # noqa: SIM105 - `suppress` is a call, after which Python checks for signals too.
            time.sleep(0)
        except KeyboardInterrupt:
            pass
        raise


def _call_back(callback: Any, target: Target, args: SinkedPathsCallbackArgs) -> None:
    """Call the user's callback with the URLs of the user."""
    paths = [dataclasses.replace(path, path=target.name(path.path)) for path in args.paths]
    callback(dataclasses.replace(args, paths=paths))


@contextmanager
def _publishing(target: Target, *, lazy: bool) -> Iterator[None]:
    """Publish the files of a sink if the block succeeds, and drop them if it fails.

    The end of a lazy sink cannot be observed, so its files are published as Polars completes them.
    """
    if target.backend == "native" or lazy:
        yield
        return
    try:
        yield
    except BaseException:
        for base in target.shown:
            gateway().end(base)
        raise
    for base in target.shown:
        gateway().publish(base)


def call_ndjson_writer(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> None:
    """Call the sink in place of ``DataFrame.write_ndjson``, which takes no storage options."""
    (frame,) = function.args
    call_sink(partial(pl.LazyFrame.sink_ndjson, frame.lazy()), sink, arguments, backend)


def call_file_writer(function: _Bound, sink: Any, arguments: Mapping[str, Any], backend: Backend) -> None:
    """Call a method that only writes to a file object, with one of opendalfs, published at the end."""
    remaining = dict(arguments)
    filesystem, paths = parse_urls([sink], remaining.pop("storage_options", None) or {})
    with filesystem.open(paths[0], "wb") as file:
        function(file, **remaining)


def _cloud_arguments(function: _Bound, target: Target, arguments: _Arguments) -> _Arguments:
    """Return the arguments with the storage options of the target in place of the user's."""
    replaced = {**arguments, "storage_options": target.storage_options or None}
    if "credential_provider" in inspect.signature(function).parameters:
        # None: Polars must not look for other credentials.
        replaced["credential_provider"] = None
    return replaced
