"""Responses to all requests of a bucket that `serve` serves: signed by its keys, for one directory."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web

from opendalfs.runtime.tasks import gather

from . import s3, sigv4
from .body import Body
from .commits import Commits
from .conditions import write_condition
from .copy_requests import CopyRequests
from .directory import Directory
from .failures import Failures
from .listings import Listings
from .reads import ReadRequests
from .s3 import S3Error, S3Request
from .uploads import Uploads
from .write_requests import WriteRequests

__all__ = ["MAX_IN_MEMORY", "REGION", "BucketHandlers", "new_keys"]

REGION: Final = "us-east-1"
"""The region that S3 has where none is named. Signatures for any other one are accepted too."""

_XML: Final = "application/xml"
_MAX_XML_BYTES: Final = 4 << 20
_DELETES_IN_FLIGHT: Final = 32

MAX_IN_MEMORY: Final = 1 << 30
"""Bytes of an object that a service takes in one piece, so that it is kept in memory until it is whole."""

_NOT_KEPT: Final = (
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-meta-",
    "x-amz-grant-",
    "x-amz-if-match-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
)
"""Beginnings of headers that would be lost with a write: a service below may not keep what they say."""

_DEFAULTS: Final[Mapping[str, Collection[str]]] = {
    "x-amz-acl": ("private", "bucket-owner-full-control"),
    "x-amz-storage-class": ("STANDARD",),
}
"""Headers that are accepted with these values, as they change nothing."""


class BucketHandlers:
    """Responds to signed requests for one bucket.

    Parameters
    ----------
    keys : Keys
        The keys that requests must be signed with.
    bucket : str
        Name of the bucket.
    directory : Directory
        What it serves.
    uploads : Uploads
        The uploads in progress.
    commits : Commits
        The changes of the directory.

    Attributes
    ----------
    hosts : collection of str or None
        The values of the header Host that are served, in lower case; None for all.
    """

    def __init__(
        self, keys: sigv4.Keys, bucket: str, directory: Directory, uploads: Uploads, commits: Commits
    ) -> None:
        self.hosts: Collection[str] | None = ()
        self._keys = keys
        self._bucket = bucket
        self._directory = directory
        self._commits = commits
        # Other clients than Polars wait before they repeat a request, and then storage must be asked again.
        failures = Failures(times=0)
        self._listings = Listings(failures)
        self._reads = ReadRequests(failures)
        self._writes = WriteRequests(uploads, failures)
        self._copies = CopyRequests(bucket, directory, uploads, commits)

    def authenticate(self, request: web.BaseRequest) -> Body:
        """Return the body of a request that the keys have signed.

        Raises
        ------
        S3Error
            403 for all others, and for the name of another host: a page in a browser may have made its own
            name lead to this machine.
        """
        headers = request.headers
        if self.hosts is not None and headers.get("Host", "").lower() not in self.hosts:
            raise S3Error(
                403, "AccessDenied", "the request is for another host: use the endpoint of the server"
            )
        if not request.raw_path.startswith("/"):
            raise S3Error(400, "InvalidURI", "the target of the request must begin with '/'")
        names = [name.lower() for name in headers]
        signed = sigv4.SignedRequest(
            request.method, request.raw_path, lambda name: headers.getall(name, []), names
        )
        return Body(request, sigv4.verify(signed, self._keys, datetime.now(UTC)))

    async def respond(self, request: web.BaseRequest, body: Body) -> web.StreamResponse:
        """Respond to one signed request.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        parsed = _parse(request)
        method = request.method
        if not parsed.bucket:
            return self._list_buckets(method)
        if parsed.bucket != self._bucket:
            raise S3Error(404, "NoSuchBucket", f"the only bucket of this server is {self._bucket!r}")
        if method == "GET" and parsed.key:
            return await self._reads.get(request, self._directory, parsed)
        if method == "HEAD" and parsed.key:
            _check_query(parsed)
            return await self._reads.head(request, self._directory, parsed.key)
        if not parsed.key:
            return await self._respond_for_bucket(method, parsed, body)
        return await self._change(request, parsed, body)

    def expire(self) -> None:
        """Drop the rest of listings whose next page was not requested."""
        self._listings.expire()

    def _list_buckets(self, method: str) -> web.Response:
        if method != "GET":
            raise S3Error(405, "MethodNotAllowed", f"unsupported {method}: add a bucket to the path")
        name = f"<Name>{s3.escape(self._bucket)}</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate>"
        owner = "<Owner><ID>opendalfs</ID><DisplayName>opendalfs</DisplayName></Owner>"
        return _xml(
            f'<ListAllMyBucketsResult xmlns="{s3.XMLNS}">{owner}'
            f"<Buckets><Bucket>{name}</Bucket></Buckets></ListAllMyBucketsResult>"
        )

    async def _respond_for_bucket(self, method: str, parsed: S3Request, body: Body) -> web.Response:
        query = parsed.query
        if method == "HEAD":
            return web.Response(headers={"x-amz-bucket-region": REGION})
        if method == "GET" and "location" in query:
            return web.Response(body=s3.document("LocationConstraint"), content_type=_XML)
        if method == "GET" and "versioning" in query:
            return web.Response(body=s3.document("VersioningConfiguration"), content_type=_XML)
        if method == "GET":
            return web.Response(body=await self._listings.page(self._directory, parsed), content_type=_XML)
        self._commits.check(self._directory, "")
        if method == "POST" and "delete" in query:
            return await self._delete_objects(*s3.listed_keys(await body.whole(_MAX_XML_BYTES)))
        if method == "PUT" and not query:
            raise S3Error(409, "BucketAlreadyOwnedByYou", "the bucket exists: it is the one of this server")
        raise S3Error(405, "MethodNotAllowed", f"unsupported {method} of a bucket: add a key to the path")

    async def _delete_objects(self, keys: list[str], quiet: bool) -> web.Response:
        results = await gather(partial(self._delete_listed, quiet), keys, _DELETES_IN_FLIGHT)
        return _xml(f'<DeleteResult xmlns="{s3.XMLNS}">{"".join(results)}</DeleteResult>')

    async def _delete_listed(self, quiet: bool, key: str) -> str:
        """Remove one of many objects, and return the element about it."""
        try:
            await self._commits.delete(self._directory, key)
        except (S3Error, OSError) as exc:
            error = exc if isinstance(exc, S3Error) else s3.to_s3_error(exc)
            return f"<Error><Key>{s3.escape(key)}</Key>{error.elements}</Error>"
        return "" if quiet else f"<Deleted><Key>{s3.escape(key)}</Key></Deleted>"

    async def _change(self, request: web.BaseRequest, parsed: S3Request, body: Body) -> web.Response:
        # Before anything else, so that the error is the same for all changes.
        self._commits.check(self._directory, "")
        if request.method != "DELETE":
            _check_kept(request.headers)
        try:
            if "x-amz-copy-source" in request.headers and request.method == "PUT":
                return await self._copies.respond(request, parsed)
            if request.method == "DELETE" and "uploadId" not in parsed.query:
                _check_query(parsed)
                await self._commits.delete(self._directory, parsed.key, write_condition(request.headers))
                return web.Response(status=204)
            self._check_size(request.method, parsed, body)
            return await self._writes.respond(request, self._directory, parsed, body)
        except (IsADirectoryError, NotADirectoryError) as exc:
            raise S3Error(
                409,
                "OperationAborted",
                f"a name cannot be a file and a directory here: {s3.to_s3_error(exc)}",
            ) from exc

    def _check_size(self, method: str, parsed: S3Request, body: Body) -> None:
        """Raise for an object that would fill the memory."""
        connection = self._directory.connection
        if method != "PUT" or connection.can("write_can_multi") or "partNumber" in parsed.query:
            return
        if body.size > MAX_IN_MEMORY:
            raise S3Error(
                400,
                "EntityTooLarge",
                f"an object of {body.size} bytes is too large: {connection.service.scheme} takes it in one "
                f"piece, of at most {MAX_IN_MEMORY} bytes here",
            )


def _parse(request: web.BaseRequest) -> S3Request:
    """Parse a request, without what its signature has added to the query."""
    parsed = s3.parse_request(request.raw_path)
    try:
        parsed.key.encode()
    except UnicodeEncodeError:
        raise S3Error(400, "InvalidURI", "the path is not UTF-8: percent-encode its UTF-8 bytes") from None
    query = {name: value for name, value in parsed.query.items() if not name.startswith("X-Amz-")}
    return S3Request(parsed.bucket, parsed.key, query)


def _check_query(parsed: S3Request) -> None:
    unknown = sorted(parsed.query.keys() - {"x-id"})
    if unknown:
        raise S3Error(
            501, "NotImplemented", f"unsupported parameters of an object: {', '.join(unknown)[:100]}"
        )


def _check_kept(headers: Mapping[str, str]) -> None:
    """Raise for headers that ask to keep more than the content of an object."""
    for name, value in headers.items():
        lower = name.lower()
        lost = lower.startswith(_NOT_KEPT) or value not in _DEFAULTS.get(lower, (value,))
        if lost or (lower == "content-encoding" and not _is_of_transfer(value)):
            raise S3Error(
                501,
                "NotImplemented",
                f"only the content of objects is kept: leave out {lower[:60]}, or write with opendalfs",
            )


def _is_of_transfer(encoding: str) -> bool:
    """Whether a Content-Encoding is only that of the body in chunks, which is decoded."""
    return {part.strip().lower() for part in encoding.split(",")} <= {"", "aws-chunked", "identity"}


def _xml(text: str) -> web.Response:
    return web.Response(body=f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), content_type=_XML)


def new_keys() -> sigv4.Keys:
    """Return random keys, of the lengths that those of AWS have."""
    return sigv4.Keys(secrets.token_hex(10), secrets.token_hex(20))
