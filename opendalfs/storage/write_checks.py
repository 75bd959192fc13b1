"""What a write or rename has done, where neither the service nor OpenDAL tells."""

from __future__ import annotations

import errno

from opendal import AsyncOperator
from opendal.exceptions import NotFound

from opendalfs.errors import UnsupportedError, redact

from .operator_pair import OperatorPair

__all__ = ["check_empty", "holds", "lost_response", "size_of", "size_of_blocking"]


async def size_of(operator: AsyncOperator, key: str) -> int | None:
    """Return the size of an object in bytes; None when there is none."""
    try:
        return (await operator.stat(key)).content_length
    except NotFound:
        return None


def size_of_blocking(operators: OperatorPair, key: str) -> int | None:
    """Return the size of an object in bytes; None when there is none."""
    try:
        return operators.operator.stat(key).content_length
    except NotFound:
        return None


def check_empty(operators: OperatorPair, key: str, size: int | None) -> None:
    """Raise when an empty write has not stored an empty object.

    Of the services whose `write_can_empty` is False, some store it, and some send no request at all.
    """
    if size == 0:
        return
    left = "nothing was written" if size is None else "the object there is unchanged"
    text = f"the service {operators.service.scheme} cannot store an empty object: {left}"
    raise UnsupportedError(errno.ENOTSUP, text, operators.name(key))


async def holds(operator: AsyncOperator, key: str, data: bytes) -> bool:
    """Whether an object has a certain content."""
    if await size_of(operator, key) != len(data):
        return False
    try:
        return await operator.read(key) == data
    except NotFound:
        return False


def lost_response(operators: OperatorPair, operation: str, key: str) -> OSError:
    """Return the error for a repeated request that may have met its own success.

    An equal object does not prove that this write made it: two writers of a lock file write the same bytes.
    """
    text = f"The response to a {operation} was lost, so it may have succeeded: check what is there now"
    return OSError(errno.EIO, f"{text} ({operators.where})", redact(operators.name(key)))
