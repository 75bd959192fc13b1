"""One multipart upload: its parts arrive in any order and are written in theirs."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

from opendalfs.budget import PROCESS, Reservation
from opendalfs.write.writer import Writer

from .mount import Mount
from .s3 import S3Error

__all__ = ["BUDGET", "Upload"]

T = TypeVar("T")

_HELD: Final = 64 << 20
"""Bytes of one upload that wait for an earlier part; more are not read off their connection."""

BUDGET: Final = PROCESS.share(512 << 20, guaranteed=512 << 20)
"""Bytes of all uploads together that wait so. All of them are guaranteed: a part that waits for memory
is woken when another part releases some, and not when a read does."""

_PATIENCE: Final = 120.0
"""Seconds that a part waits for an earlier one before its client gets an error."""


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
    threads : Executor
        Where the writer works.
    released : asyncio.Condition
        Notified when any upload releases memory.
    """

    def __init__(
        self,
        mount: Mount,
        key: str,
        make: Callable[[], Writer],
        finish: Callable[[Mount, str, Writer], Awaitable[None]],
        threads: Executor,
        released: asyncio.Condition,
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
        self._held = Reservation(BUDGET)
        self._waiting: dict[int, bytes] = {}
        self._known: dict[int, str] = {}
        self._error: BaseException | None = None
        self._pump: asyncio.Task[None] | None = None
        self._finish: asyncio.Task[None] | None = None
        self._released = released

    @property
    def memory(self) -> int:
        """Bytes in memory that storage has not got yet."""
        return self._held.size + (self._writer.buffered if self._writer is not None else 0)

    @property
    def is_writing(self) -> bool:
        """Whether storage is being written to, however long that takes."""
        return self._pump is not None and not self._pump.done()

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

        def fits() -> bool:
            if number <= self._next or self._error is not None:
                return True
            return self._held.size + size <= max(_HELD, size) and self._held.fits(size)

        async with self._released:
            try:
                await asyncio.wait_for(self._released.wait_for(fits), _PATIENCE)
            except TimeoutError:
                raise S3Error(503, "SlowDown", "an earlier part has not come yet") from None
            self._held.grow(size)

    async def release(self, size: int) -> None:
        """Give back the room of a part that is written, or did not come."""
        async with self._released:
            self._held.shrink(size)
            self._released.notify_all()

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
            await self._drop_waiting()
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
        if self._error is not None:
            await self._abort_writer()
            raise self._error
        writer, self._writer = self._open(), None
        await self._publish_by(self.mount, self.key, writer)
        self.etag = f"{zlib.crc32(repr(sorted(self._known.items())).encode()):08x}-{len(self._known)}"

    async def abort(self) -> None:
        """Publish nothing and forget what came."""
        if self._finish is not None:
            return
        self._error = self._error or S3Error(404, "NoSuchUpload", "the upload was ended")
        # This also wakes the parts that wait for room, which then fail.
        await self._drop_waiting()
        if self._pump is not None:
            await self._pump
        await self._abort_writer()

    async def _drop_waiting(self) -> None:
        size = sum(map(len, self._waiting.values()))
        self._waiting.clear()
        await self.release(size)

    async def _abort_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._run(writer.abort)
