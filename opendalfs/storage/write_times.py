"""The times of writes, for stores in this process that keep none themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from opendal.types import Metadata

from opendalfs.path_cache import PathCache

__all__ = ["WriteTimes"]

_STARTED: Final = datetime.now(UTC)
_MAX_KEYS: Final = 1_000_000
"""Keys whose times are kept; some 200 MB. An evicted key shows the start of the process."""


class WriteTimes:
    """The times of the last write of each key.

    Parameters
    ----------
    keep : bool
        Whether the store stores no modification times itself. If false, this keeps none either.
    """

    def __init__(self, keep: bool = False) -> None:
        self._times = PathCache[datetime](most=_MAX_KEYS) if keep else None

    def modified(self, key: str, metadata: Metadata) -> datetime | None:
        """Return the time when a key was last written: the store's own where it keeps one."""
        if self._times is None or metadata.last_modified is not None:
            return metadata.last_modified
        return self._times.get(key) or _STARTED

    def record(self, key: str) -> None:
        """Record that a key was written now."""
        if self._times is not None:
            self._times.put(key, datetime.now(UTC))

    def forget(self, key: str) -> None:
        """Drop the time of a key before its removal; afterwards, the time might be that of a new object."""
        if self._times is not None:
            self._times.pop(key)

    def forget_below(self, prefix: str) -> None:
        """Drop the times of all keys below a prefix before their removal."""
        if self._times is not None:
            self._times.invalidate_below(prefix)
