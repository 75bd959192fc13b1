"""Measure the latency and bandwidth that a plain HTTP client sees, to check the delay proxy."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from benchmarks.context import Context
from benchmarks.raw_http import Part

ASKED = 9
LARGEST = 32 << 20


@dataclass(frozen=True)
class Distance:
    """Latency and bandwidth of the server.

    ``latency`` is the median time in seconds of a small request; ``bandwidth`` is in bytes per second, for a
    large file on one connection.
    """

    latency: float
    bandwidth: float

    def __str__(self) -> str:
        return f"{self.latency * 1e3:.1f} ms, {self.bandwidth / 1e6:.1f} MB/s a connection"


def calibrate(context: Context) -> Distance:
    """Measure latency and bandwidth through the proxy.

    Parameters
    ----------
    context : Context
        The running benchmark.

    Returns
    -------
    Distance
        What was measured.
    """
    if context.proxy:
        # Without slow requests, as few are made.
        context.proxy.set(context.settings.latency, context.settings.bandwidth)
    path = context.remote(context.lineitem)
    small = Part(path, 0, 1)
    large = Part(path, 0, min(LARGEST, context.lineitem.stat().st_size))
    context.raw.prepare([[small]])
    _seconds(context, small)  # connects
    latency = statistics.median(_seconds(context, small) for _ in range(ASKED))
    return Distance(latency, (large.stop - large.start) / _seconds(context, large))


def _seconds(context: Context, part: Part) -> float:
    start = time.perf_counter()
    context.raw.fetch([[part]])
    return time.perf_counter() - start
