"""Walks through the directories of a filesystem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from fsspec.asyn import AsyncFileSystem

from .base import BaseFileSystem

__all__ = ["walk"]

OnError = Literal["omit", "raise"] | Callable[[OSError], object]


async def walk(
    fs: BaseFileSystem,
    path: str,
    maxdepth: int | None = None,
    topdown: bool = True,
    on_error: OnError | None = None,
    **kwargs: Any,
) -> AsyncIterator[Any]:
    """Yield the names in each directory from a path on; see `LookupFileSystem._walk`."""
    on_error = on_error or kwargs.get("_on_error") or _raise_unless_missing
    path = fs._strip_protocol(path)
    connection, key = fs.locate(path)
    if kwargs.get("_below") and connection.is_link(key):
        return
    once = connection.can("list_with_recursive") and fs.dircache.use_listings_cache
    if maxdepth is None and once and path not in fs.dircache:
        await _cache_tree(fs, path, on_error)
    # fsspec passes these on to the walks of the directories below.
    kwargs["_below"], kwargs["_on_error"] = True, on_error
    async for item in AsyncFileSystem._walk(fs, path, maxdepth, topdown, on_error, **kwargs):
        yield item


async def _cache_tree(fs: BaseFileSystem, path: str, on_error: OnError) -> None:
    """Fill the listing cache, which the walk then reads."""
    try:
        await fs._find(path)
    except (ConnectionError, TimeoutError):
        if on_error in ("raise", _raise_unless_missing):
            # The listing by the walk would take as long again.
            raise
    except OSError:
        # The walk lists each directory by itself, and meets the error where it belongs.
        pass


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
