"""What the requests to one server have shown: one `Endpoint` for all filesystems of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final, Literal
from weakref import WeakSet

from opendalfs.errors import redact
from opendalfs.runtime import process
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.runtime.pace import Pace
from opendalfs.services import Locality, Service

from .hedge_budget import HedgeBudget
from .latency import Latency

__all__ = ["Endpoint", "Outcome", "endpoint_of"]

Outcome = Literal["ok", "throttled", "timeout", "unreachable", "error"]
"""How an attempt ended. ``"throttled"``: the server asked for fewer requests; ``"timeout"``: it sent nothing
for too long; ``"unreachable"``: no connection; ``"error"``: anything else, such as a missing object."""

_ACCEPTED: Final = frozenset({"ok", "error"})
_PLACES: Final = ("region", "account_name")
"""Options that decide on the server where no endpoint is passed."""


class Endpoint:
    """One server, and the outcomes of all attempts of this process to send it a request.

    Parameters
    ----------
    scheme : str
        OpenDAL's name of the service.
    address : str
        The endpoint's URL without credentials; for the service's default one, what else decides on it, such
        as the region.

    Attributes
    ----------
    counts : dict
        Number of attempts for each `Outcome`.
    latency : Latency
        Recent durations of reads and stats.
    hedges : HedgeBudget
        Which late requests may be sent again.
    pace : Pace
        Spaces the starts of requests while the server refuses some.
    limits : WeakSet of ConcurrencyLimit
        Those of all filesystems that use the server; a timeout halves them.
    """

    __slots__ = (
        "__weakref__",
        "_halved",
        "address",
        "counts",
        "hedges",
        "latency",
        "limits",
        "pace",
        "scheme",
    )

    def __init__(self, scheme: str, address: str) -> None:
        self.scheme = scheme
        self.address = address
        self.latency = Latency()
        self.hedges = HedgeBudget(self.latency)
        self.counts: dict[Outcome, int] = {
            "ok": 0,
            "throttled": 0,
            "timeout": 0,
            "unreachable": 0,
            "error": 0,
        }
        self.pace = Pace()
        self.limits: WeakSet[ConcurrencyLimit] = WeakSet()
        self._halved = float("-inf")

    def add_limit(self, limit: ConcurrencyLimit) -> None:
        """Add a limit that timeouts halve; from any thread."""
        with _lock:
            self.limits.add(limit)

    def record(
        self, operation: str, size: int, seconds: float, outcome: Outcome, whole: bool = False
    ) -> None:
        """Record one attempt; from any thread, about 1 µs.

        Parameters
        ----------
        operation : str
            ``"stat"``, ``"read"``, ``"write"``, ``"delete"``, ``"list"``, ``"copy"`` or ``"rename"``. A page
            of a list, a part of an upload and a recursive removal count as one attempt each; a removal that
            times out is not recorded.
        size : int
            Bytes of content that were read or written.
        seconds : float
            From the start of the attempt to its end, without waits before it.
        outcome : Outcome
            How it ended.
        whole : bool
            Whether it read a whole object, whose size was not known before.
        """
        # Without a lock: a count that is lost between two threads changes nothing.
        self.counts[outcome] += 1
        if outcome in _ACCEPTED:
            self.pace.accept(time.monotonic())
            if outcome == "ok" and operation in ("read", "stat"):
                self.latency.record(size, seconds, whole)
        else:
            self.hedges.pause()
            if outcome == "throttled":
                self.pace.refuse(time.monotonic())
            elif outcome == "timeout":
                self._halve(time.monotonic(), seconds)

    def _halve(self, now: float, seconds: float) -> None:
        """Halve the requests in flight, once for all that were sent before they were halved last."""
        with _lock:
            if now - seconds < self._halved:
                return
            self._halved = now
            limits = list(self.limits)
        for limit in limits:
            limit.halve()

    @property
    def answered(self) -> bool:
        """Whether the server has ever answered."""
        counts = self.counts
        return bool(counts["ok"] or counts["throttled"] or counts["error"])

    def __repr__(self) -> str:
        """Return the service and the address."""
        return f"Endpoint({self.scheme!r}, {self.address!r})"


_lock = threading.Lock()
_endpoints: dict[tuple[str, str], Endpoint] = {}


def endpoint_of(service: Service, native: Mapping[str, str]) -> Endpoint | None:
    """Return the endpoint that options name; None for local services.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        Options as `options.check` returns them.

    Returns
    -------
    Endpoint or None
        The same one for equal services and addresses, in this process.
    """
    if service.locality is not Locality.REMOTE:
        return None
    address = native.get(service.endpoint) or " ".join(native[name] for name in _PLACES if name in native)
    key = (service.scheme, redact(address).rstrip("/").lower())
    with _lock:
        found = _endpoints.get(key)
        if found is None:
            found = _endpoints[key] = Endpoint(*key)
        return found


def _reset() -> None:
    """Begin without endpoints in a forked child, which may be on another network."""
    global _lock
    _lock = threading.Lock()
    _endpoints.clear()


process.after_fork(_reset)
