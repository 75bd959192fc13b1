"""A thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

__all__ = ["LoopThread"]

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.5
"""How often a caller that waits for the thread checks whether it has ended."""


class LoopThread:
    """A daemon thread that runs a server in an event loop until `stop`.

    Parameters
    ----------
    name : str
        Name of the thread.
    serve : callable
        Returns an asynchronous context manager. It is entered in the thread before the constructor returns,
        and left when the thread stops.

    Raises
    ------
    RuntimeError
        If it was not entered within 30 seconds.
    """

    def __init__(self, name: str, serve: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self.stopped = False
        self._serve = serve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=name, daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError(f"{name} did not start within {_START_SECONDS:g} s: try again")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with self._serve():
            self._ready.set()
            await self._stopping.wait()

    def run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Run a coroutine function in the thread, and wait for it.

        Returns
        -------
        bool
            False if the thread was stopped before the function has ended.
        """
        if self._loop is None or self.stopped:
            return False
        coroutine = function()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            # The loop was closed meanwhile.
            coroutine.close()
            return False
        try:
            while not futures.wait([future], _POLL_SECONDS).done:
                if not self._thread.is_alive():
                    return False
            future.result()
        except (futures.CancelledError, asyncio.CancelledError, RuntimeError):
            if not self.stopped:
                raise
            return False
        finally:
            # After Ctrl-C no caller waits for it.
            future.cancel()
        return True

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call a function in the thread, unless it has ended."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """Stop the thread, and wait up to 5 seconds for its end. A second call does nothing."""
        self.stopped = True
        if self._stopping is not None and self._thread.is_alive():
            self.call_soon(self._stopping.set)
            self._thread.join(_STOP_SECONDS)
