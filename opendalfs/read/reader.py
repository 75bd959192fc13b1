"""Reads for threads, through the blocking operator: positioned reads of one version of an object.

File handles and engine callbacks use `Reader`, in their own threads and in the shared workers. `async_reader`
is the same for coroutines; what both share is in `plan`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from opendalfs import tracing
from opendalfs.errors import ChangedError, RangeError
from opendalfs.runtime.executor import submit, wait_for_all
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

from . import recorded
from .cache import cache_of
from .current_version import may_read_without_stat
from .plan import PinnedObject, ReadPlan, SingleRequest, Slice
from .ranges import Range, clamp

__all__ = ["Reader"]

_ATTEMPTS: Final = 3
"""Reads of a version that was replaced meanwhile."""


class Reader:
    """Positioned reads of one version of one object, from any number of threads.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    version : Version, optional
        The version to read, from a stat or a listing; by default the newest one at the first read.
    changed : callable, optional
        Called when the object turns out to have another version, before ChangedError is raised.
    size : int, optional
        Bytes to read at most, if the caller knows them; by default the size of the version.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe_file("doc/reader", b"0123456789")
    >>> Reader(*fs.locate("doc/reader")).read(4, 100)
    b'456789'
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        version: Version | None = None,
        changed: Callable[[], object] | None = None,
        size: int | None = None,
    ) -> None:
        self.connection = connection
        self.key = key
        self._pinned = (
            None if version is None else PinnedObject(connection, key, version, shorter=size is not None)
        )
        self._changed = changed
        self._size = size
        self._lock = threading.Lock()

    @property
    def version(self) -> Version:
        """The version that is read; the first use may take a request."""
        return self._pin().version

    def _pin(self) -> PinnedObject:
        if self._pinned is None:
            with self._lock:
                if self._pinned is None:
                    metadata = recorded.stat_blocking(self.connection, self.key)
                    version = Version.of_file(self.connection, self.key, metadata)
                    self._pinned = PinnedObject(self.connection, self.key, version)
        return self._pinned

    @property
    def knows_size(self) -> bool:
        """Whether the size is known without a request."""
        return self._pinned is not None

    @property
    def size(self) -> int:
        """Bytes that can be read; the first use may take a request."""
        return self._pin().version.size if self._size is None else self._size

    def read(self, offset: int, size: int) -> bytes:
        """Read a range; large ones in parallel parts.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; those past the end of the object are left out.

        Returns
        -------
        bytes

        Raises
        ------
        ChangedError
            If the object is no longer the version that was opened.
        ValueError
            If `offset` or `size` is negative.
        """
        if offset < 0 or size < 0:
            raise ValueError(f"offset and size must be 0 or more, not {offset} and {size}")
        part = clamp(offset, offset + size, self.size)
        if part.size > self.connection.tuning.read_chunk:
            return self.read_ranges([part], gap=0)[0]
        tracing.add_bytes_wanted(part.size)
        return self.fetch(part) if part.size else b""

    def read_ranges(self, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
        """Read many ranges, with all requests at the same time.

        Parameters
        ----------
        ranges : sequence of (int or None, int or None)
            Start (inclusive) and stop (exclusive) of each, as in a slice; in any order; they may overlap.
        gap : int, optional
            Bytes between two ranges up to which one request serves both; by default ``max_gap``.

        Returns
        -------
        list of bytes
            One for each range, cut at the end of the object.

        Raises
        ------
        ChangedError
            If the object is no longer the version that was opened.
        """
        size = self._pin().version.size if self._size is None else self._size
        plan = ReadPlan.of(self.connection, ranges, size, gap)
        count = len(plan.fetches)
        if count == 1:
            plan.put(0, self.fetch(plan.fetches[0].range))
        elif count:
            wait_for_all([submit(self._fetch_into, plan, i) for i in range(count)])
        return plan.results()

    def read_some(self, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
        """Read ranges, without a request for the size if one request serves them all.

        The parameters and errors are those of `read_ranges`.
        """
        if self._pinned is not None:
            return self.read_ranges(ranges, gap)
        single = SingleRequest.of(self.connection, ranges, gap)
        if cache_of(self.connection) is not None:
            try:
                return self._read_current(ranges, gap)
            except OSError as exc:
                if single is None or not may_read_without_stat(exc):
                    raise
        if single is not None:
            # OpenDAL refuses a range that reaches past the end.
            with suppress(RangeError):
                return single.results(self.connection.read_blocking(self.key, single.start, single.size))
        self._pin()
        return self.read_ranges(ranges, gap)

    def _read_current(self, ranges: Sequence[Slice], gap: int | None) -> list[bytes]:
        """Read ranges of the current version, as the cache has to know it; again if it is replaced."""
        for _ in range(_ATTEMPTS):
            # Nothing was returned yet, so any version will do. Reads of other threads keep theirs.
            newest = Reader(self.connection, self.key, changed=self._changed)
            with suppress(ChangedError):
                return newest.read_ranges(ranges, gap)
        self._pin()
        return self.read_ranges(ranges, gap)

    def fetch(self, part: Range) -> bytes:
        """Read one range with one request, in this thread.

        Parameters
        ----------
        part : Range
            Must lie within the object.

        Returns
        -------
        bytes

        Raises
        ------
        ChangedError
            If the object is no longer the version that was opened.
        """
        pinned = self._pinned or self._pin()
        try:
            with pinned.reading():
                if self.connection.service.whole_values:
                    data = self._fetch_value(pinned)[part.start : part.stop]
                else:
                    cached = pinned.cached(part)
                    start, size = part.start, part.size
                    if cached is not None:
                        start, size = cached.missing.start, cached.missing.size
                    data = b""
                    if size or cached is None:
                        data = self.connection.read_blocking(self.key, start, size, **pinned.options)
                    if cached is not None:
                        data = cached.complete(data)
            if pinned.needs_stat:
                pinned.check(self.connection.stat_blocking(self.key))
        except ChangedError:
            recorded.forget(self.connection)
            if self._changed is not None:
                self._changed()
            raise
        return data

    def _fetch_value(self, pinned: PinnedObject) -> bytes:
        """Return the whole object; threads that need it at the same time share one request."""
        with self._lock:
            value = pinned.value
            if value is None:
                value = self.connection.read_blocking(self.key, 0, None)
                pinned.keep(value)
        return value

    def release(self) -> None:
        """Release the memory of a value that is kept for further reads; they request it again."""
        if self._pinned is not None:
            self._pinned.release()

    def submit(self, part: Range) -> Future[bytes]:
        """Start to read one range in a worker."""
        return submit(self.fetch, part)

    def _fetch_into(self, plan: ReadPlan, i: int) -> None:
        plan.put(i, self.fetch(plan.fetches[i].range))
