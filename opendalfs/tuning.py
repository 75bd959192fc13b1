"""Options of this package for the requests to any service: retries, timeouts, sizes, the cache."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .errors import OptionError

__all__ = ["PARSERS", "Tuning"]

MiB: Final = 1 << 20

_CONCURRENCY: Final = 256

_UNITS: Final = {
    unit + suffix: base**power
    for power, unit in enumerate(("", "k", "m", "g", "t"))
    for suffix, base in (("", 1024), ("b", 1000), ("ib", 1024))
}
_SIZE: Final = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]*)\s*", re.I)
_LARGEST_CACHE: Final = 1 << 50


def _parse_dir(name: str, value: Any) -> str | None:
    """Return the absolute path of a directory; None for an empty one."""
    if not isinstance(value, (str, os.PathLike)):
        raise OptionError(f"{name} must be the path of a directory, not {reprlib.repr(value)}")
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise OptionError(f"{name} must be the path of a directory, not {reprlib.repr(value)}")
    return os.path.abspath(os.path.expanduser(path)) if path else None


def _parse_size(name: str, value: Any) -> int:
    """Return a number of bytes."""
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    unit = "" if found is None else found.group(2).lower()
    if found is None or unit not in _UNITS:
        raise OptionError(f'{name} must be a number of bytes, such as "20 GiB", not {reprlib.repr(value)}')
    size = int(float(found.group(1)) * _UNITS[unit])
    if not 1 <= size <= _LARGEST_CACHE:
        raise OptionError(f"{name} must be 1 byte to 1 PiB, not {reprlib.repr(value)}")
    return size


def _parse_ttl(name: str, value: Any) -> float | None:
    """Return a number of seconds; None for no limit."""
    if value is None or str(value).lower() == "none":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise OptionError(f"{name} must be a number of seconds or None, not {reprlib.repr(value)}")
    return None if math.isinf(seconds) else seconds


PARSERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "cache_dir": _parse_dir,
    "cache_size": _parse_size,
    "cache_ttl": _parse_ttl,
}
"""Functions that check the values of those options of `Tuning` that are more than a number or a flag."""


def _cache_dir() -> str | None:
    return _parse_dir("OPENDALFS_CACHE_DIR", os.environ.get("OPENDALFS_CACHE_DIR", ""))


def _cache_size() -> int:
    return _parse_size("OPENDALFS_CACHE_SIZE", os.environ.get("OPENDALFS_CACHE_SIZE") or "10 GiB")


def _concurrency() -> int:
    """Return the default of `Tuning.concurrency`. A request needs a connection, which is an open file."""
    try:
        import resource
    except ImportError:  # pragma: no cover  # Windows has no such limit
        return _CONCURRENCY
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONCURRENCY if open_files < 0 else max(1, min(_CONCURRENCY, open_files // 2))


@dataclass(frozen=True, slots=True)
class Tuning:
    """Options of this package for the requests to any service.

    Parameters
    ----------
    retry_timeout : float, default 30
        Seconds for which a request that failed for a temporary reason is retried: those of all attempts and
        delays after the first failure. The wait for a slot (`concurrency`), and for the pace of a server that
        refuses requests, does not count. A server that has never answered is retried for 2 s at most.
    retries : int, optional
        Largest number of retries of a request; 0 turns retries off. By default as many as
        fit into `retry_timeout`, and at most 50.
    retry_min_delay, retry_max_delay : float, default 0.05 and 5
        Upper bounds of the delay before the first retry and before later ones, in seconds. The bound doubles
        with each retry; the delay is a random part of it, or what a header ``Retry-After`` asks for.
    timeout : float, default 120
        Seconds that a stat, a listing page or a copy may take, including retries. An attempt without progress
        for a third of it is retried.
    io_timeout : float, default 300
        The same for reading or writing one part. Parts in flight share the bandwidth: by default 64 parts of
        8 MiB of a read need 15 Mbit/s, and 8 parts of an upload 6 Mbit/s.
    concurrency : int, default 256
        Largest number of requests that a filesystem has in flight. The default is smaller if the process may
        open fewer than twice as many files.
    block_size : int, default 5 MiB
        Bytes that a file of ``open("rb")`` reads ahead.
    read_chunk : int, default 8 MiB
        Largest size of one read request in bytes; larger reads are split and fetched in parallel. Reads of
        Parquet by pyarrow use half of it if the server is not near (docs/networks.md).
    write_chunk : int, default 8 MiB
        Size of the parts of a multipart upload in bytes.
    max_gap : int, default 256 KiB
        Two ranges with a gap of at most so many bytes are fetched with one request.
    hedge_reads : bool, default True
        Send a read or a stat again if it takes much longer than recent ones of its size, and use the first
        response. This takes at most 5 % more requests. Services that keep a connection pool have no hedges.
    verify_writes : bool, default False
        Stat each object after it is written or copied, and raise OSError if its size differs, or its etag if
        that is the MD5 of the content. This takes one more request for each write, and two for each copy.
    cache_dir : str, optional
        Directory of a block cache on disk (docs/caching.md), which many processes may share; an empty string
        for none. By default ``OPENDALFS_CACHE_DIR`` of the environment, else none.
    cache_size : int or str, default 10 GiB
        Largest size of the cache in bytes, or with a unit, such as ``"20 GiB"``. By default
        ``OPENDALFS_CACHE_SIZE`` of the environment, if that is set.
    cache_ttl : float or None, default 0
        Seconds for which what storage has returned for a stat or a list is used by later ones, in all
        processes that share the cache. 0 to ask storage at each open, None for files that never change.

    Raises
    ------
    OptionError
        By the filesystem, for a value of a wrong type or out of range.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory", retries=2, io_timeout=60)
    >>> fs.tuning.retries, fs.tuning.io_timeout
    (2, 60.0)
    """

    retry_timeout: float = 30.0
    retries: int | None = None
    retry_min_delay: float = 0.05
    retry_max_delay: float = 5.0
    timeout: float = 120.0
    io_timeout: float = 300.0
    concurrency: int = field(default_factory=_concurrency)
    block_size: int = 5 * MiB
    read_chunk: int = 8 * MiB
    write_chunk: int = 8 * MiB
    max_gap: int = 256 * 1024
    hedge_reads: bool = True
    verify_writes: bool = False
    cache_dir: str | None = field(default_factory=_cache_dir)
    cache_size: int = field(default_factory=_cache_size)
    cache_ttl: float | None = 0.0
