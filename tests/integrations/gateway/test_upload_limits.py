"""Unfinished uploads are bounded in number and in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs.testing import Request, Response, ScriptedServer
from opendalfs_gateway import part_queue, uploads
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, status_of
from tests.integrations.gateway.sockets import connect, head_of, status_after
from tests.waiting import eventually


@pytest.fixture
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


# Uploads


def begin(mounted: Mounted, key: str) -> dict[str, Any]:
    found = mounted.s3.create_multipart_upload(**mounted.at(key))
    return {**mounted.at(key), "UploadId": found["UploadId"]}


def test_unfinished_uploads_are_bounded_in_number(server: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_UPLOADS", 5)
    mounted = Mounted(server, "many")
    first = begin(mounted, "first")
    for i in range(4):
        begin(mounted, str(i))
    # All are in use, so that none is given up for another one.
    with pytest.raises(ClientError) as error:
        begin(mounted, "more")
    assert status_of(error) == 503
    assert server.uploads == 5
    monkeypatch.setattr(uploads, "_IDLE_SECONDS", 0.0)
    last = begin(mounted, "last")
    assert server.uploads == 5
    with pytest.raises(ClientError) as error:
        mounted.s3.upload_part(**first, PartNumber=1, Body=b"x")
    assert status_of(error) == 404
    mounted.s3.upload_part(**last, PartNumber=1, Body=b"x")


def test_unfinished_uploads_are_bounded_in_memory(server: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MAX_BYTES", 2_500_000)
    monkeypatch.setattr(uploads, "_IDLE_SECONDS", 0.0)
    mounted = Mounted(server, "large")
    for i in range(5):
        # The second part waits for the first, which never comes.
        begun = begin(mounted, str(i))
        mounted.s3.upload_part(**begun, PartNumber=2, Body=b"x" * 1_000_000)
    assert server.uploads <= 3
    assert part_queue.BUDGET.held <= 3_000_000


def test_a_stopped_server_releases_the_memory_of_its_uploads() -> None:
    server = Gateway()
    mounted = Mounted(server, "stopped")
    # The second part waits for the first, which never comes.
    mounted.s3.upload_part(**begin(mounted, "a"), PartNumber=2, Body=b"x" * 1_000_000)
    held = part_queue.BUDGET.held
    gc.disable()
    try:
        server.stop()
        assert part_queue.BUDGET.held <= held - 1_000_000
    finally:
        gc.enable()


def test_parts_that_wait_for_earlier_ones_are_bounded_over_all_uploads(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    assert eventually(lambda: part_queue.BUDGET.held == 0)
    monkeypatch.setattr(part_queue.BUDGET, "limit", 1_500_000)
    monkeypatch.setattr(part_queue, "_WAIT_SECONDS", 0.2)
    mounted = Mounted(server, "wait")
    first, second = begin(mounted, "1"), begin(mounted, "2")
    mounted.s3.upload_part(**first, PartNumber=2, Body=b"x" * 1_000_000)
    with pytest.raises(ClientError) as error:
        mounted.s3.upload_part(**second, PartNumber=2, Body=b"x" * 1_000_000)
    assert status_of(error) == 503
    # The part that is due has room, and what waited is written after it.
    mounted.s3.upload_part(**first, PartNumber=1, Body=b"x" * 1_000_000)
    assert eventually(lambda: part_queue.BUDGET.held == 0)
    mounted.s3.upload_part(**second, PartNumber=2, Body=b"x" * 1_000_000)
    for begun in (first, second):
        mounted.s3.abort_multipart_upload(**begun)
    assert part_queue.BUDGET.held == 0


def test_a_part_is_refused_by_its_size_before_it_is_read(server: Gateway) -> None:
    mounted = Mounted(server, "part")
    begun = begin(mounted, "a")
    key = f"a?partNumber=1&uploadId={begun['UploadId']}"
    with connect(server) as connection:
        request = head_of(mounted, key, "PUT", f"Content-Length: {10**17}", "Expect: 100-continue")
        assert status_after(connection, request) == 400


def test_completed_uploads_are_forgotten() -> None:
    server = Gateway(upload_expiry=0.2)
    mounted = Mounted(server, "completed")
    begun = begin(mounted, "a")
    etag = mounted.s3.upload_part(**begun, PartNumber=1, Body=b"x")["ETag"]
    parts = [{"PartNumber": 1, "ETag": etag}]
    mounted.s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})
    assert eventually(lambda: not server._uploads._uploads)
    assert mounted.get("a") == b"x"
    server.stop()


# Sizes

LIE = 9 * 10**18


@pytest.mark.parametrize("asked", [None, "bytes=0-", f"bytes=0-{LIE}", f"bytes={LIE // 2}-"])
def test_a_size_that_cannot_be_costs_an_error(server: Gateway, asked: str | None) -> None:
    def answer(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(200, {"Content-Length": str(LIE), "ETag": '"1"'})
        return Response(206, {"Content-Length": "5", "ETag": '"1"'}, [b"12345"])

    with ScriptedServer(answer) as storage:
        options = {"endpoint_url": storage.endpoint, "key": "k", "secret": "s", "region": "r", "retries": 0}
        mounted = Mounted(server, "lake", write=False, fs=opendalfs.filesystem("s3", **options))
        with pytest.raises(ClientError) as error:
            mounted.get("a", **({"Range": asked} if asked else {}))
        # There is less than was told, so that it cannot be the object of which the size was told.
        assert status_of(error) == 412
        assert storage.count("GET") <= 10
