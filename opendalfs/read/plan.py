"""The common base of reads in threads and in coroutines: the plan of requests and the version check."""

from __future__ import annotations

import asyncio
import errno
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from opendal.types import Metadata

from opendalfs import tracing
from opendalfs.budget import PROCESS, Reservation
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, changed, compare, compares, pin, whole

from .cache import CachedRange, ObjectBlocks, cache_of
from .ranges import Fetch, Range, clamp, plan_fetches

__all__ = [
    "PinnedObject",
    "ReadPlan",
    "RequestSizes",
    "SingleRequest",
    "Slice",
    "group_by_path",
    "is_near",
    "restore_order",
]

Slice = tuple[int | None, int | None]
"""Start (inclusive) and stop (exclusive), as in a Python slice."""

VALUES: Final = PROCESS.share(256 << 20)
"""Bytes of whole values that all readers keep, of services that transfer the whole value for any range."""

_NEAR: Final = 0.004
"""Seconds to the first byte below which a server is near."""

_MOST: Final = 1 << 40
"""Bytes that one call reads into memory at most: a server may claim any size, and each part is planned."""


class RequestSizes(NamedTuple):
    """Sizes of the requests that serve the reads of an object, for the core and for all engines.

    Parameters
    ----------
    gap : int
        Bytes between two ranges up to which one request serves both.
    part : int
        Bytes of a request at most.
    """

    gap: int
    part: int

    @classmethod
    def of(cls, connection: Connection) -> RequestSizes:
        """Return the sizes for a read that waits for all of its bytes: ``max_gap`` and ``read_chunk``."""
        return cls(connection.tuning.max_gap, connection.tuning.read_chunk)

    @classmethod
    def of_scan(cls, connection: Connection) -> RequestSizes:
        """Return the sizes for a reader that decodes the first bytes while later ones arrive.

        Parts have half of ``read_chunk``, so that the first ones arrive sooner. If the server is near, they
        have all of it: there a request takes more time of the processor than it saves.
        """
        gap, part = cls.of(connection)
        return cls(gap, part if is_near(connection) else max(part // 2, 1))


def is_near(connection: Connection) -> bool:
    """Whether the server has shown that its first byte takes less than 4 ms; False if not known yet.

    Notes
    -----
    docs/networks.md has the measurements. A distant server cannot seem near, as no response outruns its
    network, and one that seems distant because this machine is busy has the smaller parts.
    """
    first_byte = None if connection.endpoint is None else connection.endpoint.latency.first_byte
    return first_byte is not None and first_byte < _NEAR


class ReadPlan:
    """The requests that serve ranges of an object, and the bytes of the ranges.

    A range that one request serves alone is the bytes of that request; one of several within a request is
    sliced out of it; one that spans requests is filled in place, so that no response is held longer than its
    copy.

    Parameters
    ----------
    ranges : sequence of Range
        The ranges that the caller reads.
    fetches : sequence of Fetch
        Their requests, from `ranges.plan_fetches`.
    """

    def __init__(self, ranges: Sequence[Range], fetches: Sequence[Fetch]) -> None:
        self.ranges = ranges
        self.fetches = fetches
        served = [0] * len(ranges)
        for fetch in fetches:
            for i in fetch.members:
                served[i] += 1
        self._done: list[bytes | None] = [None if r.size else b"" for r in ranges]
        self._large = {i: io.BytesIO(bytes(ranges[i].size)) for i, n in enumerate(served) if n > 1}

    @classmethod
    def of(cls, connection: Connection, ranges: Sequence[Slice], size: int, gap: int | None) -> ReadPlan:
        """Plan reads of an object whose size is known.

        Parameters
        ----------
        connection : Connection
            Connection of the object.
        ranges : sequence of (int or None, int or None)
            Start (inclusive) and stop (exclusive) of each, as in a slice.
        size : int
            Bytes of the object.
        gap : int, optional
            Bytes between two ranges up to which one request serves both; by default ``max_gap``.

        Returns
        -------
        ReadPlan

        Raises
        ------
        OSError
            EFBIG, if the ranges together have more than 1 TiB.
        """
        clamped = [clamp(start, stop, size) for start, stop in ranges]
        total = sum(r.size for r in clamped)
        if total > _MOST:
            raise OSError(errno.EFBIG, f"{total} bytes do not fit into memory: read the object in parts")
        tracing.add_bytes_wanted(total)
        return cls(clamped, _fetches(connection, clamped, gap))

    def put(self, i: int, data: bytes) -> None:
        """Store the bytes of request `i`; safe from several threads, each with its own `i`."""
        part, members = self.fetches[i]
        for m in members:
            target = self.ranges[m]
            if target == part:
                self._done[m] = data
            elif m in self._large:
                self._fill(m, target, part, data)
            else:
                self._done[m] = data[target.start - part.start : target.stop - part.start]

    def _fill(self, m: int, target: Range, part: Range, data: bytes) -> None:
        start, stop = max(target.start, part.start), min(target.stop, part.stop)
        source = memoryview(data)[start - part.start : stop - part.start]
        with self._large[m].getbuffer() as view:
            view[start - target.start : stop - target.start] = source

    def results(self) -> list[bytes]:
        """Return the bytes of the ranges, in the order of the ranges."""
        for m, buffer in self._large.items():
            self._done[m] = buffer.getvalue()
        return [b"" if data is None else data for data in self._done]


class SingleRequest:
    """The one request that serves ranges of an object of unknown size.

    Parameters
    ----------
    ranges : sequence of (int or None, int or None)
        The ranges that the caller reads, as slices of the bytes of the request.
    start : int
        First byte of the request.
    size : int, optional
        Bytes of the request; None for all that follow. The request may reach past the end of the object,
        which raises `RangeError`: then the size has to be requested first.
    """

    def __init__(self, ranges: Sequence[Slice], start: int, size: int | None) -> None:
        self.ranges = ranges
        self.start = start
        self.size = size

    @classmethod
    def of(cls, connection: Connection, ranges: Sequence[Slice], gap: int | None) -> SingleRequest | None:
        """Return the request; None if it takes more than one, or the size of the object.

        Parameters
        ----------
        connection : Connection
            Connection of the object.
        ranges : sequence of (int or None, int or None)
            Start (inclusive) and stop (exclusive) of each, as in a slice.
        gap : int, optional
            As for `ReadPlan.of`.
        """
        if connection.service.whole_values:
            return cls(ranges, 0, None)
        fixed = [
            Range(a or 0, max(a or 0, b)) for a, b in ranges if b is not None and b >= 0 and (a or 0) >= 0
        ]
        if len(fixed) < len(ranges) or any(r.size > RequestSizes.of(connection).part for r in fixed):
            return None
        fetches = _fetches(connection, fixed, gap)
        if len(fetches) != 1:
            return None
        start, stop = fetches[0].range
        return cls([(r.start - start, r.stop - start) for r in fixed], start, stop - start)

    def results(self, data: bytes) -> list[bytes]:
        """Return the bytes of the ranges from those of the request."""
        found = [data[start:stop] for start, stop in self.ranges]
        tracing.add_bytes_wanted(sum(map(len, found)))
        return found


def _fetches(connection: Connection, ranges: Sequence[Range], gap: int | None) -> list[Fetch]:
    sizes = RequestSizes.of(connection)
    if gap is None or connection.service.whole_values:
        gap = sizes.gap
    return plan_fetches(ranges, gap=gap, part=sizes.part)


class PinnedObject:
    """One version of an object, and how its reads make sure that it is this version.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    version : Version
        The version to read.
    shorter : bool
        Whether the size of the version may be less than that of the object, as the caller chose it.
    held : bool
        Whether a whole value is kept without memory of the budget too: where one operation reads all of it
        in several steps, and must not mix two values.

    Attributes
    ----------
    lock : asyncio.Lock
        Held by a coroutine while it receives the whole value.
    options : dict of str to str
        Options of a read, which then fails if the object has another version.
    needs_stat : bool
        Whether reads are checked by a stat after them, as on local services, where it costs no request.
    value : bytes or None
        The whole object, kept for further reads if the service transfers all of it for each range.
    blocks : ObjectBlocks or None
        Ranges of the version in the cache on disk; None without one.
    """

    __slots__ = (
        "_held",
        "_memory",
        "_shorter",
        "blocks",
        "connection",
        "key",
        "lock",
        "needs_stat",
        "options",
        "value",
        "version",
    )

    def __init__(
        self, connection: Connection, key: str, version: Version, shorter: bool = False, held: bool = False
    ) -> None:
        self.connection = connection
        self.key = key
        self.version = version
        self.options = pin(connection, version)
        self.needs_stat = compares(connection, version)
        self.value: bytes | None = None
        self.lock = asyncio.Lock()
        self._shorter = shorter
        self._held = held
        self._memory = Reservation(VALUES)
        cache = cache_of(connection)
        self.blocks: ObjectBlocks | None = None if cache is None else cache.object(connection, key, version)

    def cached(self, part: Range) -> CachedRange | None:
        """Read what the cache on disk has of a range; None without a cache."""
        return None if self.blocks is None else self.blocks.read(part)

    def keep(self, value: bytes) -> None:
        """Keep the whole object, if the budget has memory for it or the object is `held`.

        Raises
        ------
        ChangedError
            If it does not have the size of the version.
        """
        missing = self.version.size - len(value)
        if missing > 0 or (missing < 0 and not self._shorter):
            raise changed(self.connection, self.key)
        if self._held:
            self._memory.grow(len(value))
        elif not self._memory.try_grow(len(value)):
            return
        self.value = value

    def release(self) -> None:
        """Release the memory of the value that is kept."""
        self.value = None
        self._memory.release()

    def reading(self) -> AbstractContextManager[None]:
        """Raise ChangedError in a block if the object ends before the size of the version."""
        return whole(self.connection, self.key)

    def check(self, metadata: Metadata) -> None:
        """Raise ChangedError if the metadata is that of another version.

        Parameters
        ----------
        metadata : Metadata
            From a stat after the read.
        """
        compare(self.connection, self.key, self.version, metadata)


Groups = dict[str, list[tuple[int, int | None, int | None]]]
"""Ranges by path: the position of each in the list of the caller, its start and its stop."""


def group_by_path(paths: list[str], starts: Any, ends: Any) -> Groups:
    """Group the ranges of ``cat_ranges`` by path.

    Parameters
    ----------
    paths : list of str
        A path for each range.
    starts, ends : int, None or list
        Starts (inclusive) and ends (exclusive); one for all ranges, or a list of them.

    Raises
    ------
    TypeError
        If `paths` is not a list.
    ValueError
        If the lists differ in length.
    """
    if not isinstance(paths, list):
        raise TypeError(f"paths must be a list with a path for each range, not {type(paths).__name__}")
    first = starts if isinstance(starts, (list, tuple)) else [starts] * len(paths)
    last = ends if isinstance(ends, (list, tuple)) else [ends] * len(paths)
    if not len(first) == len(last) == len(paths):
        raise ValueError(
            f"paths, starts and ends differ in length: {len(paths)}, {len(first)} and {len(last)}"
        )
    groups: Groups = {}
    for i, path in enumerate(paths):
        groups.setdefault(path, []).append((i, first[i], last[i]))
    return groups


def restore_order(groups: Groups, results: list[list[Any]], count: int, on_error: str) -> list[Any]:
    """Return the results of grouped ranges in the order of the caller's list.

    Parameters
    ----------
    groups : dict
        From `group_by_path`.
    results : list of list
        For each group the bytes, or the exceptions, of its ranges.
    count : int
        Number of ranges.
    on_error : {"return", "raise"}
        Whether exceptions are returned or the first one is raised.
    """
    out: list[Any] = [None] * count
    for members, contents in zip(groups.values(), results, strict=True):
        for (i, _, _), data in zip(members, contents, strict=True):
            out[i] = data
    if on_error != "return":
        for data in out:
            if isinstance(data, BaseException):
                raise data
    return out
