"""Responses to GetObject and HeadObject."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from email.utils import format_datetime
from typing import Final

from aiohttp import web

from opendalfs.budget import PROCESS
from opendalfs.errors import ChangedError
from opendalfs.read.ranges import Blocks, Range
from opendalfs.read.readahead import read_blocks
from opendalfs.storage.version import Version

from . import s3
from .conditions import READ_HEADERS, check_read, matches
from .directory import Directory
from .failures import Failures
from .object_reader import ObjectReader
from .s3 import S3Error, S3Request

__all__ = ["ReadRequests", "object_headers"]

_READ_AHEAD: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes read ahead for clients, of all requests together."""

_BLOCKS_AHEAD: Final = 7
"""Blocks of one request that are fetched while an earlier one is sent."""

_SMALL: Final = 64 * 1024
"""Bytes of a body up to which headers and body are copied together and sent in one write."""

_SLICE: Final = 512 * 1024
"""Bytes that the socket accepts at once. A larger write would be copied twice."""

_ATTEMPTS: Final = 3
"""How often a read begins with the newest version, when objects are replaced all the time."""

_CONTENT_TYPE: Final = "application/octet-stream"


class ReadRequests:
    """Responds to requests that read objects.

    Parameters
    ----------
    failures : Failures
        Errors that a client's own retries are answered with.
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    async def head(self, request: web.BaseRequest, directory: Directory, key: str) -> web.Response:
        """Respond to HeadObject.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        with self._failures.replayed((directory, key)):
            version = await directory.stat(key)
        headers = object_headers(version, directory.etag(key, version))
        _check(request, version, headers)
        return web.Response(headers=headers | {"Content-Length": str(version.size)})

    async def get(
        self, request: web.BaseRequest, directory: Directory, parsed: S3Request
    ) -> web.StreamResponse:
        """Respond to GetObject.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        if parsed.query.keys() - {"x-id"}:
            unknown = ", ".join(sorted(parsed.query))
            raise S3Error(
                501,
                "NotImplemented",
                f"unsupported subresource of an object: {unknown}. Only its content is served",
            )
        # A scan begins with the end of a file, or with all of it.
        first = not directory.keeps_pins or request.headers.get("Range", "bytes=-").startswith("bytes=-")
        known = directory.pinned_version(parsed.key, first=first)
        if known is not None and (not first or _read_detects_change(request.headers, known)):
            try:
                return await self._content(request, directory, parsed.key, known)
            except ChangedError:
                if not first:
                    raise
        attempts = 1 if directory.keeps_pins else _ATTEMPTS
        while True:
            attempts -= 1
            with self._failures.replayed((directory, parsed.key)):
                version = await directory.stat(parsed.key)
            try:
                return await self._content(request, directory, parsed.key, version)
            except ChangedError:
                if not attempts:
                    raise

    async def _content(
        self, request: web.BaseRequest, directory: Directory, key: str, version: Version
    ) -> web.StreamResponse:
        headers = object_headers(version, directory.etag(key, version))
        _check(request, version, headers)
        ends = s3.parse_range(_range(request.headers, headers["ETag"]), version.size)
        status, whole = 200, Range(0, version.size)
        if ends is not None:
            status, whole = 206, Range(*ends)
            headers["Content-Range"] = f"bytes {whole.start}-{whole.stop - 1}/{version.size}"
        source = ObjectReader(directory, key, version)
        # Polars repeats a failed read with the same range.
        failure_key = directory, key, whole
        if whole.size <= _SMALL:
            with self._failures.replayed(failure_key):
                data = await source.fetch(whole) if whole.size else b""
            return web.Response(status=status, body=data, headers=headers)
        self._failures.raise_recent(failure_key)
        headers["Content-Length"] = str(whole.size)
        response = web.StreamResponse(status=status, headers=headers)
        error = await _stream(request, response, source, whole)
        if error is None:
            return response
        self._failures.add(failure_key, error)
        if not response.prepared:
            raise error
        # The headers are sent: only a closed connection shows the client that the body is incomplete.
        _close_connection(request)
        return response


async def _stream(
    request: web.BaseRequest, response: web.StreamResponse, source: ObjectReader, whole: Range
) -> OSError | None:
    """Send the blocks of a range, while later blocks are fetched.

    Returns
    -------
    OSError or None
        The error of storage, after which nothing more was sent.
    """
    blocks = read_blocks(Blocks.even(whole, source.block_size), source.fetch, _BLOCKS_AHEAD, _READ_AHEAD)
    async with aclosing(blocks):
        while True:
            try:
                data = await anext(blocks, None)
            except OSError as exc:
                return exc
            if data is None:
                break
            if not response.prepared:
                # Only after the first block has arrived, so that its error can be the response.
                await response.prepare(request)
            await _write(response, data)
    await response.write_eof()
    return None


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Send a body in slices."""
    view = memoryview(data)
    for start in range(0, len(view), _SLICE):
        await response.write(view[start : start + _SLICE])


def _close_connection(request: web.BaseRequest) -> None:
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()


def _check(request: web.BaseRequest, version: Version, headers: Mapping[str, str]) -> None:
    """Raise if the conditions of a read are not met; a 304 has the headers of the object."""
    try:
        check_read(request.headers, version, headers["ETag"])
    except S3Error as exc:
        if exc.status == 304:
            exc.headers = {name: headers[name] for name in ("ETag", "Last-Modified") if name in headers}
        raise


def _read_detects_change(headers: Mapping[str, str], version: Version) -> bool:
    """Whether a read of a known version fails if it is not the current one, whatever the request asks.

    An empty range is no read, and a condition or a range past the end would be checked before it.
    """
    if not version.size or any(name in headers for name in (*READ_HEADERS, "If-Range")):
        return False
    try:
        s3.parse_range(headers.get("Range"), version.size)
    except S3Error:
        return False
    return True


def _range(headers: Mapping[str, str], etag: str) -> str | None:
    """Return the Range header; None if If-Range asks for the whole of another version."""
    condition = headers.get("If-Range")
    return headers.get("Range") if condition is None or matches(condition, etag) else None


def object_headers(version: Version, etag: str) -> dict[str, str]:
    """Return the headers of a response about an object."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": _CONTENT_TYPE}
    if version.modified is not None:
        headers["Last-Modified"] = format_datetime(version.modified, usegmt=True)
    return headers
