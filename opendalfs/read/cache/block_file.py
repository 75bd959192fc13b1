"""The format of a file of the cache: one range of one version of an object, with checksums.

=============  ====================================================================================
bytes          meaning
=============  ====================================================================================
8              ``ODFSBLK1``
20             digest of the object and its version
8, 8           start and stop of the range, little-endian
4 each         CRC-32 of each 512 KiB of the content
4              CRC-32 of all before
the rest       content
=============  ====================================================================================

A read checks all checksums that cover it, so that a file with damaged bytes, of another object, or of a disk
that lost its last writes is found out.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final

from opendalfs.read.ranges import Range

__all__ = ["MOST", "Damaged", "file_size", "pack", "read"]

MOST: Final = 1 << 30
"""Bytes of a block at most; Linux reads fewer than 2 GiB at once."""

_CHUNK: Final = 512 * 1024
"""Bytes of content that a checksum covers: a part of a block is read with at most this much on each side."""

_MAGIC: Final = b"ODFSBLK1"
_FIELDS: Final = struct.Struct("<8s20sQQ")


class Damaged(Exception):
    """Raised if a file of the cache is not what its name says."""


def file_size(block: Range) -> int:
    """Return the bytes of the file of a range."""
    return _header_size(block) + block.size


def pack(digest: bytes, block: Range, data: bytes) -> bytes:
    """Return the header of the file of a range.

    Parameters
    ----------
    digest : bytes
        Of the object and its version.
    block : Range
        The range.
    data : bytes
        Its content.

    Returns
    -------
    bytes
    """
    view = memoryview(data)
    sums = [zlib.crc32(view[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
    header = _FIELDS.pack(_MAGIC, digest, *block) + struct.pack(f"<{len(sums)}I", *sums)
    return header + struct.pack("<I", zlib.crc32(header))


def read(descriptor: int, digest: bytes, block: Range, part: Range) -> bytes:
    """Read a part of the range of a file.

    Parameters
    ----------
    descriptor : int
        The open file.
    digest : bytes
        Of the object and its version.
    block : Range
        The range of the file.
    part : Range
        Bytes to read, within `block`; not empty.

    Returns
    -------
    bytes

    Raises
    ------
    Damaged
        If the file is not one of this range and this version, or a checksum is wrong.
    OSError
        If it cannot be read.
    """
    size = _header_size(block)
    header = os.pread(descriptor, size, 0)
    if len(header) != size or header[: _FIELDS.size] != _FIELDS.pack(_MAGIC, digest, *block):
        raise Damaged
    if zlib.crc32(header[:-4]) != int.from_bytes(header[-4:], "little"):
        raise Damaged
    start, stop = part.start - block.start, part.stop - block.start
    # The content is read into one object, without a copy; what its checksums cover besides is read apart.
    data = os.pread(descriptor, part.size, size + start)
    before = os.pread(descriptor, start % _CHUNK, size + start - start % _CHUNK)
    after = os.pread(descriptor, min(-stop % _CHUNK, block.size - stop), size + stop)
    first = start // _CHUNK
    count = -(-stop // _CHUNK) - first
    sums = struct.unpack_from(f"<{count}I", header, _FIELDS.size + 4 * first)
    if len(data) != part.size or _sums(before, data, after) != sums:
        raise Damaged
    return data


def _sums(before: bytes, data: bytes, after: bytes) -> tuple[int, ...]:
    """Return the checksums of consecutive bytes, of which the first belongs to the start of a chunk."""
    view = memoryview(data)
    sums = []
    at = -len(before)
    while at < len(data):
        stop = at + _CHUNK
        value = zlib.crc32(before) if at < 0 else 0
        value = zlib.crc32(view[max(at, 0) : max(stop, 0)], value)
        sums.append(zlib.crc32(after, value) if stop > len(data) else value)
        at = stop
    return tuple(sums)


def _header_size(block: Range) -> int:
    return _FIELDS.size + 4 * -(-block.size // _CHUNK) + 4
