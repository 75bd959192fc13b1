"""The files of one sink, written and not published before the sink has succeeded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from opendalfs.write.writer import Writer

__all__ = ["Hold"]

_MOST_BYTES: Final = 256 << 20
"""Bytes of several files that are held; beyond it the oldest, which has long been complete, is published."""


class Hold:
    """Complete files that wait for the end of their sink, oldest first.

    When one of them cannot be published, all others are dropped and the sink has failed: every later
    `add` and `publish` raises that error.

    Parameters
    ----------
    commit : coroutine function
        Publishes the file of a key and a writer; when it fails, it aborts the writer and raises.
    abort : coroutine function
        Drops what a writer has written; raises nothing.
    """

    def __init__(
        self,
        commit: Callable[[str, Writer], Awaitable[None]],
        abort: Callable[[Writer], Awaitable[None]],
    ) -> None:
        self._commit = commit
        self._abort = abort
        self._files: dict[str, Writer] = {}
        self._commits: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None

    async def add(self, key: str, writer: Writer) -> None:
        """Take over a complete file; one that is held under the same key is replaced.

        Raises
        ------
        OSError
            When a file of the sink could not be published, be it another one.
        """
        replaced = self._files.pop(key, None)
        self._files[key] = writer
        if replaced is not None:
            await self._abort(replaced)
        while self._error is None and self._is_full():
            await self._publish_oldest()
        await self._raise_error()

    async def publish(self) -> None:
        """Publish all files.

        Raises
        ------
        OSError
            When one of them could not be published, now or before; those after it are dropped.
        """
        while self._error is None and self._files:
            await self._publish_oldest()
        if self._commits:
            await asyncio.wait(self._commits)
        await self._raise_error()

    async def drop(self) -> None:
        """Drop all files that are not published."""
        while self._files:
            await self._abort(self._files.pop(next(iter(self._files))))

    def _is_full(self) -> bool:
        # A single file is held however large it is.
        return len(self._files) > 1 and sum(writer.size for writer in self._files.values()) > _MOST_BYTES

    async def _publish_oldest(self) -> None:
        key = next(iter(self._files))
        commit = asyncio.create_task(self._publish(key, self._files.pop(key)))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        # A client that goes away must not end a commit half-way.
        await asyncio.shield(commit)

    async def _publish(self, key: str, writer: Writer) -> None:
        try:
            await self._commit(key, writer)
        except Exception as exc:
            self._error = self._error or exc

    async def _raise_error(self) -> None:
        if self._error is not None:
            await self.drop()
            raise self._error
