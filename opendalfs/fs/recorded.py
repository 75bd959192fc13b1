"""Infos of files from recorded versions, so that an open takes no request: `cache_ttl`."""

from __future__ import annotations

from opendalfs import listing
from opendalfs.errors import UnsupportedError
from opendalfs.listing.info import Info
from opendalfs.read.current_version import keep_version, recorded_version
from opendalfs.storage.version import Version

from .base import BaseFileSystem

__all__ = ["keep_info", "recorded_info"]


def recorded_info(fs: BaseFileSystem, path: str) -> Info | None:
    """Return the info of a file that storage has returned within `cache_ttl`.

    Parameters
    ----------
    fs : BaseFileSystem
        The filesystem.
    path : str
        A path or URL.

    Returns
    -------
    dict or None
        Size, time and version. None if they are not recorded, and if a cached listing shows the path.
    """
    if not _records(fs) or fs.cached_info(fs._strip_protocol(path)) is not None:
        return None
    try:
        connection, key = fs.locate(path)
    except UnsupportedError:
        # The root of all containers.
        return None
    version = recorded_version(connection, key) if key else None
    return None if version is None else listing.version_info(connection.name(key), version)


def keep_info(fs: BaseFileSystem, path: str, info: Info, asked: float) -> None:
    """Record what storage has returned for a file; `asked` is the time before, as of `time.time`."""
    if _records(fs) and info["type"] == "file" and fs.cached_info(fs._strip_protocol(path)) is None:
        keep_version(*fs.locate(path), Version.from_info(info), asked)


def _records(fs: BaseFileSystem) -> bool:
    return fs.tuning.cache_dir is not None and fs.tuning.cache_ttl != 0
