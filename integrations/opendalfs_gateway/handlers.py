"""Responses of the gateway: reads of objects here, the other requests in `listings` and `write_requests`."""

from __future__ import annotations

import asyncio
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
from .failures import Failures
from .listings import Listings
from .mount import Mount, s3_etag
from .mounts import Mounts
from .object_reader import ObjectReader
from .s3 import S3Error, S3Request
from .uploads import Uploads
from .write_requests import WriteRequests

__all__ = ["Handlers"]

_READ_AHEAD: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes read ahead for clients, of all requests together."""

_BLOCKS_AHEAD: Final = 7
"""Blocks of one request that are fetched while an earlier one is sent."""

_SMALL: Final = 64 * 1024
"""Bytes of a body up to which headers and body are copied together and sent in one write."""

_SLICE: Final = 512 * 1024
"""Bytes that the socket accepts at once. A larger write would be copied twice."""

_CONTENT_TYPE: Final = "application/octet-stream"
_XML: Final = "application/xml"


class Handlers:
    """Responds to requests that hold the key.

    Parameters
    ----------
    mounts : Mounts
        The mounts.
    uploads : Uploads
        The uploads in progress.

    Attributes
    ----------
    listings : Listings
        The listings in progress.
    """

    def __init__(self, mounts: Mounts, uploads: Uploads) -> None:
        self._mounts = mounts
        self._failures = Failures()
        self.listings = Listings(self._failures)
        self._writes = WriteRequests(uploads, self._failures)

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request that holds the key.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        parsed = s3.parse_request(request.raw_path)
        method = request.method
        path = parsed.key or parsed.query.get("prefix", "")
        # `Uploads` checks whether a sink may write.
        reads = path and method in ("GET", "HEAD")
        mount = self._mounts.use(parsed.bucket, path.partition("/")[0] if reads else None)
        if method == "GET":
            if parsed.key:
                return await self._get(request, mount, parsed)
            return web.Response(body=await self.listings.page(mount, parsed), content_type=_XML)
        if method == "HEAD":
            return await self._head(mount, parsed)
        if not mount.writable:
            raise S3Error(403, "AccessDenied", "this mount is read-only: open it with write=True")
        if not parsed.key:
            raise S3Error(405, "MethodNotAllowed", f"unsupported {method} of a bucket: add a key to the path")
        return await self._writes.respond(request, mount, parsed)

    async def _head(self, mount: Mount, parsed: S3Request) -> web.Response:
        if not parsed.key:
            return web.Response(status=200)
        version = await self._stat(mount, parsed.key)
        headers = _object_headers(version) | {"Content-Length": str(version.size)}
        return web.Response(headers=headers)

    async def _get(self, request: web.BaseRequest, mount: Mount, parsed: S3Request) -> web.StreamResponse:
        if parsed.query.keys() - {"x-id", "partNumber"}:
            unknown = ", ".join(sorted(parsed.query))
            raise S3Error(
                405,
                "MethodNotAllowed",
                f"unsupported subresource of an object: {unknown}. The gateway serves object content only",
            )
        # A scan begins with the end of a file, or with all of it.
        first = request.headers.get("Range", "bytes=-").startswith("bytes=-")
        known = mount.pinned_version(parsed.key, first=first)
        if known is not None:
            try:
                return await self._content(request, mount, parsed.key, known)
            except ChangedError:
                if not first:
                    raise
        return await self._content(request, mount, parsed.key, await self._stat(mount, parsed.key))

    async def _stat(self, mount: Mount, key: str) -> Version:
        with self._failures.replayed((mount, key)):
            return await mount.stat(key)

    async def _content(
        self, request: web.BaseRequest, mount: Mount, key: str, version: Version
    ) -> web.StreamResponse:
        headers = _object_headers(version)
        if request.headers.get("If-Match", headers["ETag"]) not in (headers["ETag"], "*"):
            raise S3Error(
                412, "PreconditionFailed", "the object does not have the version in If-Match: read it again"
            )
        ends = s3.parse_range(request.headers.get("Range"), version.size)
        status, whole = 200, Range(0, version.size)
        if ends is not None:
            status, whole = 206, Range(*ends)
            headers["Content-Range"] = f"bytes {whole.start}-{whole.stop - 1}/{version.size}"
        source = ObjectReader(mount, key, version)
        # Polars repeats a failed read with the same range.
        failure_key = mount, key, whole
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

    def expire(self) -> None:
        """Drop old errors, and the rest of listings whose next page was not requested."""
        self._failures.expire()
        self.listings.expire()


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


def _object_headers(version: Version) -> dict[str, str]:
    headers = {"ETag": s3_etag(version), "Accept-Ranges": "bytes", "Content-Type": _CONTENT_TYPE}
    if version.modified is not None:
        headers["Last-Modified"] = format_datetime(version.modified, usegmt=True)
    return headers
