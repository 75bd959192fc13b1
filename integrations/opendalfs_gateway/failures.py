"""Errors that are sent again at once when a client retries, so that only the core retries.

Polars repeats each failed request once, and sends a GET of one byte after a failed HEAD, all within
milliseconds. The core has already made its retries, and would make them again for each of these requests.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from .s3 import FAILED, S3Error, to_s3_error

__all__ = ["Failures"]

_SECONDS: Final = 1.0
"""How long an error is replayed. A query that the user repeats must read from storage again."""

_TIMES: Final = 3
"""How often an error is replayed: Polars requests a file four times in total."""

_MAX_ERRORS: Final = 1024


class Failures:
    """Errors that the core raised after all retries; each is replayed up to three times within a second.

    Parameters
    ----------
    times : int
        How often an error is replayed; 0 for clients that do not repeat a request at once.

    Examples
    --------
    >>> failures = Failures()
    >>> failures.add("key", ConnectionError(111, "Cannot reach the server"))
    >>> failures.raise_recent("key")
    Traceback (most recent call last):
    ...
    opendalfs_gateway.s3.S3Error: Cannot reach the server
    """

    def __init__(self, times: int = _TIMES) -> None:
        self._times = times
        self._errors: OrderedDict[Hashable, tuple[float, int, S3Error]] = OrderedDict()

    @contextmanager
    def replayed(self, request: Hashable) -> Iterator[None]:
        """Raise the recent error of the same request; without one, run the block and keep its error.

        Raises
        ------
        S3Error
            If an error is replayed.
        """
        self.raise_recent(request)
        try:
            yield
        except OSError as exc:
            self.add(request, exc)
            raise

    def raise_recent(self, request: Hashable) -> None:
        """Raise the recent error of the same request, if there is one.

        Raises
        ------
        S3Error
        """
        until, left, error = self._errors.pop(request, (0.0, 0, None))
        if error is None or time.monotonic() > until:
            return
        if left > 1:
            self._errors[request] = until, left - 1, error
        raise S3Error(error.status, error.code, error.message)

    def add(self, request: Hashable, exc: OSError) -> None:
        """Keep an error if the core raised it after all retries."""
        error = to_s3_error(exc)
        if error.status != FAILED or not self._times:
            return
        self._errors[request] = time.monotonic() + _SECONDS, self._times, error
        if len(self._errors) > _MAX_ERRORS:
            self._errors.popitem(last=False)

    def expire(self) -> None:
        """Drop errors that are too old to be replayed."""
        now = time.monotonic()
        while self._errors and next(iter(self._errors.values()))[0] < now:
            self._errors.popitem(last=False)
