"""The faults that `FaultProxy` injects, and the kinds of requests of S3."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

__all__ = ["FAULTS", "KINDS", "Fault", "FaultType"]

KINDS = {
    "get": "GetObject",
    "head": "HeadObject",
    "list": "ListObjects: one page",
    "put": "PutObject: a whole object",
    "create": "CreateMultipartUpload",
    "part": "UploadPart",
    "complete": "CompleteMultipartUpload",
    "abort": "AbortMultipartUpload",
    "copy": "CopyObject and UploadPartCopy",
    "delete": "DeleteObject",
    "delete-many": "DeleteObjects",
    "other": "any other request",
}
"""The kinds of requests, and their operations of S3."""

ALL = frozenset(KINDS)
CHANGES = ALL - {"get", "head", "list", "other"}
BODIES = frozenset({"get", "list", "create", "complete", "copy", "delete-many"})
_NONE: frozenset[str] = frozenset()


class FaultType(NamedTuple):
    """What a fault does, and to which requests.

    Parameters
    ----------
    description : str
        One line.
    kinds : frozenset of str
        The kinds of requests that can have the fault; empty for faults of the whole endpoint.

    Examples
    --------
    >>> from opendalfs.testing import FAULTS
    >>> FAULTS["status-416"].description, sorted(FAULTS["status-416"].kinds)
    ('416 InvalidRange', ['get'])
    """

    description: str
    kinds: frozenset[str]


FAULTS = {
    "status-500": FaultType("500 InternalError", ALL),
    "status-502": FaultType("502 with an HTML page, as load balancers send it", ALL),
    "status-503": FaultType("503 SlowDown; with Retry-After if `retry_after` is set", ALL),
    "status-429": FaultType("429 TooManyRequests; with Retry-After if `retry_after` is set", ALL),
    "status-403": FaultType("403 AccessDenied", ALL),
    "status-404": FaultType("404 NoSuchKey", ALL),
    "status-416": FaultType("416 InvalidRange", frozenset({"get"})),
    "status-301": FaultType("301 PermanentRedirect, as S3 sends it for a wrong region", ALL),
    "status-307": FaultType("307 TemporaryRedirect to `location`, or to the same URL", ALL),
    "expired-token": FaultType("400 ExpiredToken", ALL),
    "reset-before": FaultType("the request is read, and the connection reset", ALL),
    "reset-upload": FaultType("half of the body reaches the server, and the connection is reset", CHANGES),
    "reset-body": FaultType("the connection is reset after `after` bytes of the body", BODIES),
    "short-body": FaultType("the connection is closed after `after` bytes of the body", BODIES),
    "short-chunked": FaultType(
        "a chunked body is closed after `after` bytes, without its last chunk", BODIES
    ),
    "short-length": FaultType("half of the range, with its Content-Length", frozenset({"get"})),
    "stall-before": FaultType("no response for `seconds`", ALL),
    "stall-body": FaultType("no byte for `seconds` after `after` bytes of the body", BODIES),
    "trickle": FaultType("the body in pieces of `piece` bytes, one every `seconds`", BODIES),
    "slow": FaultType("the response begins `seconds` later", ALL),
    "throttle": FaultType("503 SlowDown beyond `rate` requests per second and a burst of `burst`", ALL),
    "wrong-range": FaultType("206 with the Content-Range and the bytes of another range", frozenset({"get"})),
    "ignored-range": FaultType("200 with the whole object", frozenset({"get"})),
    "wrong-etag": FaultType("another ETag header", frozenset({"get", "head", "put", "part"})),
    "overwritten": FaultType(
        "the object is replaced before the request is forwarded", frozenset({"get", "head"})
    ),
    "deleted": FaultType("the object is deleted before the request is forwarded", frozenset({"get", "head"})),
    "list-empty": FaultType("a valid page without keys, as the last one", frozenset({"list"})),
    "list-blank": FaultType("200 without a body", frozenset({"list"})),
    "list-html": FaultType("200 with an HTML page", frozenset({"list"})),
    "list-error": FaultType("200 with <Error>", frozenset({"list"})),
    "list-repeated": FaultType(
        "one page again and again, with the same continuation token", frozenset({"list"})
    ),
    "error-200": FaultType(
        "200 with <Error>; nothing is changed", frozenset({"put", "part", "complete", "copy", "delete-many"})
    ),
    "after-500": FaultType("500 InternalError after the server has succeeded", CHANGES),
    "after-reset": FaultType("the connection is reset after the server has succeeded", CHANGES),
    "after-stall": FaultType("no response for `seconds` after the server has succeeded", CHANGES),
    "refused": FaultType("the endpoint refuses connections", _NONE),
    "unreachable": FaultType("connections to the endpoint are never established (Linux only)", _NONE),
    "black-hole": FaultType("the endpoint accepts connections and never responds", _NONE),
}
"""The names of the faults, what they do and to which kinds of requests."""


@dataclass(frozen=True)
class Fault:
    """A fault and the requests that it affects.

    Parameters
    ----------
    kind : str
        The kind of the requests, one of `KINDS`; ``"any"`` for all kinds that can have the fault.
    name : str
        The name of the fault, one of `FAULTS`.
    nth : int
        The first request of the kind that is affected; 1 is the first one since `FaultProxy.inject`.
    times : int, optional
        Number of requests that are affected; None for all.
    key : str
        Only requests whose ``bucket/key`` contains this are counted and affected; of a listing the
        ``bucket/prefix``.
    fraction : float
        Fraction of these requests that is affected, at random; more than 0 and at most 1.
    seed : int
        Seed of the random fraction.
    seconds : float, optional
        Seconds to wait: before the rest of a stalled response (None: until the client closes the
        connection, or until `FaultProxy.clear`), after each piece of a trickle (None: 0.5), before a slow
        response (None: 1).
    after : int, optional
        Bytes of the body that pass before the fault; None for half of it.
    piece : int
        Bytes per piece of a trickle.
    retry_after : float, optional
        Seconds in the header ``Retry-After`` of ``status-503``, ``status-429`` and ``throttle``.
    rate : float
        Requests per second that ``throttle`` lets pass.
    burst : int
        Requests that ``throttle`` lets pass at once.
    location : str, optional
        URL in the header ``Location`` of ``status-301`` and ``status-307``.
    size : int, optional
        Bytes of the object that ``overwritten`` writes; None for the size of the present one. Its content is
        ``b"!"``, repeated.
    source : str, optional
        Key, in the same bucket, of an object that ``overwritten`` copies over the present one.

    Raises
    ------
    ValueError
        The kind or the name is unknown, requests of the kind cannot have the fault, or a number is out of
        range.

    Examples
    --------
    >>> Fault("get", "status-503", nth=2, times=None).name
    'status-503'
    """

    kind: str
    name: str
    nth: int = 1
    times: int | None = 1
    key: str = ""
    fraction: float = 1.0
    seed: int = 0
    seconds: float | None = None
    after: int | None = None
    piece: int = 1
    retry_after: float | None = None
    rate: float = 100.0
    burst: int = 1
    location: str | None = None
    size: int | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"unknown fault {self.name!r}: use one of {', '.join(FAULTS)}")
        if self.kind != "any" and self.kind not in FAULTS[self.name].kinds:
            kinds = ", ".join(sorted(FAULTS[self.name].kinds)) or "the whole endpoint"
            raise ValueError(
                f"{self.kind!r} cannot have the fault {self.name!r}: use 'any' or one of {kinds}"
            )
        if self.nth < 1 or (self.times is not None and self.times < 1) or not 0 < self.fraction <= 1:
            raise ValueError(f"out of range: nth={self.nth}, times={self.times}, fraction={self.fraction}")

    @property
    def of_endpoint(self) -> bool:
        """Whether the fault is one of the whole endpoint, not of requests."""
        return not FAULTS[self.name].kinds

    def affects(self, kind: str, key: str) -> bool:
        """Whether the fault counts a request of a kind whose ``bucket/key`` is `key`."""
        return (
            (self.kind == kind or self.kind == "any") and kind in FAULTS[self.name].kinds and self.key in key
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, which `Fault` accepts as keyword arguments."""
        return asdict(self)
