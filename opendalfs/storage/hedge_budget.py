"""When a request is late, and how many late requests may be sent again; `hedging` describes both.

Each request earns a twentieth of a hedge, and no more than four are saved. While a server is slow as a whole,
the requests that are not hedged move the percentile, and hedges stop. They also stop for some seconds after
the server has refused a request or has let one time out.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from .latency import Latency

__all__ = ["HedgeBudget"]

_SHARE: Final = 0.05
"""Hedges that one request earns."""

_SAVED: Final = 4.0
"""Hedges saved at most, so that a burst has no more than these beyond its share."""

_QUANTILE: Final = 0.9
_FACTOR: Final = 1.5
"""A request is late after `_FACTOR` times the `_QUANTILE` of recent ones. A higher quantile would be one of
the late requests themselves in some of the samples."""

_LEAST_SAMPLES: Final = 16
"""Requests of a size class, or of a larger one, that must be known."""

_LEAST_SECONDS: Final = 0.005
"""Requests that take less are not hedged: the scheduling of threads delays those as much."""

_PAUSE_SECONDS: Final = 10.0
"""Seconds without hedges after a request that was refused or timed out."""


class HedgeBudget:
    """Decides when a request to one endpoint is late, and whether it may be hedged.

    Parameters
    ----------
    latency : Latency
        Recent durations.

    Examples
    --------
    >>> latency = Latency()
    >>> budget = HedgeBudget(latency)
    >>> for _ in range(20):
    ...     latency.record(1 << 20, 0.020)
    ...     late = budget.late_after(1 << 20)
    >>> round(late, 3), budget.spend(), budget.spend()
    (0.03, True, False)
    """

    __slots__ = ("_latency", "_lock", "_paused_until", "_saved")

    def __init__(self, latency: Latency) -> None:
        self._latency = latency
        self._lock = threading.Lock()
        self._saved = 0.0
        self._paused_until = 0.0

    def late_after(self, size: int | None) -> float | None:
        """Count a request, and return the seconds after which it is late; None if that is not known.

        Parameters
        ----------
        size : int or None
            Bytes that it reads; 0 for a stat, None for a whole object of unknown size.
        """
        with self._lock:
            # Rounded, as 20 times 0.05 is less than 1.
            self._saved = round(min(self._saved + _SHARE, _SAVED), 6)
        usual = self._latency.quantile(size, _QUANTILE, _LEAST_SAMPLES)
        return None if usual is None else max(_FACTOR * usual, _LEAST_SECONDS)

    def spend(self) -> bool:
        """Return whether a late request may be hedged now; then it counts."""
        with self._lock:
            if self._saved < 1 or time.monotonic() < self._paused_until:
                return False
            self._saved -= 1
            return True

    def pause(self) -> None:
        """Stop hedges for some seconds, as the server is in trouble."""
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
