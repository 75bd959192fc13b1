"""Latency and bandwidth of reads, measured."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Final

from opendalfs.tracing.plot import format_size

from .locations import Location

__all__ = ["Measured", "measure"]

_SMALL: Final = 1024
"""Bytes of a read whose duration is the latency."""

_ENOUGH: Final = 1 << 20
"""Bytes from which on a read shows the bandwidth rather than the latency."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of the reads of one object; seconds, bytes, bytes a second."""

    latency: float
    slowest: float
    reads: int
    bytes_read: int
    bandwidth: float | None
    """None if the object is too small to show it."""

    def __str__(self) -> str:
        latency, slowest = self.latency * 1000, self.slowest * 1000
        text = f"latency {latency:.1f} ms (median of {self.reads} reads, slowest {slowest:.1f} ms)"
        if self.bandwidth is None:
            return f"{text}; the object is too small to measure the bandwidth"
        return f"{text}; {format_size(round(self.bandwidth))}/s (one read of {format_size(self.bytes_read)})"


def measure(location: Location, size: int, *, reads: int = 5, largest: int = 16 << 20) -> Measured:
    """Measure small reads one after the other, and one large read, which is sent as parallel requests.

    Parameters
    ----------
    location : Location
        An object.
    size : int
        Its bytes.
    reads : int
        Number of small reads.
    largest : int
        Bytes of the large read at most.

    Raises
    ------
    OSError
        If a read fails.
    """
    reader = location.fs.reader(location.path)
    times = []
    for i in range(reads + 1):
        begin = time.perf_counter()
        reader.read(i * _SMALL % max(size - _SMALL, 1), min(_SMALL, size))
        times.append(time.perf_counter() - begin)
    # The first read opens a connection.
    times = times[1:]
    count = min(size, largest)
    bandwidth = None
    if count >= _ENOUGH:
        begin = time.perf_counter()
        reader.read(0, count)
        bandwidth = count / (time.perf_counter() - begin)
    reader.release()
    return Measured(statistics.median(times), max(times), reads, count, bandwidth)
