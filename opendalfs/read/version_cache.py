"""The one cache of object versions, and how long each use of it trusts an entry.

Reads are pinned: a read of a version fails when the object has another one by then. An entry that is out of
date therefore costs a request and never returns bytes of two versions. The lifetimes bound memory, and how
long a size or a time may be out of date.

=========================  =====================  =======  ==============================================
use                        lifetime               from     removed earlier by, and why this is correct
=========================  =====================  =======  ==============================================
core: listings             `LISTED`, or           answer   Writes through the filesystem. `ls` and `info`
(`listing.cache`)          listings_expiry_time            use them; ``refresh=True`` asks storage.
Arrow: versions of files   `LISTED`, or           answer   Writes through the filesystem; a stat that finds
                           listings_expiry_time;           no file. A changed file is opened again. With a
                           3 s once opened with            cache on disk no read would notice the change, so
                           a cache on disk                 later opens ask storage.
Arrow: directories         1 s, once              answer   Any write. pyarrow asks twice in a row.
Arrow: ends of files       30 s; 3 s once opened  request  As versions, and an open of another version.
                                                           pyarrow opens for the schema, then for the data.
DuckDB: versions of files  `QUERY`                request  Writes through the filesystem. Planning a query
                                                           asks storage again; its opens use that answer.
gateway: newest versions   `CONDITIONAL`          answer   Newer versions. Used only where the read fails
                                                           when the object has changed (``If-Match``).
=========================  =====================  =======  ==============================================

All are made of `PathCache`. The core's listings, Arrow's directories and DuckDB's versions also refuse the
answer to a request that was sent before an invalidation. The rest stays apart:

- Listings hold the entries of whole directories, as fsspec's ``dircache`` requires, so `listing.cache` uses
  `PathCache` and `LISTED` without `VersionCache`.
- The versions that the reads of one Polars scan are pinned to (`opendalfs_gateway.mount`) are state: without
  one of them the scan would read two versions of an object.
- So are the write times of services in this process (`storage.write_times`), which keep none themselves, and
  the rest of a listing that a continuation token of the gateway refers to (`opendalfs_gateway.listings`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from opendalfs.path_cache import PathCache
from opendalfs.storage.version import Version

__all__ = ["CONDITIONAL", "LISTED", "QUERY", "Lifetime", "Moment", "VersionCache"]


class Lifetime(NamedTuple):
    """How long and how many versions are kept.

    Parameters
    ----------
    seconds : float or None
        None until they are invalidated or evicted.
    most : int
        Number of entries; the oldest are evicted. Each takes some 500 bytes.
    """

    seconds: float | None
    most: int


LISTED: Final = Lifetime(30.0, 100_000)
QUERY: Final = Lifetime(2.0, 1 << 17)
CONDITIONAL: Final = Lifetime(None, 1 << 16)


class Moment(NamedTuple):
    """The moment of a request to storage."""

    seconds: float
    invalidations: int


class VersionCache:
    """Versions of objects by path, each for a stated time.

    Parameters
    ----------
    lifetime : Lifetime
        How long and how many; the table of this module lists them.

    Examples
    --------
    >>> cache = VersionCache(QUERY)
    >>> asked = cache.now()
    >>> cache.put("lake/a", Version(3), asked)
    >>> cache.get("lake/a").size
    3
    >>> cache.invalidate("lake/a")
    >>> cache.put("lake/a", Version(3), asked)
    >>> cache.get("lake/a") is None
    True
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self._seconds = lifetime.seconds
        self._versions = PathCache[Version](seconds=lifetime.seconds, most=lifetime.most)

    def __len__(self) -> int:
        return len(self._versions)

    def now(self) -> Moment:
        """Return the current moment: call it before a request to storage, and pass the result to `put`."""
        return Moment(time.monotonic(), self._versions.invalidations)

    def get(self, path: str) -> Version | None:
        """Return the version of a path; None when there is none, or it has expired."""
        return self._versions.get(path)

    def put(self, path: str, version: Version, asked: Moment | None = None) -> None:
        """Add the version of a path.

        Parameters
        ----------
        path : str
            The path.
        version : Version
            What storage answered.
        asked : Moment, optional
            When it was asked. The lifetime counts from then, and an answer from before an invalidation is not
            kept. By default the lifetime counts from now.
        """
        if asked is None:
            self._versions.put(path, version)
        else:
            self.put_all([(path, version)], asked)

    def put_all(self, found: Iterable[tuple[str, Version]], asked: Moment) -> None:
        """Add the versions of many paths, as `put` does."""
        left = self._seconds
        if left is not None:
            left -= time.monotonic() - asked.seconds
            if left <= 0:
                return
        for path, version in found:
            self._versions.put(path, version, seconds=left, since=asked.invalidations)

    def shorten(self, path: str, seconds: float) -> None:
        """Keep a path for at most some seconds from now."""
        self._versions.shorten(path, seconds)

    def invalidate(self, path: str) -> None:
        """Remove a path: its object was written or removed."""
        self._versions.invalidate(path)

    def invalidate_below(self, path: str) -> None:
        """Remove a path and all below it."""
        self._versions.invalidate_below(path)
        self._versions.invalidate(path)

    def clear(self) -> None:
        """Remove all paths."""
        self._versions.clear()
