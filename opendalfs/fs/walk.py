"""Walks through the directories of a filesystem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from opendalfs.listing.info import Info
from opendalfs.storage.local_disk import check_listed, stages_writes

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
    """Yield the names in each directory from a path on; see `LookupFileSystem._walk`.

    `AsyncFileSystem._walk` is not used, as that of older versions of fsspec has no `topdown`.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    on_error = on_error or kwargs.get("_on_error") or _raise_unless_missing
    path = fs._strip_protocol(path)
    connection, key = fs.locate(path)
    if kwargs.get("_below") and connection.is_link(key):
        return
    once = connection.can("list_with_recursive") and fs.dircache.use_listings_cache
    if maxdepth is None and once and path not in fs.dircache:
        await _cache_tree(fs, path, on_error)
    detail = kwargs.pop("detail", False)
    kwargs["_below"], kwargs["_on_error"] = True, on_error
    dirs, files = await _list(fs, path, on_error, kwargs)
    paths = {name: info["name"].rstrip("/") for name, info in dirs.items()}
    # With `topdown`, the caller may remove directories from what was yielded.
    item: tuple[str, Any, Any] = (path, dirs, files) if detail else (path, list(dirs), list(files))
    if topdown:
        yield item
    if maxdepth is None or maxdepth > 1:
        deeper = None if maxdepth is None else maxdepth - 1
        for name in item[1]:
            async for below in fs._walk(paths[name], deeper, topdown, detail=detail, **kwargs):
                yield below
    if not topdown:
        yield item


async def _list(
    fs: BaseFileSystem, path: str, on_error: OnError, kwargs: dict[str, Any]
) -> tuple[dict[str, Info], dict[str, Info]]:
    """Return the infos of the directories and the files in a directory, by name; none after an error."""
    dirs: dict[str, Info] = {}
    files: dict[str, Info] = {}
    is_local = stages_writes(fs.locate(path)[0])
    try:
        infos = await fs._ls(path, detail=True, **kwargs)
    except OSError as error:
        _report(error, on_error)
        return dirs, files
    for info in infos:
        full = info["name"].rstrip("/")
        if full == path:
            # The path is that of a file, too.
            files[""] = info
        else:
            kind = dirs if info["type"] == "directory" else files
            kind[full.rpartition("/")[2]] = info
            if kind is dirs and is_local:
                try:
                    check_listed(*fs.locate(full))
                except OSError as error:
                    _report(error, on_error)
    return dirs, files


def _report(error: OSError, on_error: OnError) -> None:
    if on_error == "raise":
        raise error
    if callable(on_error):
        on_error(error)


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
