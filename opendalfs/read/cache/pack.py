"""The format of a pack: many small records in one file, appended in batches.

A batch is:

=============  ====================================================================================
bytes          meaning
=============  ====================================================================================
8              ``ODFSPAK1``
4, 8           number of records, and bytes of all their contents; integers are little-endian
48 each        a record: digest of what it belongs to (20), start and stop of its range (8, 8), its
               size (4), CRC-32 of the first three and its content (4), zeros (4)
4              CRC-32 of all before
the rest       contents, one after the other
=============  ====================================================================================

A pack is only ever appended to. A batch that is incomplete, as its writer was killed, ends the pack.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from opendalfs.read.ranges import Range

__all__ = ["Location", "Record", "pack", "read", "scan"]

_MAGIC: Final = b"ODFSPAK1"
_HEAD: Final = struct.Struct("<8sIQ")
_ENTRY: Final = struct.Struct("<20sQQII4x")
_SUM: Final = struct.Struct("<I")
_IDENTITY: Final = struct.Struct("<20sQQ")
_MOST_RECORDS: Final = 1 << 20


class Record(NamedTuple):
    """The content of a range of what has a digest."""

    digest: bytes
    range: Range
    content: bytes


class Location(NamedTuple):
    """Where the content of a record is.

    Parameters
    ----------
    name : str
        Name of the pack.
    offset, size : int
        Place of the content in its file, in bytes.
    sum : int
        CRC-32 of its digest, range and content.
    """

    name: str
    offset: int
    size: int
    sum: int


def pack(records: Sequence[Record]) -> bytes:
    """Return a batch of records."""
    total = sum(len(record.content) for record in records)
    pieces = [_HEAD.pack(_MAGIC, len(records), total)]
    for digest, block, content in records:
        check = zlib.crc32(content, _seed(digest, block))
        pieces.append(_ENTRY.pack(digest, *block, len(content), check))
    head = b"".join(pieces)
    return b"".join([head, _SUM.pack(zlib.crc32(head)), *(record.content for record in records)])


def scan(
    descriptor: int, name: str, offset: int, size: int
) -> Iterator[tuple[int, list[tuple[bytes, Range, Location]]]]:
    """Yield the end and the records of each batch from an offset on, as far as they are complete.

    Parameters
    ----------
    descriptor : int
        The open file.
    name : str
        Its name, for `Location`.
    offset : int
        Where a batch begins.
    size : int
        Bytes of the file.
    """
    while offset < size:
        head = os.pread(descriptor, _HEAD.size, offset)
        if len(head) != _HEAD.size or not head.startswith(_MAGIC):
            return
        _, count, total = _HEAD.unpack(head)
        length = count * _ENTRY.size + _SUM.size
        at = offset + _HEAD.size + length
        if count > _MOST_RECORDS or at + total > size:
            return
        table = os.pread(descriptor, length, offset + _HEAD.size)
        entries, check = table[: -_SUM.size], table[-_SUM.size :]
        if len(table) != length or _SUM.pack(zlib.crc32(entries, zlib.crc32(head))) != check:
            return
        records = []
        for digest, start, stop, content, value in _ENTRY.iter_unpack(entries):
            records.append((digest, Range(start, stop), Location(name, at, content, value)))
            at += content
        offset = at
        yield offset, records


def read(descriptor: int, digest: bytes, block: Range, location: Location) -> bytes | None:
    """Read the content of a record; None if it is damaged."""
    data = os.pread(descriptor, location.size, location.offset)
    if len(data) != location.size or zlib.crc32(data, _seed(digest, block)) != location.sum:
        return None
    return data


def _seed(digest: bytes, block: Range) -> int:
    return zlib.crc32(_IDENTITY.pack(digest, *block))
