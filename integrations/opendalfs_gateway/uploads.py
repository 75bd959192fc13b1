"""The uploads of the gateway: which are in progress, and their limits."""

from __future__ import annotations

import asyncio
import errno
import secrets
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from opendalfs.storage.connection import Connection
from opendalfs.write.writer import Writer

from .mount import Mount
from .multipart_upload import MultipartUpload
from .s3 import S3Error
from .sinks import Sinks
from .writer_threads import WriterThreads

__all__ = ["Uploads"]

_MAX_UPLOADS: Final = 1000
"""Multipart uploads that are not completed."""

_MAX_BYTES: Final = 1 << 30
"""Bytes in memory of uploads that are not completed."""

_IDLE_SECONDS: Final = 60.0
"""How long an upload must be idle before it is aborted for one of these limits."""

_COMPLETED_SECONDS: Final = 120.0
"""How long a completed upload is kept, as a client that missed the answer asks again."""


class Uploads:
    """The multipart uploads in progress, and writes of whole objects.

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
        self.expiry = expiry
        self.threads = WriterThreads()
        self.sinks = Sinks(self.threads)
        self._uploads: dict[str, MultipartUpload] = {}
        self._released = asyncio.Condition()

    def __len__(self) -> int:
        return sum(not upload.is_completed for upload in self._uploads.values())

    async def begin(self, mount: Mount, key: str, **options: Any) -> str:
        """Begin a multipart upload, and return its id.

        Raises
        ------
        S3Error
            503 if there are too many that are not completed, none of them idle. 403 if the sink has ended.
        """
        connection, found = self._locate(mount, key)
        await self._enforce_limits(more=1)
        if len(self) >= _MAX_UPLOADS:
            raise S3Error(
                503, "SlowDown", f"{_MAX_UPLOADS} uploads are not completed: complete or abort some"
            )
        make = partial(Writer, connection, found, **options)
        upload = MultipartUpload(mount, key, make, self.sinks.add, self.threads, self._released)
        upload_id = secrets.token_hex(16)
        self._uploads[upload_id] = upload
        return upload_id

    def _locate(self, mount: Mount, key: str) -> tuple[Connection, str]:
        self.sinks.check(mount, key)
        connection, found = mount.locate(key)
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

    def get(self, upload_id: str, mount: Mount, key: str) -> MultipartUpload:
        """Return an upload.

        Raises
        ------
        S3Error
            404 if there is no upload with this id for this key.
        """
        upload = self._uploads.get(upload_id)
        if upload is None or upload.mount is not mount or upload.key != key:
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

    async def _abort_all(self, mount: Mount, scan: str) -> None:
        for upload_id, upload in list(self._uploads.items()):
            if upload.mount is mount and upload.key.startswith(f"{scan}/"):
                await self.abort(upload_id)

    async def put(self, mount: Mount, key: str, source: AsyncIterator[bytes], **options: Any) -> None:
        """Write one object from an asynchronous iterator of bytes, and publish it at the end.

        Raises
        ------
        S3Error
            403 if the sink has ended.
        OSError
            If the object cannot be written.
        """
        connection, found = self._locate(mount, key)
        writer = await self.threads.run(lambda: Writer(connection, found, **options))
        try:
            async for piece in source:
                if writer.size + len(piece) < connection.tuning.write_chunk:
                    # It is only copied, which is faster than a thread switch.
                    writer.write(piece)
                else:
                    await self.threads.run(partial(writer.write, piece))
        except BaseException:
            await asyncio.shield(self.threads.abort(writer))
            raise
        await self.sinks.add(mount, key, writer)

    def close(self) -> None:
        """Drop the uploads, and release their memory."""
        for upload in self._uploads.values():
            upload.parts.discard()
        self._uploads.clear()
