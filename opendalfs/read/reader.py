"""Reads for threads: fetches what `ranges` planned, of one version, each byte put in its place once.

`Reader` serves file handles and engine callbacks. It uses the blocking operator, in the caller's thread and
in one pool of the process; `fetching` is the same for coroutines.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from opendalfs.errors import ChangedError, RangeError
from opendalfs.runtime.workers import submit, wait_for_all
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, compare, compares, pin, whole

from .async_reader import fetch, gather, read_all
from .plan import Assembly, Slice, cut, only_fetch, planned
from .ranges import Range

__all__ = [
    "Reader",
    "Version",
    "failed",
    "fetch",
    "gather",
    "pin",
    "read_all",
    "submit",
    "weakly",
]


def failed(future: Future[Any] | asyncio.Future[Any]) -> bool:
    """Whether a future has ended without a result, so that whoever needs the result must ask again."""
    return future.done() and (future.cancelled() or future.exception() is not None)


def weakly(method: Callable[..., object], *args: object) -> Callable[..., None]:
    """Return a function that calls a bound method without keeping the object of the method alive.

    Parameters
    ----------
    method : bound method
        Not called once its object is gone.
    *args : object
        The first arguments; those of the call follow.

    Returns
    -------
    callable
    """
    reference = weakref.WeakMethod(method)

    def call(*more: object) -> None:
        alive = reference()
        if alive is not None:
            alive(*args, *more)

    return call


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
    changed : callable, optional
        Called when the object turns out to be another version, before ChangedError is raised.
    size : int, optional
        Bytes to read at most, where the caller knows; by default the size of the version.

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
        self._version = version
        self._changed = changed
        self._size = size
        self._lock = threading.Lock()

    @property
    def version(self) -> Version:
        """The version that is read; asks the service once."""
        if self._version is None:
            with self._lock:
                if self._version is None:
                    metadata = self.connection.stat_blocking(self.key)
                    if metadata.is_dir:
                        name = self.connection.name(self.key.rstrip("/"))
                        raise IsADirectoryError(errno.EISDIR, "Is a directory", name)
                    self._version = Version.of(self.connection, self.key, metadata)
        return self._version

    @property
    def knows_size(self) -> bool:
        """Whether the size is known, so that asking for it costs nothing."""
        return self._version is not None

    @property
    def size(self) -> int:
        """Bytes that there are to read."""
        return self.version.size if self._size is None else self._size

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
        assembly = planned(self.connection, ranges, self.size, gap)
        count = len(assembly.fetches)
        if count == 1:
            self._place(assembly, 0)
        elif count:
            wait_for_all([submit(self._place, assembly, i) for i in range(count)])
        return assembly.results()

    def read_some(self, ranges: Sequence[Slice], gap: int | None = None) -> list[bytes]:
        """Do the same without asking for the size first, where one request can serve all."""
        if self._version is None:
            only = only_fetch(self.connection, ranges, gap)
            if only is not None:
                try:
                    data = self.connection.read_blocking(self.key, only.start, only.size)
                    return cut(data, only, ranges)
                except RangeError:
                    # It reaches past the end, which OpenDAL does not forgive.
                    pass
        return self.read_ranges(ranges, gap)

    def fetch(self, part: Range) -> bytes:
        """Read one range with one request, in this thread; it must lie within the object."""
        try:
            return self._fetch(part)
        except ChangedError:
            if self._changed is not None:
                self._changed()
            raise

    def _fetch(self, part: Range) -> bytes:
        connection, version = self.connection, self.version
        with whole(connection, self.key):
            data = connection.read_blocking(self.key, part.start, part.size, **pin(connection, version))
        if compares(connection, version):
            compare(connection, self.key, version, connection.stat_blocking(self.key))
        return data

    def submit(self, part: Range) -> Future[bytes]:
        """Start to read one range in a worker."""
        return submit(self.fetch, part)

    def _place(self, assembly: Assembly, i: int) -> None:
        assembly.put(i, self.fetch(assembly.fetches[i].range))
