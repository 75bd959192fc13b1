"""Checks of what a write has stored, for those who set ``verify_writes=True``.

OpenDAL's ``write`` returns nothing, and takes some failed writes for good ones: a PUT, for example, that S3
answers with status 200 and an ``<Error>`` in its body. A stat after the write shows what is stored:

- its size;
- its etag, where that is the MD5 of the content: for an object of one PUT, without encryption by a key of
  the user or
  of KMS. AWS states this in "Checking object integrity". As a bucket may encrypt by default, which no
  request shows, an etag that is not the MD5 leads to a read of the object. When the content is right, etags
  are no MD5 there, and only sizes are compared from then on.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from opendal.types import Metadata

from opendalfs.errors import redact
from opendalfs.storage.connection import Connection

__all__ = ["verify", "verify_copy"]

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')


async def verify(
    connection: Connection, key: str, size: int, data: bytes | None = None, *, grows: bool = False
) -> None:
    """Compare what is stored with what was written.

    Parameters
    ----------
    connection : Connection
        Where the object is; nothing is done unless its ``verify_writes`` is set.
    key : str
        Its key.
    size : int
        Bytes that were written.
    data : bytes, optional
        The content, when it was written with one request.
    grows : bool
        Whether others may have appended to it since: it may be larger then.

    Raises
    ------
    OSError
        When something else is stored, such as the object of another writer that followed, or when that cannot
        be told. The object must not be trusted.
    """
    if not connection.tuning.verify_writes:
        return
    found = await _stat(connection, key)
    if found.content_length < size or (found.content_length > size and not grows):
        raise _doubt(connection, key, f"{found.content_length} bytes are stored, {size} were written")
    if data is not None:

        async def written() -> str:
            return _md5(data)

        await _compare(connection, key, found, written)


async def verify_copy(connection: Connection, source: Metadata, source_key: str, key: str) -> None:
    """Compare the copy of an object with its source.

    Parameters
    ----------
    connection : Connection
        Where both are.
    source : Metadata
        Of the source, from before the copy.
    source_key, key : str
        Of the source and of the copy.

    Raises
    ------
    OSError
        When something else is stored, or that cannot be told. The copy must not be trusted.
    """
    found = await _stat(connection, key)
    if found.content_length != source.content_length:
        raise _doubt(
            connection, key, f"{found.content_length} bytes are stored, {source.content_length} were copied"
        )
    etag = _MD5.fullmatch(source.etag or "")
    if etag is not None and _MD5.fullmatch(found.etag or "") and source.etag != found.etag:
        await _compare(connection, key, found, lambda: _md5_of(connection, source_key))


async def _stat(connection: Connection, key: str) -> Metadata:
    try:
        return await connection.stat(key)
    except FileNotFoundError:
        raise _doubt(connection, key, "nothing is stored") from None
    except OSError as exc:
        raise _doubt(connection, key, "the stat that would tell what is stored failed") from exc


async def _compare(
    connection: Connection, key: str, found: Metadata, written: Callable[[], Awaitable[str]]
) -> None:
    """Compare content by the etag, and by a read of the object where the etag is another."""
    etag = _MD5.fullmatch(found.etag or "")
    if etag is None or not connection.etags_are_md5 or _encrypts(connection):
        return
    expected = await written()
    if etag[1] == expected:
        return
    if await _md5_of(connection, key) != expected:
        raise _doubt(connection, key, "other content is stored than was written")
    connection.etags_are_md5 = False


def _encrypts(connection: Connection) -> bool:
    return any(name.startswith(("server_side_encryption", "encryption_")) for name in connection.native)


async def _md5_of(connection: Connection, key: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    async for piece in connection.stream(key):
        digest.update(piece)
    return digest.hexdigest()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _doubt(connection: Connection, key: str, what: str) -> OSError:
    return OSError(
        errno.EIO,
        f"Do not trust this object: {what}. Write it again",
        redact(connection.name(key)),
    )
