"""Downloads into local files and file-like objects, for coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, Final

from opendalfs import tracing
from opendalfs.runtime.tasks import finish_in_thread, gather
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import is_special_file, replace_file
from opendalfs.storage.version import Version

from .async_reader import check_version, fetch_part, fetch_pinned
from .plan import PinnedObject
from .ranges import Range, split

__all__ = ["download", "write_into"]

_WINDOW: Final = 64 << 20
"""Bytes of an object held at a time on the way into a file-like object."""

_IN_FLIGHT: Final = 16
"""Parts in flight on the way to disk, of half the size: each is held until it is written."""

_WRITTEN_AT_ONCE: Final = 256 * 1024
"""Bytes written to a local file in the event loop's thread: to hand them to another thread takes as long."""

_seek_lock = threading.Lock()


async def write_into(
    connection: Connection, key: str, version: Version, file: Any, progress: Callable[[int], Any]
) -> None:
    """Write an object into a file-like object at its position.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    version : Version
        The version to read.
    file : file-like
        Open for writing bytes.
    progress : callable
        Called with the number of bytes after each write.

    Raises
    ------
    ChangedError
        If the object has another version; what was written before stays in the file.
    """
    pinned = PinnedObject(connection, key, version, held=True)
    for window in split(Range(0, version.size), _WINDOW):
        for data in await fetch_pinned(pinned, [window]):
            file.write(data)
            progress(len(data))


async def download(
    connection: Connection, key: str, version: Version, target: str, progress: Callable[[int], Any]
) -> None:
    """Write an object into a local file, which exists only once it is complete.

    Parameters
    ----------
    connection, key, version
        As for `write_into`.
    target : str
        Path of the local file. What exists there is replaced, and keeps its mode.
    progress : callable
        Called with the number of bytes of each part that was written.

    Raises
    ------
    ChangedError
        If the object has another version.
    IsADirectoryError
        If `target` is a directory.
    """
    if is_special_file(target):
        # It takes bytes in their order. In a thread, as a pipe opens only when its reader does.
        with await asyncio.to_thread(open, target, "wb") as special:
            await write_into(connection, key, version, special, progress)
        return
    with replace_file(target) as file:
        await _write_parts(PinnedObject(connection, key, version, held=True), file.fileno(), progress)


async def _write_parts(pinned: PinnedObject, file: int, progress: Callable[[int], Any]) -> None:
    """Write an object to a file descriptor, in parallel parts."""
    tracing.add_bytes_wanted(pinned.version.size)

    async def write_part(part: Range) -> None:
        data = await fetch_part(pinned, part)
        if len(data) <= _WRITTEN_AT_ONCE:
            _write_all(file, data, part.start)
        else:
            # To its end, also when cancelled, as the file is closed next.
            await finish_in_thread(_write_all, file, data, part.start)
        progress(len(data))

    parts = split(Range(0, pinned.version.size), max(pinned.connection.tuning.read_chunk // 2, 1))
    await gather(write_part, parts, _IN_FLIGHT)
    if pinned.version.size:
        await check_version(pinned)


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = _write_at(file, view, offset)
        view, offset = view[count:], offset + count


def _write_at(file: int, data: memoryview, offset: int) -> int:
    """Write at an offset; return the bytes written. Windows has no pwrite: there, one thread at a time."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, data, offset)
    with _seek_lock:
        os.lseek(file, offset, os.SEEK_SET)
        return os.write(file, data)
