"""The blocks of one version of an object in a cache."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from opendalfs import tracing
from opendalfs.errors import RangeError
from opendalfs.read.ranges import Range
from opendalfs.storage.connection import Connection

from . import background, block_file
from .packs import Bucket
from .space import SMALL, Space

__all__ = ["CachedRange", "ObjectBlocks"]

_RESCAN_SECONDS: Final = 1.0
"""How long the names of an object's blocks are used, although other processes may have added some."""

_MOST_COMPARED: Final = 1024
"""Blocks of an object up to which a range is looked for in parts of them; of more only just the range."""

_TOUCH_SECONDS: Final = 60.0
"""How exactly the time of the last use of a block is kept: each update is a write to the disk."""

_log = logging.getLogger("opendalfs")


class ObjectBlocks:
    """The blocks of one version of an object.

    Parameters
    ----------
    connection : Connection
        Connection of the object.
    key : str
        Its key.
    digest : bytes
        Digest of the version.
    bucket : Bucket
        Where its small blocks are.
    space : Space
        The limit on the size of the cache.
    folder : str, optional
        Directory of the larger blocks; none for an object that has only small ones.
    """

    __slots__ = ("_bucket", "_connection", "_digest", "_files", "_folder", "_key", "_scanned", "_space")

    def __init__(
        self,
        connection: Connection,
        key: str,
        digest: bytes,
        bucket: Bucket,
        space: Space,
        folder: str | None,
    ) -> None:
        self._connection = connection
        self._key = key
        self._digest = digest
        self._bucket = bucket
        self._space = space
        self._folder = folder
        # Replaced, never changed, as other threads may look at it.
        self._files: frozenset[Range] = frozenset()
        self._scanned = float("-inf")

    def read(self, part: Range) -> CachedRange:
        """Read what is cached of a range, from its start and from its end; safe from any thread.

        Parameters
        ----------
        part : Range
            The range; not empty.

        Returns
        -------
        CachedRange
        """
        begun = time.perf_counter()
        found = self._read(part)
        if found.missing.size and self._scan():
            found = self._read(part)
        saved = part.size - found.missing.size
        if saved and tracing.enabled():
            connection = self._connection
            tracing.add_cache_hit(
                connection.service.scheme, connection.container, self._key, part.start, saved, begun
            )
        return found

    def is_empty(self) -> bool:
        """Whether nothing of the object is cached, as far as this process knows."""
        self._scan()
        return not self._files and not self._bucket.find(self._digest)

    def put(self, block: Range, data: bytes) -> None:
        """Keep a range that was read, unless too much waits to be written."""
        if len(data) != block.size:
            return
        if len(data) <= SMALL:
            self._bucket.put(self._digest, block, data)
        elif len(data) <= block_file.MOST and self._folder is not None:
            background.submit(len(data), self, (block, data))

    def write(self, blocks: list[tuple[Range, bytes]]) -> None:
        """Write large blocks, in the thread of the cache."""
        for block, data in blocks:
            header = block_file.pack(self._digest, block, data)
            if self._space.write_file(self._path(block), (header, data)):
                self._files |= {block}

    def _read(self, part: Range) -> CachedRange:
        """Read what the known blocks hold of a range."""
        before: list[bytes] = []
        after: list[bytes] = []
        start, stop = part
        small = self._bucket.find(self._digest)
        while start < stop:
            block = self._find(small, Range(start, stop), first=True)
            data = None if block is None else self._read_block(block, Range(start, min(stop, block.stop)))
            if data is None:
                break
            before.append(data)
            start += len(data)
        while start < stop:
            block = self._find(small, Range(start, stop), first=False)
            data = None if block is None else self._read_block(block, Range(max(start, block.start), stop))
            if data is None:
                break
            after.insert(0, data)
            stop -= len(data)
        return CachedRange(self, Range(start, stop), before, after)

    def _find(self, small: Mapping[Range, object], part: Range, *, first: bool) -> Range | None:
        """Return a block that holds a range, or else as much of it as any from its first or its last byte."""
        files = self._files
        if part in small or part in files:
            return part
        if (not small and not files) or len(small) + len(files) > _MOST_COMPARED:
            return None
        # A list at once, as other threads may add to it.
        blocks = [*list(small), *files]
        if first:
            return max((b for b in blocks if b.start <= part.start < b.stop), key=_stop, default=None)
        return min((b for b in blocks if b.start < part.stop <= b.stop), default=None)

    def _read_block(self, block: Range, part: Range) -> bytes | None:
        """Read a part of a block; None if it is gone, or is removed as it is damaged."""
        location = self._bucket.find(self._digest).get(block)
        if location is None:
            return self._read_file(block, part)
        data = self._bucket.read(self._digest, block, location)
        if data is None or part == block:
            return data
        return data[part.start - block.start : part.stop - block.start]

    def _read_file(self, block: Range, part: Range) -> bytes | None:
        path = self._path(block)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = block_file.read(descriptor, self._digest, block, part)
                if abs(time.time() - os.fstat(descriptor).st_mtime) > _TOUCH_SECONDS:
                    with suppress(OSError):
                        os.utime(descriptor)
            finally:
                os.close(descriptor)
        except block_file.Damaged:
            _log.warning("a damaged file was removed from the cache: %s", path)
            with suppress(OSError):
                os.unlink(path)
        except OSError:
            pass
        else:
            return data
        self._files -= {block}
        return None

    def _scan(self) -> bool:
        """List the blocks that other processes have added, unless that was just done; return whether."""
        scanned = self._bucket.scan()
        if self._folder is None or time.monotonic() - self._scanned <= _RESCAN_SECONDS:
            return scanned
        try:
            names = os.listdir(self._folder)
        except OSError:
            names = []
        self._files = frozenset(block for name in names if (block := _parse(name)) is not None)
        # Last, as other threads rely on it.
        self._scanned = time.monotonic()
        return True

    def _path(self, block: Range) -> str:
        return os.path.join(self._folder or "", f"{block.start}-{block.stop}")


class CachedRange:
    """What is cached of a range: bytes at its start and at its end.

    Parameters
    ----------
    blocks : ObjectBlocks
        Where to keep what is missing.
    missing : Range
        The bytes between them that are not cached; empty if all are.
    before, after : list of bytes
        The cached bytes.
    """

    __slots__ = ("_after", "_before", "_blocks", "missing")

    def __init__(self, blocks: ObjectBlocks, missing: Range, before: list[bytes], after: list[bytes]) -> None:
        self.missing = missing
        self._blocks = blocks
        self._before = before
        self._after = after

    def complete(self, data: bytes) -> bytes:
        """Return the whole range, with the bytes that were missing, which are kept from now on.

        Parameters
        ----------
        data : bytes
            The missing bytes; empty if there are none.

        Returns
        -------
        bytes
        """
        if self.missing.size:
            if len(data) != self.missing.size:
                raise RangeError(f"{len(data)} bytes instead of {self.missing.size}")
            self._blocks.put(self.missing, data)
        pieces = [*self._before, data, *self._after] if data else [*self._before, *self._after]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _stop(block: Range) -> int:
    return block.stop


def _parse(name: str) -> Range | None:
    """Return the range in the name of a file; None if it is none."""
    start, mark, stop = name.partition("-")
    if not (mark and start.isdecimal() and stop.isdecimal() and len(name) < 42):
        return None
    block = Range(int(start), int(stop))
    return block if 0 < block.size <= block_file.MOST else None
