"""The memory budget: the most bytes that prefetches, read-aheads and uploads of this process hold.

There is one limit for the process, `LIMIT`. Each part of the package that buffers data has a share of it with
a limit of its own::

    _BUDGET: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)

and counts its bytes in a `Reservation` per file, stream or upload.

Nothing here waits. A reader that does not get memory for a read-ahead goes on without one, and reserves the
block that it needs now by `Reservation.grow`, which always succeeds. So no reader waits for the memory of
another one, and the process exceeds the limit by at most one block for each open reader. The guaranteed bytes
of a share are never lent to other shares, so that an idle consumer cannot starve the others.
"""

from __future__ import annotations

import os
import threading
from typing import ClassVar, Final
from weakref import WeakSet

__all__ = ["LIMIT", "PROCESS", "Budget", "Reservation"]

LIMIT: Final = 1 << 30
"""Bytes that all consumers in this process hold together."""


class Budget:
    """A number of bytes that reservations share; safe in threads, coroutines, finalizers and after a fork.

    Parameters
    ----------
    limit : int
        Bytes that may be reserved at a time, inclusive. It may be assigned to at any time.
    guaranteed : int
        Bytes that no other share of the same budget can use. By default none.
    whole : Budget, optional
        The budget that this one is a share of.

    Examples
    --------
    >>> budget = Budget(10)
    >>> held = Reservation(budget)
    >>> held.try_grow(8), held.try_grow(8)
    (True, False)
    >>> budget.held
    8
    """

    # One lock for all budgets, as a share and the whole change together. It is reentrant because a
    # reservation may be collected while this thread holds it; so every change is one in-place addition.
    _lock: ClassVar = threading.RLock()
    _forks: ClassVar = 0
    _all: ClassVar[WeakSet[Budget]] = WeakSet()

    def __init__(self, limit: int, guaranteed: int = 0, whole: Budget | None = None) -> None:
        self.limit = limit
        self.guaranteed = guaranteed
        self._whole = whole
        self._shares: list[Budget] = []
        self._reserved = 0
        Budget._all.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.limit}, guaranteed={self.guaranteed}, held={self.held})"

    @property
    def held(self) -> int:
        """Bytes that are reserved; a share counts with its guaranteed bytes at least."""
        with self._lock:
            return self._reserved + sum(max(share.held, share.guaranteed) for share in self._shares)

    def share(self, limit: int, guaranteed: int = 0) -> Budget:
        """Return a new budget whose reservations count in this one, too.

        Parameters
        ----------
        limit : int
            Bytes that may be reserved of the share, inclusive.
        guaranteed : int
            Bytes of it that no other share can use.

        Returns
        -------
        Budget

        Raises
        ------
        ValueError
            When this budget cannot guarantee that many bytes beside those of its other shares.
        """
        with self._lock:
            promised = guaranteed + sum(share.guaranteed for share in self._shares)
            if guaranteed > limit or promised > self.limit:
                raise ValueError(
                    f"{guaranteed} bytes cannot be guaranteed: raise the limit of the share or of {self}"
                )
            self._shares.append(Budget(limit, guaranteed, self))
            return self._shares[-1]

    def fits(self, size: int) -> bool:
        """Whether `size` more bytes can be reserved now."""
        with self._lock:
            held = self.held
            if held + size > self.limit:
                return False
            if self._whole is None:
                return True
            beyond = max(held + size, self.guaranteed) - max(held, self.guaranteed)
            # Guaranteed bytes are free even if readers have exceeded the whole with the blocks they wait for.
            return not beyond or self._whole.fits(beyond)


class Reservation:
    """The bytes that one file, stream or upload has reserved; they are released with its last reference.

    Parameters
    ----------
    budget : Budget
        Where the bytes count.

    Examples
    --------
    >>> held = Reservation(Budget(10))
    >>> held.grow(15)
    >>> held.shrink(5)
    >>> held.size
    10
    """

    __slots__ = ("_budget", "_fork", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._fork = budget._forks
        self._size = 0

    def __del__(self) -> None:
        self.release()

    @property
    def size(self) -> int:
        """Bytes that are reserved; a forked child does not count those of its parent."""
        return self._size if self._fork == self._budget._forks else 0

    def fits(self, size: int) -> bool:
        """Whether `size` more bytes can be reserved now."""
        return self._budget.fits(size)

    def try_grow(self, size: int) -> bool:
        """Reserve more bytes if the budget has them.

        Parameters
        ----------
        size : int
            Bytes.

        Returns
        -------
        bool
            Whether they are reserved.
        """
        with self._budget._lock:
            if not self._budget.fits(size):
                return False
            self.grow(size)
            return True

    def grow(self, size: int) -> None:
        """Reserve more bytes, whether or not the budget has them: a caller waits for just this data.

        Parameters
        ----------
        size : int
            Bytes.
        """
        with self._budget._lock:
            if self._fork != self._budget._forks:
                self._fork, self._size = self._budget._forks, 0
            self._size += size
            self._budget._reserved += size

    def shrink(self, size: int) -> None:
        """Release some of the bytes.

        Parameters
        ----------
        size : int
            Bytes; at most those that are reserved count.
        """
        with self._budget._lock:
            size = min(size, self.size)
            self._size -= size
            self._budget._reserved -= size

    def release(self) -> None:
        """Release all bytes; the reservation can be used again."""
        if self._size:
            with self._budget._lock:
                self.shrink(self.size)


PROCESS: Final = Budget(LIMIT)
"""The budget of this process, which all shares are part of."""


def _reset() -> None:
    # What the parent had in flight never arrives in a child, and another thread may have held the lock.
    Budget._lock = threading.RLock()
    Budget._forks += 1
    for budget in Budget._all:
        budget._reserved = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
