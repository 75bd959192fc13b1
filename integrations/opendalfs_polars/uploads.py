"""Uploads in parts that arrive in any order, written in theirs, and published on completion only.

Completion is not enough where a query fails. Now and then Polars then ends its files as if all were well,
even after it has told of the failure, and completes what is only a part. So the files of a sink can be put on
hold (`hold.Hold`): they are published when the sink has succeeded, and what comes after its end is refused.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from opendalfs.connection import Connection
from opendalfs.writer import Writer

from .hold import Hold
from .mount import Mount
from .s3 import S3Error

__all__ = ["Upload", "Uploads"]

T = TypeVar("T")

_THREADS: Final = 16
_HELD: Final = 64 << 20
"""Bytes of one upload that wait for an earlier part; more are not read off their connection."""

_PATIENCE: Final = 120.0
"""Seconds that a part waits for an earlier one before its client is told to come again."""


class Upload:
    """One multipart upload: parts in, in any order; a `Writer` out.

    Parameters
    ----------
    mount : Mount
        Where it goes.
    key : str
        Its key in the mount.
    make : callable
        Gives the writer; called in a thread.
    finish : coroutine function
        Publishes what a writer has written, now or at the end of its sink; aborts the writer when it fails.
    threads : ThreadPoolExecutor
        Where the writer works.
    """

    def __init__(
        self,
        mount: Mount,
        key: str,
        make: Callable[[], Writer],
        finish: Callable[[Mount, str, Writer], Awaitable[None]],
        threads: ThreadPoolExecutor,
    ) -> None:
        self.mount = mount
        self.key = key
        self.etag = ""
        self.touched = time.monotonic()
        self._make = make
        self._publish_by = finish
        self._threads = threads
        self._writer: Writer | None = None
        self._next = 1
        self._held = 0
        self._waiting: dict[int, bytes] = {}
        self._known: dict[int, str] = {}
        self._error: BaseException | None = None
        self._pump: asyncio.Task[None] | None = None
        self._finish: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()

    @property
    def is_over(self) -> bool:
        """Whether it was completed; it stays known for a while, as its client may ask again."""
        return self._finish is not None

    async def admit(self, number: int, size: int) -> None:
        """Wait until there is room for a part; the next one in order always has some.

        A client sends its parts in order, some at a time, so the one that all others wait for is on
        its way and no wait is for ever.

        Raises
        ------
        S3Error
            503 when nothing moved for long.
        """
        self.touched = time.monotonic()

        def room() -> bool:
            return (
                number <= self._next
                or self._held == 0
                or self._held + size <= _HELD
                or self._error is not None
            )

        async with self._moved:
            try:
                await asyncio.wait_for(self._moved.wait_for(room), _PATIENCE)
            except TimeoutError:
                raise S3Error(503, "SlowDown", "an earlier part has not come yet") from None
            self._held += size

    async def release(self, size: int) -> None:
        """Give back the room of a part that did not come."""
        async with self._moved:
            self._held -= size
            self._moved.notify_all()

    async def put(self, number: int, data: bytes) -> str:
        """Take a part for which there is room.

        Parameters
        ----------
        number : int
            From 1 on.
        data : bytes
            All of it.

        Returns
        -------
        str
            Its etag.

        Raises
        ------
        S3Error
            When a part of that number has come with other content; it may be written already.
        OSError
            When an earlier part could not be written.
        """
        etag = f"{zlib.crc32(data):08x}-{len(data):x}"
        known = self._known.get(number)
        if known is not None or self._error is not None or self._finish is not None:
            await self.release(len(data))
            self._check()
            if known != etag:
                raise S3Error(409, "OperationAborted", f"part {number} cannot be replaced")
            return etag
        self._known[number] = etag
        self._waiting[number] = data
        if self._next in self._waiting and (self._pump is None or self._pump.done()):
            self._pump = asyncio.create_task(self._write_ready())
        return etag

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _write_ready(self) -> None:
        """Write what is next, for as long as it is there."""
        while self._next in self._waiting and self._error is None:
            await self._write(self._waiting.pop(self._next))

    async def _write(self, data: bytes) -> None:
        try:
            await self._run(lambda: self._open().write(data))
        except Exception as exc:
            self._error = exc
            self._waiting.clear()
        self._next += 1
        self.touched = time.monotonic()
        await self.release(len(data))

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = self._make()
        return self._writer

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def complete(self, listed: Sequence[tuple[int, str]]) -> None:
        """Publish the object, once; a client that asks again gets the same answer.

        Parameters
        ----------
        listed : sequence of (int, str)
            The parts it consists of, ascending, with their etags.

        Raises
        ------
        S3Error
            When these are not the parts that came.
        OSError
            When a part could not be written, or the object not published.
        """
        if self._finish is None:
            if dict(listed) != self._known:
                raise S3Error(400, "InvalidPart", "the parts listed are not the parts that came")
            self._finish = asyncio.create_task(self._publish())
        # A client that goes away must not end what it has asked for.
        await asyncio.shield(self._finish)

    async def _publish(self) -> None:
        if self._pump is not None:
            await self._pump
        for number in sorted(self._waiting):
            # Numbers may have holes; by now all that will come has come.
            await self._write(self._waiting.pop(number))
        writer, self._writer = self._open(), None
        if self._error is not None:
            await self._run(writer.abort)
            raise self._error
        await self._publish_by(self.mount, self.key, writer)
        self.etag = f"{zlib.crc32(repr(sorted(self._known.items())).encode()):08x}-{len(self._known)}"

    async def abort(self) -> None:
        """Publish nothing and forget what came."""
        if self._finish is not None:
            return
        self._error = self._error or S3Error(404, "NoSuchUpload", "the upload was ended")
        self._waiting.clear()
        if self._pump is not None:
            await self._pump
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._run(writer.abort)
        async with self._moved:
            self._moved.notify_all()


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
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="opendalfs-upload")

    def __len__(self) -> int:
        return sum(not upload.is_over for upload in self._open.values())

    def begin(self, mount: Mount, key: str, **options: Any) -> str:
        """Begin an upload and give its id."""
        connection, found = self._target(mount, key)
        upload = Upload(mount, key, lambda: Writer(connection, found, **options), self._finish, self._threads)
        name = secrets.token_hex(16)
        self._open[name] = upload
        return name

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
        """End the uploads that nobody has added to for long."""
        limit = time.monotonic() - self.expiry
        for name in [n for n, upload in self._open.items() if upload.touched < limit]:
            await self.abort(name)

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
            await self._run(writer.commit)
        except Exception:
            # Not when this task is cancelled: the thread goes on with the commit then.
            await self._abort(writer)
            raise
        mount.wrote(key)

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
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
