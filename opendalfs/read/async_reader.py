"""Reads for coroutines: ranges of one version, whole objects, downloads into files.

What `reader` does in threads, on the asynchronous operator.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar

from opendal.types import Metadata

from opendalfs import tracing
from opendalfs.errors import ChangedError, RangeError
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import is_special
from opendalfs.storage.staged_files import stage_file
from opendalfs.storage.version import Version, compare, compares, pin, whole

from .plan import Slice, cut, only_fetch, planned
from .ranges import Range, split

__all__ = ["IN_FLIGHT", "download", "fetch", "gather", "pour", "read_all", "read_some"]

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_SMALL: Final = 1024 * 1024
"""Bytes of an object of unknown size that are streamed before its size is asked for: about what a round trip
costs."""

_WINDOW: Final = 64 << 20
"""Bytes of an object held at a time on the way into a file-like object."""

IN_FLIGHT: Final = 32
"""Parts of one object in flight on the way into memory: 25 Gbit/s at the usual 90 MB/s a connection."""

_seeking = threading.Lock()

_TO_DISK: Final = 16
"""Parts in flight on the way to disk, of half the size: each is held until it is written."""

_AT_ONCE: Final = 256 * 1024
"""Bytes written to a local file in the event loop's thread: to hand them to another takes as long."""


async def fetch(
    connection: Connection,
    key: str,
    ranges: Sequence[Slice],
    version: Version,
    gap: int | None = None,
) -> list[bytes]:
    """Read many ranges of one version: `Reader.read_ranges` for coroutines.

    Parameters
    ----------
    connection : Connection
        Where the object is.
    key : str
        Its key.
    ranges : sequence of (int or None, int or None)
        Start (inclusive) and stop (exclusive) of each, as in a slice.
    version : Version
        What is read.
    gap : int, optional
        Hole in bytes up to which two ranges are fetched as one.

    Returns
    -------
    list of bytes
    """
    assembly = planned(connection, ranges, version.size, gap)

    async def one(i: int) -> None:
        part = assembly.fetches[i].range
        with whole(connection, key):
            data = await connection.read(key, part.start, part.size, **pin(connection, version))
        assembly.put(i, data)

    await gather(one, range(len(assembly.fetches)), IN_FLIGHT)
    if assembly.fetches and compares(connection, version):
        compare(connection, key, version, await connection.stat(key))
    return assembly.results()


async def read_some(
    connection: Connection,
    key: str,
    ranges: Sequence[Slice],
    version: Version | None = None,
    gap: int | None = None,
) -> list[bytes]:
    """Read ranges without asking for the size first, where one request can serve them all."""
    if version is None:
        only = only_fetch(connection, ranges, gap)
        if only is not None:
            try:
                return cut(await connection.read(key, only.start, only.size), only, ranges)
            except RangeError:
                pass
        version = Version.of(connection, key, await connection.stat(key))
    return await fetch(connection, key, ranges, version, gap)


async def read_all(
    connection: Connection, key: str, version: Version | None = None, many: bool = False
) -> bytes:
    """Read an object whole, with as few requests as its size allows.

    A small object of unknown size takes one request. For a larger one the size is asked for once it shows;
    one that fits into a single GET goes on in the stream that was begun, a larger one is fetched anew in
    parallel parts of one version.

    Parameters
    ----------
    connection : Connection
        Where the object is.
    key : str
        Its key.
    version : Version, optional
        What a stat or listing told.
    many : bool
        Whether it is one of so many that they fill the connections by themselves: then each takes one
        request, and its pieces do not pass through Python one by one.

    Returns
    -------
    bytes
    """
    if version is None and many:
        try:
            data = await connection.read(key, 0, None)
        except TimeoutError:
            # One timeout is meant for a part, and this may have been a larger object.
            version = await _large(connection, key)
            if version is None:
                raise
        else:
            tracing.add_bytes_wanted(len(data))
            return data
    if version is None:
        streamed = await _stream(connection, key)
        if isinstance(streamed, bytes):
            tracing.add_bytes_wanted(len(streamed))
            return streamed
        version = streamed
    return (await fetch(connection, key, [(0, version.size)], version))[0]


async def _large(connection: Connection, key: str) -> Version | None:
    """Return the version of an object of more than one part, if the server still answers at once."""
    with suppress(OSError):
        async with asyncio.timeout(connection.tuning.timeout / 10):
            version = Version.of(connection, key, await connection.stat(key))
            return version if version.size > connection.tuning.read_chunk else None
    return None


async def _stream(connection: Connection, key: str) -> bytes | Version:
    """Read an object whole in one stream; give its version instead once it proves to be large."""
    pieces: list[bytes] = []
    total = 0
    asked: asyncio.Task[Metadata] | None = None
    version: Version | None = None
    stream = connection.stream(key)
    try:
        async for piece in stream:
            pieces.append(piece)
            total += len(piece)
            if asked is None and total > _SMALL:
                # The stream goes on meanwhile, and may come to its end first.
                asked = asyncio.ensure_future(connection.stat(key))
            if asked is not None and asked.done() and version is None:
                version = Version.of(connection, key, asked.result())
                if version.size - total > connection.tuning.read_chunk:
                    return version
            if version is not None and total > version.size + connection.tuning.read_chunk:
                raise ChangedError(
                    errno.ESTALE, f"The object has {version.size} bytes, and more came", connection.name(key)
                )
        return b"".join(pieces)
    finally:
        await stream.aclose()
        if asked is not None and not asked.done():
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


async def pour(
    connection: Connection, key: str, version: Version, file: Any, progress: Callable[[int], Any]
) -> None:
    """Write an object into a file-like object, from its position on, a window at a time."""
    for window in split(Range(0, version.size), _WINDOW):
        for data in await fetch(connection, key, [window], version):
            file.write(data)
            progress(len(data))


async def download(
    connection: Connection, key: str, version: Version, target: str, progress: Callable[[int], Any]
) -> None:
    """Write an object into a local file, which is there only when it is whole."""
    if is_special(target):
        # It takes bytes in their order. In a thread, as a pipe opens only when its reader does.
        with await asyncio.to_thread(open, target, "wb") as special:
            await pour(connection, key, version, special, progress)
        return
    with _beside(target) as file:
        await _download_parts(connection, key, version, file.fileno(), progress)


@contextmanager
def _beside(target: str) -> Iterator[BinaryIO]:
    """Give a new file that takes a place when it is whole, so that a failure leaves what was there.

    What was there lends its mode; a link keeps its place, and what it leads to is replaced.
    """
    target = target.rstrip(os.sep) or os.sep
    # To resolve the whole path asks the disk for each of its parts.
    if os.path.islink(target):
        target = os.path.realpath(target)
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", target)
    try:
        staged = stage_file(target)
    except OSError as exc:
        exc.filename = target
        raise
    try:
        with open(staged.descriptor, "wb", closefd=False) as file:
            if mode is not None:
                place = file.fileno() if os.chmod in os.supports_fd else staged.path
                os.chmod(place, stat.S_IMODE(mode))
            yield file
        staged.close()
        os.replace(staged.path, target)
        staged.published()
    except OSError as exc:
        if exc.filename == staged.path:
            exc.filename = target
        raise
    finally:
        staged.remove()


async def _download_parts(
    connection: Connection,
    key: str,
    version: Version,
    file: int,
    progress: Callable[[int], Any],
) -> None:
    """Write an object into an open file, in parallel parts, each at its place.

    Parameters
    ----------
    connection : Connection
        Where the object is.
    key : str
        Its key.
    version : Version
        What is read.
    file : int
        Descriptor of a file open for writing.
    progress : callable
        Called with the bytes of each part when it is on disk.
    """
    tracing.add_bytes_wanted(version.size)

    async def one(part: Range) -> None:
        with whole(connection, key):
            data = await connection.read(key, part.start, part.size, **pin(connection, version))
        if len(data) <= _AT_ONCE:
            _pwrite(file, data, part.start)
        else:
            await _to_end(_pwrite, file, data, part.start)
        progress(len(data))

    parts = split(Range(0, version.size), max(connection.tuning.read_chunk // 2, 1))
    await gather(one, parts, _TO_DISK)
    if version.size and compares(connection, version):
        compare(connection, key, version, await connection.stat(key))


async def _to_end(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call in a thread and stay until it is done, cancelled or not: the file it writes to is closed next."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.shield(work)
    finally:
        await _settled([work])


async def _settled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until all are done, whatever they end with and however often the waiting is cancelled."""
    running = {task for task in tasks if not task.done()}
    while running:
        with suppress(asyncio.CancelledError):
            running = (await asyncio.wait(running))[1]


def _pwrite(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = _write_at(file, view, offset)
        view, offset = view[done:], offset + done


def _write_at(file: int, data: memoryview, offset: int) -> int:
    """Write at an offset; return the bytes written. Windows has no pwrite: there, one thread at a time."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, data, offset)
    with _seeking:
        os.lseek(file, offset, os.SEEK_SET)
        return os.write(file, data)


async def gather(function: Callable[[T], Awaitable[U]], items: Iterable[T], limit: int) -> list[U]:
    """Call a coroutine function for each item, at most `limit` at a time.

    The first error cancels the rest and is raised.

    Parameters
    ----------
    function : coroutine function
        Called with an item when its turn comes.
    items : iterable
        Its arguments, taken one at a time when there is a limit.
    limit : int
        How many run at a time; all of them when it is less than 1, as fsspec's "no limit" is -1.

    Returns
    -------
    list
        Results in the order of the items.
    """
    rest = iter(items)
    first = list(rest if limit < 1 else islice(rest, max(limit, 2)))
    if len(first) == 1:
        return [await function(first[0])]
    count = len(first) if limit < 1 else min(limit, len(first))
    results: dict[int, U] = {}
    turn = enumerate(chain(first, rest))

    async def work() -> None:
        for i, item in turn:
            results[i] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    except BaseException:
        for worker in workers:
            worker.cancel()
        await _settled(workers)
        raise
    return [results[i] for i in range(len(results))]
