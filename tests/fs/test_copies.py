"""Copies that the server refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import opendalfs
from opendalfs.testing import Request, Response, ScriptedServer

_REFUSED = b"<Error><Code>InvalidRequest</Code><Message>the copy source is too large</Message></Error>"
_UPLOAD = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_URL = "opendal+s3://bucket/a.bin"
_CALLS: dict[str, Callable[..., Any]] = {
    "fsspec": lambda options: opendalfs.filesystem("s3", **options).mv(_URL, f"{_URL}.copy"),
    "duckdb": lambda options: opendalfs.duckdb("s3", **options).mv(_URL, f"{_URL}.copy"),
}


@pytest.mark.parametrize(("size", "reads"), [(6_000_000_000, True), (6_000_000, False)])
@pytest.mark.parametrize("call", _CALLS)
def test_only_an_object_too_large_for_a_server_copy_is_read(call: str, size: int, reads: bool) -> None:
    def respond(request: Request) -> Response:
        if request.method == "HEAD" and request.target.endswith("a.bin"):
            return Response(200, {"Content-Length": str(size), "ETag": '"1"'})
        if request.method == "POST":
            return Response(200, {"Content-Type": "application/xml"}, _UPLOAD)
        if request.method == "PUT":
            return Response(400, {"Content-Type": "application/xml"}, _REFUSED)
        return Response(404)

    with ScriptedServer(respond) as server:
        options = {"endpoint_url": server.endpoint, "key": "k", "secret": "s", "retries": 0}
        with pytest.raises(OSError, match=r"a\.bin"):
            _CALLS[call](options)
        assert (
            any(request.method == "GET" and "range" in request.headers for request in server.requests)
            == reads
        )
        assert all("uploadId=1" in r.target for r in server.requests if r.method == "DELETE")
