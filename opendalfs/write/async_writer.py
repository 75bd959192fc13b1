"""Writes for coroutines: whole objects, streams of parts and copies, published whole or not at all.

What `writer` does in threads, on the asynchronous operator.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import followed, stages_writes

from .options import PARALLEL, part_ranges, part_size
from .staging import Stage
from .verification import verify, verify_copy

__all__ = ["file_parts", "put_bytes", "put_copy", "put_parts"]


async def put_bytes(connection: Connection, key: str, data: bytes, **options: Any) -> None:
    """Write an object whose bytes are at hand.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    data : bytes
        All of it.
    **options
        OpenDAL's, as `write_options` returns them, and ``if_not_exists``.
    """
    part = part_size(connection, len(data), chunk=options.get("chunk"))
    if len(data) > part and connection.can("write_can_multi") and not stages_writes(connection):
        # Each part has a timeout of its own, which one call of OpenDAL's for all of them would not have.
        await put_parts(connection, key, _cut(data, part), len(data), **options)
        return
    _pop_parallel(options)
    if not stages_writes(connection):
        await connection.write(key, data, **options)
    else:
        async with _staging(connection, key, options) as (place, stage):
            await place.write(stage, data, **options)
    await verify(connection, key, len(data), data)


async def _cut(data: bytes, part: int) -> AsyncIterator[bytes]:
    for piece in part_ranges(len(data), part):
        yield data[piece.start : piece.stop]


def _pop_parallel(options: dict[str, Any]) -> int:
    """Remove the options of a multipart upload, and return how many of its parts are in flight at a time."""
    options.pop("chunk", None)
    parallel: int = options.pop("concurrent", PARALLEL)
    return parallel


@asynccontextmanager
async def _staging(
    connection: Connection, key: str, options: dict[str, Any]
) -> AsyncIterator[tuple[Connection, str]]:
    """Return the key of a staged file; what is there at the end is published, on an error nothing is.

    Of two writers of a key that must not exist one fails when it publishes.
    """
    exclusive = options.pop("if_not_exists", False)
    if not exclusive:
        connection, key = followed(connection, key)
    elif await _is_there(connection, key):
        raise FileExistsError(errno.EEXIST, "File exists", connection.name(key))
    stage = Stage(connection, key)
    try:
        with stage.naming():
            yield connection, stage.key
            stage.check()
            await connection.publish(stage.key, key, exclusive)
        stage.published()
    finally:
        stage.remove()


async def _is_there(connection: Connection, key: str) -> bool:
    try:
        await connection.stat(key)
    except FileNotFoundError:
        return False
    return True


async def put_copy(connection: Connection, source: str, key: str) -> None:
    """Copy within a service that copies, so that what was there stays when the copy fails.

    Parameters
    ----------
    connection : Connection
        Where both are.
    source, key : str
        Of the file, and of its copy.
    """
    if not stages_writes(connection):
        before = await connection.stat(source) if connection.tuning.verify_writes else None
        await connection.copy(source, key)
        if before is not None:
            await verify_copy(connection, before, source, key)
        return
    async with _staging(connection, key, {}) as (place, stage):
        # A link may lead the copy out of the root.
        await place.copy(source if place is connection else connection.local(source).lstrip("/"), stage)


async def put_parts(
    connection: Connection, key: str, parts: AsyncIterator[bytes], size: int, **options: Any
) -> None:
    """Write an object from its parts, holding a few of them in memory.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    parts : async iterator of bytes
        Each of `part_size` with the ``chunk`` of `options`, but for the last.
    size : int
        Bytes of all of them.
    **options
        OpenDAL's, as `write_options` returns them, and ``if_not_exists``.

    Raises
    ------
    OSError
        When there are fewer or more bytes, as when the source changed; nothing is published then.
    """
    if size <= part_size(connection, size, chunk=options.get("chunk")) or not connection.can(
        "write_can_multi"
    ):
        data = b"".join([part async for part in parts])
        _check_size(len(data), size, key)
        await put_bytes(connection, key, data, **options)
        return
    if not stages_writes(connection):
        await _upload_parts(connection, key, parts, size, options)
    else:
        async with _staging(connection, key, options) as (place, stage):
            await _upload_parts(place, stage, parts, size, options)
    await verify(connection, key, size)


async def _upload_parts(
    connection: Connection, key: str, parts: AsyncIterator[bytes], size: int, options: dict[str, Any]
) -> None:
    parallel = _pop_parallel(options)
    upload = await connection.upload_async(key, concurrent=parallel, **options)
    total = 0
    async for part in parts:
        await upload.write(part)
        total += len(part)
    _check_size(total, size, key)
    await upload.complete()


def _check_size(found: int, size: int, key: str) -> None:
    if found != size:
        raise OSError(errno.EIO, f"The source changed while it was copied: {found} bytes, not {size}", key)


async def file_parts(source: BinaryIO, part: int, progress: Callable[[int], Any]) -> AsyncIterator[bytes]:
    """Read an open local file in parts.

    Parameters
    ----------
    source : binary file
        Read to its end.
    part : int
        Bytes of a part.
    progress : callable
        Called with the bytes of each part that was handed over.

    Yields
    ------
    bytes
    """
    while data := await asyncio.to_thread(source.read, part):
        yield data
        progress(len(data))
