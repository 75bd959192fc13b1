"""The files of one sink that are complete, but not published before the sink has succeeded."""

from __future__ import annotations

import asyncio
from typing import Final

from opendalfs.write.writer import Writer

from .mount import Mount
from .writer_threads import WriterThreads

__all__ = ["HeldFiles"]

_MAX_BYTES: Final = 256 << 20
"""Bytes of several files that are held. Beyond it the oldest file is published."""


class HeldFiles:
    """Complete files that wait for the end of their sink, oldest first.

    If one of them cannot be published, all others are dropped and the sink has failed: every later `add` and
    `publish` raises that error.

    Parameters
    ----------
    mount : Mount
        The mount of the files.
    threads : WriterThreads
        The threads that publish them.
    """

    def __init__(self, mount: Mount, threads: WriterThreads) -> None:
        self._mount = mount
        self._threads = threads
        self._files: dict[str, Writer] = {}
        self._commits: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None

    async def add(self, key: str, writer: Writer) -> None:
        """Add a complete file; it replaces a held file with the same key.

        Raises
        ------
        OSError
            If this or another file of the sink could not be published.
        """
        replaced = self._files.pop(key, None)
        self._files[key] = writer
        if replaced is not None:
            await self._threads.abort(replaced)
        while self._error is None and self._is_full():
            await self._publish_oldest()
        await self._raise_error()

    async def publish(self) -> None:
        """Publish all files.

        Raises
        ------
        OSError
            If one of them could not be published, now or before. The files after it are dropped.
        """
        while self._error is None and self._files:
            await self._publish_oldest()
        if self._commits:
            await asyncio.wait(self._commits)
        await self._raise_error()

    async def drop(self) -> None:
        """Drop all files that are not published."""
        while self._files:
            await self._threads.abort(self._files.pop(next(iter(self._files))))

    def _is_full(self) -> bool:
        # A single file is held whatever its size.
        return len(self._files) > 1 and sum(writer.size for writer in self._files.values()) > _MAX_BYTES

    async def _publish_oldest(self) -> None:
        key = next(iter(self._files))
        commit = asyncio.create_task(self._publish(key, self._files.pop(key)))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        # The commit continues if the client disconnects.
        await asyncio.shield(commit)

    async def _publish(self, key: str, writer: Writer) -> None:
        try:
            await self._threads.commit(self._mount, key, writer)
        except Exception as exc:
            self._error = self._error or exc

    async def _raise_error(self) -> None:
        if self._error is not None:
            await self.drop()
            raise self._error
