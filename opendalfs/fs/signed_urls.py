"""Signed URLs, with which anybody can read, write or delete one file for a time."""

from __future__ import annotations

import errno
import operator
import re
from collections.abc import Mapping
from typing import Any, Final

from opendalfs.errors import OptionError, UnsupportedError, redact
from opendalfs.storage.connection import Connection
from opendalfs.write.options import write_target

from .base import BaseFileSystem

__all__ = ["CLIENT_METHODS", "SignedURL", "sign"]

_VERBS: Final = {
    "GET": "presign_read",
    "HEAD": "presign_stat",
    "PUT": "presign_write",
    "DELETE": "presign_delete",
}
CLIENT_METHODS: Final = {
    "get_object": "GET",
    "head_object": "HEAD",
    "put_object": "PUT",
    "delete_object": "DELETE",
}
"""Methods of boto3's client, as s3fs takes them, and the HTTP method of each."""

_WEEK: Final = 7 * 24 * 3600
_LONGEST: Final = {"s3": _WEEK, "gcs": _WEEK, "tos": _WEEK}
"""Seconds after which a URL must expire at the latest, where the service accepts no others."""

_TEN_YEARS: Final = 10 * 365 * 24 * 3600
"""Seconds for the other services. OpenDAL panics for times after the year 9999."""

_NOT_SIGNED: Final = frozenset({"content-length", "date", "host"})
"""Headers that HTTP clients set themselves. OpenDAL returns some of them, with the values of its own request,
for services that do not sign them."""

_AS_IT_IS: Final = re.compile(r"[A-Za-z0-9._~/-]+")
"""Keys whose URL is the key itself. OpenDAL does not percent-encode those that it signs for GCS."""

_IF_MATCH_IS_SIGNED: Final = re.compile(r"SignedHeaders=[^&]*if-match")
"""In a URL whose signature covers the header. Without it, a client could leave out the condition."""


class SignedURL(str):
    """A URL with a signature: a str, with what a client must send besides.

    Attributes
    ----------
    method : str
        The HTTP method that it is for.
    headers : dict
        The headers that the request must contain, with these values. Empty unless options of the write or of
        the filesystem add some. With a customer's key for the encryption (SSE-C), they contain that key.

    Examples
    --------
    >>> url = SignedURL("https://bucket.example/key?signature=...", "PUT", {"content-type": "text/csv"})
    >>> url.startswith("https://"), url.method, url.headers
    (True, 'PUT', {'content-type': 'text/csv'})
    """

    method: str
    headers: dict[str, str]

    def __new__(cls, url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> SignedURL:
        """Return the URL as a str with attributes."""
        self = super().__new__(cls, url)
        self.method = method
        self.headers = dict(headers or {})
        return self


async def sign(
    fs: BaseFileSystem, path: str, seconds: int, method: str, options: Mapping[str, Any]
) -> SignedURL:
    """Return a signed URL; `OpendalFileSystem.sign` describes the parameters."""
    connection, key = fs.locate(path)
    if not key:
        # The URL would list the whole container.
        raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
    verb = _VERBS.get(method.upper())
    if verb is None:
        raise ValueError(f"method must be one of {', '.join(_VERBS)}, not {method!r}")
    longest = _LONGEST.get(connection.service.scheme, _TEN_YEARS)
    if not 1 <= seconds <= longest:
        raise ValueError(
            f"expiration must be 1 to {longest} seconds for {connection.service.scheme}, not {seconds!r}"
        )
    _require_signatures(connection, verb, method.upper())
    connection, signed = _checked(connection, method.upper(), options)
    root = connection.native.get("root", "")
    if connection.service.scheme == "gcs" and not _AS_IT_IS.fullmatch(root + key):
        raise UnsupportedError(
            errno.ENOTSUP,
            "Cannot sign this key for GCS: OpenDAL signs only A-Z a-z 0-9 ._~/- in root and key",
            redact(path),
        )
    request = await connection.presign(key, verb, operator.index(seconds), **signed)
    _check_signed(connection, signed, request.url, request.headers)
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_SIGNED}
    return SignedURL(request.url, request.method, headers)


def _require_signatures(connection: Connection, verb: str, method: str) -> None:
    """Raise if the service signs no URLs for a method, or URLs that allow more than the method."""
    service = connection.service
    if service.signs:
        connection.require(verb, f"sign URLs for {method}")
        return
    hint = f": use {service.signs_instead}" if service.signs_instead else ""
    raise UnsupportedError(f"the service {service.scheme} cannot sign URLs for {method}{hint}")


def _check_signed(
    connection: Connection, options: Mapping[str, Any], url: str, headers: Mapping[str, str]
) -> None:
    """Raise if a signed request lacks an option of its write: OpenDAL leaves out some without an error."""
    for name, value in options.items():
        if name == "user_metadata":
            # Each service has its own prefix, such as x-amz-meta-.
            kept = all(any(header.endswith(f"-meta-{key.lower()}") for header in headers) for key in value)
        elif name == "if_match":
            kept = _IF_MATCH_IS_SIGNED.search(url) is not None
        else:
            kept = name.replace("_", "-") in headers
        if not kept:
            option = name.removeprefix("user_")
            raise OptionError(f"the service {connection.service.scheme} cannot sign {option}: leave it out")


def _checked(
    connection: Connection, method: str, options: Mapping[str, Any]
) -> tuple[Connection, dict[str, Any]]:
    """Return the connection that signs, and the options of a write that the signature covers."""
    if method != "PUT":
        if options:
            raise OptionError(f"a signed {method} takes no options: leave out {', '.join(options)}")
        return connection, {}
    connection, signed = write_target(connection, options)
    if {"chunk", "concurrent"} & signed.keys():
        raise OptionError("a signed PUT is one request: leave out the size and the number of parts")
    return connection, signed
