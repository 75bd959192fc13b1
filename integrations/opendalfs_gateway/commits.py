"""Publishes, copies and removes objects, one change of a key at a time, under the conditions of clients.

A condition is checked before the write, while no other change of the same key is in progress through this
server. In addition the service checks it together with the write, where it can do that. Elsewhere, changes
that do not pass through this server can come in between.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from opendalfs import listing
from opendalfs.fs.copies import copy_object
from opendalfs.read.ranges import Range, split
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version
from opendalfs.write.writer import Writer

from .conditions import ANY, WriteCondition, check_write
from .directory import Directory
from .object_reader import ObjectReader
from .s3 import S3Error
from .writer_threads import WriterThreads

__all__ = ["Commits", "KeyLocks"]

T = TypeVar("T")

_MD5_LENGTH: Final = 34
"""Characters of a quoted MD5 in hex."""


class KeyLocks:
    """One lock for each key that is being changed."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key in the block."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1


class Commits:
    """The changes of one directory.

    Parameters
    ----------
    threads : WriterThreads
        The threads in which writers work.
    """

    def __init__(self, threads: WriterThreads) -> None:
        self._threads = threads
        self._locks = KeyLocks()

    def check(self, directory: Directory, key: str) -> None:
        """Raise if a key must not be written.

        Raises
        ------
        S3Error
            403 if the directory is read-only; 501 for the marker of a directory.
        """
        if not directory.writable:
            raise S3Error(
                403,
                "AccessDenied",
                "this server is read-only: start it with opendalfs.serve(..., writable=True) or --writable",
            )
        if key.endswith("/"):
            raise S3Error(
                501, "NotImplemented", "a key that ends in '/' marks a directory: directories need no marker"
            )

    def open_writer(self, connection: Connection, key: str, condition: WriteCondition) -> Writer:
        """Return the writer of an object."""
        writer = Writer(connection, key)
        _add_condition(writer, condition)
        return writer

    async def add(
        self, directory: Directory, key: str, writer: Writer, condition: WriteCondition, digest: str = ""
    ) -> str:
        """Publish what a writer has written, and return the quoted etag of the object.

        Raises
        ------
        S3Error
            412 or 404 if the condition is not met. The writer is aborted.
        OSError
            If it cannot be published. The writer is aborted.
        """
        return await self._alone(
            directory, key, partial(self._publish, directory, key, writer, condition, digest)
        )

    async def _publish(
        self, directory: Directory, key: str, writer: Writer, condition: WriteCondition, digest: str
    ) -> str:
        try:
            if condition:
                check_write(condition, await self._current_etag(directory, key))
                _add_condition(writer, condition)
        except BaseException:
            await self._threads.abort(writer)
            raise
        size = writer.size
        await self._threads.commit(directory, key, writer)
        return await self._etag(directory, key, size, digest)

    async def _etag(self, directory: Directory, key: str, size: int, digest: str) -> str:
        """Return the etag of an object that was just written.

        Another program may have replaced it since. Its etag must not be returned: the client would take it
        for that of its own object, and replace the other one with ``If-Match``.
        """
        try:
            version = await directory.stat(key, refresh=True)
        except OSError:
            # The object is published: an error would make the client write it again.
            return _unknown_etag()
        etag = directory.mark(key, version)
        is_md5 = bool(digest) and bool(version.etag) and len(etag) == _MD5_LENGTH
        if version.size != size or (is_md5 and etag != f'"{digest}"'):
            return _unknown_etag()
        return etag

    async def delete(self, directory: Directory, key: str, condition: WriteCondition = ANY) -> None:
        """Remove an object; a missing one, and a directory, is no error.

        Raises
        ------
        S3Error
            403 if the directory is read-only; 412 or 404 if the condition is not met.
        OSError
            If it cannot be removed.
        """
        self.check(directory, key.rstrip("/"))
        await self._alone(directory, key, partial(self._delete, directory, key, condition))

    async def _delete(self, directory: Directory, key: str, condition: WriteCondition) -> None:
        connection, found = directory.locate(key)
        connection.require("delete", "remove objects")
        real = listing.keeps_directories(connection)
        if condition or (real and not found.endswith("/")):
            etag = await self._current_etag(directory, key)
            check_write(condition, etag)
            if etag is None:
                return
        elif real:
            # S3 has no directories: this one disappears from lists with its last object.
            return
        await connection.delete(found)
        directory.wrote(key)

    async def copy(
        self,
        directory: Directory,
        source: tuple[str, Version],
        key: str,
        condition: WriteCondition = ANY,
        *,
        pinned: bool = False,
    ) -> Version:
        """Copy an object within the directory, and return the version of the copy.

        Parameters
        ----------
        directory : Directory
            The directory.
        source : (str, Version)
            Key of the object, and the version that is copied.
        key : str
            Key of the copy.
        condition : WriteCondition
            The condition under which to write it.
        pinned : bool
            Whether to copy just this version, or else fail.

        Raises
        ------
        S3Error
            403 if the directory is read-only; 412 or 404 if the condition is not met.
        OSError
            If it cannot be copied.
        """
        self.check(directory, key)
        directory.connection.require("write", "write")
        copy = partial(self._copy, directory, source, key, condition, pinned)
        return await self._alone(directory, key, copy)

    async def _copy(
        self,
        directory: Directory,
        source: tuple[str, Version],
        key: str,
        condition: WriteCondition,
        pinned: bool,
    ) -> Version:
        if condition or pinned:
            # OpenDAL copies under no condition.
            await self._copy_content(directory, source, key, condition)
            return await directory.stat(key, refresh=True)
        if source[0] == key:
            return source[1]
        connection, found = directory.locate(source[0])
        await copy_object(connection, found, *directory.locate(key))
        directory.wrote(key)
        version = await directory.stat(key, refresh=True)
        directory.mark(key, version)
        return version

    async def _copy_content(
        self, directory: Directory, source: tuple[str, Version], key: str, condition: WriteCondition
    ) -> None:
        connection, found = directory.locate(key)
        reader = ObjectReader(directory, *source)
        writer = await self._threads.run(partial(self.open_writer, connection, found, condition))
        try:
            for block in split(Range(0, source[1].size), reader.block_size):
                data = await reader.fetch(block)
                await self._threads.run(partial(writer.write, data))
        except BaseException:
            await self._threads.abort(writer)
            raise
        await self._publish(directory, key, writer, condition, "")

    async def _current_etag(self, directory: Directory, key: str) -> str | None:
        try:
            return directory.etag(key, await directory.stat(key, refresh=True))
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def _alone(self, directory: Directory, key: str, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a change while no other change of the same key runs, also if its client disconnects."""

        async def locked() -> T:
            async with self._locks.hold(directory.locate(key)[1]):
                try:
                    return await change()
                except (S3Error, FileExistsError):
                    # The client has read another version, maybe one that is recorded for `cache_ttl`.
                    directory.invalidate(key)
                    raise

        return await asyncio.shield(asyncio.create_task(locked()))


def _add_condition(writer: Writer, condition: WriteCondition) -> None:
    """Make the service check a condition too, if it can and the condition is not too complex for it."""
    if condition.new:
        writer.add_condition(exclusive=True)
    elif condition.single_etag:
        writer.add_condition(if_match=condition.single_etag)


def _unknown_etag() -> str:
    return f'"{secrets.token_hex(16)}-0"'
