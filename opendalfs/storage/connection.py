"""A connection to storage: every call to OpenDAL is a method of `Connection`.

Each goes through `call.Call`, which refuses forks, counts what is in flight, bounds it by the timeouts,
records it for `trace` and translates OpenDAL's errors into OSErrors.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Mapping
from functools import cached_property
from typing import Any, Final

from opendal import AsyncOperator, Operator
from opendal.exceptions import ConditionNotMatch, NotFound
from opendal.file import AsyncFile
from opendal.types import Metadata, PresignedRequest

from opendalfs.errors import UnsupportedError
from opendalfs.runtime import executor, workers
from opendalfs.runtime.tasks import run

from . import local_disk
from .call import Call
from .listing_calls import ListingCalls
from .paging import PAGE
from .upload import AsyncUpload, Upload, find_region, open_upload
from .write_checks import check_empty, holds, lost_response, size_of, size_of_blocking

__all__ = ["PAGE", "Connection"]

_PIECE: Final = 1 << 20


class Connection(ListingCalls):
    """The calls to storage, in both transports, for one service, container and set of options.

    Methods whose name ends in ``_blocking`` work in the caller's thread; the others are coroutines. See
    `OperatorPair` for the parameters and for keys.
    """

    @cached_property
    def _checks_ranges(self) -> bool:
        """Whether the server may ignore ranges; false once it has answered one.

        Services that keep a connection pool have protocols of their own, of which ranges are a part.
        """
        return self.limit is not None and self.service.cancels

    @property
    def _blocks(self) -> bool:
        """Whether blocking reads use the blocking operator; see `workers.abandoned`."""
        return self.limit is None or workers.abandoned() < workers.MAX_ABANDONED

    def local_path(self, key: str) -> str:
        """Return the path of a key on this machine's disk."""
        return local_disk.local_path(self, key)

    def is_link(self, key: str) -> bool:
        """Whether a key is a symbolic link; False without a look at the disk where there are no links."""
        return local_disk.is_link(self, key)

    async def stat(self, key: str, **options: Any) -> Metadata:
        """Return a key's metadata."""
        with Call(self, "stat", key).in_task() as call:
            return await call.run_async(AsyncOperator.stat, key, **options)

    def stat_blocking(self, key: str, **options: Any) -> Metadata:
        """Return a key's metadata."""
        if not self._blocks:
            return run(self.stat, key, **options)
        with Call(self, "stat", key) as call:
            return call.run(Operator.stat, key, **options)

    async def read(self, key: str, offset: int, size: int | None, **pin: Any) -> bytes:
        """Read `size` bytes from `offset`, which must exist; everything from `offset` if `size` is None."""
        with Call(self, "read", key, bool(pin), offset, size).in_task() as call:
            if size is None or not self._checks_ranges:
                data = await call.run_async(AsyncOperator.read, key, offset=offset, size=size, **pin)
            else:
                data = await call.run_async(self._read_checked, key, offset, size, pin)
            call.count(len(data))
            return data

    async def _read_checked(
        self, operator: AsyncOperator, key: str, offset: int, size: int, pin: Mapping[str, Any]
    ) -> bytes:
        """Read a range as a stream, and at most one byte more.

        OpenDAL reads a response to its end before it checks that it is the range: from a server that ignores
        ranges it reads the whole object, and from an endless one until memory is exhausted. So the first
        range of a connection is read this way, which costs one more call and no request.
        """
        file = await operator.open(key, "rb", offset=offset, size=size, **pin)
        pieces: list[bytes] = []
        left = size + 1
        while left and (piece := await file.read(left)):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise UnsupportedError(
                errno.ENOTSUP,
                f"The server ignores ranges: read the object whole ({self.where})",
                self.name(key),
            )
        self._checks_ranges = False
        return b"".join(pieces)

    def read_blocking(self, key: str, offset: int, size: int | None, **pin: Any) -> bytes:
        """Read `size` bytes from `offset`, which must exist; everything from `offset` if `size` is None."""
        if not self._blocks or self._checks_ranges:
            return run(self.read, key, offset, size, **pin)
        with Call(self, "read", key, bool(pin), offset, size) as call:
            data = call.run(Operator.read, key, offset=offset, size=size, **pin)
            call.count(len(data))
            return data

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """Read an object of unknown size with one request, piece by piece, all within `io_timeout`.

        An error after the first piece is raised: the rest might be of another version.
        """
        with Call(self, "read", key).in_task() as call:
            file, piece = await call.run_async(_open, key)
            total = len(piece)
            call.count(total)
            if total == _PIECE:
                await call.hold_slot()
            while piece:
                yield piece
                if total < _PIECE:
                    return
                piece = await call.step_async(file.read, _PIECE)
                total += len(piece)
                call.count(total)

    async def write(self, key: str, data: bytes, **options: Any) -> None:
        """Write an object with one request.

        Raises
        ------
        FileExistsError
            When a condition in the options is not met.
        OSError
            Also when that may be because of this write: its first response was lost.
        """
        with Call(self, "write", key, sent=len(data), once="append" in options).in_task() as call:
            try:
                await call.run_async(AsyncOperator.write, key, data, **options)
            except ConditionNotMatch:
                if call.doubtful and await call.run_async(holds, key, data):
                    raise lost_response(self, "write", key) from None
                raise
            call.count(len(data))
            if not data and not self.capability.write_can_empty:
                check_empty(self, key, await call.run_async(size_of, key))
        self.write_times.record(key)

    def write_blocking(self, key: str, data: bytes, **options: Any) -> None:
        """Write an object with one request."""
        if self.limit is not None:
            run(self.write, key, data, **options)
            return
        with Call(self, "write", key) as call:
            self.operator.write(key, data, **options)
            call.count(len(data))
            if not data and not self.capability.write_can_empty:
                check_empty(self, key, size_of_blocking(self, key))
        self.write_times.record(key)

    def upload(self, key: str, **options: Any) -> Upload:
        """Start a multipart upload from the caller's thread."""
        return Upload(self, key, options)

    async def upload_async(self, key: str, **options: Any) -> AsyncUpload:
        """Start a multipart upload from a coroutine."""
        return await open_upload(self, key, **options)

    async def delete(self, key: str, **options: Any) -> None:
        """Delete a key; a missing one is no error."""
        with Call(self, "delete", key).in_task() as call:
            if self.is_link(key):
                # OpenDAL would follow it.
                os.unlink(self.local_path(key))
            else:
                self.write_times.forget(key)
                await call.run_async(AsyncOperator.delete, key, **options)

    async def copy(self, source: str, target: str) -> None:
        """Copy within the service."""
        with Call(self, "copy", source).in_task() as call:
            await call.run_async(AsyncOperator.copy, source, target)
        self.write_times.record(target)

    async def rename(self, source: str, target: str) -> None:
        """Rename within the service."""
        with Call(self, "rename", source).in_task() as call:
            if self.is_link(source):
                local_disk.move_link(self.local_path(source), self.local_path(target))
            else:
                try:
                    await call.run_async(AsyncOperator.rename, source, target)
                except NotFound:
                    if call.doubtful:
                        raise lost_response(self, "rename", source) from None
                    raise
        self.write_times.record(target)

    def rename_blocking(self, source: str, target: str) -> None:
        """Rename within the service."""
        if self.limit is not None:
            run(self.rename, source, target)
            return
        with Call(self, "rename", source):
            if self.is_link(source):
                local_disk.move_link(self.local_path(source), self.local_path(target))
            else:
                self.operator.rename(source, target)
        self.write_times.record(target)

    async def publish(self, stage: str, target: str, exclusive: bool = False) -> None:
        """Rename a staged file to its target.

        Parameters
        ----------
        stage : str
            Key of the staged file.
        target : str
            Key of the target, which errors name.
        exclusive : bool
            Whether to raise FileExistsError when the target exists.
        """
        with Call(self, "rename", target).in_task():
            if exclusive:
                await executor.to_thread(self._rename_exclusively, stage, target)
            else:
                local_disk.copy_mode(self.local_path(target), self.local_path(stage))
                await self.async_operator.rename(stage, target)
        self.write_times.record(target)

    def publish_blocking(self, stage: str, target: str, exclusive: bool = False) -> None:
        """Rename a staged file to its target, as `publish` does."""
        with Call(self, "rename", target):
            if exclusive:
                self._rename_exclusively(stage, target)
            else:
                local_disk.copy_mode(self.local_path(target), self.local_path(stage))
                self.operator.rename(stage, target)
        self.write_times.record(target)

    def _rename_exclusively(self, stage: str, target: str) -> None:
        try:
            local_disk.rename_exclusively(self.local_path(stage), self.local_path(target))
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "File exists", self.name(target)) from None

    def delete_blocking(self, key: str) -> None:
        """Delete a key; a missing one is no error."""
        if self.limit is not None:
            run(self.delete, key)
            return
        with Call(self, "delete", key):
            if self.is_link(key):
                os.unlink(self.local_path(key))
            else:
                self.write_times.forget(key)
                self.operator.delete(key)

    async def create_dir(self, key: str) -> None:
        """Make a directory and its parents; the key must end in ``/``."""
        with Call(self, "create_dir", key).in_task() as call:
            await call.run_async(AsyncOperator.create_dir, key)

    async def presign(self, key: str, verb: str, seconds: int, **options: Any) -> PresignedRequest:
        """Return a signed request. `verb`: OpenDAL's method, such as ``presign_read``.

        It sends no request, but for the first one of a bucket of S3 whose region is not known yet.
        """
        await find_region(self, key, required=True)
        with Call(self, "presign", key).in_task() as call:
            sign = getattr(AsyncOperator, verb)
            request: PresignedRequest = await call.step_async(
                sign, await call.stateful_operator(wait=True), key, seconds, **options
            )
            call.count(0, requests=0)
            return request


async def _open(operator: AsyncOperator, key: str) -> tuple[AsyncFile, bytes]:
    """Open an object and read its first piece, of `_PIECE` bytes or else the whole object."""
    file = await operator.open(key, "rb")
    pieces: list[bytes] = []
    left = _PIECE
    while left and (piece := await file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return file, pieces[0] if len(pieces) == 1 else b"".join(pieces)
