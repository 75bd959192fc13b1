"""Writes that publish on commit and only then.

Three ways, chosen by what the service can do:

- *parts*: object stores. What fits into one part is one PUT; more goes up as a multipart upload, several
  parts at a time, and shows only when it is completed.
- *staged*: local disks, where a file under way would show. It is written beside its place under a hidden
  name and renamed.
- *whole*: all others take an object only in one piece, so it is held in memory until the commit.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, BinaryIO, Final

from . import paths
from .connection import Connection
from .errors import OptionError, redact
from .links import followed
from .ranges import Range, split
from .reader import Reader, Version
from .services import Home
from .upload import Upload

__all__ = [
    "Writer",
    "appending",
    "file_parts",
    "part_size",
    "put_bytes",
    "put_copy",
    "put_parts",
    "write_options",
]

_PARALLEL: Final = 8
"""Parts of one object in flight; with parts of 8 MiB that is 64 MiB of memory."""

_MOST_PARTS: Final = 9_000
"""S3 and its like take 10,000 parts at most (AWS, "Amazon S3 multipart upload limits")."""

_GROWS_AT: Final = 5_000
_GROWS_EVERY: Final = 1_000

_NAMES: Final = {
    "content_type": "content_type",
    "ContentType": "content_type",
    "content_disposition": "content_disposition",
    "ContentDisposition": "content_disposition",
    "content_encoding": "content_encoding",
    "ContentEncoding": "content_encoding",
    "cache_control": "cache_control",
    "CacheControl": "cache_control",
    "metadata": "user_metadata",
    "Metadata": "user_metadata",
    "user_metadata": "user_metadata",
    "if_match": "if_match",
}


def write_options(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of one write.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    options : Mapping
        ``content_type``, ``content_disposition``, ``content_encoding``, ``cache_control``,
        ``metadata`` (a dict of str), ``if_match`` (an etag), or the same in s3fs's names.

    Returns
    -------
    dict
        In OpenDAL's names.

    Raises
    ------
    OptionError
        For an option that is none of these.
    UnsupportedError
        For one that the service cannot keep.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _NAMES:
            raise OptionError(f"a write takes no option {name!r}; it takes {', '.join(_NAMES)}")
        if value is None:
            continue
        known = _NAMES[name]
        connection.require(f"write_with_{known}", f"keep {known} with an object")
        checked[known] = value
    return checked


def part_size(connection: Connection, size: int | None = None, number: int = 0) -> int:
    """Give the size of a part in bytes.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    size : int, optional
        Bytes of the whole object, where known: then all parts have one size.
    number : int
        Parts that went before; late parts of a stream of unknown length are larger.

    Returns
    -------
    int
    """
    least = connection.capability.write_multi_min_size or 1
    most = connection.capability.write_multi_max_size or 1 << 62
    part = max(connection.tuning.write_chunk, least)
    if size is not None:
        part = max(part, -(-size // _MOST_PARTS))
    elif number >= _GROWS_AT:
        part <<= 1 + (number - _GROWS_AT) // _GROWS_EVERY
    return min(part, most)


def staged(connection: Connection) -> bool:
    """Tell whether an object under way would show, so that it is written elsewhere first."""
    return connection.service.home is Home.DISK and connection.can("rename")


@contextmanager
def _naming(connection: Connection, key: str, stage: str | None) -> Iterator[None]:
    """Let errors of a staged write name the file and not its stage."""
    try:
        yield
    except OSError as exc:
        if stage is None or exc.filename != redact(connection.name(stage)):
            raise
        exc.filename = redact(connection.name(key))
        if not isinstance(exc, FileExistsError):
            raise
        # The name of a stage is free, so that it is the directory that exists, as a file.
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", exc.filename) from exc


class Writer:
    """Writes one object from the caller's thread; call `commit` or `abort` at the end.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    exclusive : bool
        Fail with FileExistsError when the object exists, now or at the commit.
    append_to : int, optional
        Add to the object, which holds so many bytes, with the service's own append.
    **options
        As `write_options` takes them.

    Raises
    ------
    FileExistsError
        With `exclusive`, at once when the object is there already.
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        *,
        exclusive: bool = False,
        append_to: int | None = None,
        **options: Any,
    ) -> None:
        connection.require("write", "write")
        if not exclusive and staged(connection):
            connection, key = followed(connection, key)
        self._connection = connection
        self._key = key
        self._options = write_options(connection, options)
        self._exclusive = exclusive
        self._buffer = bytearray()
        self._upload: Upload | None = None
        self._parts = 0
        self._pid = os.getpid()
        if append_to is not None:
            self._options["append"] = True
        appends = append_to is not None
        self._stage = paths.stage(key) if staged(connection) and not appends else None
        self._multi = connection.can("write_can_multi") and not appends
        self.size = append_to or 0
        if exclusive:
            self._check_free()

    @property
    def name(self) -> str:
        """Path of the object, as errors name it."""
        return self._connection.name(self._key)

    @property
    def buffered(self) -> int:
        """Bytes that were taken and not handed to storage yet."""
        return len(self._buffer)

    def _check_free(self) -> None:
        """Fail early; what is made meanwhile is found at the commit."""
        connection = self._connection
        try:
            connection.stat_blocking(self._key)
        except FileNotFoundError:
            pass
        else:
            raise FileExistsError(errno.EEXIST, "File exists", self.name)
        if self._stage is None and connection.can("write_with_if_not_exists"):
            self._options["if_not_exists"] = True

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes; full parts go up at once.

        Parameters
        ----------
        data : bytes-like
            Any number of bytes.

        Returns
        -------
        int
            How many were taken: all.
        """
        view = memoryview(data).cast("B")
        self.size += view.nbytes
        part = part_size(self._connection, number=self._parts)
        if not self._multi or len(self._buffer) + view.nbytes < part:
            self._buffer += view
            return view.nbytes
        taken = 0
        if self._buffer:
            taken = part - len(self._buffer)
            self._buffer += view[:taken]
            self._send(bytes(self._buffer))
            self._buffer = bytearray()
        while view.nbytes - taken >= part:
            self._send(bytes(view[taken : taken + part]))
            taken += part
        self._buffer += view[taken:]
        return view.nbytes

    def _send(self, part: bytes) -> None:
        with _naming(self._connection, self._key, self._stage):
            if self._upload is None:
                target = self._stage or self._key
                self._upload = self._connection.upload(target, concurrent=_PARALLEL, **self._options)
            self._upload.write(part)
        self._parts += 1

    def commit(self) -> None:
        """Publish what was written.

        Raises
        ------
        FileExistsError
            With ``exclusive``, when another writer was faster.
        """
        connection, rest = self._connection, bytes(self._buffer)
        self._buffer = bytearray()
        with _naming(connection, self._key, self._stage):
            if self._upload is None:
                connection.write_blocking(self._stage or self._key, rest, **self._options)
            else:
                if rest:
                    self._send(rest)
                self._upload.complete()
        if self._stage is not None:
            connection.publish_blocking(self._stage, self._key, self._exclusive)
        self._upload = None

    def abort(self) -> None:
        """Publish nothing and drop what went up."""
        self._buffer = bytearray()
        self._upload = None
        if self._stage is not None:
            self._connection.delete_blocking(self._stage)

    def __del__(self) -> None:
        """Remove the staged half of a file that nobody closed, past OpenDAL: a finalizer must not wait."""
        # A forked child holds a copy of what its parent still writes.
        if getattr(self, "_upload", None) is None or self._stage is None or self._pid != os.getpid():
            return
        self._upload = None
        with suppress(OSError):
            os.unlink(self._connection.local(self._stage))


def appending(connection: Connection, key: str, **options: Any) -> Writer:
    """Give a writer that keeps what the object holds.

    Where the service appends, the new bytes are added at the commit. Elsewhere the object is written anew,
    its old bytes first, and replaced only if nobody changed it meanwhile, where the service can tell.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key; a missing object is created.
    **options
        As `write_options` takes them.

    Returns
    -------
    Writer
    """
    try:
        version = Version.of(connection, key, connection.stat_blocking(key))
    except FileNotFoundError:
        return Writer(connection, key, **options)
    if connection.service.appends:
        return Writer(connection, key, append_to=version.size, **options)
    if version.etag and connection.can("write_with_if_match"):
        options.setdefault("if_match", version.etag)
    target = Writer(connection, key, **options)
    source = Reader(connection, key, version)
    for part in split(Range(0, version.size), connection.tuning.read_chunk):
        target.write(source.fetch(part))
    return target


async def put_bytes(connection: Connection, key: str, data: bytes, **options: Any) -> None:
    """Write an object whose bytes are at hand.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    data : bytes
        All of it.
    **options
        OpenDAL's, as `write_options` returns them, and ``if_not_exists``.
    """
    part = part_size(connection, len(data))
    if connection.can("write_can_multi") and len(data) > part:
        options |= {"chunk": part, "concurrent": _PARALLEL}
    if not staged(connection):
        await connection.write(key, data, **options)
        return
    async with _staging(connection, key, options) as (place, stage):
        await place.write(stage, data, **options)


@asynccontextmanager
async def _staging(
    connection: Connection, key: str, options: dict[str, Any]
) -> AsyncIterator[tuple[Connection, str]]:
    """Give a place beside the key's own; what is there at the end is published, on an error nothing is.

    Of two writers of a key that must not exist one fails when it publishes.
    """
    exclusive = options.pop("if_not_exists", False)
    if not exclusive:
        connection, key = followed(connection, key)
    elif await _is_there(connection, key):
        raise FileExistsError(errno.EEXIST, "File exists", connection.name(key))
    stage = paths.stage(key)
    try:
        with _naming(connection, key, stage):
            yield connection, stage
            await connection.publish(stage, key, exclusive)
    except BaseException:
        # What went wrong is told, not that there is nothing to remove.
        with suppress(OSError):
            await connection.delete(stage)
        raise


async def _is_there(connection: Connection, key: str) -> bool:
    try:
        await connection.stat(key)
    except FileNotFoundError:
        return False
    return True


async def put_copy(connection: Connection, source: str, key: str) -> None:
    """Copy within a service that copies, so that what was there stays when the copy fails.

    Parameters
    ----------
    connection : Connection
        Where both are.
    source, key : str
        Of the file, and of its copy.
    """
    if not staged(connection):
        await connection.copy(source, key)
        return
    async with _staging(connection, key, {}) as (place, stage):
        # A link may lead the copy out of the root.
        await place.copy(source if place is connection else connection.local(source).lstrip("/"), stage)


async def put_parts(
    connection: Connection, key: str, parts: AsyncIterator[bytes], size: int, **options: Any
) -> None:
    """Write an object from its parts, holding a few of them in memory.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    parts : async iterator of bytes
        Each of `part_size`, but for the last.
    size : int
        Bytes of all of them.
    **options
        OpenDAL's, as `write_options` returns them, and ``if_not_exists``.

    Raises
    ------
    OSError
        When there are fewer or more bytes, as when the source changed; nothing is published then.
    """
    if size <= part_size(connection, size) or not connection.can("write_can_multi"):
        data = b"".join([part async for part in parts])
        _check_size(len(data), size, key)
        await put_bytes(connection, key, data, **options)
    elif not staged(connection):
        await _upload_parts(connection, key, parts, size, options)
    else:
        async with _staging(connection, key, options) as (place, stage):
            await _upload_parts(place, stage, parts, size, options)


async def _upload_parts(
    connection: Connection, key: str, parts: AsyncIterator[bytes], size: int, options: dict[str, Any]
) -> None:
    upload = await connection.upload_async(key, concurrent=_PARALLEL, **options)
    total = 0
    async for part in parts:
        await upload.write(part)
        total += len(part)
    _check_size(total, size, key)
    await upload.complete()


def _check_size(found: int, size: int, key: str) -> None:
    if found != size:
        raise OSError(errno.EIO, f"The source changed while it was copied: {found} bytes, not {size}", key)


async def file_parts(source: BinaryIO, part: int, progress: Callable[[int], Any]) -> AsyncIterator[bytes]:
    """Read an open local file in parts.

    Parameters
    ----------
    source : binary file
        Read to its end.
    part : int
        Bytes of a part.
    progress : callable
        Called with the bytes of each part that was handed over.

    Yields
    ------
    bytes
    """
    while data := await asyncio.to_thread(source.read, part):
        yield data
        progress(len(data))
