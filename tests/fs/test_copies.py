"""Copies that the server refuses, and those that would lose something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
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


# Two containers, between which the bytes pass through this process. OpenDAL leaves these headers out of an
# upload in parts.
_EMPTY = {
    "oss": b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
    "swift": b"[]",
}
_LOSING: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "oss": (
        {"key": "k", "secret": "s", "addressing_style": "path"},
        {"x-oss-meta-who": "me"},
        "user_metadata",
    ),
    "swift": ({"token": "t"}, {"content-type": "text/csv"}, "content_type"),
}
_SIZE = 9 << 20
_NO_BLOBS = b"<?xml version='1.0'?><EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>"
_BLOBS = _NO_BLOBS.replace(
    b"<Blobs>",
    b"<Blobs><Blob><Name>tree/x</Name><Properties>"
    b"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>"
    b"<Etag>1</Etag><Content-Length>5</Content-Length></Properties></Blob>",
)


@pytest.fixture
def store() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: None) as server:
        yield server


def serve(server: ScriptedServer, scheme: str, kept: dict[str, str]) -> str:
    """Make a server return one object with some headers, and take all writes; return the endpoint."""

    def respond(request: Request) -> Response:
        headers = {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", **kept}
        if request.method == "HEAD":
            found = request.target.endswith("/x")
            return Response(200, {**headers, "Content-Length": str(_SIZE)}) if found else Response(404)
        if request.method == "GET" and "range" not in request.headers:
            return Response(200, {"Content-Type": "application/json"}, _EMPTY[scheme])
        if request.method == "GET":
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{_SIZE}"
            return Response(206, headers, bytes(int(last) - int(first) + 1))
        return Response(204 if request.method == "DELETE" else 201, {"ETag": '"1"'})

    server.respond = respond
    return f"{server.endpoint}/v1/a" if scheme == "swift" else server.endpoint


@pytest.mark.parametrize("call", ["mv", "cp"])
@pytest.mark.parametrize("scheme", _LOSING)
def test_what_an_upload_in_parts_would_lose_is_an_error_before_anything_is_read(
    scheme: str, call: str, store: ScriptedServer
) -> None:
    options, kept, lost = _LOSING[scheme]
    endpoint = serve(store, scheme, kept)
    fs: Any = opendalfs.filesystem(scheme, endpoint=endpoint, skip_instance_cache=True, **options)
    with pytest.raises(OptionError, match=f"{lost}: pass a chunksize= larger.*\n.*write_chunk=") as caught:
        getattr(fs, call)("one/x", "two/y")
    assert len(str(caught.value).partition("\n")[0]) < 120
    assert {request.method for request in store.requests} <= {"HEAD", "GET"}
    assert all("range" not in request.headers for request in store.requests)


@pytest.mark.parametrize("scheme", _LOSING)
def test_a_move_in_one_part_keeps_what_parts_would_lose(scheme: str, store: ScriptedServer) -> None:
    options, kept, _ = _LOSING[scheme]
    endpoint, size = serve(store, scheme, kept), _SIZE + 1
    calls = (("mv", {"write_chunk": size}, {}), ("cp", {}, {"chunksize": size}))
    for call, of_filesystem, of_copy in calls:
        fs: Any = opendalfs.filesystem(
            scheme, endpoint=endpoint, skip_instance_cache=True, **options, **of_filesystem
        )
        store.requests.clear()
        getattr(fs, call)("one/x", "two/y", **of_copy)
        (put,) = (request for request in store.requests if request.method == "PUT")
        assert len(put.body) == _SIZE
        assert kept.items() <= put.headers.items()
        assert any(request.method == "DELETE" for request in store.requests) == (call == "mv")


def test_a_content_type_that_says_nothing_is_no_error_in_parts(store: ScriptedServer) -> None:
    endpoint = serve(store, "swift", {"content-type": "application/octet-stream"})
    fs: Any = opendalfs.filesystem("swift", endpoint=endpoint, token="t", skip_instance_cache=True)
    fs.cp("one/x", "two/y")
    assert sum(len(request.body) for request in store.requests) >= _SIZE


@pytest.mark.parametrize("call", ["mv", "cp", "mv a tree"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_copy_on_azure_that_has_only_begun_is_awaited(call: str, ends: bool, store: ScriptedServer) -> None:
    """Azure copies after its response, and the target is empty until then (Microsoft, "Copy Blob")."""
    lookups = iter(range(1000))

    def respond(request: Request) -> Response:
        if request.method == "PUT":
            return Response(202, {"x-ms-copy-id": "1", "x-ms-copy-status": "pending", "ETag": '"1"'})
        if "restype=container" in request.target:
            return Response(
                200, {"Content-Type": "application/xml"}, _BLOBS if "=tree" in request.target else _NO_BLOBS
            )
        if request.method != "HEAD":
            return Response(202)
        if request.target.endswith("/tree/x"):
            return Response(200, {"ETag": '"1"', "Content-Length": "5"})
        if not any(one.method == "PUT" for one in store.requests):
            return Response(404)
        size = "5" if ends and next(lookups) > 1 else "0"
        return Response(200, {"ETag": '"2"', "Content-Length": size})

    store.respond = respond
    options = {"account_name": "a", "account_key": "YQ==", "io_timeout": 30 if ends else 0.5}
    fs: Any = opendalfs.filesystem("azblob", endpoint=store.endpoint, skip_instance_cache=True, **options)
    paths = ("lake/tree", "lake/copied") if call == "mv a tree" else ("lake/tree/x", "lake/copied")
    work = partial(getattr(fs, call[:2]), *paths, recursive=call == "mv a tree")
    if ends:
        work()
    else:
        with pytest.raises(TimeoutError, match="has not copied all 5 bytes in time"):
            work()
    assert any(request.method == "DELETE" for request in store.requests) == (ends and call != "cp")
    if ends:
        assert next(lookups) > 2


@pytest.mark.parametrize("call", ["mv", "rename", "move"])
async def test_a_move_takes_no_options_of_a_copy(call: str) -> None:
    fs: Any = opendalfs.filesystem("memory", skip_instance_cache=True)
    fs.pipe_file("moves/a", b"x")
    with pytest.raises(OptionError, match="a move takes no ContentType: leave it out, or copy with it"):
        getattr(fs, call)("moves/a", "moves/b", ContentType="a/b")
    with pytest.raises(OptionError, match="a move takes no ContentType"):
        await fs._mv_file("moves/a", "moves/b", ContentType="a/b")
    with pytest.raises(OptionError, match="a move takes no on_error='ignore'"):
        getattr(fs, call)("moves/a", "moves/b", on_error="ignore")
    assert fs.find("moves") == ["moves/a"]
    # fsspec's own options.
    getattr(fs, call)("moves", "moved", recursive=True, maxdepth=None, on_error="raise", batch_size=2)
    assert fs.cat_file("moved/a") == b"x"
