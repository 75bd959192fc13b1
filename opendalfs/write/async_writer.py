"""Writes from coroutines, published on commit and only then: whole objects, streams of parts and copies."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, BinaryIO, Self

from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.upload import AsyncUpload

from .base import BaseWriter, State, WritePlan
from .parts import PartBuffer, part_size
from .staging import Stage
from .verification import verify, verify_copy, wait_for_copy

__all__ = ["AsyncWriter", "file_parts", "put_bytes", "put_copy", "put_parts"]


class AsyncWriter(BaseWriter[AsyncUpload]):
    """A write of one object from coroutines; an ``async with`` block commits it, or aborts it on an error.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key.
    size : int, optional
        Bytes of the whole object, if known.
    in_memory : bool
        Whether the whole object is in memory already, so that a staged file is written with one call.
    **options
        OpenDAL's options as `write_options` returns them, and ``if_not_exists``.
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        *,
        size: int | None = None,
        in_memory: bool = False,
        **options: Any,
    ) -> None:
        exclusive = options.pop("if_not_exists", False)
        plan = WritePlan(connection, key, options, exclusive=exclusive)
        multipart = connection.can("write_can_multi") and not (in_memory and plan.staged)
        super().__init__(plan, PartBuffer(plan.connection, size, plan.chunk, multipart=multipart))

    async def __aenter__(self) -> Self:
        """Return the writer.

        Raises
        ------
        FileExistsError
            With ``if_not_exists`` on a local disk, if the file exists. Object stores check it at the commit.
        """
        plan = self._plan
        if plan.staged and plan.exclusive and await _exists(plan):
            raise plan.exists_error()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.commit()
        else:
            self.abort()

    async def write(self, data: bytes) -> None:
        """Write bytes; full parts are uploaded at once.

        Raises
        ------
        ValueError
            After a commit or an abort.
        OSError
            If a part cannot be written. The write is aborted.
        """
        self._require_open("write")
        try:
            self.size += len(data)
            for part in self._buffer.add(data):
                await self._send(part)
                # Freed before the next part is made.
                del part
        except BaseException:
            # It is unknown which bytes of the object would be missing.
            self.abort()
            raise

    async def _send(self, part: bytes) -> None:
        plan = self._plan
        with self._target() as target:
            if self._upload is None:
                options = plan.upload_options(len(part))
                self._upload = await plan.connection.upload_async(target, **options)
            await self._upload.write(part)

    async def commit(self) -> None:
        """Publish what was written.

        Raises
        ------
        ValueError
            After a commit or an abort.
        FileExistsError
            With ``if_not_exists``, if the object exists.
        OSError
            If it cannot be published. The write is aborted.
        """
        self._require_open("commit")
        try:
            await self._publish()
        except BaseException:
            self.abort()
            raise
        self.state = State.COMMITTED
        self._upload = None

    async def _publish(self) -> None:
        plan, last = self._plan, self._buffer.take()
        with self._target() as target:
            if self._upload is None:
                await plan.connection.write(target, last, **plan.options)
            else:
                if last:
                    await self._upload.write(last)
                await self._upload.complete()
        if self._stage is not None:
            await self._stage.publish(plan.exclusive)
        if plan.connection.tuning.verify_writes:
            await self._verify(last)


async def _exists(plan: WritePlan) -> bool:
    try:
        await plan.connection.stat(plan.key)
    except FileNotFoundError:
        return False
    return True


async def put_bytes(connection: Connection, key: str, data: bytes, **options: Any) -> None:
    """Write an object whose content is in memory.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key.
    data : bytes
        The whole content.
    **options
        OpenDAL's options as `write_options` returns them, and ``if_not_exists``.
    """
    size = len(data)
    if stages_writes(connection) or size > part_size(connection, size, chunk=options.get("chunk")):
        async with AsyncWriter(connection, key, size=size, in_memory=True, **options) as writer:
            await writer.write(data)
        return
    # One request, as for most objects, needs neither a buffer nor the states of a writer.
    for name in ("chunk", "concurrent"):
        options.pop(name, None)
    await connection.write(key, data, **options)
    if connection.tuning.verify_writes:
        await verify(connection, key, size, data)


async def put_parts(
    connection: Connection, key: str, parts: AsyncIterator[bytes], size: int, **options: Any
) -> None:
    """Write an object from its parts, with a few of them in memory.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key.
    parts : async iterator of bytes
        The parts. They are not copied if all but the last have the size that `part_size` returns.
    size : int
        Bytes of all parts together.
    **options
        OpenDAL's options as `write_options` returns them, and ``if_not_exists``.

    Raises
    ------
    OSError
        If there are fewer or more bytes, such as when the source has changed. Nothing is published then.
    """
    async with AsyncWriter(connection, key, size=size, **options) as writer:
        async for part in parts:
            await writer.write(part)
        if writer.size != size:
            raise OSError(
                errno.EIO,
                f"The source changed while it was copied: {writer.size} bytes, not {size}. Copy it again",
                key,
            )


async def put_copy(connection: Connection, source: str, key: str) -> None:
    """Copy within a service that can copy. If the copy fails, the object at `key` stays as it was.

    Parameters
    ----------
    connection : Connection
        The connection that stores both.
    source, key : str
        Keys of the object and of its copy.

    Raises
    ------
    OSError
        If it cannot be copied.
    """
    if not stages_writes(connection):
        verifies, waits = connection.tuning.verify_writes, connection.service.copies_later
        before = await connection.stat(source) if verifies or waits else None
        await connection.copy(source, key)
        if before is not None and waits:
            await wait_for_copy(connection, key, before.content_length)
        if before is not None and verifies:
            await verify_copy(connection, before, source, key)
        return
    plan = WritePlan(connection, key, {})
    if plan.connection is not connection:
        # The target is a link that leads out of the root.
        source = connection.local_path(source).lstrip("/")
    stage = Stage(plan.connection, plan.key)
    try:
        with stage.errors_name_target():
            await plan.connection.copy(source, stage.key)
        await stage.publish()
    finally:
        stage.remove()


async def file_parts(source: BinaryIO, part: int, progress: Callable[[int], Any]) -> AsyncIterator[bytes]:
    """Read an open local file in parts.

    Parameters
    ----------
    source : binary file
        The file, which is read to its end.
    part : int
        Bytes of a part.
    progress : callable
        Called with the size of each part after it was consumed.

    Yields
    ------
    bytes
    """
    while data := await asyncio.to_thread(source.read, part):
        yield data
        progress(len(data))
