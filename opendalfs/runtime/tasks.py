"""Runs coroutines for callers that are no coroutines and may be anywhere: engine threads, other loops.

fsspec's own bridge refuses calls from its loop's thread, where an engine may well be started. This one has a
loop to itself on which nothing of the user's ever runs, so it cannot wait for itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from . import interrupts, workers

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

    Raises
    ------
    RuntimeError
        When called by what runs on the loop itself, such as a finalizer, which would wait for ever; and when
        no thread can be started.

    Examples
    --------
    >>> import opendalfs
    >>> run(opendalfs.filesystem("memory")._exists, "no/such/file")
    False
    """

    async def call() -> tuple[T, None] | tuple[None, Exception]:
        # As an exception of the future a TimeoutError would lose its filename and its cause.
        try:
            return await function(*args, **kwargs), None
        except Exception as exc:
            return None, exc

    loop = _loop()
    if asyncio._get_running_loop() is loop:
        raise RuntimeError("a blocking call cannot be made from the event loop that it would wait for")
    future = asyncio.run_coroutine_threadsafe(call(), loop)
    try:
        result, error = _interruptible(future) if interrupts.engaged() else workers.result(future)
    except BaseException:
        # Such as Ctrl-C.
        future.cancel()
        raise
    if error is not None:
        try:
            raise error
        finally:
            # The traceback holds this frame, which holds the error.
            error = None
    return result  # type: ignore[return-value]  # None goes with an error only


def _interruptible(future: Future[T]) -> T:
    """Wait for a call for an engine, which ends with KeyboardInterrupt on Ctrl-C."""
    pressed = threading.Event()

    def end() -> None:
        pressed.set()
        future.cancel()

    try:
        with interrupts.ending(end):
            return workers.result(future)
    except CancelledError:
        if pressed.is_set():
            raise KeyboardInterrupt from None
        raise


def _loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()
    with _lock:
        if pid not in _loops:
            _loops.clear()
            loop = asyncio.new_event_loop()
            try:
                threading.Thread(target=loop.run_forever, name="opendalfs-loop", daemon=True).start()
            except RuntimeError:
                # No more threads just now. Callers would wait for ever for a loop that does not run.
                loop.close()
                raise
            _loops[pid] = loop
        return _loops[pid]
