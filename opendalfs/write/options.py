"""The options of one write, and the sizes of its parts."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opendalfs.errors import OptionError
from opendalfs.read.ranges import Range
from opendalfs.storage.connection import Connection

__all__ = ["PARALLEL", "part_ranges", "part_size", "write_options"]

PARALLEL: Final = 8
"""Parts of one object in flight; with parts of 8 MiB that is 64 MiB of memory."""

_MOST_PARTS: Final = 9_000
"""S3 and its like take 10,000 parts at most (AWS, "Amazon S3 multipart upload limits")."""

_GROWS_AT: Final = 5_000
_GROWS_EVERY: Final = 1_000

_NAMES: Final = {
    "content_type": "content_type",
    "ContentType": "content_type",
    "content_disposition": "content_disposition",
    "ContentDisposition": "content_disposition",
    "content_encoding": "content_encoding",
    "ContentEncoding": "content_encoding",
    "cache_control": "cache_control",
    "CacheControl": "cache_control",
    "metadata": "user_metadata",
    "Metadata": "user_metadata",
    "user_metadata": "user_metadata",
    "if_match": "if_match",
}

_SIZES: Final = {
    "chunksize": "chunk",
    "blocksize": "chunk",
    "block_size": "chunk",
    "max_concurrency": "concurrent",
}
"""The names that s3fs, gcsfs and adlfs have for the bytes of a part and for the parts in flight."""

_BLOCKS: Final = frozenset({"blocksize", "block_size"})


def write_options(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of one write.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    options : Mapping
        ``content_type``, ``content_disposition``, ``content_encoding``, ``cache_control``,
        ``metadata`` (a dict of str), ``if_match`` (an etag), or the same in s3fs's names;
        ``chunksize`` (bytes of a part, at least what the service asks for; also ``blocksize`` and
        ``block_size``) and ``max_concurrency`` (parts in flight). None stands for not given, and so does
        0 as a ``blocksize`` or ``block_size``, by which fsspec's callers ask for no buffer.

    Returns
    -------
    dict
        In OpenDAL's names.

    Raises
    ------
    OptionError
        For an option that is none of these, and for sizes that are not positive whole numbers.
    UnsupportedError
        For one that the service cannot keep.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _NAMES and name not in _SIZES:
            raise OptionError(f"a write takes no option {name!r}; it takes {', '.join((*_NAMES, *_SIZES))}")
        if value is None or (name in _BLOCKS and value is not False and value == 0):
            continue
        if name in _SIZES:
            checked[_SIZES[name]] = _size(name, value)
            continue
        known = _NAMES[name]
        connection.require(f"write_with_{known}", f"keep {known} with an object")
        checked[known] = value
    return checked


def _size(name: str, value: Any) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        size = 0
    if size < 1 or isinstance(value, bool):
        raise OptionError(f"{name} is {value!r}: it takes a whole number of at least 1")
    return size


def part_size(
    connection: Connection, size: int | None = None, number: int = 0, *, chunk: int | None = None
) -> int:
    """Return the size of a part in bytes.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    size : int, optional
        Bytes of the whole object, where known: then all parts have one size.
    number : int
        Parts that went before; late parts of a stream of unknown length are larger.
    chunk : int, optional
        Bytes that the caller asked for; by default those of the filesystem's ``write_chunk``.

    Returns
    -------
    int
    """
    least = connection.capability.write_multi_min_size or 1
    most = connection.capability.write_multi_max_size or 1 << 62
    part = max(chunk or connection.tuning.write_chunk, least)
    if size is not None:
        part = max(part, -(-size // _MOST_PARTS))
    elif number >= _GROWS_AT:
        part <<= 1 + (number - _GROWS_AT) // _GROWS_EVERY
    return min(part, most)


def part_ranges(size: int, part: int) -> Iterator[Range]:
    """Cut an object into the parts of its upload.

    Parameters
    ----------
    size : int
        Bytes of the object.
    part : int
        Bytes of a part.

    Yields
    ------
    Range
        In order. All but the last have one size, as Cloudflare's R2 demands, and S3 takes none below 5 MiB.
    """
    for start in range(0, size, part):
        yield Range(start, min(start + part, size))
