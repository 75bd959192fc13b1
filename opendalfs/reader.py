"""Fetches what `ranges` planned: pinned to one version, in parallel, each byte put in its place once.

`Reader` is for threads (file handles, engine callbacks) and uses the blocking operator and one pool of the
process. `fetch` and `read_all` are the same for coroutines.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from opendal.types import Metadata

from . import tracing
from .errors import ChangedError, RangeError
from .operators import Connection
from .ranges import Fetch, Range, clamp, plan, split
from .services import Home

__all__ = ["Reader", "Version", "fetch", "pool", "read_all"]

T = TypeVar("T")
U = TypeVar("U")
Slice = tuple[int | None, int | None]

_THREADS: Final = 64
_SMALL: Final = 256 * 1024
"""Bytes of an object of unknown size that are streamed before its size is asked for."""

_IN_FLIGHT: Final = 16
"""Parts of one object in flight: 16 connections fill 10 Gbit/s at the usual 90 MB/s each."""


@dataclass(frozen=True, slots=True)
class Version:
    """The version of an object that a handle reads, as far as its service tells versions apart.

    Parameters
    ----------
    size : int
        Bytes.
    etag : str, optional
        Entity tag.
    version : str, optional
        The service's version id.
    modified : datetime, optional
        Time of the last write.
    """

    size: int
    etag: str | None = None
    version: str | None = None
    modified: datetime | None = None

    @classmethod
    def of(cls, connection: Connection, key: str, metadata: Metadata) -> Version:
        """Take the version from an object's metadata."""
        return cls(
            metadata.content_length,
            metadata.etag,
            metadata.version,
            connection.modified(key, metadata),
        )

    @classmethod
    def from_info(cls, info: dict[str, Any]) -> Version:
        """Take the version from what ``info`` returned."""
        return cls(info["size"], info.get("ETag"), info.get("VersionId"), info.get("LastModified"))


def pin(connection: Connection, version: Version | None) -> dict[str, str]:
    """Give the options that make a read fail when the object is no longer that version.

    A weak etag (``W/``) never matches (RFC 9110, 13.1.1), so it cannot pin.
    """
    if version is None:
        return {}
    if version.version and connection.can("read_with_version"):
        return {"version": version.version}
    etag = version.etag
    if etag and not etag.startswith("W/") and connection.can("read_with_if_match"):
        return {"if_match": etag}
    return {}


def _compares(connection: Connection, version: Version | None) -> bool:
    """Tell whether to compare size and time after a read, where that costs no request."""
    return version is not None and connection.service.home is not Home.REMOTE


def _compare(connection: Connection, key: str, version: Version, metadata: Metadata) -> None:
    now = Version.of(connection, key, metadata)
    if (now.size, now.modified) != (version.size, version.modified):
        raise ChangedError(
            errno.ESTALE,
            f"The object changed while it was being read: open it again ({connection.where})",
            key,
        )


_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def pool() -> ThreadPoolExecutor:
    """Give the pool of this process; tasks in it must not wait for other tasks in it.

    Returns
    -------
    ThreadPoolExecutor
        Made on first use, and anew in a forked child, where no thread of the parent's runs.
    """
    pid = os.getpid()
    with _pools_lock:
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = ThreadPoolExecutor(_THREADS, thread_name_prefix="opendalfs")
        return _pools[pid]


class Reader:
    """Positioned reads of one version of one object, from any number of threads.

    Parameters
    ----------
    connection : Connection
        Where the object is.
    key : str
        Its key.
    version : Version, optional
        What a stat or listing told; without it the first read asks.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe_file("doc/reader", b"0123456789")
    >>> Reader(*fs.locate("doc/reader")).read(4, 100)
    b'456789'
    """

    def __init__(self, connection: Connection, key: str, version: Version | None = None) -> None:
        self.connection = connection
        self.key = key
        self._version = version
        self._lock = threading.Lock()

    @property
    def version(self) -> Version:
        """The version that is read; asks the service once."""
        if self._version is None:
            with self._lock:
                if self._version is None:
                    metadata = self.connection.stat_blocking(self.key)
                    self._version = Version.of(self.connection, self.key, metadata)
        return self._version

    @property
    def knows_size(self) -> bool:
        """Whether the size is known, so that asking for it costs nothing."""
        return self._version is not None

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.version.size

    def read(self, offset: int, size: int) -> bytes:
        """Read a range; large ones in parallel parts.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; what lies past the end of the object is left out.

        Returns
        -------
        bytes

        Raises
        ------
        ChangedError
            When the object is no longer the version that was opened.
        """
        if offset < 0 or size < 0:
            raise ValueError(f"offset and size are 0 or more, not {offset} and {size}")
        return self.read_ranges([(offset, offset + size)], gap=0)[0]

    def read_ranges(self, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
        """Read many ranges: near ones with one request, all requests at the same time.

        Parameters
        ----------
        ranges : sequence of (int or None, int or None)
            Start (inclusive) and stop (exclusive) of each, as in a slice; in any order; they may overlap.
        gap : int, optional
            Hole in bytes up to which two are fetched as one; by default the connection's `max_gap`.

        Returns
        -------
        list of bytes
            One for each range, cut at the end of the object.
        """
        wanted = [clamp(a, b, self.size) for a, b in ranges]
        tracing.wanted(sum(r.size for r in wanted))
        tuning = self.connection.tuning
        fetches = plan(wanted, gap=tuning.max_gap if gap is None else gap, part=tuning.read_chunk)
        assembly = Assembly(wanted, fetches)
        if len(fetches) == 1:
            assembly.put(0, self.fetch(fetches[0].range))
        elif fetches:
            _all([pool().submit(self._place, assembly, i) for i in range(len(fetches))])
        return assembly.results()

    def read_some(self, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
        """Do the same without asking for the size first, where one request can serve all."""
        if self._version is None:
            only = _only_fetch(self.connection, ranges, gap)
            if only is not None:
                try:
                    data = self.connection.read_blocking(self.key, only.start, only.size)
                    return _cut(data, only, ranges)
                except RangeError:
                    # It reaches past the end, which OpenDAL does not forgive.
                    pass
        return self.read_ranges(ranges, gap)

    def fetch(self, part: Range) -> bytes:
        """Read one range with one request, in this thread; it must lie within the object."""
        connection, version = self.connection, self.version
        with _shrunk(connection, self.key):
            data = connection.read_blocking(self.key, part.start, part.size, **pin(connection, version))
        if _compares(connection, version):
            _compare(connection, self.key, version, connection.stat_blocking(self.key))
        return data

    def submit(self, part: Range) -> Future[bytes]:
        """Start to read one range in the pool."""
        return pool().submit(self.fetch, part)

    def _place(self, assembly: Assembly, i: int) -> None:
        assembly.put(i, self.fetch(assembly.fetches[i].range))


def each(function: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Call a function for each item, in threads that may wait for `pool`.

    Parameters
    ----------
    function : callable
        May use a `Reader`.
    items : sequence
        Its arguments.

    Returns
    -------
    list
        Results in the order of the items.
    """
    with ThreadPoolExecutor(min(_THREADS, len(items) or 1), "opendalfs-each") as threads:
        return list(threads.map(function, items))


def _all(futures: Sequence[Future[None]]) -> None:
    """Wait for all; the first error cancels what has not begun and is raised when nothing runs."""
    error: BaseException | None = None
    for future in futures:
        if error is not None:
            future.cancel()
    for future in futures:
        if future.cancelled():
            continue
        try:
            future.result()
        except BaseException as exc:
            if error is None:
                error = exc
                for other in futures:
                    other.cancel()
    if error is not None:
        raise error


class Assembly:
    """Puts fetched parts where the wanted ranges need them.

    A range that one fetch serves alone is that fetch's own bytes; one of several within a fetch is cut
    out of it; one that spans fetches is filled in place, so that no part is held longer than its copy.

    Parameters
    ----------
    wanted : sequence of Range
        What was asked for.
    fetches : sequence of Fetch
        What `ranges.plan` made of it.
    """

    def __init__(self, wanted: Sequence[Range], fetches: Sequence[Fetch]) -> None:
        self.wanted = wanted
        self.fetches = fetches
        served = [0] * len(wanted)
        for fetch in fetches:
            for i in fetch.members:
                served[i] += 1
        self._done: list[bytes | None] = [None if r.size else b"" for r in wanted]
        self._large = {i: io.BytesIO(bytes(wanted[i].size)) for i, n in enumerate(served) if n > 1}

    def put(self, i: int, data: bytes) -> None:
        """Take the bytes of fetch `i`; safe from several threads, each with its own `i`."""
        part, members = self.fetches[i]
        for m in members:
            want = self.wanted[m]
            if want == part:
                self._done[m] = data
            elif m in self._large:
                self._fill(m, want, part, data)
            else:
                self._done[m] = data[want.start - part.start : want.stop - part.start]

    def _fill(self, m: int, want: Range, part: Range, data: bytes) -> None:
        start, stop = max(want.start, part.start), min(want.stop, part.stop)
        source = memoryview(data)[start - part.start : stop - part.start]
        with self._large[m].getbuffer() as view:
            view[start - want.start : stop - want.start] = source

    def results(self) -> list[bytes]:
        """Give the wanted ranges, in the order they were asked for."""
        for m, buffer in self._large.items():
            self._done[m] = buffer.getvalue()
        return [b"" if data is None else data for data in self._done]


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
    wanted = [clamp(a, b, version.size) for a, b in ranges]
    tracing.wanted(sum(r.size for r in wanted))
    tuning = connection.tuning
    fetches = plan(wanted, gap=tuning.max_gap if gap is None else gap, part=tuning.read_chunk)
    assembly = Assembly(wanted, fetches)

    async def one(i: int) -> None:
        part = fetches[i].range
        with _shrunk(connection, key):
            data = await connection.read(key, part.start, part.size, **pin(connection, version))
        assembly.put(i, data)

    await gather(one, range(len(fetches)), _IN_FLIGHT)
    if fetches and _compares(connection, version):
        _compare(connection, key, version, await connection.stat(key))
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
        only = _only_fetch(connection, ranges, gap)
        if only is not None:
            try:
                return _cut(await connection.read(key, only.start, only.size), only, ranges)
            except RangeError:
                pass
        version = Version.of(connection, key, await connection.stat(key))
    return await fetch(connection, key, ranges, version, gap)


def _only_fetch(connection: Connection, ranges: Sequence[Slice], gap: int | None) -> Range | None:
    """Give the one request that serves ranges of an object of unknown size, if there is one."""
    known = [Range(a or 0, b) for a, b in ranges if b is not None and b >= 0 and (a or 0) >= 0]
    tuning = connection.tuning
    if len(known) < len(ranges):
        return None
    fetches = plan(known, gap=tuning.max_gap if gap is None else gap, part=tuning.read_chunk)
    return fetches[0].range if len(fetches) == 1 else None


def _cut(data: bytes, fetched: Range, ranges: Sequence[Slice]) -> list[bytes]:
    wanted = [Range(a or 0, max(a or 0, b or 0)) for a, b in ranges]
    tracing.wanted(sum(r.size for r in wanted))
    return [data[r.start - fetched.start : r.stop - fetched.start] for r in wanted]


@contextmanager
def _shrunk(connection: Connection, key: str) -> Iterator[None]:
    """Say what it means when an object ends before the size that was told."""
    try:
        yield
    except RangeError as exc:
        raise ChangedError(
            errno.ESTALE,
            f"The object changed while it was being read: open it again ({connection.where})",
            key,
        ) from exc


async def read_all(connection: Connection, key: str, version: Version | None = None) -> bytes:
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

    Returns
    -------
    bytes
    """
    limit = connection.tuning.read_chunk
    if version is None:
        pieces: list[bytes] = []
        total, asked = 0, False
        stream = connection.stream(key)
        try:
            async for piece in stream:
                pieces.append(piece)
                total += len(piece)
                if not asked and total >= _SMALL:
                    asked = True
                    found = Version.of(connection, key, await connection.stat(key))
                    if found.size > limit:
                        version = found
                        break
        finally:
            await stream.aclose()
        if version is None:
            tracing.wanted(total)
            return b"".join(pieces)
    return (await fetch(connection, key, [(0, version.size)], version))[0]


async def download(
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
    tracing.wanted(version.size)

    async def one(part: Range) -> None:
        with _shrunk(connection, key):
            data = await connection.read(key, part.start, part.size, **pin(connection, version))
        await asyncio.to_thread(_pwrite, file, data, part.start)
        progress(len(data))

    parts = split(Range(0, version.size), connection.tuning.read_chunk)
    # Half as many as for memory: a part waits here for the disk as well.
    await gather(one, parts, _IN_FLIGHT // 2)
    if parts and _compares(connection, version):
        _compare(connection, key, version, await connection.stat(key))


def _pwrite(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


async def gather(function: Callable[[T], Awaitable[U]], items: Iterable[T], limit: int) -> list[U]:
    """Call a coroutine function for each item, at most `limit` at a time.

    The first error cancels the rest and is raised.

    Parameters
    ----------
    function : coroutine function
        Called with an item when its turn comes.
    items : iterable
        Its arguments.
    limit : int
        How many run at a time.

    Returns
    -------
    list
        Results in the order of the items.
    """
    todo = list(items)
    if len(todo) == 1:
        return [await function(todo[0])]
    results: dict[int, U] = {}
    turn = iter(enumerate(todo))

    async def work() -> None:
        for i, item in turn:
            results[i] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(limit, len(todo)))]
    try:
        await asyncio.gather(*workers)
    except BaseException:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        raise
    return [results[i] for i in range(len(todo))]
