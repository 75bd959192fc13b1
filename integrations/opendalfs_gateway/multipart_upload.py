"""One multipart upload: it receives parts and publishes one object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from opendalfs.write.writer import Writer

from .conditions import ANY, WriteCondition
from .directory import Directory
from .part_queue import PartQueue
from .s3 import S3Error
from .writer_threads import WriterThreads

__all__ = ["MultipartUpload"]


class MultipartUpload:
    """One multipart upload.

    Parameters
    ----------
    directory : Directory
        The directory of the object.
    key : str
        Its key in the directory.
    make : callable
        Returns the writer; called in a thread.
    publish : coroutine function
        Publishes what a writer has written, under a condition, and returns the etag of the object; aborts the
        writer if that fails.
    threads : WriterThreads
        The threads in which the writer works.
    released : asyncio.Condition
        Notified when any upload releases memory.
    limit : int, optional
        Bytes of the object at most.

    Attributes
    ----------
    parts : PartQueue
        Its parts.
    etag : str
        The quoted etag of the completed object.
    last_used : float
        When a part was last added, in seconds of `time.monotonic`.
    """

    def __init__(
        self,
        directory: Directory,
        key: str,
        make: Callable[[], Writer],
        publish: Callable[[Writer, WriteCondition], Awaitable[str]],
        threads: WriterThreads,
        released: asyncio.Condition,
        limit: int | None = None,
    ) -> None:
        self.directory = directory
        self.key = key
        self.parts = PartQueue(self._write, released)
        self.etag = ""
        self.last_used = time.monotonic()
        self._limit = limit
        self._make = make
        self._publish = publish
        self._threads = threads
        self._writer: Writer | None = None
        self._completion: asyncio.Task[None] | None = None

    @property
    def memory(self) -> int:
        """Bytes in memory that are not sent to storage yet."""
        return self.parts.held + (self._writer.buffered if self._writer is not None else 0)

    @property
    def is_completed(self) -> bool:
        """Whether its client has completed it. It is kept for a while, as the client may repeat that."""
        return self._completion is not None

    async def put(self, number: int, size: int, read: Callable[[], Awaitable[bytes]]) -> str:
        """Add a part, and return its etag.

        Parameters
        ----------
        number : int
            Number of the part, from 1.
        size : int
            Its bytes.
        read : coroutine function
            Reads the part; called when there is memory for it.

        Raises
        ------
        S3Error
            400 if the object would be too large, 503 if there was no memory for the part, 409 if a part with
            this number and other content has arrived, 404 after the upload was aborted.
        OSError
            If an earlier part could not be written.
        """
        self.last_used = time.monotonic()
        if self._limit is not None and self.parts.size + size > self._limit:
            raise S3Error(
                400,
                "EntityTooLarge",
                f"the object is too large: its service takes one piece, of at most {self._limit} bytes here",
            )
        await self.parts.admit(number, size)
        try:
            data = await read()
        except BaseException:
            await asyncio.shield(self.parts.release(size))
            raise
        return await self.parts.put(number, data)

    async def _write(self, data: bytes) -> None:
        try:
            await self._threads.run(lambda: self._open().write(data))
        finally:
            self.last_used = time.monotonic()

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = self._make()
        return self._writer

    async def complete(self, listed: Sequence[tuple[int, str]], condition: WriteCondition = ANY) -> None:
        """Publish the object, once. A client that repeats the request gets the same response.

        Parameters
        ----------
        listed : sequence of (int, str)
            Numbers and etags of its parts, in ascending order.
        condition : WriteCondition
            The condition under which to publish it.

        Raises
        ------
        S3Error
            400 if these are not the parts that have arrived.
        OSError
            If a part could not be written, or the object could not be published.
        """
        if self._completion is None:
            if dict(listed) != self.parts.etags:
                raise S3Error(
                    400,
                    "InvalidPart",
                    "the listed parts are not the uploaded parts: list each of them, with its etag",
                )
            self.parts.seal()
            self._completion = asyncio.create_task(self._complete(condition))
        # The publication continues if the client disconnects.
        await asyncio.shield(self._completion)

    async def _complete(self, condition: WriteCondition) -> None:
        try:
            await self.parts.flush()
        except BaseException:
            await self._abort_writer()
            raise
        writer, self._writer = self._open(), None
        self.etag = await self._publish(writer, condition)

    async def abort(self) -> None:
        """Publish nothing and drop what has arrived; nothing happens once it is completed."""
        if self._completion is not None:
            return
        await self.parts.close(S3Error(404, "NoSuchUpload", "the upload was aborted: begin a new one"))
        await self._abort_writer()

    async def _abort_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._threads.run(writer.abort)
