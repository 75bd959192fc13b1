"""AWS Signature Version 4: whether a request was signed with the secret key. No storage, no state.

Sources: AWS, "Authenticating Requests (AWS Signature Version 4)", with its pages on the Authorization header,
on query parameters, and on chunked uploads with and without trailing headers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from .s3 import S3Error, equal_in_constant_time, parse_number

__all__ = ["ChunkSignatures", "Keys", "Payload", "SignedRequest", "is_presigned", "verify"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TIME: Final = re.compile(r"\d{8}T\d{6}Z", re.A)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.A)
_SCOPE: Final = re.compile(r"(?P<key>[^/]+)/(?P<scope>(?P<day>\d{8})/[!-.0-~]+/s3/aws4_request)", re.A)
_SPACES: Final = re.compile(r" +")
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_SKEW: Final = timedelta(minutes=15)
"""How far the clock of a client may differ (AWS, "RequestTimeTooSkewed")."""

_LONGEST: Final = 7 * 24 * 3600
"""Seconds that a presigned URL is valid at most (AWS, "X-Amz-Expires")."""

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_UNSIGNED_CHUNKS: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_SIGNED_CHUNKS: Final = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that clients sign with."""

    access: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the signature of a request covers.

    Parameters
    ----------
    method : str
        The HTTP method.
    target : str
        Path and query, as in the request line.
    values : callable
        Returns all values of a header by its name in lower case.
    names : sequence of str
        Names of all headers, in lower case.
    """

    method: str
    target: str
    values: Callable[[str], Sequence[str]]
    names: Sequence[str]

    def one(self, name: str) -> str:
        """Return the value of a header; empty if there is none, or more than one."""
        values = self.values(name)
        return values[0].strip() if len(values) == 1 else ""


class ChunkSignatures:
    """The signatures of the chunks of one body, each of which covers the one before.

    Parameters
    ----------
    key : bytes
        The signing key.
    when, scope : str
        Time and scope, as in the signature of the request.
    previous : str
        The signature of the request.
    trailer : bool
        Whether signed headers follow the last chunk.
    """

    def __init__(self, key: bytes, when: str, scope: str, previous: str, *, trailer: bool) -> None:
        self._key = key
        self._begin = f"{when}\n{scope}"
        self._previous = previous
        self.trailer = trailer

    def check(self, signature: str, digest: str) -> None:
        """Verify the signature of the next chunk; `digest`: the SHA-256 of its data, in hex.

        Raises
        ------
        S3Error
            403 if it is not right.
        """
        self._check(signature, f"{_ALGORITHM}-PAYLOAD\n{self._begin}\n{self._previous}\n{_EMPTY}\n{digest}")

    def check_trailer(self, signature: str, headers: bytes) -> None:
        """Verify the signature of the headers after the last chunk, each of which ends with a line feed.

        Raises
        ------
        S3Error
            403 if it is not right.
        """
        digest = hashlib.sha256(headers).hexdigest()
        self._check(signature, f"{_ALGORITHM}-TRAILER\n{self._begin}\n{self._previous}\n{digest}")

    def _check(self, signature: str, text: str) -> None:
        expected = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not equal_in_constant_time(signature, expected):
            raise _mismatch("a chunk of the body")
        self._previous = expected


@dataclass(frozen=True, slots=True)
class Payload:
    """How the signature covers the body.

    Parameters
    ----------
    digest : str or None
        SHA-256 that the body must have, in hex; None if the request does not state it.
    chunked : bool
        Whether the body is encoded in chunks.
    signatures : ChunkSignatures or None
        Verifies the signatures of the chunks, if they have any.
    """

    digest: str | None = None
    chunked: bool = False
    signatures: ChunkSignatures | None = None


@dataclass(frozen=True, slots=True)
class _Signature:
    """The parts of a signature, from the Authorization header or from the query."""

    credential: str
    headers: tuple[str, ...]
    signature: str
    when: str


def is_presigned(target: str) -> bool:
    """Whether the query of a request contains its signature."""
    return any(name.startswith("X-Amz-") for name, _ in _pairs(target.partition("?")[2]))


def verify(request: SignedRequest, keys: Keys, now: datetime) -> Payload:
    """Verify the signature of a request.

    Parameters
    ----------
    request : SignedRequest
        The request.
    keys : Keys
        The keys of the server.
    now : datetime
        The current time, aware.

    Returns
    -------
    Payload
        How the body is to be verified.

    Raises
    ------
    S3Error
        400 for a signature of another form; 403 for a missing, wrong or expired one.
    """
    path, _, query = request.target.partition("?")
    pairs = _pairs(query)
    in_query = is_presigned(request.target)
    if in_query and request.values("authorization"):
        raise S3Error(
            400, "InvalidArgument", "sign a request in the Authorization header or in its query, not in both"
        )
    given = _from_query(dict(pairs)) if in_query else _from_header(request)
    day, scope = _check_scope(given, keys)
    when = _parse_time(given.when, day)
    if in_query:
        _check_expiry(dict(pairs).get("X-Amz-Expires", ""), when, now)
    elif abs(now - when) > _SKEW:
        raise S3Error(
            403,
            "RequestTimeTooSkewed",
            "the clocks of client and server differ by more than 15 minutes: set them",
        )
    content = request.one("x-amz-content-sha256")
    if in_query:
        content = content or dict(pairs).get("X-Amz-Content-Sha256", _UNSIGNED)
    elif not content:
        raise S3Error(400, "InvalidRequest", "the header x-amz-content-sha256 is missing: send and sign it")
    _check_headers(request, given.headers)
    pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    canonical = _canonical(request, path, pairs, given.headers, content)
    text = f"{_ALGORITHM}\n{given.when}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = _signing_key(keys.secret, scope)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not equal_in_constant_time(given.signature, expected):
        raise _mismatch("the request")
    return _payload(content, key, given.when, scope, expected)


def _mismatch(what: str) -> S3Error:
    return S3Error(
        403,
        "SignatureDoesNotMatch",
        f"the signature of {what} is wrong: use the access key and the secret key that the server returned",
    )


def _unsupported() -> S3Error:
    return S3Error(400, "InvalidRequest", f"unsupported signature: use Signature Version 4, {_ALGORITHM}")


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return the decoded names and values of a query; a plus stands for a space."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def _decode(text: str) -> str:
    raw = unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str, safe: str = "") -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)


def _from_header(request: SignedRequest) -> _Signature:
    header = request.one("authorization")
    if not request.values("authorization"):
        if "AWSAccessKeyId" in dict(_pairs(request.target.partition("?")[2])):
            raise _unsupported()
        raise S3Error(403, "AccessDenied", "the request is not signed: use the keys that the server returned")
    algorithm, _, rest = header.partition(" ")
    if algorithm != _ALGORITHM:
        raise _unsupported()
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise S3Error(
            400,
            "AuthorizationHeaderMalformed",
            "malformed Authorization header: it needs Credential, SignedHeaders and Signature",
        )
    headers = tuple(fields["SignedHeaders"].split(";"))
    return _Signature(fields["Credential"], headers, fields["Signature"], request.one("x-amz-date"))


def _from_query(query: dict[str, str]) -> _Signature:
    names = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date")
    if query.get(names[0]) != _ALGORITHM or not all(query.get(name) for name in names):
        raise S3Error(
            400,
            "AuthorizationQueryParametersError",
            f"malformed signature in the query: it needs {', '.join(names)} and X-Amz-Expires",
        )
    return _Signature(query[names[1]], tuple(query[names[2]].split(";")), query[names[3]], query[names[4]])


def _check_scope(given: _Signature, keys: Keys) -> tuple[str, str]:
    """Return the day and the scope of a credential; any region is accepted, as there is only one."""
    found = _SCOPE.fullmatch(given.credential)
    if found is None:
        raise S3Error(
            400,
            "AuthorizationHeaderMalformed",
            "malformed credential: it must be <key>/<date>/<region>/s3/aws4_request",
        )
    if not equal_in_constant_time(found["key"], keys.access):
        raise S3Error(403, "InvalidAccessKeyId", "wrong access key: use the one that the server returned")
    return found["day"], found["scope"]


def _parse_time(text: str, day: str) -> datetime:
    try:
        if not _TIME.fullmatch(text) or not text.startswith(day):
            raise ValueError(text)
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise S3Error(
            403, "AccessDenied", "the request needs x-amz-date, of the day in its credential"
        ) from None


def _check_expiry(text: str, when: datetime, now: datetime) -> None:
    seconds = parse_number(text)
    if seconds is None or not 1 <= seconds <= _LONGEST:
        raise S3Error(
            400, "AuthorizationQueryParametersError", f"invalid X-Amz-Expires: use 1 to {_LONGEST} seconds"
        )
    if when - now > _SKEW:
        raise S3Error(403, "AccessDenied", "the signature of the URL is not valid yet")
    if now >= when + timedelta(seconds=seconds):
        raise S3Error(403, "AccessDenied", "the signature of the URL has expired: sign it again")


def _check_headers(request: SignedRequest, signed: tuple[str, ...]) -> None:
    """Raise unless the host and all of Amazon's headers are signed: whoever has a URL must not add any."""
    needed = {"host", *(name for name in request.names if name.startswith("x-amz-"))}
    missing = sorted(needed - set(signed))
    if missing:
        raise S3Error(403, "AccessDenied", f"these headers are not signed: {', '.join(missing)[:200]}")


def _canonical(
    request: SignedRequest, path: str, pairs: list[tuple[str, str]], signed: tuple[str, ...], content: str
) -> bytes:
    """Return the canonical request.

    Path and query are decoded and encoded again: whatever form a client sends, its signature covers what it
    means. Nothing else is normalized, so that ``..`` and ``//`` stay what they are.
    """
    raw_path = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
    lines = [
        request.method,
        quote(raw_path, safe="/"),
        "&".join(f"{name}={value}" for name, value in encoded),
        *(f"{name}:{','.join(_SPACES.sub(' ', v.strip()) for v in request.values(name))}" for name in signed),
        "",
        ";".join(signed),
        content,
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _payload(content: str, key: bytes, when: str, scope: str, signature: str) -> Payload:
    if content == _UNSIGNED:
        return Payload()
    if content == _UNSIGNED_CHUNKS:
        return Payload(chunked=True)
    if content in _SIGNED_CHUNKS:
        trailer = content == _SIGNED_CHUNKS[1]
        return Payload(chunked=True, signatures=ChunkSignatures(key, when, scope, signature, trailer=trailer))
    if not _DIGEST.fullmatch(content):
        raise S3Error(
            400,
            "InvalidArgument",
            f"unsupported x-amz-content-sha256: use a SHA-256 in hex, {_UNSIGNED} or a STREAMING- method",
        )
    return Payload(digest=content)
