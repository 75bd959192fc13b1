"""Recent durations of the requests to one endpoint, by size: quantiles, latency and bandwidth.

A few hundred numbers for each endpoint. `Latency.record` takes about a microsecond and no lock: each of its
steps is atomic, and two threads in the same moment may at worst replace one duration twice.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Latency", "Recent", "size_class"]

_SMALLEST: Final = 12
"""Requests of up to 2**12 bytes, and those that move no content, are one size class."""

_CLASSES: Final = 11
"""Up to 4 KiB, 16 KiB, 64 KiB, ... 1 GiB, and more."""

_SMALL: Final = 64 << 10
"""Bytes whose transfer takes much less time than the wait for the first of them."""

_LARGE: Final = 256 << 10
"""Bytes from which a request shows the bandwidth of a connection."""


def size_class(size: int) -> int:
    """Return the number of the size class of a request: each reaches to four times the one before.

    Parameters
    ----------
    size : int
        Bytes of content.

    Examples
    --------
    >>> [size_class(size) for size in (0, 4096, 4097, 16384, 1 << 20, 1 << 40)]
    [0, 0, 1, 1, 4, 10]
    """
    return min(max(0, ((size - 1).bit_length() - _SMALLEST + 1) // 2), _CLASSES - 1) if size > 0 else 0


class Recent:
    """The last values of a series, and their quantiles.

    Parameters
    ----------
    kept : int
        Number of values.

    Examples
    --------
    >>> recent = Recent(100)
    >>> recent.quantile(0.5) is None
    True
    >>> for value in range(1000):
    ...     recent.add(value)
    >>> recent.count, recent.quantile(0.5)
    (100, 950)
    """

    __slots__ = ("_age", "_kept", "_next", "_sorted", "_values")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._values: list[float] = []
        self._next = 0
        self._age = 0
        self._sorted: list[float] = []

    @property
    def count(self) -> int:
        """Number of values that are kept now."""
        return len(self._values)

    def add(self, value: float) -> None:
        """Add a value; the oldest one is dropped when there are too many."""
        values = self._values
        if len(values) < self._kept:
            values.append(value)
        else:
            i = self._next
            values[i] = value
            self._next = (i + 1) % self._kept
        self._age += 1

    def quantile(self, share: float) -> float | None:
        """Return the value that a share of the values is not above, as of at most 16 values ago.

        Parameters
        ----------
        share : float
            At least 0 and less than 1.

        Returns
        -------
        float or None
            None if there are no values.
        """
        if self._age >= 16 or len(self._sorted) < 16:
            # Sorting takes 10 µs, so it is not done for each value.
            self._age = 0
            self._sorted = sorted(self._values)
        found = self._sorted
        return found[int(share * len(found))] if found else None


class Latency:
    """Recent durations of successful requests to one endpoint.

    Examples
    --------
    >>> latency = Latency()
    >>> for _ in range(20):
    ...     latency.record(0, 0.010)
    ...     latency.record(1_000_000, 0.030)
    >>> latency.first_byte, round(latency.bandwidth)
    (0.01, 50000000)
    >>> latency.quantile(1_000_000, 0.9, least=16)
    0.03
    """

    def __init__(self) -> None:
        self._classes = [Recent(128) for _ in range(_CLASSES)]
        self._whole = Recent(128)
        self._small = Recent(64)
        self._rates = Recent(64)

    def record(self, size: int, seconds: float, whole: bool = False) -> None:
        """Record a request that succeeded.

        Parameters
        ----------
        size : int
            Bytes of content; 0 for a stat.
        seconds : float
            From the request to the last byte, without the wait for a slot and without retries.
        whole : bool
            Whether it read a whole object, whose size was not known before.
        """
        if whole:
            self._whole.add(seconds)
        self._classes[size_class(size)].add(seconds)
        if size <= _SMALL:
            self._small.add(seconds)
        elif size >= _LARGE:
            # Where the first byte took nearly all of the time, the rest of it is noise.
            transfer = max(seconds - (self.first_byte or 0.0), seconds / 8)
            if transfer > 0:
                self._rates.add(size / transfer)

    @property
    def first_byte(self) -> float | None:
        """Seconds from a request to the first byte of its response, at the least; None if not known yet.

        It is the 10th percentile of recent requests of up to 64 KiB, so that neither their wait for each
        other nor a single wrong measurement counts.
        """
        return self._small.quantile(0.1)

    @property
    def bandwidth(self) -> float | None:
        """Bytes per second of one connection; None if not known yet.

        It is the median of recent requests of 256 KiB and more, with what else was in flight.
        """
        return self._rates.quantile(0.5)

    def quantile(self, size: int | None, share: float, least: int) -> float | None:
        """Return a quantile of the durations of requests of about a size.

        Parameters
        ----------
        size : int or None
            Bytes of content; None for a whole object of unknown size, as other such objects take.
        share : float
            At least 0 and less than 1.
        least : int
            Number of requests that must be known. With fewer of this size the next larger ones count, which
            take at least as long.

        Returns
        -------
        float or None
            Seconds; None if too few requests are known.
        """
        for recent in [self._whole] if size is None else self._classes[size_class(size) :]:
            if recent.count >= least:
                return recent.quantile(share)
        return None
