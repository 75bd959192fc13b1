"""Reads one version of one object."""

from __future__ import annotations

from opendalfs.read.async_reader import fetch_pinned
from opendalfs.read.plan import PinnedObject
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.runtime import executor
from opendalfs.services import Locality
from opendalfs.storage.version import Version

from .directory import Directory

__all__ = ["ObjectReader"]


class ObjectReader:
    """Reads ranges of one version of one object.

    Parameters
    ----------
    directory : Directory
        The directory of the object.
    key : str
        Its key in the directory.
    version : Version
        The version to read.
    """

    def __init__(self, directory: Directory, key: str, version: Version) -> None:
        self._connection, self._key = directory.locate(key)
        self._version = version
        self._pinned = PinnedObject(self._connection, self._key, version)
        self._locality = self._connection.service.locality

    @property
    def block_size(self) -> int:
        """Bytes of a request to storage at most."""
        return self._connection.tuning.read_chunk

    async def fetch(self, block: Range) -> bytes:
        """Read a range with one request.

        In-process services are read synchronously: a copy is faster than a thread switch. A local disk is
        read in a thread, together with the check of the version.

        Raises
        ------
        ChangedError
            If the object has another version now.
        OSError
            If it cannot be read.
        """
        if self._locality is Locality.REMOTE:
            return (await fetch_pinned(self._pinned, [block], gap=0))[0]
        source = Reader(self._connection, self._key, self._version)
        if self._locality is Locality.PROCESS:
            return source.fetch(block)
        return await executor.to_thread(source.fetch, block)
