"""The words of the S3 protocol: what a request asks, and the XML that answers it. No storage, no state."""

from __future__ import annotations

import errno
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree

from opendalfs.errors import ChangedError, OptionError, RangeError, UnsupportedError

__all__ = [
    "FAILED",
    "Listing",
    "Request",
    "S3Error",
    "explain",
    "key_id",
    "number",
    "parse",
    "same",
    "window",
]

_XMLNS: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_KEY_ID: Final = re.compile(r"^AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
_RANGE: Final = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$", re.A)
_NUMBER: Final = re.compile(r"\d{1,18}", re.A)
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PARTS: Final = 10_000


class S3Error(Exception):
    """An answer that is an error.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        S3's word for it, such as ``"NoSuchKey"``.
    message : str
        For people; holds no secrets.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def body(self) -> bytes:
        """The XML: the message first and on the first line, as that is what Polars' errors show first."""
        return document("Error", ("Message", self.message), ("Code", self.code))


FAILED: Final = 424
"""Status of a request that has failed after the core's retries; clients repeat those with a 5xx or 429."""

_STATUS: Final[tuple[tuple[type[OSError], int, str], ...]] = (
    (ChangedError, 412, "PreconditionFailed"),
    (RangeError, 416, "InvalidRange"),
    (UnsupportedError, 405, "MethodNotAllowed"),
    (OptionError, 400, "InvalidRequest"),
    (FileNotFoundError, 404, "NoSuchKey"),
    (IsADirectoryError, 404, "NoSuchKey"),
    (NotADirectoryError, 404, "NoSuchKey"),
    (FileExistsError, 412, "PreconditionFailed"),
    (PermissionError, 403, "AccessDenied"),
    (TimeoutError, FAILED, "SlowDown"),
    (ConnectionError, FAILED, "ServiceUnavailable"),
)
_BUSY: Final = frozenset({errno.EAGAIN, errno.EBUSY})


def explain(exc: OSError) -> S3Error:
    """Turn an error of the core into an answer.

    Parameters
    ----------
    exc : OSError
        From `opendalfs.errors`, so without secrets.

    Returns
    -------
    S3Error
    """
    message = exc.strerror or str(exc)
    if exc.filename:
        message = f"{message}: {exc.filename}"
    for kind, status, code in _STATUS:
        if isinstance(exc, kind):
            return S3Error(status, code, message)
    if exc.errno in _BUSY:
        return S3Error(FAILED, "SlowDown", message)
    return S3Error(FAILED, "InternalError", message)


@dataclass(frozen=True, slots=True)
class Request:
    """What the first line of a request asks.

    Parameters
    ----------
    bucket, key : str
        Decoded; the key is empty for requests about the bucket.
    query : Mapping
        Decoded.
    """

    bucket: str
    key: str
    query: Mapping[str, str]


_NO_QUERY: Final[Mapping[str, str]] = {}


def parse(target: str) -> Request:
    """Take the target of a request apart.

    Parameters
    ----------
    target : str
        As it stands in the first line: a path, and a query where there is one.

    Returns
    -------
    Request

    Raises
    ------
    S3Error
        For a path that is not UTF-8.

    Examples
    --------
    >>> parse("/lake/a%20b%2B.parquet?uploadId=1")
    Request(bucket='lake', key='a b+.parquet', query={'uploadId': '1'})
    """
    path, _, query = target.partition("?")
    bucket, _, key = path.lstrip("/").partition("/")
    try:
        # In a path a plus is a plus; only in a query may it be a space.
        name = unquote(key, errors="strict") if "%" in key else key
    except UnicodeDecodeError:
        raise S3Error(400, "InvalidURI", "the path is not UTF-8") from None
    pairs = dict(parse_qsl(query, keep_blank_values=True)) if query else _NO_QUERY
    return Request(unquote(bucket), name, pairs)


def key_id(authorization: str) -> str:
    """Give the access key id of an Authorization header; empty when there is none."""
    found = _KEY_ID.match(authorization)
    return found.group(1) if found else ""


def same(given: str, expected: str) -> bool:
    """Compare two strings in a time that tells nothing about them."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def number(text: str) -> int | None:
    """Read a number of decimal digits, and not of more than any that is meant has; None for all else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def window(header: str | None, size: int) -> tuple[int, int] | None:
    """Resolve a Range header.

    Parameters
    ----------
    header : str or None
        Such as ``"bytes=0-99"``, ``"bytes=100-"`` or ``"bytes=-8"``.
    size : int
        Bytes of the object.

    Returns
    -------
    tuple of int or None
        Start (inclusive) and stop (exclusive); None when the whole object is meant, which is also
        what a header of another form means (RFC 9110, 14.2).

    Raises
    ------
    S3Error
        416, when nothing of the range exists.

    Examples
    --------
    >>> window("bytes=-8", 100)
    (92, 100)
    """
    found = _RANGE.match(header) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(size, int(last) + 1)
        if last and int(last) < start:
            return None
    if start >= stop:
        raise S3Error(416, "InvalidRange", f"the object has {size} bytes")
    return start, stop


def escape(text: str) -> str:
    """Make a text safe within XML.

    Raises
    ------
    S3Error
        For characters that XML cannot hold in any form.
    """
    if _NOT_XML.search(text):
        raise S3Error(400, "InvalidArgument", f"{text!r} holds characters that XML cannot hold")
    return text.translate(_ESCAPES)


def document(name: str, *fields: tuple[str, str]) -> bytes:
    """Write an XML document of one level."""
    inner = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in fields)
    if name == "Error":
        return f"<Error>{inner}</Error>".encode()
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_XMLNS}">{inner}</{name}>'.encode()


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime | None


@dataclass(slots=True)
class Listing:
    """One page of ListObjectsV2.

    Parameters
    ----------
    bucket, prefix, delimiter : str
        As asked.
    most : int
        Keys asked for at most.
    encoded : bool
        Whether names are to be URL-encoded.
    items : list of Item
        Objects.
    prefixes : list of str
        Common prefixes.
    token : str
        Where the next page begins; empty on the last one.
    """

    bucket: str
    prefix: str
    delimiter: str
    most: int
    encoded: bool
    items: list[Item] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    token: str = ""

    def _name(self, text: str) -> str:
        return quote(text, safe="/") if self.encoded else escape(text)

    @property
    def body(self) -> bytes:
        """The XML."""
        parts = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_XMLNS}">',
            f"<Name>{self.bucket}</Name><Prefix>{self._name(self.prefix)}</Prefix>",
            f"<KeyCount>{len(self.items) + len(self.prefixes)}</KeyCount><MaxKeys>{self.most}</MaxKeys>",
            f"<IsTruncated>{'true' if self.token else 'false'}</IsTruncated>",
        ]
        if self.delimiter:
            parts.append(f"<Delimiter>{self._name(self.delimiter)}</Delimiter>")
        if self.encoded:
            parts.append("<EncodingType>url</EncodingType>")
        if self.token:
            parts.append(f"<NextContinuationToken>{self.token}</NextContinuationToken>")
        parts += [self._item(item) for item in self.items]
        parts += [f"<CommonPrefixes><Prefix>{self._name(p)}</Prefix></CommonPrefixes>" for p in self.prefixes]
        parts.append("</ListBucketResult>")
        return "".join(parts).encode()

    def _item(self, item: Item) -> str:
        when = (item.modified or _EPOCH).astimezone(UTC)
        return (
            f"<Contents><Key>{self._name(item.key)}</Key>"
            f"<LastModified>{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z</LastModified>"
            f"<ETag>{escape(item.etag)}</ETag><Size>{item.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def finished_parts(body: bytes) -> list[tuple[int, str]]:
    """Read the parts that a CompleteMultipartUpload lists.

    Parameters
    ----------
    body : bytes
        Its XML.

    Returns
    -------
    list of (int, str)
        Number and etag of each, without quotes, in ascending order.

    Raises
    ------
    S3Error
        For what is no such list.
    """
    if b"<!" in body:
        # No client sends a document type; one could hold entities that expand without bound.
        raise S3Error(400, "MalformedXML", "a document type is not allowed")
    try:
        root = ElementTree.fromstring(body)
        listed = [_part(node) for node in root if node.tag.rpartition("}")[2] == "Part"]
    except (ElementTree.ParseError, ValueError, KeyError):
        raise S3Error(400, "MalformedXML", "the list of parts cannot be read") from None
    if not listed or not _ascending(listed) or len(listed) > _MOST_PARTS:
        raise S3Error(400, "InvalidPartOrder", "parts are listed in ascending order, at least one")
    return listed


def _part(node: Iterable[ElementTree.Element]) -> tuple[int, str]:
    fields = {child.tag.rpartition("}")[2]: child.text or "" for child in node}
    return int(fields["PartNumber"]), fields["ETag"].strip().strip('"')


def _ascending(listed: Sequence[tuple[int, str]]) -> bool:
    return all(a[0] < b[0] for a, b in pairwise(listed))
