"""Responses to PutObject and to the requests of multipart uploads."""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web

from . import body, s3
from .failures import Failures
from .mount import Mount
from .s3 import S3Error, S3Request
from .uploads import Uploads

__all__ = ["WriteRequests"]

_XML: Final = "application/xml"
_MAX_XML_BYTES: Final = 4 << 20
_MAX_PART_BYTES: Final = 5 << 30
"""As on S3 (AWS, "Amazon S3 multipart upload limits")."""

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

    async def respond(self, request: web.BaseRequest, mount: Mount, parsed: S3Request) -> web.Response:
        """Respond to a request for a key of a mount.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        method, query = request.method, parsed.query
        upload_id = query.get("uploadId")
        if method == "PUT" and upload_id and "partNumber" in query:
            return await self._upload_part(request, mount, parsed, upload_id)
        if method == "PUT" and query.keys() <= {"x-id"} and "x-amz-copy-source" not in request.headers:
            with self._failures.replayed((mount, parsed.key, method)):
                await self._uploads.put(mount, parsed.key, body.pieces(request), **_write_options(request))
            # Some clients require an etag. That of the object is unknown while the sink holds it.
            return web.Response(headers={"ETag": f'"{secrets.token_hex(16)}"'})
        if method == "POST" and "uploads" in query:
            upload_id = await self._uploads.begin(mount, parsed.key, **_write_options(request))
            return _xml("InitiateMultipartUploadResult", parsed, "UploadId", upload_id)
        if method == "POST" and upload_id:
            return await self._complete(request, mount, parsed, upload_id)
        if method == "DELETE" and upload_id:
            self._uploads.get(upload_id, mount, parsed.key)
            await self._uploads.abort(upload_id)
            return web.Response(status=204)
        raise S3Error(
            405,
            "MethodNotAllowed",
            f"unsupported {method} of an object: use GET, HEAD, PUT or a multipart upload",
        )

    async def _upload_part(
        self, request: web.BaseRequest, mount: Mount, parsed: S3Request, upload_id: str
    ) -> web.Response:
        upload = self._uploads.get(upload_id, mount, parsed.key)
        text = parsed.query["partNumber"]
        number = s3.parse_number(text)
        if number is None or not 1 <= number <= _MAX_PARTS:
            raise S3Error(400, "InvalidArgument", f"invalid part number {text!r}: use 1 to {_MAX_PARTS}")
        size = body.length(request)
        if size > _MAX_PART_BYTES:
            raise S3Error(400, "EntityTooLarge", f"a part of {size} bytes is too large: send at most 5 GiB")
        part_etag = await upload.put(number, size, lambda: body.whole(request))
        return web.Response(headers={"ETag": f'"{part_etag}"'})

    async def _complete(
        self, request: web.BaseRequest, mount: Mount, parsed: S3Request, upload_id: str
    ) -> web.Response:
        upload = self._uploads.get(upload_id, mount, parsed.key)
        if body.length(request) > _MAX_XML_BYTES:
            raise S3Error(400, "MalformedXML", f"the list of parts is longer than {_MAX_XML_BYTES} bytes")
        await upload.complete(s3.completed_parts(await body.whole(request)))
        return _xml("CompleteMultipartUploadResult", parsed, "ETag", f'"{upload.etag}"')


def _xml(name: str, parsed: S3Request, field: str, value: str) -> web.Response:
    fields = (("Bucket", parsed.bucket), ("Key", parsed.key), (field, value))
    return web.Response(body=s3.document(name, *fields), content_type=_XML)


def _write_options(request: web.BaseRequest) -> dict[str, bool]:
    """Return the options of a writer: whether the object must not exist yet."""
    return {"exclusive": True} if request.headers.get("If-None-Match") == "*" else {}
