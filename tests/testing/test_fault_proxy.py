"""The fault proxy injects each fault into the requests that were chosen, and passes all others unharmed."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs.testing import FAULTS, KINDS, Fault, FaultProxy, S3Server
from tests.testing.raw_requests import BODY, HALF, Requests, connect
from tests.waiting import eventually


@pytest.fixture(scope="module")
def shared_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    if not s3_server.endpoint.startswith("http://"):
        pytest.skip("the proxy speaks plain http only")
    keys = {
        "access_key": s3_server.access_key,
        "secret_key": s3_server.secret_key,
        "region": s3_server.region,
    }
    with FaultProxy(s3_server.endpoint, **keys) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> FaultProxy:
    shared_proxy.set(latency=0, bandwidth=0)
    shared_proxy.clear()
    return shared_proxy


@pytest.fixture
def requests(s3_server: S3Server, proxy: FaultProxy, prefix: str) -> Requests:
    bucket, _, start = prefix.partition("/")
    return Requests(s3_server, proxy, bucket, start)


STATUSES = {
    "status-500": (500, b"InternalError"),
    "status-502": (502, b"<html>"),
    "status-503": (503, b"SlowDown"),
    "status-429": (429, b"TooManyRequests"),
    "status-403": (403, b"AccessDenied"),
    "status-404": (404, b"NoSuchKey"),
    "status-416": (416, b"InvalidRange"),
    "status-301": (301, b"PermanentRedirect"),
    "status-307": (307, b"TemporaryRedirect"),
    "expired-token": (400, b"ExpiredToken"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_an_error_of_a_status(proxy: FaultProxy, requests: Requests, name: str) -> None:
    status, code = STATUSES[name]
    proxy.inject(Fault("get", name, nth=2))
    assert requests.get().body == BODY
    reply = requests.get()
    assert (reply.status, reply.end) == (status, "complete")
    assert code in reply.body
    assert "retry-after" not in reply.headers
    assert requests.get().body == BODY
    assert (proxy.requests(), proxy.injected()) == ({"get": 3}, 1)


def test_retry_after_and_location(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("any", "status-503", retry_after=2.0))
    assert requests.get().headers["retry-after"] == "2"
    proxy.inject(Fault("any", "status-307"))
    assert requests.get().headers["location"].startswith(proxy.endpoint + "/" + requests.place["Bucket"])
    proxy.inject(Fault("any", "status-307", location="http://127.0.0.1:9/x"))
    assert requests.get().headers["location"] == "http://127.0.0.1:9/x"


@pytest.mark.parametrize("kind", KINDS)
def test_requests_of_every_kind_are_recognized(proxy: FaultProxy, requests: Requests, kind: str) -> None:
    proxy.inject(Fault(kind, "status-500"))
    reply = requests.any(kind)
    assert reply.status == 500
    assert (proxy.requests(), proxy.injected()) == ({kind: 1}, 1)


@pytest.mark.parametrize(
    ("name", "more", "received", "end"),
    [
        ("reset-before", {}, b"", "reset"),
        ("reset-body", {}, BODY[:HALF], "reset"),
        ("short-body", {}, BODY[:HALF], "short"),
        ("short-body", {"after": 7}, BODY[:7], "short"),
        ("short-chunked", {}, BODY[:HALF], "short"),
        ("short-length", {}, BODY[:HALF], "complete"),
        ("stall-before", {}, b"", "timeout"),
        ("stall-body", {}, BODY[:HALF], "timeout"),
        ("stall-body", {"seconds": 0.1}, BODY, "complete"),
        ("trickle", {"seconds": 0.01, "piece": 1024}, BODY, "complete"),
        ("trickle", {"seconds": 9.0, "piece": 7}, BODY[:7], "timeout"),
        ("slow", {"seconds": 9.0}, b"", "timeout"),
        ("slow", {"seconds": 0.1}, BODY, "complete"),
        ("black-hole", {}, b"", "timeout"),
        ("ignored-range", {}, BODY, "complete"),
    ],
)
def test_a_fault_of_a_body(
    proxy: FaultProxy, requests: Requests, name: str, more: dict[str, Any], received: bytes, end: str
) -> None:
    proxy.inject(Fault("any", name, **more))
    requests.silent_after = len(received) if end == "timeout" else None
    reply = requests.get(f"0-{len(BODY) - 1}")
    assert reply.end == end
    # What a reset overtakes is lost.
    assert received.startswith(reply.body) if end == "reset" else reply.body == received
    assert proxy.injected() == 1
    proxy.clear()
    requests.silent_after = None
    assert requests.get().body == BODY


def test_slow_and_trickle_take_their_time(proxy: FaultProxy, requests: Requests) -> None:
    for fault in (Fault("get", "slow", seconds=0.2), Fault("get", "trickle", seconds=0.05, piece=2560)):
        proxy.inject(fault)
        start = time.monotonic()
        assert requests.get().body == BODY
        assert time.monotonic() - start >= 0.15  # after each of the first 3 pieces of 4


@pytest.mark.parametrize(
    ("span", "other"),
    [("100-199", (200, 299)), (f"{len(BODY) - 100}-", (len(BODY) - 200, len(BODY) - 101)), ("0-", None)],
)
def test_another_range(
    proxy: FaultProxy, requests: Requests, span: str, other: tuple[int, int] | None
) -> None:
    first, last = other or (HALF, len(BODY) - 1)
    proxy.inject(Fault("get", "wrong-range"))
    reply = requests.get(span)
    assert (reply.status, reply.body) == (206, BODY[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{len(BODY)}"
    assert requests.get("0-9").body == BODY[:10]


def test_another_etag(proxy: FaultProxy, requests: Requests) -> None:
    right = requests.get().headers["etag"]
    proxy.inject(Fault("get", "wrong-etag"))
    assert requests.get().headers["etag"] != right
    assert requests.get().headers["etag"] == right


@pytest.mark.parametrize("size", [None, 10])
def test_an_object_overwritten_before_the_second_get(
    proxy: FaultProxy, requests: Requests, size: int | None
) -> None:
    proxy.inject(Fault("get", "overwritten", nth=2, size=size))
    assert requests.get().body == BODY
    assert requests.get().body == b"!" * (len(BODY) if size is None else size) == requests.stored()
    assert proxy.requests() == {"get": 2}


def test_an_object_overwritten_by_another_one(proxy: FaultProxy, requests: Requests) -> None:
    other = requests.start + "b"
    requests.server.put_object(Bucket=requests.place["Bucket"], Key=other, Body=b"other")
    proxy.inject(Fault("get", "overwritten", source=other))
    assert requests.get().body == b"other"


def test_nothing_is_overwritten_where_there_is_no_object(proxy: FaultProxy, requests: Requests) -> None:
    requests.server.delete_object(**requests.place)
    proxy.inject(Fault("get", "overwritten"))
    assert requests.get().status == 404
    assert requests.stored() is None


def test_an_object_deleted_before_the_second_get(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("get", "deleted", nth=2))
    assert requests.get().status == 200
    assert requests.get().status == 404


def test_wrong_listings(proxy: FaultProxy, requests: Requests) -> None:
    def page(name: str) -> bytes:
        proxy.inject(Fault("list", name))
        reply = requests.list()
        assert (reply.status, reply.end) == (200, "complete")
        return reply.body

    assert b"<KeyCount>0</KeyCount>" in page("list-empty")
    assert page("list-blank") == b""
    assert b"<html>" in page("list-html")
    assert b"<Error><Code>InternalError" in page("list-error")
    assert b"<IsTruncated>true" in page("list-repeated")
    assert requests.start.encode() + b"a" in requests.list().body


def test_a_page_repeated_for_ever(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("list", "list-repeated", times=None))
    first = requests.list()
    token = re.findall(rb"<NextContinuationToken>(.*?)</NextContinuationToken>", first.body)
    assert len(token) == 1
    assert requests.list(ContinuationToken=token[0].decode()).body == first.body
    assert requests.start.encode() + b"a" in first.body
    assert first.body.count(b"<IsTruncated>true</IsTruncated>") == 1


def test_a_client_sees_the_keys_of_a_repeated_page_each_time(
    proxy: FaultProxy, requests: Requests, s3_server: S3Server
) -> None:
    fs = opendalfs.S3FileSystem(skip_instance_cache=True, **proxy.through(s3_server.options))
    proxy.inject(Fault("list", "list-repeated", times=None))
    with pytest.raises(OSError, match="the same keys again and again"):
        fs.find(requests.place["Bucket"] + "/" + requests.start)


@pytest.mark.parametrize(
    ("name", "status", "end", "stored"),
    [
        ("status-500", 500, "complete", BODY),
        ("error-200", 200, "complete", BODY),
        ("reset-before", 0, "reset", BODY),
        ("reset-upload", 0, "reset", BODY),
        ("stall-before", 0, "timeout", BODY),
        ("after-500", 500, "complete", b"new" * 999),
        ("after-reset", 0, "reset", b"new" * 999),
        ("after-stall", 0, "timeout", b"new" * 999),
    ],
)
def test_a_put_that_fails(
    proxy: FaultProxy, requests: Requests, name: str, status: int, end: str, stored: bytes
) -> None:
    proxy.inject(Fault("put", name))
    requests.silent_after = 0 if end == "timeout" else None
    reply = requests.put(b"new" * 999)
    assert (reply.status, reply.end) == (status, end)
    assert eventually(lambda: requests.stored() == stored)
    assert proxy.injected() == 1
    requests.silent_after = None
    assert requests.put(b"newer").status == 200


def test_an_upload_that_fails_after_it_has_succeeded(proxy: FaultProxy, requests: Requests) -> None:
    client = requests.client
    proxy.inject(Fault("complete", "after-500"))
    upload = client.create_multipart_upload(**requests.place)["UploadId"]
    part = client.upload_part(**requests.place, UploadId=upload, PartNumber=1, Body=b"part")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    with pytest.raises(ClientError, match="InternalError"):
        client.complete_multipart_upload(**requests.place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert requests.stored() == b"part"
    assert proxy.requests() == {"create": 1, "part": 1, "complete": 1}


def test_copies_and_deletions_that_fail_after_they_have_succeeded(
    proxy: FaultProxy, requests: Requests
) -> None:
    copied = {**requests.place, "Key": requests.start + "b"}
    proxy.inject(*(Fault(kind, "after-500") for kind in ("copy", "delete", "delete-many")))
    with pytest.raises(ClientError, match="InternalError"):
        requests.client.copy_object(**copied, CopySource=requests.place)
    assert requests.server.get_object(**copied)["Body"].read() == BODY
    with pytest.raises(ClientError, match="InternalError"):
        requests.client.delete_object(**copied)
    with pytest.raises(ClientError, match="InternalError"):
        requests.client.delete_objects(
            Bucket=copied["Bucket"], Delete={"Objects": [{"Key": requests.place["Key"]}]}
        )
    assert b"<Key>" not in requests.list().body
    assert proxy.injected() == 3


def test_the_nth_request_and_how_many(proxy: FaultProxy, requests: Requests) -> None:
    def statuses(count: int) -> list[int]:
        return [requests.get().status for _ in range(count)]

    proxy.inject(Fault("get", "status-500", nth=2, times=2))
    requests.client.head_object(**requests.place)
    assert statuses(5) == [200, 500, 500, 200, 200]
    proxy.inject(Fault("get", "status-500", nth=3, times=None))
    assert statuses(5) == [200, 200, 500, 500, 500]
    proxy.inject(Fault("any", "status-500", times=None, key="elsewhere"))
    assert statuses(2) == [200, 200]
    assert (proxy.requests(), proxy.injected()) == ({"get": 2}, 0)


def test_a_random_fraction_is_the_same_for_a_seed(proxy: FaultProxy, requests: Requests) -> None:
    seen = []
    for seed in (1, 1, 2):
        proxy.inject(Fault("get", "status-503", times=None, fraction=0.3, seed=seed))
        seen.append([requests.get().status for _ in range(30)])
    assert seen[0] == seen[1] != seen[2]
    assert 0 < seen[0].count(503) < 20


def test_a_throttled_bucket_lets_its_rate_pass(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("any", "throttle", times=None, rate=20, burst=5))
    start = time.monotonic()
    passed = 0
    while passed < 15:
        passed += requests.any("head").status != 503  # unsigned, so the server refuses it
    assert time.monotonic() - start >= 0.45
    assert proxy.injected() > 0


def test_faults_combine(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(
        Fault("get", "slow", times=None, seconds=0.1),
        Fault("get", "status-503", nth=1),
        Fault("get", "status-403", nth=1, times=None),
    )
    start = time.monotonic()
    assert [requests.get().status for _ in range(2)] == [503, 403]
    assert time.monotonic() - start >= 0.2
    assert proxy.injected() == 4


def test_a_refused_and_an_unreachable_endpoint(proxy: FaultProxy, requests: Requests) -> None:
    address = urlsplit(proxy.endpoint)
    idle = socket.create_connection((str(address.hostname), address.port or 0), timeout=5)
    proxy.inject(Fault("any", "refused"))
    assert connect(proxy) == "refused"
    assert idle.recv(1) == b""
    idle.close()
    if sys.platform == "linux":
        proxy.inject(Fault("any", "unreachable"))
        assert connect(proxy) == "timeout"
    assert proxy.injected() == 1
    proxy.clear()
    assert requests.get().body == BODY


def test_clear_drops_the_connections_that_wait(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("get", "stall-before"))
    address = urlsplit(proxy.endpoint)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=5) as raw:
        raw.sendall(b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n")
        while not proxy.injected():
            pass
        proxy.clear()
        assert raw.recv(1) == b""
    assert (proxy.requests(), proxy.injected()) == ({}, 0)


def test_many_clients_at_once(proxy: FaultProxy, requests: Requests) -> None:
    proxy.inject(Fault("get", "status-503", times=20, fraction=0.5))

    def read(_: int) -> bool:
        reply = requests.get()
        return (reply.status, reply.body) == (200, BODY)

    with ThreadPoolExecutor(8) as pool:
        right = list(pool.map(read, range(100)))
    assert right.count(False) == 20 == proxy.injected()
    assert proxy.requests() == {"get": 100}


def test_large_bodies_pass_unharmed(proxy: FaultProxy, requests: Requests) -> None:
    body = os.urandom(20_000_003)
    proxy.inject(Fault("put", "status-500", nth=2), Fault("get", "status-500", nth=2))
    requests.client.put_object(**requests.place, Body=body)
    assert requests.client.get_object(**requests.place)["Body"].read() == body == requests.stored()


def test_latency_with_faults(proxy: FaultProxy, requests: Requests) -> None:
    proxy.set(latency=0.2, bandwidth=0)
    proxy.inject(Fault("get", "status-500"))
    for status in (500, 200):
        start = time.monotonic()
        assert requests.get().status == status
        assert time.monotonic() - start >= 0.2


def test_wrong_faults_are_errors() -> None:
    with pytest.raises(ValueError, match="unknown fault 'status-501'"):
        Fault("get", "status-501")
    with pytest.raises(ValueError, match="'head' cannot have the fault 'trickle'"):
        Fault("head", "trickle")
    with pytest.raises(ValueError, match="out of range: nth=0"):
        Fault("get", "trickle", nth=0)


def test_every_fault_has_an_action_and_a_test() -> None:
    from pathlib import Path

    from opendalfs.testing.processes.fault_actions import ACTIONS

    of_listener = {"refused", "unreachable", "slow"}
    assert ACTIONS.keys() | of_listener == FAULTS.keys()
    tested = Path(__file__).read_text()
    assert not [name for name in FAULTS if f'"{name}"' not in tested]
