"""What is in a cache, and its removal: `cache_info` and `clear_cache`."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from opendalfs.tuning import PARSERS

from . import background
from .folder import CacheFolder, scan
from .packs import Packs
from .space import Space

__all__ = ["CacheInfo", "cache_info", "clear_cache"]


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The content of a cache on disk.

    Parameters
    ----------
    path : str
        The directory.
    objects : int
        Versions of objects of which blocks are cached.
    blocks : int
        Ranges that are cached.
    bytes : int
        Bytes of all files, which also hold what has been replaced, and records for `cache_ttl`.

    Examples
    --------
    >>> import opendalfs, tempfile
    >>> opendalfs.cache_info(tempfile.mkdtemp()).blocks
    0
    """

    path: str
    objects: int
    blocks: int
    bytes: int


def cache_info(path: str | os.PathLike[str]) -> CacheInfo:
    """Return what is in a cache on disk.

    Parameters
    ----------
    path : str or path-like
        The directory, as ``cache_dir``.

    Returns
    -------
    CacheInfo
        Without blocks, if there is no cache.

    Raises
    ------
    OSError
        If the directory belongs to another user, or others may write into it.
    OptionError
        If `path` is no path.

    Examples
    --------
    >>> import opendalfs, tempfile
    >>> opendalfs.cache_info(tempfile.mkdtemp()).bytes
    0
    """
    folder = _folder(path)
    if folder is None:
        return CacheInfo(os.fspath(path), 0, 0, 0)
    files = size = 0
    objects: set[bytes] = set()
    for entry in scan(os.path.join(folder.root, "blocks")):
        with suppress(OSError, ValueError):
            size += entry.stat(follow_symlinks=False).st_size
            files += 1
            objects.add(folder.digest(entry.path))
    small, in_packs = Packs(folder, Space(folder, 0)).contents()
    size += in_packs
    ranges = {(digest, block) for digest, block in small if block.size}
    objects |= {digest for digest, _ in ranges}
    return CacheInfo(folder.path, len(objects), files + len(ranges), size)


def clear_cache(path: str | os.PathLike[str]) -> None:
    """Remove all that a cache on disk holds; processes may use it meanwhile.

    Parameters
    ----------
    path : str or path-like
        The directory, as ``cache_dir``. Only files of the cache are removed from it; it may have none.

    Raises
    ------
    OSError
        If the directory belongs to another user, or cannot be changed.
    OptionError
        If `path` is no path.

    Examples
    --------
    >>> import opendalfs, tempfile
    >>> opendalfs.clear_cache(tempfile.mkdtemp())
    """
    folder = _folder(path)
    if folder is not None:
        Space(folder, 0).clear()


def _folder(path: str | os.PathLike[str]) -> CacheFolder | None:
    background.flush()
    try:
        return CacheFolder(PARSERS["cache_dir"]("path", path) or "", create=False)
    except FileNotFoundError:
        return None
