"""Requests that the gateway refuses: keys, signatures, paths, methods."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, client_of, status_of

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
    """Send a GET of a path unchanged: S3 clients resolve dots themselves."""
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
        assert raw_get(mounted, f"{path}?{query}") == 501
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


def test_secrets_are_in_no_repr(server: Gateway) -> None:
    fs = opendalfs.filesystem("s3", key="access", secret="very-secret", region="r")
    base = server.mount(fs, "lake")
    mounts = repr(server._mounts.find(urlsplit(base).netloc))
    for secret in (
        "very-secret",
        *(server.storage_options[f"aws_{n}"] for n in ("access_key_id", "secret_access_key")),
    ):
        assert secret not in repr(server) + mounts + base
