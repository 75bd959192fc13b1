"""Multipart uploads: OpenDAL's writer, as traced calls with translated errors."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

from opendal import AsyncOperator
from opendal.file import AsyncFile

from opendalfs.runtime.tasks import run

from .call import Call
from .credentials import says_expired
from .operator_generations import Generation
from .operator_pair import OperatorPair
from .write_checks import lost_response

__all__ = ["AsyncUpload", "Upload", "find_region", "open_upload"]


async def find_region(operators: OperatorPair, key: str, *, required: bool = False) -> None:
    """Send a HEAD for the region of a bucket, if none is given, before what cannot be repeated.

    `required`: raise OSError if no response shows the region, as no later request would show that it is
    wrong.
    """
    if not operators.assumes_region:
        return
    try:
        with Call(operators, "stat", key).in_task() as call:
            await call.run_async(AsyncOperator.stat, key)
    except (FileNotFoundError, PermissionError) as exc:
        if "response: Parts" not in str(exc.__cause__):
            # Raised here, for want of credentials: the server may still name another region.
            if required:
                raise
            return
    except OSError as exc:
        if not required:
            return
        text = "Cannot find the region of the bucket, which the signature needs: pass region="
        raise OSError(exc.errno or errno.EIO, text, operators.name(key)) from exc
    operators.keep_region()


async def open_upload(operators: OperatorPair, key: str, **options: Any) -> AsyncUpload:
    """Start a multipart upload from a coroutine."""
    await find_region(operators, key)
    with Call(operators, "write", key).in_task() as call:
        operator = await call.stateful_operator(wait=True)
        file = await call.step_async(operator.open, key, "wb", **options)
    return AsyncUpload(operators, key, file, call.generation)


class AsyncUpload:
    """A multipart upload of one object: call `write` for its parts, then `complete` to publish it.

    `io_timeout` bounds each call by itself: `write` waits for a part only when the maximum number of parts is
    in flight, `complete` for all that still are.

    An upload without `complete` publishes nothing, but its parts stay with the service until a lifecycle rule
    removes them: OpenDAL's binding has no call to abort an upload.

    It keeps the credentials that it began with. If they expire, it fails, and the next request renews them.
    """

    def __init__(self, operators: OperatorPair, key: str, file: AsyncFile, generation: Generation) -> None:
        self._operators = operators
        self._key = key
        self._file = file
        self._generation = generation
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Write a part; wait while the maximum number of parts is in flight.

        Raises
        ------
        ValueError
            After `complete`, whether it was successful or not.
        """
        _check_open(self._ended, self._key)
        with Call(self._operators, "write", self._key).in_task() as call:
            await self._request(call, self._file.write, data)
            call.count(len(data))

    async def complete(self) -> None:
        """Publish the object.

        Raises
        ------
        ValueError
            The second time, which OpenDAL would call a success.
        OSError
            Also when the response was lost, so that the object may be published.
        """
        _check_open(self._ended, self._key)
        self._ended = True
        with Call(self._operators, "write", self._key).in_task() as call:
            try:
                await self._request(call, self._file.close)
            except Exception as exc:
                if "NoSuchUpload" in str(exc):
                    # OpenDAL has repeated the request after a lost response, and the upload is complete.
                    raise lost_response(self._operators, "write", self._key) from exc
                raise
        self._operators.write_times.record(self._key)

    async def _request(self, call: Call, function: Callable[..., Awaitable[Any]], *args: bytes) -> None:
        try:
            await call.request_async(function, *args)
        except Exception as exc:
            if says_expired(exc):
                call.generation = self._generation
                call.retry_reason(exc)
            raise


def _check_open(ended: bool, key: str) -> None:
    if ended:
        raise ValueError(f"the upload of {key!r} has ended: start another one")


class Upload:
    """A multipart upload from the caller's thread, with the methods of `AsyncUpload`."""

    def __init__(self, operators: OperatorPair, key: str, options: dict[str, Any]) -> None:
        self._operators = operators
        self._key = key
        self._remote: AsyncUpload | None = None
        self._ended = False
        if operators.limit is not None:
            self._remote = run(open_upload, operators, key, **options)
            return
        with Call(operators, "write", key) as call:
            self._file = operators.operator.open(key, "wb", **options)
            call.count(0)

    def write(self, data: bytes) -> None:
        """Write a part; wait while the maximum number of parts is in flight."""
        if self._remote is not None:
            run(self._remote.write, data)
            return
        _check_open(self._ended, self._key)
        with Call(self._operators, "write", self._key) as call:
            self._file.write(data)
            call.count(len(data))

    def complete(self) -> None:
        """Publish the object."""
        if self._remote is not None:
            run(self._remote.complete)
            return
        _check_open(self._ended, self._key)
        self._ended = True
        with Call(self._operators, "write", self._key):
            self._file.close()
        self._operators.write_times.record(self._key)
