"""Responses to CopyObject and UploadPartCopy."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from opendalfs.read.ranges import Range, split
from opendalfs.storage.version import Version

from . import s3
from .commits import Commits
from .conditions import READ_HEADERS, check_read, write_condition
from .directory import Directory
from .object_reader import ObjectReader
from .s3 import S3Error, S3Request
from .uploads import Uploads
from .write_requests import check_part_size, part_number

__all__ = ["CopyRequests"]

_XML: Final = "application/xml"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SOURCE: Final = "x-amz-copy-source"


class CopyRequests:
    """Responds to requests that copy within a bucket.

    Parameters
    ----------
    bucket : str
        Name of the bucket.
    directory : Directory
        What it serves.
    uploads : Uploads
        The uploads in progress.
    commits : Commits
        The changes of the directory.
    """

    def __init__(self, bucket: str, directory: Directory, uploads: Uploads, commits: Commits) -> None:
        self._bucket = bucket
        self._directory = directory
        self._uploads = uploads
        self._commits = commits

    async def respond(self, request: web.BaseRequest, parsed: S3Request) -> web.Response:
        """Respond to a request whose headers name a source.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """
        headers = request.headers
        key = self._source(headers[_SOURCE])
        version = await self._directory.stat(key, refresh=True)
        check_read(headers, version, self._directory.etag(key, version), prefix=f"{_SOURCE}-")
        if "uploadId" in parsed.query:
            return await self._copy_part(parsed, key, version, headers.get(f"{_SOURCE}-range"))
        if parsed.query.keys() - {"x-id"}:
            raise S3Error(501, "NotImplemented", "unsupported parameters of a copy")
        found = await self._commits.copy(
            self._directory,
            (key, version),
            parsed.key,
            write_condition(headers),
            pinned=any(f"{_SOURCE}-{name.lower()}" in headers for name in READ_HEADERS),
        )
        return _result("CopyObjectResult", self._directory.etag(parsed.key, found), found.modified)

    def _source(self, header: str) -> str:
        """Return the key of the source that a header names."""
        path, _, query = header.partition("?")
        bucket, _, key = unquote(path, errors="surrogateescape").removeprefix("/").partition("/")
        if query:
            raise S3Error(501, "NotImplemented", "only the current version of an object can be copied")
        if bucket != self._bucket or not key:
            raise S3Error(
                404, "NoSuchBucket", f"copies are made within the bucket {self._bucket!r} of this server only"
            )
        return key

    async def _copy_part(
        self, parsed: S3Request, key: str, version: Version, header: str | None
    ) -> web.Response:
        upload = self._uploads.get(parsed.query["uploadId"], self._directory, parsed.key)
        number = part_number(parsed.query)
        ends = s3.parse_range(header, version.size)
        if header is not None and ends is None:
            raise S3Error(400, "InvalidArgument", "invalid x-amz-copy-source-range: use bytes=<first>-<last>")
        whole = Range(*ends) if ends is not None else Range(0, version.size)
        read = partial(_read, ObjectReader(self._directory, key, version), whole)
        etag = await upload.put(number, check_part_size(whole.size), read)
        return _result("CopyPartResult", f'"{etag}"', None)


async def _read(reader: ObjectReader, whole: Range) -> bytes:
    return b"".join([await reader.fetch(block) for block in split(whole, reader.block_size)])


def _result(name: str, etag: str, modified: datetime | None) -> web.Response:
    when = (modified or _EPOCH).astimezone(UTC)
    fields = ("ETag", etag), ("LastModified", f"{when:%Y-%m-%dT%H:%M:%S}.000Z")
    return web.Response(body=s3.document(name, *fields), content_type=_XML)
