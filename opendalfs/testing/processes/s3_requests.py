"""Which S3 operation an HTTP request is."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from opendalfs.testing.processes.proxy_connection import Head


class S3Request(NamedTuple):
    """The kind of a request, one of `opendalfs.testing.KINDS`, and what it is about."""

    kind: str
    bucket: str
    key: str  # of a listing: its prefix

    @property
    def path(self) -> str:
        """``bucket/key``."""
        return f"{self.bucket}/{self.key}"


def classify(head: Head) -> S3Request:
    """Return which operation a request with a path-style URL is."""
    method, target = head.first[0], head.first[1]
    path, _, query = target.partition("?")
    bucket, _, key = unquote(path.lstrip("/")).partition("/")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    kind = _kind(method, key, parameters, "x-amz-copy-source" in head.fields)
    if kind == "list":
        key = parameters.get("prefix", "")
    return S3Request(kind if bucket else "other", bucket, key)


SUBRESOURCES = frozenset(
    {"uploads", "uploadId", "tagging", "acl", "location", "versioning", "policy", "versions"}
)


def _kind(method: str, key: str, parameters: dict[str, str], copies: bool) -> str:
    if method == "POST":
        known = (("uploads", "create"), ("uploadId", "complete"), ("delete", "delete-many"))
        return next((kind for name, kind in known if name in parameters), "other")
    if method == "PUT" and "partNumber" in parameters:
        return "copy" if copies else "part"
    if method == "DELETE" and "uploadId" in parameters:
        return "abort"
    if method == "PROPFIND" or (method == "GET" and not key and not SUBRESOURCES & parameters.keys()):
        return "list"
    if not key or SUBRESOURCES & parameters.keys():
        return "other"
    if method == "PUT" and copies:
        return "copy"
    return {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}.get(method, "other")
