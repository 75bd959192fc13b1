"""Hedged reads: a request that takes much longer than others is sent again, and the first result counts.

Of many requests to an object store a few take far longer than the rest, and a read of many parts waits for
the slowest of them. A second request for the late ones costs little and ends most of these waits (J. Dean and
L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013).

A request is late after 1.5 times the 90th percentile of recent ones of its size class (`hedge_budget`). Both
requests read the same version. They are one attempt: if one fails for a temporary reason, the other one
decides, and only when both have failed is the attempt retried. The request that is not needed is cancelled by
coroutines and abandoned by threads, and is no error.

A hedge takes one of the filesystem's slots if one is free, and never waits for one. Services that keep a
connection pool have no hedges, as their requests cannot be cancelled, and neither have local services.
"""

from __future__ import annotations

import time
from typing import Final

from opendalfs import tracing
from opendalfs.error_translation import kind_of
from opendalfs.runtime.concurrency import ConcurrencyLimit

from .endpoint import Endpoint
from .operator_pair import OperatorPair
from .outcomes import outcome_of

__all__ = ["Hedge"]

_TEMPORARY: Final = frozenset({"RateLimited", "Unexpected"})
"""Kinds of errors that one of two equal requests may have alone."""


class Hedge:
    """The second request of one attempt, made when the first is late.

    A context manager; the end of the block returns the slot of the second request.

    Parameters
    ----------
    endpoint : Endpoint
        The server.
    limit : ConcurrencyLimit
        The slots.
    operation : str
        ``"read"`` or ``"stat"``.
    after : float
        Seconds after which the request is late.
    record : Request, optional
        The record of the call.
    """

    __slots__ = ("_begun", "_endpoint", "_limit", "_operation", "_record", "_sent", "after")

    def __init__(
        self,
        endpoint: Endpoint,
        limit: ConcurrencyLimit,
        operation: str,
        after: float,
        record: tracing.Request | None,
    ) -> None:
        self.after = after
        self._endpoint = endpoint
        self._limit = limit
        self._operation = operation
        self._record = record
        self._begun = time.perf_counter()
        self._sent = False

    @classmethod
    def of(
        cls, operators: OperatorPair, operation: str, size: int | None, record: tracing.Request | None
    ) -> Hedge | None:
        """Count an attempt, and return its hedge; None if it can have none.

        Parameters
        ----------
        operators : OperatorPair
            The service and its options.
        operation : str
            Any operation; only reads and stats are hedged.
        size : int or None
            Bytes that are read; None for a whole object of unknown size.
        record : Request, optional
            The record of the call.
        """
        if operation == "stat":
            size = 0
        elif operation != "read":
            return None
        endpoint, limit = operators.endpoint, operators.limit
        if (
            endpoint is None
            or limit is None
            or not operators.tuning.hedge_reads
            or not operators.service.cancels
        ):
            return None
        after = endpoint.hedges.late_after(size)
        return None if after is None else cls(endpoint, limit, operation, after, record)

    def __enter__(self) -> Hedge:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sent:
            self._limit.release()

    def may_start(self) -> bool:
        """Return whether the second request is sent now, within the budget; then count it."""
        if not self._limit.try_acquire():
            return False
        if not self._endpoint.hedges.spend():
            self._limit.release()
            return False
        self._sent = True
        if self._record is not None:
            self._record.hedges += 1
            self._record.requests += 1
        return True

    def settles(self, error: BaseException) -> bool:
        """Whether the error of one request is that of both; otherwise the other one is waited for."""
        if kind_of(error) not in _TEMPORARY:
            return True
        seconds = time.perf_counter() - self._begun
        self._endpoint.record(self._operation, 0, seconds, outcome_of(error))
        return False
