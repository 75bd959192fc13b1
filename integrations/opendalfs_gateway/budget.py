"""A number of bytes that may be in memory at one time."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """Bytes that many may take from; for one event loop, so without a lock.

    Parameters
    ----------
    size : int
        Bytes in all.

    Examples
    --------
    >>> budget = Budget(10)
    >>> budget.take(8), budget.take(8)
    (8, 0)
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0

    def take(self, size: int) -> int:
        """Take bytes; gives how many were taken: all, or 0 when so many are not left."""
        if self._taken + size > self.size:
            return 0
        self._taken += size
        return size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._taken -= size
