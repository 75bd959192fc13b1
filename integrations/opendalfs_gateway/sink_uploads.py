"""Uploads of sinks: what they hold is published when the sink has succeeded."""

from __future__ import annotations

import asyncio
import errno

from .mount import Mount
from .sinks import Sinks
from .uploads import Uploads
from .writer_threads import WriterThreads

__all__ = ["SinkUploads"]


class SinkUploads(Uploads):
    """The uploads of sinks.

    Parameters
    ----------
    expiry : float
        Seconds after which an idle upload is aborted. Polars never aborts an upload that failed.

    Attributes
    ----------
    sinks : Sinks
        The sinks that may write.
    """

    def __init__(self, expiry: float) -> None:
        threads = WriterThreads()
        self.sinks = Sinks(threads)
        super().__init__(expiry, threads, self.sinks)

    async def publish(self, mount: Mount, scan: str) -> None:
        """End a sink that has succeeded: publish the files it holds, and abort its uploads in progress.

        Raises
        ------
        OSError
            If the sink has ended, or a file cannot be published. The files after it are dropped.
        """
        if (mount, scan) not in self.sinks:
            raise OSError(errno.ECANCELED, "Not published: its sink has ended. Write it again", mount.root)
        held = self.sinks.close(mount, scan)
        await self._abort_all(mount, scan)
        if held is None:
            return
        try:
            await held.publish()
        except BaseException:
            await asyncio.shield(held.drop())
            raise

    async def end(self, mount: Mount, scan: str) -> None:
        """End a sink that has failed: drop the files it holds, and abort its uploads in progress."""
        held = self.sinks.close(mount, scan)
        await self._abort_all(mount, scan)
        if held is not None:
            await held.drop()
