"""What the gateway answers: one S3 operation a method, reads by the core's reader, writes by its writer."""

from __future__ import annotations

import asyncio
import bisect
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict, deque
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Final

from aiohttp import web

from opendalfs.budget import PROCESS, Reservation
from opendalfs.errors import ChangedError
from opendalfs.read.ranges import Range, split
from opendalfs.read.reader import Version

from . import body, s3
from .failures import Failures
from .mount import Mount, Source, etag
from .mounts import Mounts
from .s3 import Item, Listing, Request, S3Error
from .uploads import Uploads

__all__ = ["Handlers"]

_READ_AHEAD: Final = PROCESS.share(256 << 20, guaranteed=32 << 20)
"""Bytes read ahead of the clients, of all requests together."""

_AT_ONCE: Final = 8
_CUT: Final = 64
"""Parts that a range is cut into at one time."""

_ONE_PIECE: Final = 64 * 1024
"""Bytes up to which head and body of an answer are copied together and sent as one packet."""

_SLICE: Final = 512 * 1024
_PAGE: Final = 1000
_PAGES_KEPT: Final = 64
_PAGE_SECONDS: Final = 60.0
_TYPE: Final = "application/octet-stream"
_XML: Final = "application/xml"
_LONGEST_XML: Final = 4 << 20
_LARGEST_PART: Final = 5 << 30
"""Bytes of a part at most, as on S3 (AWS, "Amazon S3 multipart upload limits")."""

_Page = tuple[list[Item], list[str]]


class Handlers:
    """The answers to requests that may be answered.

    Parameters
    ----------
    mounts : Mounts
        Which it answers for.
    uploads : Uploads
        Those under way.
    """

    def __init__(self, mounts: Mounts, uploads: Uploads) -> None:
        self._mounts = mounts
        self._uploads = uploads
        self._failures = Failures()
        self._listings: OrderedDict[str, tuple[float, _Page]] = OrderedDict()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request whose client may ask.

        Raises
        ------
        S3Error, OSError
            What went wrong, for the caller to tell.
        """
        asked = s3.parse(request.raw_path)
        method = request.method
        path = asked.key or asked.query.get("prefix", "")
        # Whether a sink may write is for the uploads to say.
        reads = path and method in ("GET", "HEAD")
        mount = self._mounts.use(asked.bucket, path.partition("/")[0] if reads else None)
        if method == "GET":
            return await (self._get(request, mount, asked) if asked.key else self._list(mount, asked))
        if method == "HEAD":
            return await self._head(mount, asked)
        if not mount.writable:
            raise S3Error(403, "AccessDenied", "this mount is read-only: open it with write=True")
        if not asked.key:
            raise S3Error(405, "MethodNotAllowed", "buckets are not made, changed or removed here")
        return await self._change(request, mount, asked)

    # Reading

    async def _head(self, mount: Mount, asked: Request) -> web.Response:
        if not asked.key:
            return web.Response(status=200)
        version = await self._stat(mount, asked.key)
        headers = _described(version) | {"Content-Length": str(version.size)}
        return web.Response(headers=headers)

    async def _get(self, request: web.BaseRequest, mount: Mount, asked: Request) -> web.StreamResponse:
        if asked.query.keys() - {"x-id", "partNumber"}:
            raise S3Error(405, "MethodNotAllowed", "of an object only its content can be had")
        begins = request.headers.get("Range", "bytes=-").startswith("bytes=-")
        known = mount.known(asked.key, begins=begins)
        if known is not None:
            try:
                return await self._content(request, mount, asked.key, known)
            except ChangedError:
                if not begins:
                    raise
        return await self._content(request, mount, asked.key, await self._stat(mount, asked.key))

    async def _stat(self, mount: Mount, key: str) -> Version:
        with self._failures.replayed((mount, key)):
            return await mount.stat(key)

    async def _content(
        self, request: web.BaseRequest, mount: Mount, key: str, version: Version
    ) -> web.StreamResponse:
        headers = _described(version)
        if request.headers.get("If-Match", headers["ETag"]) not in (headers["ETag"], "*"):
            raise S3Error(412, "PreconditionFailed", "the object is not of that version")
        ends = s3.window(request.headers.get("Range"), version.size)
        status, whole = 200, Range(0, version.size)
        if ends is not None:
            status, whole = 206, Range(*ends)
            headers["Content-Range"] = f"bytes {whole.start}-{whole.stop - 1}/{version.size}"
        source = Source(mount, key, version)
        # Polars repeats a read of the same range.
        name = mount, key, whole
        if whole.size <= _ONE_PIECE:
            with self._failures.replayed(name):
                data = await source.fetch(whole) if whole.size else b""
            return web.Response(status=status, body=data, headers=headers)
        self._failures.raise_known(name)
        headers["Content-Length"] = str(whole.size)
        response = web.StreamResponse(status=status, headers=headers)
        error = await self._stream(request, response, source, _parts(whole, source.part))
        if error is None:
            return response
        self._failures.add(name, error)
        if not response.prepared:
            raise error
        # Too late for an error: only an answer cut short can tell that something is wrong.
        _cut_off(request)
        return response

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, source: Source, parts: Iterator[Range]
    ) -> OSError | None:
        """Send parts in order while later ones are fetched.

        The part that is due is always fetched; those after it as the budget allows. So no request can
        keep another from going on.

        Returns
        -------
        OSError or None
            What storage raised, after which nothing more was sent.
        """
        ahead: deque[tuple[asyncio.Task[bytes], Range]] = deque()
        held = Reservation(_READ_AHEAD)
        part = next(parts, None)
        try:
            while ahead or part is not None:
                while part is not None and len(ahead) < _AT_ONCE:
                    if ahead and not held.fits(part.size):
                        break
                    held.grow(part.size)
                    ahead.append((asyncio.create_task(source.fetch(part)), part))
                    part = next(parts, None)
                task, due = ahead[0]
                try:
                    data = await task
                except OSError as exc:
                    return exc
                if not response.prepared:
                    # Not before the first part is there, so that its error can still be told.
                    await response.prepare(request)
                await _write(response, data)
                ahead.popleft()
                held.shrink(due.size)
        finally:
            for task, _ in ahead:
                task.cancel()
            held.release()
            await asyncio.gather(*(task for task, _ in ahead), return_exceptions=True)
        await response.write_eof()
        return None

    async def _list(self, mount: Mount, asked: Request) -> web.Response:
        query = asked.query
        if query.get("list-type") != "2":
            raise S3Error(405, "MethodNotAllowed", "buckets are listed by ListObjectsV2 only")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if delimiter not in ("", "/"):
            raise S3Error(400, "InvalidArgument", "the delimiter is '/' or none")
        most = _count(query.get("max-keys"))
        encoded = query.get("encoding-type") == "url"
        page = Listing(asked.bucket, prefix, delimiter, most, encoded)
        token = query.get("continuation-token", "")
        with self._failures.replayed((mount, prefix, delimiter, token)):
            page.items, page.prefixes = await self._found(mount, page, token, query.get("start-after", ""))
        self._cut(page)
        return web.Response(body=page.body, content_type=_XML)

    async def _found(self, mount: Mount, page: Listing, token: str, after: str) -> _Page:
        """Give what is left of a listing: kept from the page before, or else listed anew."""
        _, kept = self._listings.pop(token, (0.0, None))
        if kept is not None:
            return kept
        if token:
            after = _after(token)
        items, prefixes = await mount.list(page.prefix, deep=not page.delimiter)
        if after:
            items = items[bisect.bisect_right(items, after, key=lambda item: item.key) :]
            prefixes = prefixes[bisect.bisect_right(prefixes, after) :]
        return items, prefixes

    def _cut(self, page: Listing) -> None:
        """Leave on a page what it may hold, and keep the rest for the next one."""
        if len(page.items) + len(page.prefixes) <= page.most:
            return
        names = sorted([item.key for item in page.items] + page.prefixes)
        last = names[page.most - 1] if page.most else ""
        i = bisect.bisect_right(page.items, last, key=lambda item: item.key)
        j = bisect.bisect_right(page.prefixes, last)
        token = f"{secrets.token_hex(8)}.{urlsafe_b64encode(last.encode()).decode()}"
        self._listings[token] = time.monotonic(), (page.items[i:], page.prefixes[j:])
        while len(self._listings) > _PAGES_KEPT:
            self._listings.popitem(last=False)
        page.items, page.prefixes, page.token = page.items[:i], page.prefixes[:j], token

    def expire(self) -> None:
        """Forget old errors, and the rest of listings that nobody asks for."""
        self._failures.expire()
        limit = time.monotonic() - _PAGE_SECONDS
        while self._listings and next(iter(self._listings.values()))[0] < limit:
            self._listings.popitem(last=False)

    # Writing

    async def _change(self, request: web.BaseRequest, mount: Mount, asked: Request) -> web.Response:
        method, query = request.method, asked.query
        name = query.get("uploadId")
        if method == "PUT" and name and "partNumber" in query:
            return await self._put_part(request, mount, asked, name)
        if method == "PUT" and query.keys() <= {"x-id"} and "x-amz-copy-source" not in request.headers:
            with self._failures.replayed((mount, asked.key, method)):
                await self._uploads.put(mount, asked.key, body.pieces(request), **_write_options(request))
            # Some clients want one, and the object may not be there to be asked for its own.
            return web.Response(headers={"ETag": f'"{secrets.token_hex(16)}"'})
        if method == "POST" and "uploads" in query:
            name = await self._uploads.begin(mount, asked.key, **_write_options(request))
            return _begun(asked, name)
        if method == "POST" and name:
            return await self._complete(request, mount, asked, name)
        if method == "DELETE" and name:
            self._uploads.get(name, mount, asked.key)
            await self._uploads.abort(name)
            return web.Response(status=204)
        raise S3Error(405, "MethodNotAllowed", "objects are read and written here, nothing else")

    async def _put_part(
        self, request: web.BaseRequest, mount: Mount, asked: Request, name: str
    ) -> web.Response:
        upload = self._uploads.get(name, mount, asked.key)
        number = s3.number(asked.query["partNumber"])
        if number is None or not 1 <= number <= 10_000:
            raise S3Error(400, "InvalidArgument", "parts are numbered from 1 to 10000")
        size = body.length(request)
        if size > _LARGEST_PART:
            raise S3Error(400, "EntityTooLarge", "a part has at most 5 GiB")
        part_etag = await upload.put(number, size, lambda: body.whole(request))
        return web.Response(headers={"ETag": f'"{part_etag}"'})

    async def _complete(
        self, request: web.BaseRequest, mount: Mount, asked: Request, name: str
    ) -> web.Response:
        upload = self._uploads.get(name, mount, asked.key)
        if body.length(request) > _LONGEST_XML:
            raise S3Error(400, "MalformedXML", "the list of parts is too long")
        await upload.complete(s3.finished_parts(await body.whole(request)))
        fields = (("Bucket", asked.bucket), ("Key", asked.key), ("ETag", f'"{upload.etag}"'))
        return web.Response(body=s3.document("CompleteMultipartUploadResult", *fields), content_type=_XML)


def _parts(whole: Range, part: int) -> Iterator[Range]:
    """Cut a range into parts, a few at a time: a service may claim any size."""
    step = part * _CUT
    for start in range(whole.start, whole.stop, step):
        yield from split(Range(start, min(start + step, whole.stop)), part)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Send bytes in slices that the socket takes at once, where one large write would be copied twice."""
    view = memoryview(data)
    for start in range(0, len(view), _SLICE):
        await response.write(view[start : start + _SLICE])


def _cut_off(request: web.BaseRequest) -> None:
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()


def _described(version: Version) -> dict[str, str]:
    headers = {"ETag": etag(version), "Accept-Ranges": "bytes", "Content-Type": _TYPE}
    if version.modified is not None:
        headers["Last-Modified"] = format_datetime(version.modified, usegmt=True)
    return headers


def _count(text: str | None) -> int:
    if text is None:
        return _PAGE
    most = s3.number(text)
    if most is None:
        raise S3Error(400, "InvalidArgument", "max-keys is a number")
    return min(most, _PAGE)


def _after(token: str) -> str:
    try:
        return urlsafe_b64decode(token.partition(".")[2]).decode()
    except ValueError:
        raise S3Error(400, "InvalidArgument", "the continuation token is not one of ours") from None


def _begun(asked: Request, name: str) -> web.Response:
    fields = (("Bucket", asked.bucket), ("Key", asked.key), ("UploadId", name))
    return web.Response(body=s3.document("InitiateMultipartUploadResult", *fields), content_type=_XML)


def _write_options(request: web.BaseRequest) -> dict[str, bool]:
    """Tell whether the object must not exist yet."""
    return {"exclusive": True} if request.headers.get("If-None-Match") == "*" else {}
