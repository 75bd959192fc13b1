"""Runs coroutines for callers that are no coroutines and may be anywhere: engine threads, other loops.

fsspec's own bridge refuses calls from its loop's thread, where an engine may well be started. This one has a
loop to itself on which nothing of the user's ever runs, so it cannot wait for itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run(function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    """Call a coroutine function and wait for its result.

    Parameters
    ----------
    function : coroutine function
        Such as the ``_info`` of a filesystem; must not call `run` itself.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    object
        What it returns. Ctrl-C cancels the call.

    Examples
    --------
    >>> import opendalfs
    >>> run(opendalfs.filesystem("memory")._exists, "no/such/file")
    False
    """

    async def call() -> T:
        return await function(*args, **kwargs)

    future = asyncio.run_coroutine_threadsafe(call(), _loop())
    try:
        return future.result()
    except BaseException:
        # Ctrl-C, or an error of the call's own, after which there is nothing to cancel.
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()
    with _lock:
        if pid not in _loops:
            _loops.clear()
            _loops[pid] = loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="opendalfs-loop", daemon=True).start()
        return _loops[pid]
