"""Responses to PutObject and to the requests of multipart uploads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from . import s3
from .body import Body
from .conditions import write_condition
from .directory import Directory
from .failures import Failures
from .s3 import S3Error, S3Request
from .uploads import Uploads

__all__ = ["WriteRequests", "check_part_size", "part_number"]

_XML: Final = "application/xml"
_MAX_XML_BYTES: Final = 4 << 20
_MAX_PART_BYTES: Final = 512 << 20
"""A part is kept in memory until it is written; S3 takes 5 GiB (AWS, "Amazon S3 multipart upload limits")."""

_MAX_PARTS: Final = 10_000


class WriteRequests:
    """Responds to requests that write.

    Parameters
    ----------
    uploads : Uploads
        The uploads in progress.
    failures : Failures
        Errors that a client's own retries are answered with.
    """

    def __init__(self, uploads: Uploads, failures: Failures) -> None:
        self._uploads = uploads
        self._failures = failures

    async def respond(
        self, request: web.BaseRequest, directory: Directory, parsed: S3Request, body: Body
    ) -> web.Response:
        """Respond to a request for a key of a directory.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        method, query = request.method, parsed.query
        upload_id = query.get("uploadId")
        if method == "PUT" and upload_id and "partNumber" in query:
            upload = self._uploads.get(upload_id, directory, parsed.key)
            etag = await upload.put(part_number(query), check_part_size(body.size), body.whole)
            return web.Response(headers={"ETag": f'"{etag}"'})
        if method == "PUT" and query.keys() <= {"x-id"} and "x-amz-copy-source" not in request.headers:
            condition = write_condition(request.headers)
            with self._failures.replayed((directory, parsed.key, method)):
                etag = await self._uploads.put(directory, parsed.key, body.pieces(), condition)
            return web.Response(headers={"ETag": etag})
        if method == "POST" and "uploads" in query:
            upload_id = await self._uploads.begin(directory, parsed.key, write_condition(request.headers))
            return _xml("InitiateMultipartUploadResult", parsed, "UploadId", upload_id)
        if method == "POST" and upload_id:
            return await self._complete(request, directory, parsed, upload_id, body)
        if method == "DELETE" and upload_id:
            self._uploads.get(upload_id, directory, parsed.key)
            await self._uploads.abort(upload_id)
            return web.Response(status=204)
        raise S3Error(
            405,
            "MethodNotAllowed",
            f"unsupported {method} of an object: use GET, HEAD, PUT or a multipart upload",
        )

    async def _complete(
        self, request: web.BaseRequest, directory: Directory, parsed: S3Request, upload_id: str, body: Body
    ) -> web.Response:
        upload = self._uploads.get(upload_id, directory, parsed.key)
        condition = write_condition(request.headers)
        await upload.complete(s3.completed_parts(await body.whole(_MAX_XML_BYTES)), condition)
        return _xml("CompleteMultipartUploadResult", parsed, "ETag", upload.etag)


def part_number(query: Mapping[str, str]) -> int:
    """Return the number of a part in a query.

    Raises
    ------
    S3Error
        400 unless it is 1 to 10,000.
    """
    text = query["partNumber"]
    number = s3.parse_number(text)
    if number is None or not 1 <= number <= _MAX_PARTS:
        raise S3Error(400, "InvalidArgument", f"invalid part number {text!r}: use 1 to {_MAX_PARTS}")
    return number


def check_part_size(size: int) -> int:
    """Return the size of a part; raise S3Error if it is too large."""
    if size > _MAX_PART_BYTES:
        raise S3Error(
            400,
            "EntityTooLarge",
            f"a part of {size} bytes is too large: send at most {_MAX_PART_BYTES} bytes",
        )
    return size


def _xml(name: str, parsed: S3Request, field: str, value: str) -> web.Response:
    fields = (("Bucket", parsed.bucket), ("Key", parsed.key), (field, value))
    return web.Response(body=s3.document(name, *fields), content_type=_XML)
