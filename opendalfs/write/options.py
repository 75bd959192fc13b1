"""The options of one write."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Final

from opendalfs.errors import OptionError
from opendalfs.storage.connection import Connection

__all__ = ["PARTS_IN_FLIGHT", "write_options"]

PARTS_IN_FLIGHT: Final = 8
"""Parts of one object in flight by default. With parts of 8 MiB that is 64 MiB of memory."""

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
"""Names of s3fs, gcsfs and adlfs for the bytes of a part and for the parts in flight."""

_BLOCK_SIZES: Final = frozenset({"blocksize", "block_size"})


def write_options(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of one write.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    options : Mapping
        ``content_type``, ``content_disposition``, ``content_encoding``, ``cache_control``, ``metadata``
        (a dict of str), ``if_match`` (an etag), or the same in s3fs's names; ``chunksize`` (bytes of a part;
        the service's minimum if it is smaller; also ``blocksize`` and ``block_size``) and
        ``max_concurrency`` (parts in flight). None means not given. So does 0 as a ``blocksize`` or
        ``block_size``: with it fsspec's callers ask for no buffer.

    Returns
    -------
    dict
        The options in OpenDAL's names.

    Raises
    ------
    OptionError
        For an unknown option, and for a size that is not a positive whole number.
    UnsupportedError
        For an option that the service cannot store.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _NAMES and name not in _SIZES:
            raise OptionError(f"unknown option of a write: {name!r}. Use {', '.join((*_NAMES, *_SIZES))}")
        if value is None or (name in _BLOCK_SIZES and value is not False and value == 0):
            continue
        if name in _SIZES:
            checked[_SIZES[name]] = _size(name, value)
            continue
        native = _NAMES[name]
        connection.require(f"write_with_{native}", f"keep {native} with an object")
        checked[native] = value
    return checked


def _size(name: str, value: Any) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        size = 0
    if size < 1 or isinstance(value, bool):
        raise OptionError(f"invalid {name}: {value!r}. Pass a whole number of at least 1")
    return size
