"""The gateway as other S3 clients see it: who may ask what, and what is answered."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs_gateway.server import Gateway, gateway
from tests.integrations.gateway_client import Mounted, client_of, status_of
from tests.waiting import eventually

PART = 5 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


@pytest.fixture
def mounted(server: Gateway) -> Mounted:
    return Mounted(server, f"gateway-{os.urandom(8).hex()}")


# Reading


@pytest.mark.parametrize("size", [0, 10, 100_000, 20_000_000])
def test_reads(mounted: Mounted, size: int) -> None:
    data = os.urandom(size)
    mounted.fs.pipe_file(f"{mounted.name}/a", data)
    assert mounted.get("a") == data
    head = mounted.s3.head_object(**mounted.at("a"))
    assert head["ContentLength"] == size
    assert head["LastModified"]
    if size:
        assert mounted.get("a", Range="bytes=-4") == data[-4:]
        assert mounted.get("a", Range="bytes=3-8") == data[3:9]
        assert mounted.get("a", Range="bytes=5-") == data[5:]
        assert mounted.get("a", Range=f"bytes=2-{size + 5}") == data[2:]


def test_ranges_outside_are_416(mounted: Mounted) -> None:
    mounted.fs.pipe_file(f"{mounted.name}/a", b"12345")
    with pytest.raises(ClientError) as error:
        mounted.get("a", Range="bytes=5-9")
    assert status_of(error) == 416


def test_missing_objects_and_buckets_are_404(mounted: Mounted) -> None:
    for call in (mounted.get, lambda key: mounted.s3.head_object(**mounted.at(key))):
        with pytest.raises(ClientError) as error:
            call("missing")
        assert status_of(error) == 404
    with pytest.raises(ClientError) as error:
        mounted.s3.get_object(Bucket="mount-0", Key=mounted.prefix + "a")
    assert error.value.response["Error"]["Code"] == "NoSuchBucket"


def test_conditions_on_etags(mounted: Mounted) -> None:
    mounted.fs.pipe_file(f"{mounted.name}/a", b"12345")
    etag = mounted.s3.head_object(**mounted.at("a"))["ETag"]
    assert mounted.get("a", IfMatch=etag) == b"12345"
    with pytest.raises(ClientError) as error:
        mounted.get("a", IfMatch='"other"')
    assert status_of(error) == 412


def test_a_read_of_one_scan_stays_with_one_version(mounted: Mounted) -> None:
    mounted.fs.pipe_file(f"{mounted.name}/a", b"old old old")
    assert mounted.get("a", Range="bytes=-3") == b"old"
    mounted.fs.pipe_file(f"{mounted.name}/a", b"new new new new")
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            mounted.get("a", Range="bytes=0-2")
        assert status_of(error) == 412
    # Another scan does not mend, nor break, the first one.
    other = mounted.server.mount(mounted.fs, mounted.name, write=True)
    key = urlsplit(other).path.lstrip("/") + "a"
    assert mounted.s3.get_object(Bucket=mounted.bucket, Key=key, Range="bytes=-3")["Body"].read() == b"new"
    with pytest.raises(ClientError):
        mounted.get("a", Range="bytes=0-2")
    assert mounted.get("a", Range="bytes=-3") == b"new"


@pytest.mark.parametrize("name", ["a b", "50%", "p%20q", "c+d", "e#f", "g?h", "ü ✓", "<&>\"'", "x=y;z"])
def test_odd_keys(mounted: Mounted, name: str) -> None:
    mounted.s3.put_object(**mounted.at(f"d/{name}"), Body=b"1")
    assert mounted.fs.cat_file(f"{mounted.name}/d/{name}") == b"1"
    assert mounted.get(f"d/{name}") == b"1"
    found = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/")
    assert [item["Key"] for item in found["Contents"]] == [f"{mounted.prefix}d/{name}"]
    found = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/{name[:2]}")
    assert found["KeyCount"] == 1


def test_listings_are_paged(mounted: Mounted) -> None:
    keys = sorted(f"d/{i % 7}/{i:04}" for i in range(2500))
    mounted.fs.pipe({f"{mounted.name}/{key}": b"x" for key in keys})
    pages = mounted.s3.get_paginator("list_objects_v2").paginate(
        Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/"
    )
    with opendalfs.trace() as trace:
        found = [item["Key"] for page in pages for item in page["Contents"]]
    assert found == [mounted.prefix + key for key in keys]
    assert len([r for r in trace.records if r.operation == "list"]) == 1
    # A page that is no longer kept is listed anew.
    first = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/", MaxKeys=10)
    for _ in range(2):
        again = mounted.s3.list_objects_v2(
            Bucket=mounted.bucket,
            Prefix=f"{mounted.prefix}d/",
            MaxKeys=10,
            ContinuationToken=first["NextContinuationToken"],
        )
        assert [i["Key"] for i in again["Contents"]] == [mounted.prefix + k for k in keys[10:20]]
    shallow = mounted.s3.list_objects_v2(
        Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/", Delimiter="/", MaxKeys=3
    )
    assert [p["Prefix"] for p in shallow["CommonPrefixes"]] == [f"{mounted.prefix}d/{i}/" for i in range(3)]
    assert shallow["IsTruncated"]
    after = mounted.s3.list_objects_v2(
        Bucket=mounted.bucket, Prefix=f"{mounted.prefix}d/", StartAfter=found[-2]
    )
    assert [i["Key"] for i in after["Contents"]] == [found[-1]]


def test_an_empty_listing(mounted: Mounted) -> None:
    found = mounted.s3.list_objects_v2(Bucket=mounted.bucket, Prefix=f"{mounted.prefix}nothing/")
    assert found["KeyCount"] == 0


# Writing


def test_puts(mounted: Mounted) -> None:
    data = os.urandom(9_000_000)
    digest = base64.b64encode(hashlib.md5(data).digest()).decode()
    mounted.s3.put_object(**mounted.at("a"), Body=data, ContentMD5=digest)
    assert mounted.fs.cat_file(f"{mounted.name}/a") == data
    mounted.s3.put_object(**mounted.at("a"), Body=b"", ChecksumAlgorithm="CRC32")
    assert mounted.fs.cat_file(f"{mounted.name}/a") == b""


def test_what_is_compressed_is_stored_as_it_came(mounted: Mounted) -> None:
    data = gzip.compress(b"12345")
    mounted.s3.put_object(**mounted.at("a"), Body=data, ContentEncoding="gzip")
    assert mounted.fs.cat_file(f"{mounted.name}/a") == data


def test_puts_of_new_objects_only(mounted: Mounted) -> None:
    mounted.s3.put_object(**mounted.at("a"), Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        mounted.s3.put_object(**mounted.at("a"), Body=b"2", IfNoneMatch="*")
    assert status_of(error) == 412
    assert mounted.get("a") == b"1"


def begin(mounted: Mounted, key: str) -> dict[str, Any]:
    upload = mounted.s3.create_multipart_upload(**mounted.at(key))
    return {**mounted.at(key), "UploadId": upload["UploadId"]}


def put_part(mounted: Mounted, upload: dict[str, Any], number: int, data: bytes) -> dict[str, Any]:
    answer = mounted.s3.upload_part(**upload, PartNumber=number, Body=data)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(mounted: Mounted, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    mounted.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def test_parts_come_in_any_order_and_show_when_complete(mounted: Mounted) -> None:
    data = [os.urandom(PART), os.urandom(PART), os.urandom(PART), os.urandom(10)]
    upload = begin(mounted, "a")
    parts = {n: put_part(mounted, upload, n, data[n - 1]) for n in (4, 2, 1, 3)}
    assert not mounted.fs.exists(f"{mounted.name}/a", refresh=True)
    listed = [parts[n] for n in (1, 2, 3, 4)]
    complete(mounted, upload, listed)
    assert mounted.fs.cat_file(f"{mounted.name}/a") == b"".join(data)
    # A client that missed the answer asks again.
    complete(mounted, upload, listed)


def test_parts_may_be_sent_twice_but_not_changed(mounted: Mounted) -> None:
    upload = begin(mounted, "a")
    first = put_part(mounted, upload, 1, b"x" * PART)
    assert put_part(mounted, upload, 1, b"x" * PART) == first
    with pytest.raises(ClientError) as error:
        put_part(mounted, upload, 1, b"y" * PART)
    assert status_of(error) == 409
    complete(mounted, upload, [first])
    assert mounted.fs.cat_file(f"{mounted.name}/a") == b"x" * PART


def test_numbers_of_parts_may_have_holes(mounted: Mounted) -> None:
    upload = begin(mounted, "a")
    complete(mounted, upload, [put_part(mounted, upload, n, bytes([n]) * PART) for n in (2, 5, 9)])
    assert mounted.fs.cat_file(f"{mounted.name}/a") == b"".join(bytes([n]) * PART for n in (2, 5, 9))


def test_what_is_listed_must_have_come(mounted: Mounted) -> None:
    upload = begin(mounted, "a")
    part = put_part(mounted, upload, 1, b"x" * PART)
    for listed in ([{**part, "ETag": '"0-0"'}], [part, {**part, "PartNumber": 2}]):
        with pytest.raises(ClientError) as error:
            complete(mounted, upload, listed)
        assert status_of(error) == 400
    assert not mounted.fs.exists(f"{mounted.name}/a", refresh=True)


def test_more_parts_than_may_be_held_wait_for_the_first(mounted: Mounted) -> None:
    upload = begin(mounted, "a")
    data = [bytes([n]) * (8 << 20) for n in range(13)]
    with ThreadPoolExecutor(13) as threads:
        late = [threads.submit(put_part, mounted, upload, n, data[n - 1]) for n in range(13, 1, -1)]
        first = threads.submit(put_part, mounted, upload, 1, data[0])
        parts = sorted((f.result() for f in [first, *late]), key=lambda part: part["PartNumber"])
    complete(mounted, upload, parts)
    assert mounted.fs.cat_file(f"{mounted.name}/a") == b"".join(data)


def test_aborted_uploads_leave_nothing(mounted: Mounted) -> None:
    upload = begin(mounted, "a")
    part = put_part(mounted, upload, 1, b"x" * PART)
    mounted.s3.abort_multipart_upload(**upload)
    with pytest.raises(ClientError) as error:
        complete(mounted, upload, [part])
    assert status_of(error) == 404
    assert not mounted.fs.exists(f"{mounted.name}/a", refresh=True)


def test_orphaned_uploads_expire() -> None:
    server = Gateway(upload_expiry=0.2)
    mounted = Mounted(server, "orphans")
    upload = begin(mounted, "a")
    assert eventually(lambda: not server.uploads)
    with pytest.raises(ClientError) as error:
        put_part(mounted, upload, 1, b"x")
    assert status_of(error) == 404
    server.stop()


def test_a_body_cut_short_writes_nothing(mounted: Mounted) -> None:
    port = int(mounted.server.endpoint.rpartition(":")[2])
    key = mounted.server.storage_options["aws_access_key_id"]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("PUT", f"/{mounted.bucket}/{mounted.prefix}a")
    connection.putheader("Authorization", f"AWS4-HMAC-SHA256 Credential={key}/20260101/x/s3/aws4_request")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"only this")
    connection.close()
    time.sleep(0.2)
    assert not mounted.fs.exists(f"{mounted.name}/a", refresh=True)


# Who may ask


@pytest.mark.parametrize("wrong", ["", "minioadmin", "0" * 40])
def test_a_wrong_access_key_is_403(mounted: Mounted, wrong: str) -> None:
    mounted.fs.pipe_file(f"{mounted.name}/a", b"1")
    client = client_of(mounted.server, aws_access_key_id=wrong or "x")
    for call in (client.get_object, client.head_object, client.delete_object):
        with pytest.raises(ClientError) as error:
            call(**mounted.at("a"))
        assert status_of(error) == 403
    with pytest.raises(ClientError) as error:
        client.list_objects_v2(Bucket=mounted.bucket)
    assert status_of(error) == 403


def test_another_gateway_is_another_key(mounted: Mounted) -> None:
    other = Gateway()
    with pytest.raises(ClientError) as error:
        client_of(other, aws_endpoint_url=mounted.server.endpoint).get_object(**mounted.at("a"))
    assert status_of(error) == 403
    assert other.storage_options["aws_access_key_id"] != mounted.server.storage_options["aws_access_key_id"]
    other.stop()


def test_a_request_without_a_signature_is_403(mounted: Mounted) -> None:
    """Nor does a key in the URL, where it would show, open anything."""
    port = int(mounted.server.endpoint.rpartition(":")[2])
    key = mounted.server.storage_options["aws_access_key_id"]
    for query in ("", f"?X-Amz-Credential={key}/20260101/us-east-1/s3/aws4_request&X-Amz-Signature=0"):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"/{mounted.bucket}/{mounted.prefix}a{query}")
        assert connection.getresponse().status == 403
        connection.close()


def raw_get(
    mounted: Mounted, path: str, method: str = "GET", *headers: tuple[str, str], data: bytes = b""
) -> int:
    """Ask for a path as it stands; clients resolve dots by themselves."""
    port = int(mounted.server.endpoint.rpartition(":")[2])
    key = mounted.server.storage_options["aws_access_key_id"]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.putheader("Authorization", f"AWS4-HMAC-SHA256 Credential={key}/20260101/x/s3/aws4_request")
    for header in headers:
        connection.putheader(*header)
    connection.endheaders(data)
    status = connection.getresponse().status
    connection.close()
    return status


def test_paths_do_not_leave_the_mount(mounted: Mounted) -> None:
    mounted.fs.pipe_file("elsewhere/secret", b"1")
    here = f"/{mounted.bucket}/{mounted.prefix}"
    for path in (
        "../elsewhere/secret",
        "%2e%2e/elsewhere/secret",
        "..%2felsewhere%2fsecret",
        "a/../../elsewhere",
    ):
        assert raw_get(mounted, here + path) in (403, 404)
    assert raw_get(mounted, f"/{mounted.bucket}/elsewhere/secret") == 404
    assert raw_get(mounted, f"/{mounted.bucket}/x/elsewhere/secret") == 404
    assert raw_get(mounted, f"/{mounted.bucket}/?list-type=2&prefix=elsewhere/") == 404
    assert raw_get(mounted, f"/{mounted.bucket}/?list-type=2&prefix=") == 404
    assert raw_get(mounted, here + "a//b") in (400, 404)


def test_requests_that_make_no_sense_are_refused(mounted: Mounted, caplog: pytest.LogCaptureFixture) -> None:
    mounted.fs.pipe_file(f"{mounted.name}/a", b"12345")
    path, many = f"/{mounted.bucket}/{mounted.prefix}a", "9" * 5000
    listed = f"/{mounted.bucket}?list-type=2&prefix={mounted.prefix}"
    assert raw_get(mounted, path, "GET", ("Range", f"bytes={many}-")) == 200
    assert raw_get(mounted, f"{listed}&max-keys={many}") == 400
    assert raw_get(mounted, f"{listed}&max-keys=-1") == 400
    assert raw_get(mounted, path, "PUT") == 411
    assert raw_get(mounted, path, "PUT", ("x-amz-decoded-content-length", many)) == 411
    chunked = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("Content-Length", "3000000")
    line = b"1" * 3_000_000
    assert raw_get(mounted, path, "PUT", ("x-amz-decoded-content-length", "3"), *chunked, data=line) == 400
    for method in ("PATCH", "OPTIONS", "TRACE", "DELETE", "POST"):
        assert raw_get(mounted, path, method) == 405
    for query in ("acl", "tagging", "uploads"):
        assert raw_get(mounted, f"{path}?{query}") == 405
    assert not caplog.records
    # These come no further than the parser of HTTP.
    assert raw_get(mounted, path, "GET", ("X-Much", "x" * 100_000)) == 400
    assert raw_get(mounted, path + "a" * 100_000) == 400
    assert mounted.get("a") == b"12345"


def test_mounts_are_read_only_unless_asked(server: Gateway) -> None:
    mounted = Mounted(server, "read-only", write=False)
    calls = (
        lambda: mounted.s3.put_object(**mounted.at("a"), Body=b"1"),
        lambda: mounted.s3.create_multipart_upload(**mounted.at("a")),
        lambda: mounted.s3.delete_object(**mounted.at("a")),
    )
    for call in calls:
        with pytest.raises(ClientError) as error:
            call()
        assert status_of(error) == 403
    assert not mounted.fs.exists("read-only/a", refresh=True)


def test_objects_are_not_deleted_or_copied(mounted: Mounted) -> None:
    mounted.s3.put_object(**mounted.at("a"), Body=b"1")
    with pytest.raises(ClientError) as error:
        mounted.s3.delete_object(**mounted.at("a"))
    assert status_of(error) == 405
    with pytest.raises(ClientError) as error:
        mounted.s3.copy_object(**mounted.at("b"), CopySource=mounted.at("a"))
    assert status_of(error) == 405
    assert mounted.get("a") == b"1"


def test_only_the_loopback_is_served(server: Gateway) -> None:
    assert server.endpoint.startswith("http://127.0.0.1:")


def test_errors_of_storage_are_told(server: Gateway) -> None:
    options = {"key": "k", "secret": "very-secret", "endpoint_url": "http://127.0.0.1:9", "retries": 0}
    fs = opendalfs.filesystem("s3", **options)
    url = urlsplit(server.mount(fs, "lake"))
    with pytest.raises(ClientError) as error:
        client_of(server).get_object(Bucket=url.netloc, Key=url.path.lstrip("/") + "a")
    assert status_of(error) == 424
    assert "very-secret" not in str(error.value)
    assert "Cannot reach the server" in str(error.value)


# Its life


def test_one_gateway_a_process() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len({id(g) for g in threads.map(lambda _: gateway(), range(32))}) == 1


def test_secrets_are_in_no_repr(server: Gateway) -> None:
    fs = opendalfs.filesystem("s3", key="access", secret="very-secret", region="r")
    base = server.mount(fs, "lake")
    mounts = repr(server._mounts.find(urlsplit(base).netloc))
    for secret in (
        "very-secret",
        *(server.storage_options[f"aws_{n}"] for n in ("access_key_id", "secret_access_key")),
    ):
        assert secret not in repr(server) + mounts + base


SCRIPT = """
import os, sys
import polars as pl
import opendalfs_polars as op
op.write_csv(pl.DataFrame({"a": [1, 2]}), "opendal+memory://x/a.csv")
assert op.read_csv("opendal+memory://x/a.csv")["a"].sum() == 3
print("fine")
"""


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("given", [{}, {"no_proxy": "example.org"}, {"NO_PROXY": "*"}])
def test_a_proxy_in_the_environment_is_no_hindrance(given: dict[str, str]) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    script = f"{SCRIPT}\nprint([n for n in os.environ if n.lower() == 'no_proxy'])"
    assert run(script, **proxies, **given) == f"fine\n{list(given)}\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_SESSION_TOKEN", "x"),
        ("AWS_REQUEST_PAYER", "true"),
        ("AWS_CHECKSUM_ALGORITHM", "sha256"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms"),
    ],
)
def test_what_the_environment_says_of_s3_is_not_for_the_gateway(name: str, value: str) -> None:
    assert run(SCRIPT, **{name: value}) == "fine\n"


def test_processes_exit_cleanly_with_a_query_under_way() -> None:
    script = (
        SCRIPT
        + """
import threading
def forever():
    while True:
        try:
            op.read_csv("opendal+memory://x/a.csv")
        except BaseException:
            return
threading.Thread(target=forever, daemon=True).start()
"""
    )
    assert run(script) == "fine\n"


FORK = """
import os
import opendalfs
from opendalfs_gateway.server import gateway
parent = gateway()
if {used}:
    opendalfs.filesystem("memory").pipe_file("x/a", b"1")
pid = os.fork()
if pid == 0:
    code = 1
    try:
        child = gateway()
        code = 0 if child.endpoint != parent_endpoint else 2
        child.stop()
    except opendalfs.ForkError:
        code = 3
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""".replace("pid = os.fork()", "parent_endpoint = parent.endpoint\npid = os.fork()")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("used", "code"), [(False, "0"), (True, "3")])
def test_a_forked_child_starts_its_own_or_says_why_not(used: bool, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK.format(used=used)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == code


def test_stopping_twice_is_no_error() -> None:
    found = Gateway()
    found.stop()
    found.stop()
    assert not any(t is found._thread for t in threading.enumerate())
