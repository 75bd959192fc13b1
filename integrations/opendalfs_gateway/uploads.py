"""The uploads of the gateway: which are in progress, and their limits."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Final, Protocol

from opendalfs.storage.connection import Connection
from opendalfs.write.writer import Writer

from .conditions import ANY, WriteCondition
from .directory import Directory
from .multipart_upload import MultipartUpload
from .s3 import S3Error
from .writer_threads import WriterThreads

__all__ = ["Publisher", "Uploads"]

_MAX_UPLOADS: Final = 1000
"""Multipart uploads that are not completed."""

_MAX_BYTES: Final = 1 << 30
"""Bytes in memory of uploads that are not completed."""

_IDLE_SECONDS: Final = 60.0
"""How long an upload must be idle before it is aborted for one of these limits."""

_COMPLETED_SECONDS: Final = 120.0
"""How long a completed upload is kept, as a client that missed the answer asks again."""


class Publisher(Protocol):
    """Publishes objects that have arrived."""

    def check(self, directory: Directory, key: str) -> None:
        """Raise S3Error if a key must not be written."""

    def open_writer(self, connection: Connection, key: str, condition: WriteCondition) -> Writer:
        """Return the writer of an object; called in a thread."""

    async def add(
        self, directory: Directory, key: str, writer: Writer, condition: WriteCondition, digest: str = ""
    ) -> str:
        """Publish what a writer has written, now or later; abort the writer if that fails.

        `digest`: the MD5 of its content in hex, if known. Returns the quoted etag of the object, or one that
        no object has where that is not known.
        """


class Uploads:
    """The multipart uploads in progress, and writes of whole objects.

    Parameters
    ----------
    expiry : float
        Seconds after which an idle upload is aborted.
    threads : WriterThreads
        The threads in which writers work.
    publisher : Publisher
        Publishes what has arrived.
    most_in_memory : int, optional
        Bytes of a multipart upload at most, where the service takes an object in one piece only.
    """

    def __init__(
        self,
        expiry: float,
        threads: WriterThreads,
        publisher: Publisher,
        *,
        most_in_memory: int | None = None,
    ) -> None:
        self.expiry = expiry
        self.threads = threads
        self._publisher = publisher
        self._most_in_memory = most_in_memory
        self._uploads: dict[str, MultipartUpload] = {}
        self._released = asyncio.Condition()

    def __len__(self) -> int:
        return sum(not upload.is_completed for upload in self._uploads.values())

    async def begin(self, directory: Directory, key: str, condition: WriteCondition = ANY) -> str:
        """Begin a multipart upload, and return its id. Its condition counts unless it ends with another one.

        Raises
        ------
        S3Error
            503 if there are too many that are not completed, none of them idle. 403 if the key must not be
            written.
        """
        connection, found = self._locate(directory, key)
        await self._enforce_limits(more=1)
        if len(self) >= _MAX_UPLOADS:
            raise S3Error(
                503, "SlowDown", f"{_MAX_UPLOADS} uploads are not completed: complete or abort some"
            )
        make = partial(self._publisher.open_writer, connection, found, condition)

        def publish(writer: Writer, at_end: WriteCondition) -> Awaitable[str]:
            return self._publisher.add(directory, key, writer, at_end or condition)

        limit = None if connection.can("write_can_multi") else self._most_in_memory
        upload = MultipartUpload(directory, key, make, publish, self.threads, self._released, limit)
        upload_id = secrets.token_hex(16)
        self._uploads[upload_id] = upload
        return upload_id

    def _locate(self, directory: Directory, key: str) -> tuple[Connection, str]:
        self._publisher.check(directory, key)
        connection, found = directory.locate(key)
        connection.require("write", "write")
        return connection, found

    async def _enforce_limits(self, more: int = 0) -> None:
        """Abort idle uploads until the limits are met, the longest idle first."""
        unfinished = {name: upload for name, upload in self._uploads.items() if not upload.is_completed}
        count, size = len(unfinished) + more, sum(upload.memory for upload in unfinished.values())
        limit = time.monotonic() - _IDLE_SECONDS
        for upload_id, upload in sorted(unfinished.items(), key=lambda item: item[1].last_used):
            if (count <= _MAX_UPLOADS and size <= _MAX_BYTES) or upload.last_used > limit:
                break
            if upload.parts.is_writing:
                continue
            count, size = count - 1, size - upload.memory
            await self.abort(upload_id)

    def get(self, upload_id: str, directory: Directory, key: str) -> MultipartUpload:
        """Return an upload.

        Raises
        ------
        S3Error
            404 if there is no upload with this id for this key.
        """
        upload = self._uploads.get(upload_id)
        if upload is None or upload.directory is not directory or upload.key != key:
            raise S3Error(404, "NoSuchUpload", "there is no such upload, or it was aborted: begin a new one")
        return upload

    async def abort(self, upload_id: str) -> None:
        """Abort an upload; nothing is published."""
        upload = self._uploads.pop(upload_id, None)
        if upload is not None:
            await upload.abort()

    async def expire(self) -> None:
        """Abort the uploads that were idle for long, and drop completed ones."""
        now = time.monotonic()
        for upload_id, upload in list(self._uploads.items()):
            seconds = min(self.expiry, _COMPLETED_SECONDS) if upload.is_completed else self.expiry
            if upload.last_used < now - seconds:
                await self.abort(upload_id)
        await self._enforce_limits()

    async def _abort_all(self, directory: Directory, scan: str) -> None:
        for upload_id, upload in list(self._uploads.items()):
            if upload.directory is directory and upload.key.startswith(f"{scan}/"):
                await self.abort(upload_id)

    async def put(
        self, directory: Directory, key: str, source: AsyncIterator[bytes], condition: WriteCondition = ANY
    ) -> str:
        """Write one object from an asynchronous iterator of bytes, and publish it at the end.

        Returns
        -------
        str
            The quoted etag of the object, as `Publisher.add` returns it.

        Raises
        ------
        S3Error
            403 if the key must not be written; 412 if the condition is not met.
        OSError
            If the object cannot be written.
        """
        connection, found = self._locate(directory, key)
        writer = await self.threads.run(partial(self._publisher.open_writer, connection, found, condition))
        digest = hashlib.md5(usedforsecurity=False)
        small = connection.tuning.write_chunk
        try:
            async for piece in source:
                if writer.size + len(piece) < small:
                    # It is only copied, which is faster than a thread switch.
                    writer.write(piece)
                    digest.update(piece)
                else:
                    await self.threads.run(partial(writer.write, piece))
        except BaseException:
            await asyncio.shield(self.threads.abort(writer))
            raise
        # The etag of a larger one is not its MD5.
        known = digest.hexdigest() if writer.size < small else ""
        return await self._publisher.add(directory, key, writer, condition, known)

    def close(self) -> None:
        """Drop the uploads, and release their memory."""
        for upload in self._uploads.values():
            upload.parts.discard()
        self._uploads.clear()
