"""The uploads of a gateway: begun, completed, given up, and published on completion only.

Completion is not enough where a query fails. Now and then Polars then ends its files as if all were well,
even after it has told of the failure, and completes what is only a part. So the files of a sink can be put on
hold (`hold.Hold`): they are published when the sink has succeeded, and what comes after its end is refused.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from opendalfs.runtime import interrupts, workers
from opendalfs.storage.connection import Connection
from opendalfs.write.writer import Writer

from .hold import Hold
from .mount import Mount
from .s3 import S3Error
from .upload import Upload

__all__ = ["Uploads"]

T = TypeVar("T")

_THREADS: Final = 16
_MOST: Final = 1000
"""Uploads that are not completed."""

_MOST_BYTES: Final = 1 << 30
"""Bytes in memory of uploads that are not completed."""

_IDLE_SECONDS: Final = 60.0
"""How long nobody must have added to an upload before it is given up for one of these limits."""

_COMPLETED_SECONDS: Final = 120.0
"""How long a completed upload stays known, as a client that missed the answer asks again."""


class Uploads:
    """The uploads under way.

    Parameters
    ----------
    expiry : float
        Seconds after which an upload that nobody adds to is given up; Polars never ends one that failed.
    """

    def __init__(self, expiry: float) -> None:
        self.expiry = expiry
        self._open: dict[str, Upload] = {}
        self._scans: dict[tuple[Mount, str], Hold | None] = {}
        self._released = asyncio.Condition()
        # Not a ThreadPoolExecutor, whose threads Python joins at exit before anything can end their calls.
        self._threads = workers.Pool(_THREADS)
        self._committing: set[int] = set()

    def __len__(self) -> int:
        return sum(not upload.is_over for upload in self._open.values())

    async def begin(self, mount: Mount, key: str, **options: Any) -> str:
        """Begin an upload and return its id.

        Raises
        ------
        S3Error
            503 when there are too many that are not completed, and all of them are in use.
        """
        connection, found = self._target(mount, key)
        await self._shrink(more=1)
        if len(self) >= _MOST:
            raise S3Error(503, "SlowDown", f"more than {_MOST} uploads are not completed")
        make = partial(Writer, connection, found, **options)
        upload = Upload(mount, key, make, self._finish, self._threads, self._released)
        name = secrets.token_hex(16)
        self._open[name] = upload
        return name

    async def _shrink(self, more: int = 0) -> None:
        """Give up idle uploads, the longest idle first, until the limits are kept."""
        unfinished = {name: upload for name, upload in self._open.items() if not upload.is_over}
        count, size = len(unfinished) + more, sum(upload.memory for upload in unfinished.values())
        limit = time.monotonic() - _IDLE_SECONDS
        for name, upload in sorted(unfinished.items(), key=lambda item: item[1].touched):
            if (count <= _MOST and size <= _MOST_BYTES) or upload.touched > limit:
                break
            if upload.is_writing:
                continue
            count, size = count - 1, size - upload.memory
            await self.abort(name)

    def get(self, name: str, mount: Mount, key: str) -> Upload:
        """Find an upload.

        Raises
        ------
        S3Error
            404 when there is none of that id for that key.
        """
        upload = self._open.get(name)
        if upload is None or upload.mount is not mount or upload.key != key:
            raise S3Error(404, "NoSuchUpload", "there is no such upload, or it was given up")
        return upload

    async def abort(self, name: str) -> None:
        """End an upload; nothing is published."""
        upload = self._open.pop(name, None)
        if upload is not None:
            await upload.abort()

    async def expire(self) -> None:
        """End the uploads that nobody has added to for long, and forget completed ones."""
        now = time.monotonic()
        for name, upload in list(self._open.items()):
            patience = min(self.expiry, _COMPLETED_SECONDS) if upload.is_over else self.expiry
            if upload.touched < now - patience:
                await self.abort(name)
        await self._shrink()

    def allow(self, mount: Mount, scan: str, *, hold: bool) -> None:
        """Let objects be written under a scan's name, until `publish` or `end`.

        Parameters
        ----------
        mount : Mount
            Where.
        scan : str
            The name.
        hold : bool
            Whether nothing of it is to be published before `publish`.
        """
        self._scans[mount, scan] = Hold(partial(self._commit, mount), self._abort) if hold else None

    def forget(self, mount: Mount, scan: str) -> None:
        """Allow no more writes under a scan's name."""
        self._scans.pop((mount, scan), None)

    def _scan(self, mount: Mount, key: str) -> tuple[Mount, str]:
        scan = mount, key.partition("/")[0]
        if scan not in self._scans:
            raise S3Error(403, "AccessDenied", "the sink that wrote here is over")
        return scan

    def _target(self, mount: Mount, key: str) -> tuple[Connection, str]:
        self._scan(mount, key)
        connection, found = mount.locate(key)
        connection.require("write", "write")
        return connection, found

    async def publish(self, mount: Mount, scan: str) -> None:
        """Publish what is on hold under a scan's name, and end its uploads that were not completed.

        Raises
        ------
        OSError
            When the scan's name is over, or one object cannot be published; those after it are dropped.
        """
        if (mount, scan) not in self._scans:
            raise OSError(errno.ECANCELED, "Not published: the sink that wrote here is over", mount.root)
        hold = self._scans.pop((mount, scan))
        await self._abort_all(mount, scan)
        if hold is None:
            return
        try:
            await hold.publish()
        except BaseException:
            await asyncio.shield(hold.drop())
            raise

    async def end(self, mount: Mount, scan: str) -> None:
        """Drop what is on hold or under way under a scan's name."""
        hold = self._scans.pop((mount, scan), None)
        await self._abort_all(mount, scan)
        if hold is not None:
            await hold.drop()

    async def _abort_all(self, mount: Mount, scan: str) -> None:
        for name, upload in list(self._open.items()):
            if upload.mount is mount and upload.key.startswith(f"{scan}/"):
                await self.abort(name)

    async def _finish(self, mount: Mount, key: str, writer: Writer) -> None:
        """Publish an object, or put it on hold with the others of its sink."""
        try:
            hold = self._scans[self._scan(mount, key)]
        except S3Error:
            await self._abort(writer)
            raise
        if hold is not None:
            await hold.add(key, writer)
        else:
            await self._commit(mount, key, writer)

    async def _commit(self, mount: Mount, key: str, writer: Writer) -> None:
        try:
            await self._run(partial(self._commit_in_thread, writer))
        except Exception:
            # Not when this task is cancelled: the thread goes on with the commit then.
            await self._abort(writer)
            raise
        mount.wrote(key)

    def _commit_in_thread(self, writer: Writer) -> None:
        thread = threading.get_ident()
        self._committing.add(thread)
        try:
            with interrupts.Engaged():
                writer.commit()
        except KeyboardInterrupt:
            # It would end the event loop.
            raise InterruptedError(errno.EINTR, "Not published: interrupted by Ctrl-C") from None
        finally:
            self._committing.discard(thread)

    def interrupt(self) -> None:
        """Cancel the commits in flight; from any thread."""
        interrupts.end(set(self._committing))

    async def _abort(self, writer: Writer) -> None:
        # The error that led here is the one to report.
        with suppress(OSError, RuntimeError):
            await self._run(writer.abort)

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def put(self, mount: Mount, key: str, source: AsyncIterator[bytes], **options: Any) -> None:
        """Write one object from an asynchronous iterator of bytes, and publish it at its end."""
        connection, found = self._target(mount, key)
        target = await self._run(lambda: Writer(connection, found, **options))
        try:
            async for piece in source:
                if target.size + len(piece) < connection.tuning.write_chunk:
                    # Only copied, so not worth a thread.
                    target.write(piece)
                else:
                    await self._run(partial(target.write, piece))
        except BaseException:
            await asyncio.shield(self._abort(target))
            raise
        await self._finish(mount, key, target)

    def close(self) -> None:
        """Forget the uploads."""
        self._open.clear()
