"""Checks of what a write has stored, with ``verify_writes=True``.

OpenDAL's ``write`` returns nothing, and takes some failed writes for successful ones: for example a PUT that
S3 answers with status 200 and an ``<Error>`` in the body. A stat after the write shows:

- its size;
- its etag, where that is the MD5 of the content: for an object of one PUT that is not encrypted with a key of
  the user or of KMS (AWS, "Checking object integrity"). A bucket may encrypt by default, which no request
  shows. So if an etag is not the MD5, the object is read. If its content is right, etags are not MD5 there,
  and only sizes are compared from then on.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Final

from opendal.types import Metadata

from opendalfs.errors import redact
from opendalfs.read.download import write_into
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

__all__ = ["verify", "verify_copy", "wait_for_copy"]

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')


async def verify(
    connection: Connection, key: str, size: int, data: bytes | None = None, *, grows: bool = False
) -> None:
    """Compare the stored object with the written one.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object. Nothing is done unless its ``verify_writes`` is set.
    key : str
        Its key.
    size : int
        Bytes that were written.
    data : bytes, optional
        The content, if it was written with one request.
    grows : bool
        Whether other writers may have appended to it since, so that it may be larger.

    Raises
    ------
    OSError
        If something else is stored, such as the object of a later writer, or if that cannot be checked. The
        object must not be trusted.
    """
    if not connection.tuning.verify_writes:
        return
    found = await _stat(connection, key)
    if found.content_length < size or (found.content_length > size and not grows):
        raise _mismatch(connection, key, f"{found.content_length} bytes are stored, {size} were written")
    if data is not None:

        async def written() -> str:
            return _md5(data)

        await _compare(connection, key, found, written)


async def verify_copy(connection: Connection, source: Metadata, source_key: str, key: str) -> None:
    """Compare the copy of an object with its source.

    Parameters
    ----------
    connection : Connection
        The connection that stores both.
    source : Metadata
        Metadata of the source, read before the copy.
    source_key, key : str
        Keys of the source and of the copy.

    Raises
    ------
    OSError
        If something else is stored, or that cannot be checked. The copy must not be trusted.
    """
    found = await _stat(connection, key)
    if found.content_length != source.content_length:
        raise _mismatch(
            connection, key, f"{found.content_length} bytes are stored, {source.content_length} were copied"
        )
    etag = _MD5.fullmatch(source.etag or "")
    if etag is not None and _MD5.fullmatch(found.etag or "") and source.etag != found.etag:
        await _compare(connection, key, found, lambda: _md5_of(connection, source_key))


async def wait_for_copy(connection: Connection, key: str, size: int) -> None:
    """Wait until a copy is whole, on a service that may copy after it has responded.

    Parameters
    ----------
    connection : Connection
        The connection that stores the copy.
    key : str
        Its key.
    size : int
        Bytes of the source. Until the copy is whole it has none (Microsoft, "Copy Blob").

    Raises
    ------
    TimeoutError
        If it has fewer bytes after ``io_timeout``. The source must not be removed.
    """
    loop = asyncio.get_running_loop()
    ends, delay = loop.time() + connection.tuning.io_timeout, 0.05
    while (await _stat(connection, key)).content_length < size:
        if loop.time() + delay > ends:
            text = f"The service has not copied all {size} bytes in time: raise `io_timeout`, and copy again"
            raise TimeoutError(errno.ETIMEDOUT, text, redact(connection.name(key)))
        await asyncio.sleep(delay)
        delay = min(delay * 2, 1.0)


async def _stat(connection: Connection, key: str) -> Metadata:
    try:
        return await connection.stat(key)
    except FileNotFoundError:
        raise _mismatch(connection, key, "nothing is stored") from None
    except OSError as exc:
        raise _mismatch(connection, key, "the stored content could not be read for comparison") from exc


async def _compare(
    connection: Connection, key: str, found: Metadata, written: Callable[[], Awaitable[str]]
) -> None:
    """Compare the content by etag, and by a read of the object if the etags differ."""
    etag = _MD5.fullmatch(found.etag or "")
    if etag is None or not connection.etags_are_md5 or _encrypts(connection):
        return
    expected = await written()
    if etag[1] == expected:
        return
    if await _md5_of(connection, key) != expected:
        raise _mismatch(connection, key, "the stored content is not the one that was written")
    connection.etags_are_md5 = False


def _encrypts(connection: Connection) -> bool:
    return any(name.startswith(("server_side_encryption", "encryption_")) for name in connection.native)


async def _md5_of(connection: Connection, key: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    version = Version.of(connection, key, await connection.stat(key))
    await write_into(connection, key, version, SimpleNamespace(write=digest.update), lambda _: None)
    return digest.hexdigest()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _mismatch(connection: Connection, key: str, found: str) -> OSError:
    return OSError(
        errno.EIO,
        f"Do not trust this object: {found}. Write it again",
        redact(connection.name(key)),
    )
