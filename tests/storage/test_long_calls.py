"""Calls that make progress may take longer than one timeout in total."""

from __future__ import annotations

import threading
import time
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import opendalfs
from opendalfs.read.async_reader import IN_FLIGHT
from opendalfs.testing import Request, Response, ScriptedServer, drip, object_headers
from opendalfs.testing.scripted_server import ETAG

PART = 5 << 20
PAGE = 1000


def filesystem(server: ScriptedServer, **timeouts: float) -> Any:
    options = {"key": "k", "secret": "s", "endpoint_url": server.endpoint, **timeouts}
    return opendalfs.S3FileSystem(skip_instance_cache=True, **options)


def xml(text: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    return Response(200, {"Content-Length": str(len(body)), "Content-Type": "application/xml"}, [body])


class SlowBucket:
    """A bucket that takes its time for each request that changes something."""

    def __init__(self, keys: int = 0, seconds: float = 0.0) -> None:
        self.keys = {f"tree/{i:06}" for i in range(keys)}
        self.seconds = seconds
        self.deletes = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response | None:
        query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
        if request.method in ("PUT", "POST"):
            if not request.pause(self.seconds):
                return None
            if "delete" in query:
                return self.delete(request.body)
            if "uploads" in query:
                return xml(
                    "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                )
            if request.method == "PUT":
                return Response(200, {"ETag": ETAG, "Content-Length": "0"})
            return xml(f"<CompleteMultipartUploadResult><ETag>{ETAG}</ETag></CompleteMultipartUploadResult>")
        if "list-type" in query:
            return self.list(query)
        status = 200 if urlsplit(request.target).path.split("/", 2)[2] in self.keys else 404
        return Response(status, {"Content-Length": "0", "ETag": ETAG})

    def list(self, query: dict[str, list[str]]) -> Response:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        with self._lock:
            found = sorted(key for key in self.keys if key.startswith(prefix) and key > after)
        page = found[:PAGE]
        more = len(found) > PAGE
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>0</Size><LastModified>2026-11-25T00:00:00Z</LastModified><ETag>{ETAG}</ETag></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        return xml(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        )

    def delete(self, body: bytes) -> Response:
        keys = [element.text for element in ET.fromstring(body).iter() if element.tag.endswith("Key")]
        with self._lock:
            self.deletes += 1
            self.keys -= set(filter(None, keys))
        return xml(
            "<DeleteResult>"
            + "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            + "</DeleteResult>"
        )


def test_a_write_of_many_parts_may_take_longer_than_one_timeout() -> None:
    with ScriptedServer(SlowBucket(seconds=0.6)) as server:
        fs = filesystem(server, io_timeout=3, write_chunk=PART)
        begun = time.monotonic()
        fs.pipe_file("bucket/large", b"x" * (6 * PART), max_concurrency=1)
        assert time.monotonic() - begun > 3
        assert server.count("PUT") >= 6


@pytest.mark.services
def test_large_objects_read_many_at_a_time_may_take_longer_than_one_timeout() -> None:
    size = 8 << 20

    def answer(request: Request) -> Response | None:
        if request.method == "HEAD":
            return Response(200, object_headers(size))
        first, count = request.range(size)
        told = {**object_headers(count), "Content-Range": f"bytes {first}-{first + count - 1}/{size}"}
        return Response(206 if count < size else 200, told, drip(request, count, 0.1, 1 << 17))

    with ScriptedServer(answer) as server:
        # 6.4 s for the object, 0.8 s for each part.
        fs = filesystem(server, io_timeout=5, read_chunk=1 << 20)
        paths = [f"bucket/{i}" for i in range(IN_FLIGHT)]
        found = fs.cat(paths)
    assert {path: len(data) for path, data in found.items()} == dict.fromkeys(paths, size)


@pytest.mark.services
def test_a_tree_may_take_longer_to_remove_than_one_timeout() -> None:
    bucket = SlowBucket(keys=8 * PAGE, seconds=0.5)
    with ScriptedServer(bucket) as server:
        filesystem(server, timeout=3).rm("bucket/tree", recursive=True)
    assert not bucket.keys
    assert bucket.deletes >= 8


def test_a_removal_that_gets_nowhere_ends() -> None:
    bucket = SlowBucket(keys=10, seconds=60)
    with ScriptedServer(bucket) as server, pytest.raises(TimeoutError):
        filesystem(server, timeout=1).rm("bucket/tree", recursive=True)
    assert len(bucket.keys) == 10
