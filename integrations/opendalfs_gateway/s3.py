"""The S3 protocol: requests parsed, responses formatted. No storage, no state."""

from __future__ import annotations

import errno
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from opendalfs.errors import ChangedError, OptionError, RangeError, UnsupportedError

__all__ = [
    "FAILED",
    "XMLNS",
    "S3Error",
    "S3Request",
    "access_key_id",
    "completed_parts",
    "document",
    "equal_in_constant_time",
    "escape",
    "listed_keys",
    "parse_number",
    "parse_range",
    "parse_request",
    "to_s3_error",
]

XMLNS: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ACCESS_KEY_ID: Final = re.compile(r"^AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
_RANGE: Final = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$", re.A)
_NUMBER: Final = re.compile(r"\d{1,18}", re.A)
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)
_MAX_PARTS: Final = 10_000
_MAX_DELETED: Final = 1000


class S3Error(Exception):
    """A response that is an error.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        S3's error code, such as ``"NoSuchKey"``.
    message : str
        Text for the user, without secrets.

    Attributes
    ----------
    headers : dict of str
        Headers of the response.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = {}

    @property
    def elements(self) -> str:
        """The elements of the XML. The message is first and on the first line, as Polars shows that first."""
        # A message may quote a name that XML cannot represent.
        message = escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", self.message))
        return f"<Message>{message}</Message><Code>{self.code}</Code>"

    @property
    def body(self) -> bytes:
        """The XML."""
        return f"<Error>{self.elements}</Error>".encode()


FAILED: Final = 424
"""Status of a request that failed after the core's retries. Clients would retry after a 5xx or 429."""

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


def to_s3_error(exc: OSError) -> S3Error:
    """Convert an error of the core.

    Parameters
    ----------
    exc : OSError
        An error from `opendalfs.errors`, so without secrets.

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
class S3Request:
    """The bucket, key and query of a request.

    Parameters
    ----------
    bucket, key : str
        Decoded. The key is empty for requests about the bucket.
    query : Mapping
        Decoded.
    """

    bucket: str
    key: str
    query: Mapping[str, str]


_NO_QUERY: Final[Mapping[str, str]] = {}


def parse_request(target: str) -> S3Request:
    """Parse the target of a request.

    Parameters
    ----------
    target : str
        A path, and a query if there is one, as in the request line.

    Returns
    -------
    S3Request

    Raises
    ------
    S3Error
        400 for a path that is not UTF-8.

    Examples
    --------
    >>> parse_request("/lake/a%20b%2B.parquet?uploadId=1")
    S3Request(bucket='lake', key='a b+.parquet', query={'uploadId': '1'})
    """
    path, _, query = target.partition("?")
    bucket, _, key = path.lstrip("/").partition("/")
    try:
        # Only in a query a plus may stand for a space.
        name = unquote(key, errors="strict") if "%" in key else key
    except UnicodeDecodeError:
        raise S3Error(400, "InvalidURI", "the path is not UTF-8: percent-encode its UTF-8 bytes") from None
    pairs = dict(parse_qsl(query, keep_blank_values=True)) if query else _NO_QUERY
    return S3Request(unquote(bucket), name, pairs)


def access_key_id(authorization: str) -> str:
    """Return the access key id of an Authorization header; empty if it has none."""
    found = _ACCESS_KEY_ID.match(authorization)
    return found.group(1) if found else ""


def equal_in_constant_time(given: str, expected: str) -> bool:
    """Compare two strings in a time that does not depend on their content."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def parse_number(text: str) -> int | None:
    """Parse a decimal integer of at most 18 digits; None if `text` is anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Parse a Range header.

    Parameters
    ----------
    header : str or None
        Such as ``"bytes=0-99"``, ``"bytes=100-"`` or ``"bytes=-8"``.
    size : int
        Bytes of the object.

    Returns
    -------
    tuple of int or None
        Start (inclusive) and stop (exclusive); None for the whole object, also for a header of another
        form (RFC 9110, 14.2).

    Raises
    ------
    S3Error
        416 if the object has no byte of the range.

    Examples
    --------
    >>> parse_range("bytes=-8", 100)
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
        raise S3Error(416, "InvalidRange", f"the range {header!r} is empty: the object has {size} bytes")
    return start, stop


def escape(text: str) -> str:
    """Escape a text for XML.

    Raises
    ------
    S3Error
        400 for characters that XML cannot represent.
    """
    if _NOT_XML.search(text):
        raise S3Error(400, "InvalidArgument", f"{text!r} holds characters that XML cannot represent")
    return text.translate(_ESCAPES)


def document(name: str, *fields: tuple[str, str]) -> bytes:
    """Return an XML document with one level of elements."""
    inner = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in fields)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{XMLNS}">{inner}</{name}>'.encode()


def completed_parts(body: bytes) -> list[tuple[int, str]]:
    """Parse the list of parts in a CompleteMultipartUpload request.

    Parameters
    ----------
    body : bytes
        Its XML.

    Returns
    -------
    list of (int, str)
        Number and etag of each part, without quotes, in ascending order.

    Raises
    ------
    S3Error
        400 if it is not such a list.
    """
    try:
        parts = [_part(node) for node in _parse(body) if _tag(node) == "Part"]
    except (ValueError, KeyError):
        raise S3Error(
            400, "MalformedXML", "the list of parts is malformed: send a CompleteMultipartUpload element"
        ) from None
    if not parts or not _is_ascending(parts) or len(parts) > _MAX_PARTS:
        raise S3Error(
            400, "InvalidPartOrder", f"list 1 to {_MAX_PARTS} parts, in ascending order of their numbers"
        )
    return parts


def listed_keys(body: bytes) -> tuple[list[str], bool]:
    """Parse the list of keys in a DeleteObjects request.

    Parameters
    ----------
    body : bytes
        Its XML.

    Returns
    -------
    list of str
        The keys.
    bool
        Whether to respond with errors only.

    Raises
    ------
    S3Error
        400 if it is not such a list; 501 for versions and conditions of objects.
    """
    keys: list[str] = []
    quiet = False
    for node in _parse(body):
        if _tag(node) == "Quiet":
            quiet = (node.text or "").strip().lower() == "true"
        elif _tag(node) == "Object":
            fields = {_tag(child): child.text or "" for child in node}
            if fields.keys() - {"Key"}:
                raise S3Error(501, "NotImplemented", "objects are deleted by their key only")
            keys.append(fields.get("Key", ""))
    if not 1 <= len(keys) <= _MAX_DELETED or not all(keys):
        raise S3Error(400, "MalformedXML", f"list 1 to {_MAX_DELETED} objects, each with its key")
    return keys, quiet


def _parse(body: bytes) -> ElementTree.Element:
    """Parse the XML of a request."""
    if b"<!" in body:
        # No client sends a document type. One could define entities that expand without bound.
        raise S3Error(400, "MalformedXML", "the XML has a document type: remove it")
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError):
        raise S3Error(400, "MalformedXML", "the XML of the request is malformed") from None


def _tag(node: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return node.tag.rpartition("}")[2]


def _part(node: Iterable[ElementTree.Element]) -> tuple[int, str]:
    fields = {_tag(child): child.text or "" for child in node}
    return int(fields["PartNumber"]), fields["ETag"].strip().strip('"')


def _is_ascending(parts: Sequence[tuple[int, str]]) -> bool:
    return all(a[0] < b[0] for a, b in pairwise(parts))
