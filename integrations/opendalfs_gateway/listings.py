"""Responses to ListObjectsV2 and ListObjects, page by page."""

from __future__ import annotations

import bisect
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from .directory import Directory, ListedObject
from .failures import Failures
from .s3 import XMLNS, S3Error, S3Request, escape, parse_number

__all__ = ["Listings"]

_PAGE: Final = 1000
"""Keys on a page at most."""

_MAX_KEPT: Final = 64
_KEPT_SECONDS: Final = 60.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_PARAMETERS: Final = frozenset(
    {
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "list-type",
        "marker",
        "max-keys",
        "prefix",
        "start-after",
        "x-id",
    }
)
_Entries = tuple[list[ListedObject], list[str]]


@dataclass(slots=True)
class _Page:
    """One page of ListObjectsV2, or of ListObjects.

    Parameters
    ----------
    bucket, prefix, delimiter, after : str
        As in the request. `after`: the key after which the page begins.
    limit : int
        Keys on the page at most.
    encoded : bool
        Whether to URL-encode names.
    second : bool
        Whether the request is ListObjectsV2.
    objects : list of ListedObject
        The objects.
    prefixes : list of str
        The common prefixes.
    token : str
        Where the next page begins; empty on the last one.
    """

    bucket: str
    prefix: str
    delimiter: str
    after: str
    limit: int
    encoded: bool
    second: bool
    objects: list[ListedObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    token: str = ""

    def _name(self, text: str) -> str:
        return quote(text, safe="/") if self.encoded else escape(text)

    @property
    def body(self) -> bytes:
        """The XML."""
        parts = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{XMLNS}">',
            f"<Name>{self.bucket}</Name><Prefix>{self._name(self.prefix)}</Prefix>",
            f"<MaxKeys>{self.limit}</MaxKeys>",
            f"<IsTruncated>{'true' if self.token else 'false'}</IsTruncated>",
            *self._position(),
        ]
        if self.delimiter:
            parts.append(f"<Delimiter>{self._name(self.delimiter)}</Delimiter>")
        if self.encoded:
            parts.append("<EncodingType>url</EncodingType>")
        parts += [self._object(found) for found in self.objects]
        parts += [f"<CommonPrefixes><Prefix>{self._name(p)}</Prefix></CommonPrefixes>" for p in self.prefixes]
        parts.append("</ListBucketResult>")
        return "".join(parts).encode()

    def _position(self) -> list[str]:
        """Return the elements that differ between the two requests: where this and the next page begin."""
        if not self.second:
            following = f"<NextMarker>{self._name(last_key(self.token))}</NextMarker>" if self.token else ""
            return [f"<Marker>{self._name(self.after)}</Marker>", following]
        count = len(self.objects) + len(self.prefixes)
        return [
            f"<KeyCount>{count}</KeyCount>",
            f"<StartAfter>{self._name(self.after)}</StartAfter>" if self.after else "",
            f"<NextContinuationToken>{self.token}</NextContinuationToken>" if self.token else "",
        ]

    def _object(self, found: ListedObject) -> str:
        when = (found.modified or _EPOCH).astimezone(UTC)
        return (
            f"<Contents><Key>{self._name(found.key)}</Key>"
            f"<LastModified>{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z</LastModified>"
            f"<ETag>{escape(found.etag)}</ETag><Size>{found.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


class Listings:
    """Lists directories, and keeps the rest of a listing for the request of its next page.

    Parameters
    ----------
    failures : Failures
        Errors that a client's own retries are answered with.
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._kept: OrderedDict[str, tuple[float, _Entries]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def page(self, directory: Directory, request: S3Request) -> bytes:
        """Return one page as XML.

        Raises
        ------
        S3Error
            For a request that is not a valid ListObjectsV2 or ListObjects.
        OSError
            If storage cannot be listed.
        """
        query = request.query
        unknown = query.keys() - _PARAMETERS
        if unknown or query.get("list-type", "2") != "2":
            raise S3Error(
                501,
                "NotImplemented",
                f"unsupported request of a bucket ({', '.join(sorted(unknown))[:100]}): use ListObjectsV2",
            )
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if delimiter not in ("", "/"):
            raise S3Error(400, "InvalidArgument", f"unsupported delimiter {delimiter!r}: use '/' or none")
        second = "list-type" in query
        after = query.get("start-after" if second else "marker", "")
        encoded = query.get("encoding-type") == "url"
        page = _Page(request.bucket, prefix, delimiter, after, _limit(query), encoded, second)
        token = query.get("continuation-token", "")
        if page.limit:
            with self._failures.replayed((directory, prefix, delimiter, token)):
                page.objects, page.prefixes = await self._entries(directory, page, token)
            self._truncate(page)
        return page.body

    async def _entries(self, directory: Directory, page: _Page, token: str) -> _Entries:
        """Return the rest of a listing: kept from the page before, or listed anew."""
        _, kept = self._kept.pop(token, (0.0, None))
        if kept is not None:
            return kept
        after = last_key(token) if token else page.after
        objects, prefixes = await directory.list(page.prefix, deep=not page.delimiter)
        if after:
            objects = objects[bisect.bisect_right(objects, after, key=lambda found: found.key) :]
            # A key that is given may be within a common prefix, of which later keys follow.
            prefixes = [p for p in prefixes if p > after or (after.startswith(p) and after != p)]
        return objects, prefixes

    def _truncate(self, page: _Page) -> None:
        """Reduce a page to its limit, and keep the rest for the next one."""
        if len(page.objects) + len(page.prefixes) <= page.limit:
            return
        names = sorted([found.key for found in page.objects] + page.prefixes)
        last = names[page.limit - 1]
        i = bisect.bisect_right(page.objects, last, key=lambda found: found.key)
        j = bisect.bisect_right(page.prefixes, last)
        token = f"{secrets.token_hex(8)}.{urlsafe_b64encode(last.encode()).decode()}"
        self._kept[token] = time.monotonic(), (page.objects[i:], page.prefixes[j:])
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        page.objects, page.prefixes, page.token = page.objects[:i], page.prefixes[:j], token

    def expire(self) -> None:
        """Drop the rest of listings whose next page was not requested for 60 seconds."""
        limit = time.monotonic() - _KEPT_SECONDS
        while self._kept and next(iter(self._kept.values()))[0] < limit:
            self._kept.popitem(last=False)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("max-keys")
    if text is None:
        return _PAGE
    limit = parse_number(text)
    if limit is None:
        raise S3Error(400, "InvalidArgument", f"invalid max-keys {text!r}: use a whole number")
    return min(limit, _PAGE)


def last_key(token: str) -> str:
    """Return the last key of the page before, which a continuation token holds."""
    try:
        return urlsafe_b64decode(token.partition(".")[2]).decode()
    except ValueError:
        raise S3Error(
            400,
            "InvalidArgument",
            "invalid continuation token: use the NextContinuationToken of the previous page",
        ) from None
