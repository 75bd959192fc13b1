"""Errors of storage that a client's own retries are answered with, so that only the core retries.

Polars repeats each request that fails once, and follows a HEAD that fails by a GET of one byte, all within
milliseconds. By then the core has retried as often as its options say, and would do so for each of them.
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
"""How long an error is replayed: a query that somebody runs again must ask storage again."""

_TIMES: Final = 3
"""How often: Polars asks for a file four times in all."""

_MOST: Final = 1024


class Failures:
    """Errors after all retries, each replayed a few times within a second.

    Examples
    --------
    >>> failures = Failures()
    >>> failures.add("key", ConnectionError(111, "Cannot reach the server"))
    >>> failures.raise_known("key")
    Traceback (most recent call last):
    ...
    opendalfs_gateway.s3.S3Error: Cannot reach the server
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[float, int, S3Error]] = OrderedDict()

    @contextmanager
    def replayed(self, request: Hashable) -> Iterator[None]:
        """Raise the error of the same request a moment ago, or run a block that asks storage.

        Raises
        ------
        S3Error
            When an error is replayed.
        """
        self.raise_known(request)
        try:
            yield
        except OSError as exc:
            self.add(request, exc)
            raise

    def raise_known(self, request: Hashable) -> None:
        """Raise the error of the same request a moment ago, if there is one.

        Raises
        ------
        S3Error
        """
        until, left, error = self._known.pop(request, (0.0, 0, None))
        if error is None or time.monotonic() > until:
            return
        if left > 1:
            self._known[request] = until, left - 1, error
        raise S3Error(error.status, error.code, error.message)

    def add(self, request: Hashable, exc: OSError) -> None:
        """Remember an error that the core has raised after all retries; others are for the next request."""
        error = to_s3_error(exc)
        if error.status != FAILED:
            return
        self._known[request] = time.monotonic() + _SECONDS, _TIMES, error
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def expire(self) -> None:
        """Forget errors that are replayed no more."""
        now = time.monotonic()
        while self._known and next(iter(self._known.values()))[0] < now:
            self._known.popitem(last=False)
