"""The threads in which the writers of the gateway work."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from opendalfs.runtime import interrupts
from opendalfs.runtime.executor import BoundedExecutor
from opendalfs.write.writer import Writer

from .directory import Directory

__all__ = ["WriterThreads"]

T = TypeVar("T")

_THREADS: Final = 16


class WriterThreads:
    """Runs the blocking methods of writers for the event loop of the gateway."""

    def __init__(self) -> None:
        # Not a ThreadPoolExecutor: Python joins its threads at exit before anything can end their calls.
        self._pool = BoundedExecutor(_THREADS)
        self._committing: set[int] = set()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread, and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def commit(self, directory: Directory, key: str, writer: Writer) -> None:
        """Publish what a writer has written; abort the writer if that fails.

        Raises
        ------
        OSError
            If it cannot be published.
        """
        try:
            await self.run(partial(self._commit, writer))
        except Exception:
            # Not if this task is cancelled: the commit then continues in its thread.
            await self.abort(writer)
            raise
        directory.wrote(key)

    def _commit(self, writer: Writer) -> None:
        thread = threading.get_ident()
        self._committing.add(thread)
        try:
            with interrupts.EngineScope():
                writer.commit()
        except KeyboardInterrupt:
            # It would end the event loop.
            raise InterruptedError(errno.EINTR, "Not published: interrupted by Ctrl-C") from None
        finally:
            self._committing.discard(thread)

    async def abort(self, writer: Writer) -> None:
        """Publish nothing of what a writer has written. Errors are ignored: the first one is reported."""
        with suppress(OSError, RuntimeError):
            await self.run(writer.abort)

    def interrupt(self) -> None:
        """Cancel the commits in flight; may be called from any thread."""
        interrupts.end_waits(set(self._committing))
