"""Multipart uploads: what OpenDAL's writer does, as calls that are seen and translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opendal.file import AsyncFile

from opendalfs.runtime.tasks import run

from .call import Call

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["AsyncUpload", "Upload"]


class AsyncUpload:
    """A multipart upload of one object: `write` parts, then `complete`; nothing shows before that.

    Made by `Connection.upload_async`. `io_timeout` bounds each call by itself: `write` waits for a part only
    when as many as may be are in flight, `complete` for all that still are.

    Dropped without `complete` it publishes nothing, though the parts that went up stay with the
    service until its own lifecycle rule removes them: OpenDAL's binding has no call to end an upload.
    """

    def __init__(self, connection: Connection, key: str, file: AsyncFile) -> None:
        self._connection = connection
        self._key = key
        self._file = file
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Write a part; wait while as many as may be are in flight.

        Raises
        ------
        ValueError
            After `complete`, whether that was successful or not.
        """
        _check_open(self._ended, self._key)
        with Call(self._connection, "write", self._key).awaited() as call:
            await call.run_async(self._file.write, data)
            call.moved(len(data))

    async def complete(self) -> None:
        """Publish the object, once; ValueError afterwards, as OpenDAL calls a second time a success."""
        _check_open(self._ended, self._key)
        self._ended = True
        with Call(self._connection, "write", self._key).awaited() as call:
            await call.run_async(self._file.close)
        self._connection._touched(self._key)


def _check_open(ended: bool, key: str) -> None:
    if ended:
        raise ValueError(f"the upload of {key!r} was completed, or that failed: begin another one")


class Upload:
    """The same from the caller's thread; made by `Connection.upload`."""

    def __init__(self, connection: Connection, key: str, options: dict[str, Any]) -> None:
        self._connection = connection
        self._key = key
        self._remote: AsyncUpload | None = None
        self._ended = False
        if connection.limit is not None:
            self._remote = run(connection.upload_async, key, **options)
            return
        with Call(connection, "write", key) as call:
            self._file = connection.operator.open(key, "wb", **options)
            call.moved(0)

    def write(self, data: bytes) -> None:
        """Write a part; wait while as many as may be are in flight."""
        if self._remote is not None:
            run(self._remote.write, data)
            return
        _check_open(self._ended, self._key)
        with Call(self._connection, "write", self._key) as call:
            self._file.write(data)
            call.moved(len(data))

    def complete(self) -> None:
        """Publish the object."""
        if self._remote is not None:
            run(self._remote.complete)
            return
        _check_open(self._ended, self._key)
        self._ended = True
        with Call(self._connection, "write", self._key):
            self._file.close()
        self._connection._touched(self._key)
