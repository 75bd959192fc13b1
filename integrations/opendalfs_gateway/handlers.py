"""Responses to the requests of scans and sinks, which one key id opens."""

from __future__ import annotations

from aiohttp import web

from . import s3
from .body import Body
from .failures import Failures
from .listings import Listings
from .mounts import Mounts
from .reads import ReadRequests
from .s3 import S3Error
from .uploads import Uploads
from .write_requests import WriteRequests

__all__ = ["MountHandlers"]

_XML = "application/xml"


class MountHandlers:
    """Responds to requests that hold the key.

    Parameters
    ----------
    key_id : str
        The access key id.
    mounts : Mounts
        The mounts.
    uploads : Uploads
        The uploads in progress.

    Attributes
    ----------
    listings : Listings
        The listings in progress.
    """

    def __init__(self, key_id: str, mounts: Mounts, uploads: Uploads) -> None:
        self._key_id = key_id
        self._mounts = mounts
        self._failures = Failures()
        self.listings = Listings(self._failures)
        self._reads = ReadRequests(self._failures)
        self._writes = WriteRequests(uploads, self._failures)

    def authenticate(self, request: web.BaseRequest) -> Body:
        """Return the body of a request with the key id.

        Raises
        ------
        S3Error
            403 for all others.
        """
        given = s3.access_key_id(request.headers.get("Authorization", ""))
        if not s3.equal_in_constant_time(given, self._key_id):
            raise S3Error(
                403, "InvalidAccessKeyId", "wrong access key: use Gateway.storage_options of this process"
            )
        return Body(request)

    async def respond(self, request: web.BaseRequest, body: Body) -> web.StreamResponse:
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
                return await self._reads.get(request, mount, parsed)
            return web.Response(body=await self.listings.page(mount, parsed), content_type=_XML)
        if method == "HEAD":
            return await self._reads.head(request, mount, parsed.key) if parsed.key else web.Response()
        if not mount.writable:
            raise S3Error(403, "AccessDenied", "this mount is read-only: open it with write=True")
        if not parsed.key:
            raise S3Error(405, "MethodNotAllowed", f"unsupported {method} of a bucket: add a key to the path")
        return await self._writes.respond(request, mount, parsed, body)

    def expire(self) -> None:
        """Drop old errors and mounts, and the rest of listings whose next page was not requested."""
        self._failures.expire()
        self.listings.expire()
        self._mounts.evict()
