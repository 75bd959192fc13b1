"""Helpers for futures and their callbacks."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["failed", "weak_callback"]


def failed(future: Future[Any] | asyncio.Future[Any]) -> bool:
    """Whether a future has ended without a result: whoever needs the result must request it again."""
    return future.done() and (future.cancelled() or future.exception() is not None)


def weak_callback(method: Callable[..., object], *args: object) -> Callable[..., None]:
    """Return a function that calls a bound method without keeping the method's object alive.

    Parameters
    ----------
    method : bound method
        Not called once its object is gone.
    *args : object
        The first arguments; those of the call follow.

    Returns
    -------
    callable
    """
    reference = weakref.WeakMethod(method)

    def call(*more: object) -> None:
        alive = reference()
        if alive is not None:
            alive(*args, *more)

    return call
