"""Who may do what through a server: reads only, nothing outside of its directory, this machine only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs_gateway import S3Endpoint, bucket_handlers, endpoint
from tests.integrations.serve.client import Bucket, Raw, client_of, code_of, status_of


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a").write_bytes(b"1")
    (tmp_path / "served-too").mkdir()
    (tmp_path / "served-too" / "secret").write_bytes(b"2")
    (tmp_path / "secret").write_bytes(b"2")
    return tmp_path


@pytest.fixture
def on_disk(disk: Path) -> Iterator[S3Endpoint]:
    with opendalfs.serve(str(disk / "served"), writable=True) as server:
        yield server


def test_a_server_is_read_only_unless_it_was_made_for_writing(disk: Path) -> None:
    with opendalfs.serve(str(disk / "served")) as server:
        bucket, raw = Bucket(server), Raw(server)
        at = {"Bucket": server.bucket, "Key": "a"}
        calls = (
            lambda: bucket.s3.put_object(**at, Body=b"2"),
            lambda: bucket.s3.delete_object(**at),
            lambda: bucket.s3.delete_objects(Bucket=server.bucket, Delete={"Objects": [{"Key": "a"}]}),
            lambda: bucket.s3.copy_object(Bucket=server.bucket, Key="b", CopySource=at),
            lambda: bucket.s3.create_multipart_upload(**at),
            lambda: bucket.s3.create_bucket(Bucket=server.bucket),
        )
        for call in calls:
            with pytest.raises(ClientError, match="writable=True") as error:
                call()
            assert (status_of(error), code_of(error)) == (403, "AccessDenied")
        for method in ("PATCH", "TRACE", "OPTIONS", "POST"):
            assert raw.call(method, f"/{server.bucket}/a").status == 403
        assert bucket.s3.get_object(**at)["Body"].read() == b"1"
    assert (disk / "served" / "a").read_bytes() == b"1"
    assert sorted(path.name for path in (disk / "served").iterdir()) == ["a"]


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "a/../../secret",
        "%2e%2e%2fserved-too%2fsecret",
        "./../secret",
        "x/%2E%2E/%2E%2E/secret",
        "../served-too/secret",
        "%2fsecret",
        "/secret",
        "..%00/secret",
        "..%5csecret",
    ],
)
def test_no_path_leaves_the_served_directory(disk: Path, on_disk: S3Endpoint, key: str) -> None:
    raw = Raw(on_disk)
    path = f"/{on_disk.bucket}/{key}"
    for method, data in (("GET", b""), ("HEAD", b""), ("PUT", b"3"), ("DELETE", b"")):
        answer = raw.send(method, path, raw.signed(method, path, data), data)
        assert answer.status >= 400 or (method in ("PUT", "DELETE") and answer.status in (200, 204)), method
        assert answer.body != b"2"
    copy = {"x-amz-copy-source": f"/{on_disk.bucket}/{key}"}
    assert raw.call("PUT", f"/{on_disk.bucket}/copied", headers=copy).status >= 400
    prefix = f"/{on_disk.bucket}?list-type=2&prefix={key.replace('/', '%2F')}"
    assert b"secret" not in raw.call("GET", prefix).body.partition(b"<Contents>")[2]
    assert (disk / "secret").read_bytes() == (disk / "served-too" / "secret").read_bytes() == b"2"
    assert {path.name for path in disk.iterdir()} == {"served", "served-too", "secret"}


def test_requests_for_another_host_are_refused(server: S3Endpoint, raw: Raw) -> None:
    """A page in a browser may have made its own name lead to this machine; it cannot change the header."""
    path = f"/{server.bucket}?list-type=2"
    port = server.endpoint.rpartition(":")[2]
    for host in (f"attacker.example:{port}", "attacker.example", "127.0.0.1", f"127.0.0.1.nip.io:{port}"):
        raw.host = host
        answer = raw.call("GET", path)
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert b"another host" in answer.body
    raw.host = f"localhost:{port}"
    assert raw.send("GET", path, raw.signed("GET", path)).status == 200


def test_no_response_allows_pages_of_other_origins(server: S3Endpoint, raw: Raw) -> None:
    origin = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "PUT"}
    for answer in (
        raw.send("OPTIONS", f"/{server.bucket}/a", origin),
        raw.send("GET", f"/{server.bucket}/a", origin),
        raw.call("GET", f"/{server.bucket}?list-type=2", headers=origin),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_only_the_loopback_is_served_by_default(server: S3Endpoint) -> None:
    assert server.endpoint.startswith("http://127.0.0.1:")


def test_secrets_are_in_no_repr_and_keys_are_random(server: S3Endpoint) -> None:
    with opendalfs.serve("opendal+s3://b", key="access", secret="very-secret", region="r") as other:
        text = repr(other) + repr(other._access) + repr(other._directory) + repr(server)
        for secret in ("very-secret", other.access_key, other.secret_key, server.secret_key):
            assert secret not in text
        assert other.secret_key != server.secret_key
        assert len(other.secret_key) >= 40


def test_a_closed_server_refuses_connections(raw: Raw) -> None:
    with opendalfs.serve("opendal+memory://closed") as server:
        raw = Raw(server)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        raw.call("GET", f"/{server.bucket}")


def test_arguments_are_checked(tmp_path: Path) -> None:
    memory = opendalfs.filesystem("memory")
    with pytest.raises(ValueError, match="invalid bucket"):
        opendalfs.serve(memory, bucket="No")
    with pytest.raises(opendalfs.OptionError, match="already has its options"):
        opendalfs.serve(memory, region="r")
    with pytest.raises(TypeError, match="cannot serve LocalFileSystem"):
        opendalfs.serve(fsspec.filesystem("file"))
    with pytest.raises(opendalfs.UnsupportedError, match="cannot write"):
        opendalfs.serve("opendal+http://127.0.0.1:1/", writable=True)
    with opendalfs.serve(memory, path="x") as server:
        with pytest.raises(ValueError, match="unknown dialect"):
            server.storage_options("sql")
        with pytest.raises(OSError, match="in use"):
            opendalfs.serve(memory, port=int(server.endpoint.rpartition(":")[2]))
    rooted = opendalfs.OpendalFileSystem("fs", root=str(tmp_path))
    rooted.pipe_file("in/a", b"1")
    with opendalfs.serve(rooted, path="in") as server:
        assert client_of(server).list_objects_v2(Bucket=server.bucket)["KeyCount"] == 1


def test_bodies_that_would_fill_memory_are_refused(raw: Raw, server: S3Endpoint) -> None:
    path = f"/{server.bucket}/huge"
    size = str(bucket_handlers.MAX_IN_MEMORY + 1)
    headers = raw.signed("PUT", path, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    answer = raw.send("PUT", path, {**headers, "Content-Length": size, "Expect": "100-continue"})
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


def test_uploads_that_would_fill_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_IN_MEMORY", 10)
    with opendalfs.serve("opendal+memory://large", writable=True) as server:
        s3 = client_of(server)
        at = {"Bucket": server.bucket, "Key": "a"}
        begun = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
        first = s3.upload_part(**begun, PartNumber=1, Body=b"x" * 10)["ETag"]
        with pytest.raises(ClientError) as error:
            s3.upload_part(**begun, PartNumber=2, Body=b"y")
        assert (status_of(error), code_of(error)) == (400, "EntityTooLarge")
        s3.put_object(**{**at, "Key": "b"}, Body=b"y")
        source = {"Bucket": server.bucket, "Key": "b"}
        with pytest.raises(ClientError) as error:
            s3.upload_part_copy(**begun, PartNumber=2, CopySource=source)
        assert (status_of(error), code_of(error)) == (400, "EntityTooLarge")
        s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": first}]})
        assert s3.get_object(**at)["Body"].read() == b"x" * 10
