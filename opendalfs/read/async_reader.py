"""Reads for coroutines, through the asynchronous operator: ranges of one version, and whole objects.

`reader` is the same for threads; what both share is in `plan`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from opendal.types import Metadata

from opendalfs import tracing
from opendalfs.errors import ChangedError, RangeError
from opendalfs.runtime import executor
from opendalfs.runtime.tasks import gather
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from . import recorded
from .cache import cache_of
from .current_version import may_read_without_stat, read_current
from .plan import PinnedObject, ReadPlan, SingleRequest, Slice
from .ranges import Range

__all__ = ["IN_FLIGHT", "check_version", "fetch", "fetch_part", "fetch_pinned", "read_all", "read_some"]

_STREAMED: Final = 1024 * 1024
"""Bytes of an object of unknown size that are streamed before its size is requested: about what a round trip
costs."""

_READ_AT_ONCE: Final = 64 * 1024
"""Bytes that are read from the cache in the event loop's thread: to hand them to a worker takes as long."""

IN_FLIGHT: Final = 32
"""Parts of one object in flight on the way into memory: 25 Gbit/s at the usual 90 MB/s a connection."""


async def fetch_part(pinned: PinnedObject, part: Range) -> bytes:
    """Read one range of a version with one request; `check_version` must follow.

    Parameters
    ----------
    pinned : PinnedObject
        The version to read.
    part : Range
        Must lie within the object.

    Returns
    -------
    bytes

    Raises
    ------
    ChangedError
        If the object has another version, as far as the service tells.
    """
    connection = pinned.connection
    if connection.service.whole_values:
        return (await _fetch_value(pinned))[part.start : part.stop]
    blocks = pinned.blocks
    if blocks is None:
        with pinned.reading():
            return await connection.read(pinned.key, part.start, part.size, **pinned.options)
    if part.size <= _READ_AT_ONCE or blocks.is_empty():
        cached = blocks.read(part)
    else:
        cached = await executor.to_thread(blocks.read, part)
    data, missing = b"", cached.missing
    try:
        with pinned.reading():
            if missing.size:
                data = await connection.read(pinned.key, missing.start, missing.size, **pinned.options)
            return cached.complete(data)
    except ChangedError:
        recorded.forget(connection)
        raise


async def _fetch_value(pinned: PinnedObject) -> bytes:
    """Return the whole object; coroutines that need it at the same time share one request."""
    async with pinned.lock:
        value = pinned.value
        if value is None:
            value = await pinned.connection.read(pinned.key, 0, None)
            pinned.keep(value)
    return value


async def check_version(pinned: PinnedObject) -> None:
    """Raise ChangedError if a local service has another version by now."""
    if pinned.needs_stat:
        pinned.check(await pinned.connection.stat(pinned.key))


async def fetch(
    connection: Connection,
    key: str,
    ranges: Sequence[Slice],
    version: Version,
    gap: int | None = None,
) -> list[bytes]:
    """Read many ranges of one version, with all requests at the same time, as `Reader.read_ranges` does.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    ranges : sequence of (int or None, int or None)
        Start (inclusive) and stop (exclusive) of each, as in a slice.
    version : Version
        The version to read.
    gap : int, optional
        Bytes between two ranges up to which one request serves both; by default ``max_gap``.

    Returns
    -------
    list of bytes
        One for each range, cut at the end of the object.

    Raises
    ------
    ChangedError
        If the object has another version.
    """
    return await fetch_pinned(PinnedObject(connection, key, version), ranges, gap)


async def fetch_pinned(pinned: PinnedObject, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
    """Read many ranges as `fetch` does; later calls use the value that `pinned` keeps, if any."""
    plan = ReadPlan.of(pinned.connection, ranges, pinned.version.size, gap)

    async def fetch_into_plan(i: int) -> None:
        plan.put(i, await fetch_part(pinned, plan.fetches[i].range))

    await gather(fetch_into_plan, range(len(plan.fetches)), IN_FLIGHT)
    if plan.fetches:
        await check_version(pinned)
    return plan.results()


async def read_some(
    connection: Connection,
    key: str,
    ranges: Sequence[Slice],
    version: Version | None = None,
    gap: int | None = None,
) -> list[bytes]:
    """Read ranges; without a version, and without a request for the size if one request serves them all.

    The parameters are those of `fetch`; without `version` the newest one is read.
    """
    if version is not None:
        return await fetch(connection, key, ranges, version, gap)
    single = SingleRequest.of(connection, ranges, gap)
    if single is None or cache_of(connection) is not None:
        # What is cached, and what is kept, is of a version that has to be known.
        try:
            return await read_current(
                connection, key, lambda found: fetch(connection, key, ranges, found, gap)
            )
        except OSError as exc:
            if single is None or not may_read_without_stat(exc):
                raise
    # OpenDAL refuses a range that reaches past the end.
    with suppress(RangeError):
        return single.results(await connection.read(key, single.start, single.size))
    return await read_current(connection, key, lambda found: fetch(connection, key, ranges, found, gap))


async def read_all(
    connection: Connection, key: str, version: Version | None = None, many: bool = False
) -> bytes:
    """Read a whole object with as few requests as its size allows.

    A small object of unknown size takes one request. For a larger one the size is requested meanwhile: if the
    rest fits into one part, the stream continues, otherwise the object is read again in parallel parts of one
    version.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    version : Version, optional
        The version to read; by default the newest.
    many : bool
        Whether it is one of so many that they fill the connections by themselves: then each takes one
        request, and its pieces do not pass through Python one by one.

    Returns
    -------
    bytes

    Raises
    ------
    ChangedError
        If the object has another version, or changes meanwhile.
    FileNotFoundError
        If there is no object.
    """
    if version is None and cache_of(connection) is not None:
        whole = [(0, None)]
        try:
            return (await read_current(connection, key, lambda found: fetch(connection, key, whole, found)))[
                0
            ]
        except OSError as exc:
            if not may_read_without_stat(exc):
                raise
    # Where a stat receives the whole value too, a second request would cost as much as the first.
    if version is None and (many or connection.service.whole_values):
        try:
            data = await connection.read(key, 0, None)
        except TimeoutError:
            # The timeout is that of one part, and this may be a larger object.
            version = await _version_if_large(connection, key)
            if version is None:
                raise
        else:
            tracing.add_bytes_wanted(len(data))
            return data
    if version is None:
        ends = asyncio.get_running_loop().time() + connection.tuning.io_timeout
        streamed = await _stream(connection, key)
        if isinstance(streamed, bytes):
            tracing.add_bytes_wanted(len(streamed))
            return streamed
        version = streamed
        if version.size <= connection.tuning.read_chunk:
            return await _read_again(connection, key, version, ends)
    return (await fetch(connection, key, [(0, version.size)], version))[0]


async def _read_again(connection: Connection, key: str, version: Version, ends: float) -> bytes:
    """Read an object of one part whose stream has broken, until a time of the event loop."""
    try:
        async with asyncio.timeout_at(ends):
            return (await fetch(connection, key, [(0, version.size)], version))[0]
    except TimeoutError as exc:
        if exc.errno is not None:
            raise
        text = "No response in time: check the endpoint, or raise `timeout` and `io_timeout`"
        raise TimeoutError(errno.ETIMEDOUT, text, connection.name(key)) from None


async def _version_if_large(connection: Connection, key: str) -> Version | None:
    """Return the version of an object of more than one part, if the server still answers at once."""
    with suppress(OSError):
        async with asyncio.timeout(connection.tuning.timeout / 10):
            version = Version.of(connection, key, await connection.stat(key))
            return version if version.size > connection.tuning.read_chunk else None
    return None


async def _stream(connection: Connection, key: str) -> bytes | Version:
    """Read a whole object in one stream; return its version instead if it turns out to be large."""
    pieces: list[bytes] = []
    total = 0
    stat: asyncio.Task[Metadata] | None = None
    version: Version | None = None
    stream = connection.stream(key)
    try:
        async for piece in stream:
            pieces.append(piece)
            total += len(piece)
            if stat is None and total > _STREAMED:
                # The stream continues meanwhile, and may end first.
                stat = asyncio.ensure_future(connection.stat(key))
            if stat is not None and stat.done() and version is None:
                version = Version.of(connection, key, stat.result())
                if version.size - total > connection.tuning.read_chunk:
                    return version
            if version is not None and total > version.size + connection.tuning.read_chunk:
                raise ChangedError(
                    errno.ESTALE,
                    f"Object changed while it was read: it has {version.size} bytes, and more arrived",
                    connection.name(key),
                )
        if not total:
            await _check_empty(connection, key)
        return b"".join(pieces)
    except OSError as exc:
        if isinstance(exc, ChangedError) or not pieces:
            raise
        # The connection broke after the first piece. Parts of one version are retried each.
        return version or Version.of(connection, key, await (stat or connection.stat(key)))
    finally:
        await stream.aclose()
        if stat is not None and not stat.done():
            stat.cancel()
            await asyncio.gather(stat, return_exceptions=True)


async def _check_empty(connection: Connection, key: str) -> None:
    """Raise for an object that was read as empty and is not: OpenDAL takes status 416 for its end."""
    size = (await connection.stat(key)).content_length
    if size:
        text = f"No byte of {size} was received, and no error: read the object again"
        raise OSError(errno.EIO, text, connection.name(key))
