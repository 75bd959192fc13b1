"""The cache of a filesystem's listings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fsspec.dircache import DirCache

from opendalfs.path_cache import PathCache

from .info import Info, by_name

__all__ = ["Listings"]

_MOST_CACHED: Final = 100_000
"""Entries of all cached listings of a filesystem together; 100,000 take about 100 MB."""


class _Listing:
    """One cached listing, and its entries by name once a name is looked up."""

    __slots__ = ("_names", "infos")

    def __init__(self, infos: list[Info]) -> None:
        self.infos = infos
        self._names: dict[str, Info] | None = None

    def find(self, path: str) -> Info | None:
        if self._names is None:
            self._names = by_name(self.infos)
        return self._names.get(path)


class Listings(DirCache):
    """fsspec's cache of listings, bounded, with a fast lookup of an entry by its name.

    Calls may come from the event loop and from other threads at the same time.

    Parameters
    ----------
    use_listings_cache : bool
        Whether to keep listings at all.
    listings_expiry_time : float, optional
        Seconds that a listing is kept; None for no limit.
    max_paths : int, optional
        Largest number of listings. The oldest are also evicted when all together have more than 100,000
        entries; the newest is kept whatever its size.
    """

    def __init__(
        self,
        use_listings_cache: bool = True,
        listings_expiry_time: float | None = None,
        max_paths: int | None = None,
    ) -> None:
        self.use_listings_cache = use_listings_cache
        self.listings_expiry_time = listings_expiry_time
        self.max_paths = max_paths
        self._listings = PathCache[_Listing](
            seconds=listings_expiry_time, most=max_paths or None, most_weight=_MOST_CACHED
        )

    def __getitem__(self, directory: str) -> list[Info]:
        found = self._listings.get(directory)
        if found is None:
            raise KeyError(directory)
        return found.infos

    def __setitem__(self, directory: str, infos: list[Info]) -> None:
        self.put(directory, infos)

    def __delitem__(self, directory: str) -> None:
        if self._listings.pop(directory) is None:
            raise KeyError(directory)

    def __contains__(self, directory: object) -> bool:
        return isinstance(directory, str) and self._listings.get(directory) is not None

    def __iter__(self) -> Iterator[str]:
        return (directory for directory in self._listings.paths() if directory in self)

    def __len__(self) -> int:
        return len(self._listings)

    def __reduce__(self) -> Any:
        return Listings, (self.use_listings_cache, self.listings_expiry_time, self.max_paths)

    @property
    def invalidations(self) -> int:
        """Number of invalidations so far: read it before a request, and pass it to `put`."""
        return self._listings.invalidations

    def put(self, directory: str, infos: list[Info], since: int | None = None) -> None:
        """Add a listing, unless something was invalidated `since` it was requested."""
        if self.use_listings_cache:
            self._listings.put(directory, _Listing(infos), weight=len(infos) + 1, since=since)

    def lookup(self, directory: str, path: str) -> Info | None:
        """Return the entry of a path in the listing of its directory; the file if a directory shares it."""
        found = self._listings.get(directory)
        return None if found is None else found.find(path)

    def invalidate(self, *directories: str) -> None:
        """Remove the listings of some directories."""
        self._listings.invalidate(*directories)

    def invalidate_below(self, path: str) -> None:
        """Remove the listings of all directories below one."""
        self._listings.invalidate_below(path)

    def clear(self) -> None:
        """Remove all listings."""
        self._listings.clear()
