"""The parts of one multipart upload: they arrive in any order and are written in ascending order."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from opendalfs.budget import PROCESS, Reservation

from .s3 import S3Error

__all__ = ["BUDGET", "PartQueue"]

_MAX_HELD: Final = 64 << 20
"""Bytes of one upload that wait for an earlier part; further ones are not read from their connection."""

BUDGET: Final = PROCESS.share(512 << 20, guaranteed=512 << 20)
"""Bytes of all uploads together that wait for an earlier part. All of them are guaranteed: a part that waits
for memory is woken when another part releases some, and not when a read does."""

_WAIT_SECONDS: Final = 120.0
"""How long a part waits for an earlier one before its client gets an error."""


class PartQueue:
    """The parts of one upload.

    Parameters
    ----------
    write : coroutine function
        Writes the next part.
    released : asyncio.Condition
        Notified when any upload releases memory.

    Attributes
    ----------
    etags : dict
        The etag of each part that has arrived, by number.
    size : int
        Bytes of these parts.
    error : BaseException or None
        Why no more parts are written.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]], released: asyncio.Condition) -> None:
        self.etags: dict[int, str] = {}
        self.size = 0
        self.error: BaseException | None = None
        self._write = write
        self._held = Reservation(BUDGET)
        self._released = released
        self._next = 1
        self._waiting: dict[int, bytes] = {}
        self._writing: asyncio.Task[None] | None = None
        self._sealed = False

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._held.size

    @property
    def is_writing(self) -> bool:
        """Whether a part is being written, however long that takes."""
        return self._writing is not None and not self._writing.done()

    async def admit(self, number: int, size: int) -> None:
        """Wait until there is memory for a part. The next part in order never waits.

        A client sends its parts in order, several at a time. So the part that all others wait for is on its
        way, and no part waits for ever.

        Parameters
        ----------
        number : int
            Number of the part, from 1.
        size : int
            Its bytes.

        Raises
        ------
        S3Error
            503 if no memory became free in 120 seconds.
        """

        def fits() -> bool:
            if number <= self._next or self.error is not None:
                return True
            return self.held + size <= max(_MAX_HELD, size) and self._held.fits(size)

        async with self._released:
            try:
                await asyncio.wait_for(self._released.wait_for(fits), _WAIT_SECONDS)
            except TimeoutError:
                raise S3Error(
                    503, "SlowDown", f"part {number} waited too long for an earlier part: send it again"
                ) from None
            self._held.grow(size)

    async def release(self, size: int) -> None:
        """Free the memory of a part that is written, or did not arrive."""
        async with self._released:
            self._held.shrink(size)
            self._released.notify_all()

    async def put(self, number: int, data: bytes) -> str:
        """Add a part that was admitted, and return its etag.

        Raises
        ------
        S3Error
            409 if a part with this number and other content has arrived, as it may be written already, and
            for a new part after `seal`.
        OSError
            If an earlier part could not be written.
        """
        etag = f"{zlib.crc32(data):08x}-{len(data):x}"
        known = self.etags.get(number)
        if known is not None or self.error is not None or self._sealed:
            await self.release(len(data))
            if self.error is not None:
                raise self.error
            if known != etag:
                raise S3Error(
                    409,
                    "OperationAborted",
                    f"part {number} cannot be replaced, as it is written already: begin a new upload",
                )
            return etag
        self.etags[number] = etag
        self.size += len(data)
        self._waiting[number] = data
        if self._next in self._waiting and not self.is_writing:
            self._writing = asyncio.create_task(self._write_ready())
        return etag

    async def _write_ready(self) -> None:
        """Write the parts that are next in order, as far as they have arrived."""
        while self._next in self._waiting and self.error is None:
            await self._write_part(self._waiting.pop(self._next))

    async def _write_part(self, data: bytes) -> None:
        try:
            await self._write(data)
        except Exception as exc:
            self.error = exc
            await self._drop_waiting()
        self._next += 1
        await self.release(len(data))

    def seal(self) -> None:
        """Refuse new parts: the upload is completed."""
        self._sealed = True

    async def flush(self) -> None:
        """Write all parts that have arrived.

        Raises
        ------
        OSError
            If a part could not be written.
        """
        await self.wait()
        for number in sorted(self._waiting):
            # The numbers may have gaps.
            await self._write_part(self._waiting.pop(number))
        if self.error is not None:
            raise self.error

    async def wait(self) -> None:
        """Wait until no part is being written."""
        if self._writing is not None:
            await self._writing

    async def close(self, error: BaseException) -> None:
        """Drop the parts that are not written, and raise an error for all later ones."""
        self.error = self.error or error
        # This also wakes the parts that wait for memory; they fail then.
        await self._drop_waiting()
        await self.wait()

    def discard(self) -> None:
        """Drop the parts that are not written, and release their memory, when the server has stopped."""
        self._waiting.clear()
        self._held.release()

    async def _drop_waiting(self) -> None:
        size = sum(map(len, self._waiting.values()))
        self._waiting.clear()
        await self.release(size)
