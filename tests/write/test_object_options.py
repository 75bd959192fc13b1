"""Options of a write that a service stores with an object: metadata, storage class, encryption."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.storage import operators
from opendalfs.testing import Moto, Request, Response, ScriptedServer
from opendalfs.write.options import write_target

MiB = 1 << 20

OURS = {
    "content_type": "text/x-test",
    "content_disposition": "attachment",
    "content_encoding": "gzip",
    "cache_control": "no-store",
    "metadata": {"who": "me"},
    "storage_class": "STANDARD_IA",
    "server_side_encryption": "aws:kms",
    "kms_key_id": "a-key",
}
OF_S3FS = {
    "ContentType": "text/x-test",
    "ContentDisposition": "attachment",
    "ContentEncoding": "gzip",
    "CacheControl": "no-store",
    "Metadata": {"who": "me"},
    "StorageClass": "STANDARD_IA",
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "a-key",
}


@pytest.fixture
def moto(moto_server: Moto) -> opendalfs.S3FileSystem:
    return opendalfs.S3FileSystem(**moto_server.options, skip_instance_cache=True)


def head(server: Moto, path: str) -> dict[str, Any]:
    """Return what the server stores with an object, in the names of `OF_S3FS`."""
    bucket, _, key = path.partition("/")
    found: dict[str, Any] = server.client.head_object(Bucket=bucket, Key=key)
    return {name: found[name] for name in OF_S3FS if name in found}


async def write(fs: Any, way: str, path: str, data: bytes, tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "file").write_bytes(data)
    if way in ("pipe", "pipe_file"):
        getattr(fs, way)(path, data, **options)
    elif way in ("put", "put_file"):
        getattr(fs, way)(str(tmp_path / "file"), path, **options)
    elif way == "open":
        with fs.open(path, "wb", **options) as file:
            file.write(data)
    else:
        async with await fs.open_async(path, "wb", **options) as file:
            await file.write(data)


WAYS = ["pipe", "pipe_file", "put", "put_file", "open", "open_async"]


@pytest.mark.parametrize(
    ("way", "options", "size"),
    [
        *((way, options, 3) for way in WAYS for options in (OURS, OF_S3FS)),
        *((way, OF_S3FS, 11 * MiB) for way in ("pipe", "open")),
    ],
)
async def test_s3_stores_the_options_of_one_write(
    moto: Any, moto_server: Moto, way: str, options: dict[str, Any], size: int, tmp_path: Path
) -> None:
    path = f"{moto_server.bucket}/options-{way}"
    await write(moto, way, path, b"x" * size, tmp_path, options)
    assert head(moto_server, path) == OF_S3FS
    # The next write has none of them.
    moto.pipe_file(path, b"x")
    assert not head(moto_server, path).keys() & {"StorageClass", "SSEKMSKeyId", "CacheControl"}
    assert moto.metadata(path) == {}


def test_info_shows_what_the_service_returns(moto: Any, moto_server: Moto) -> None:
    path = f"{moto_server.bucket}/options-info"
    moto.pipe_file(path, b"x", **OF_S3FS)
    info = moto.info(path, refresh=True)
    assert info["ContentType"] == info["content_type"] == "text/x-test"
    assert (info["content_encoding"], info["content_disposition"]) == ("gzip", "attachment")
    assert info["metadata"] == moto.metadata(path) == {"who": "me"}
    assert moto.getxattr(path, "who") == "me"


def test_an_acl_is_sent(capture: ScriptedServer) -> None:
    fs = opendalfs.filesystem("s3", endpoint_url=capture.endpoint, key="k", secret="s", region="x")
    fs.pipe_file("lake/key", b"x", ACL="public-read")
    assert capture.requests[-1].headers["x-amz-acl"] == "public-read"


def test_requests_with_and_without_options_share_one_limit() -> None:
    fs = opendalfs.filesystem("s3", region="x", anon=True, concurrency=3, skip_instance_cache=True)
    plain = fs.locate("lake/key")[0]
    target, options = write_target(plain, {"StorageClass": "GLACIER", "ContentType": "a/b"})
    assert target is not plain
    assert target.limit is plain.limit
    assert options == {"content_type": "a/b"}
    assert write_target(plain, {"StorageClass": "GLACIER"})[0] is target
    assert write_target(plain, {"StorageClass": None})[0] is plain


def test_limits_of_writes_with_options_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_MAX_CONNECTIONS", 4)
    monkeypatch.setattr(operators, "_connections", OrderedDict())
    monkeypatch.setattr(operators, "_limits", OrderedDict())
    fs = opendalfs.filesystem("s3", region="x", anon=True, skip_instance_cache=True)
    plain = fs.locate("lake/key")[0]
    for i in range(9):
        assert write_target(plain, {"StorageClass": f"CLASS-{i}"})[0].limit is plain.limit
    assert len(operators._limits) == len(operators._connections) == 4


# Other services


def stored(request: Request) -> Response | None:
    """Respond as a service that takes every write, whole or in parts."""
    if request.method == "POST" and request.target.endswith("uploads"):
        return Response(200, {}, b"<R><UploadId>u</UploadId></R>")
    if request.method == "POST" and "uploadId" in request.target:
        return Response(200, {}, b"<R><ETag>x</ETag></R>")
    return Response(200, {"ETag": '"x"', "Content-Length": "0"})


@pytest.fixture
def capture() -> Iterator[ScriptedServer]:
    with ScriptedServer(stored) as server:
        yield server


def test_gcs_takes_the_options_of_gcsfs(capture: ScriptedServer) -> None:
    def respond(request: Request) -> Response:
        return Response(200, {}, json.dumps({"name": "key", "size": "1"}).encode())

    capture.respond = respond
    fs = opendalfs.filesystem("gcs", endpoint=capture.endpoint, anon=True, skip_instance_cache=True)
    options: dict[str, Any] = {
        "content_type": "text/x-test",
        "metadata": {"who": "me"},
        "cache_control": "no-store",
        "fixed_key_metadata": {"content_encoding": "gzip"},
        "storage_class": "NEARLINE",
        "acl": "publicRead",
    }
    fs.pipe_file("lake/key", b"x", **options)
    request = capture.requests[0]
    assert "predefinedAcl=publicRead" in request.target
    assert json.loads(request.body.split(b"\r\n\r\n")[1].partition(b"\r\n")[0]) == {
        "contentType": "text/x-test",
        "contentEncoding": "gzip",
        "storageClass": "NEARLINE",
        "cacheControl": "no-store",
        "metadata": {"who": "me"},
    }


@pytest.mark.parametrize(
    ("scheme", "options", "name"),
    [
        ("azblob", {"account_name": "a", "anon": True}, "content_encoding"),
        ("azblob", {"account_name": "a", "anon": True}, "StorageClass"),
        ("gcs", {"anon": True}, "ContentDisposition"),
        ("gcs", {"anon": True}, "SSEKMSKeyId"),
        ("webdav", {}, "cache_control"),
        ("webdav", {}, "ACL"),
    ],
)
async def test_an_option_that_the_service_lacks_is_an_error_before_anything_is_sent(
    capture: ScriptedServer, scheme: str, options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    fs = opendalfs.filesystem(scheme, endpoint=capture.endpoint, skip_instance_cache=True, **options)
    for way in set(WAYS) - {"put"}:
        with pytest.raises(ValueError, match=f"the service {scheme} takes no"):
            await write(fs, way, "lake/key", b"x", tmp_path, {name: "x"})
    assert capture.requests == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"Tagging": "a=b"}, "unknown option of a write: 'Tagging'"),
        ({"StorageClass": ""}, "invalid StorageClass: ''"),
        ({"content_type": 3}, "invalid content_type: 3"),
        ({"metadata": "who=me"}, "invalid metadata: 'who=me'"),
        ({"Metadata": {"who": 1}}, r"invalid Metadata\['who'\]: 1"),
        ({"SSECustomerKey": "secret"}, "unknown option of a write: 'SSECustomerKey'"),
        ({"kms_key_id": "a-key"}, "kms_key_id without an encryption: pass server_side_encryption= too"),
        ({"SSEKMSKeyId": "a-key"}, "kms_key_id without an encryption"),
        ({"content_type": "a/b", "ContentType": "c/d"}, "content_type and ContentType are the same option"),
        ({"metadata": {"a": "b"}, "user_metadata": {}}, "metadata and user_metadata are the same option"),
        ({"chunksize": 1 << 20, "block_size": 2 << 20}, "chunksize and block_size are the same option"),
        ({"acl": "private", "ACL": "public-read"}, "acl and ACL are the same option"),
        (
            {"content_type": "a/b", "fixed_key_metadata": {"ContentType": "c/d"}},
            "content_type and ContentType are the same option",
        ),
        (
            {"content_type": "a/b", "fixed_key_metadata": {"content_type": "c/d"}},
            "fixed_key_metadata and content_type are the same option",
        ),
    ],
)
def test_a_wrong_option_is_an_error(capture: ScriptedServer, options: dict[str, Any], says: str) -> None:
    fs = opendalfs.filesystem("s3", endpoint_url=capture.endpoint, anon=True, region="x")
    with pytest.raises(OptionError, match=says) as caught:
        fs.pipe_file("lake/key", b"x", **options)
    assert "secret" not in str(caught.value)
    assert capture.requests == []


def test_two_names_of_one_option_may_agree(capture: ScriptedServer) -> None:
    fs = opendalfs.filesystem("s3", endpoint_url=capture.endpoint, anon=True, region="x")
    options = {"content_type": "a/b", "ContentType": "a/b", "acl": None, "ACL": "private"}
    fs.pipe_file("lake/key", b"x", block_size=None, chunksize=1 << 20, blocksize=0, **options)
    headers = capture.requests[-1].headers
    assert (headers["content-type"], headers["x-amz-acl"]) == ("a/b", "private")


def test_a_key_of_kms_takes_the_encryption_of_the_filesystem(capture: ScriptedServer) -> None:
    fs = opendalfs.filesystem(
        "s3", endpoint_url=capture.endpoint, anon=True, region="x", server_side_encryption="aws:kms"
    )
    fs.pipe_file("lake/key", b"x", kms_key_id="a-key")
    assert capture.requests[-1].headers["x-amz-server-side-encryption-aws-kms-key-id"] == "a-key"


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, "text/csv"),
        ({"content_type": None}, "text/csv"),
        ({"fixed_key_metadata": {"content_type": "a/b"}}, "a/b"),
        ({"fixed_key_metadata": {"ContentType": "a/b"}}, "a/b"),
        ({"content_type": None, "fixed_key_metadata": {"content_type": "a/b"}}, "a/b"),
        ({"ContentType": "a/b"}, "a/b"),
    ],
)
def test_a_content_type_is_guessed_only_if_none_is_given(
    capture: ScriptedServer, tmp_path: Path, options: dict[str, Any], sent: str
) -> None:
    fs = opendalfs.filesystem("s3", endpoint_url=capture.endpoint, anon=True, region="x")
    (tmp_path / "a.csv").write_bytes(b"1,2")
    fs.put_file(str(tmp_path / "a.csv"), "lake/a", **options)
    assert capture.requests[-1].headers["content-type"] == sent


# Objects in parts

SENT = """
import json, sys
import opendalfs
for scheme, options, writes in json.load(sys.stdin):
    fs = opendalfs.filesystem(scheme, retries=0, **options)
    for name, value in writes.items():
        for kind, size in (("whole", 3), ("parts", (5 << 20) + 1)):
            try:
                parts = {"chunksize": 1} if kind == "parts" else {}
                if name == "kms_key_id":
                    parts["server_side_encryption"] = "aws:kms"
                fs.pipe_file("lake/key", bytes(size), **parts, **{name: value})
            except opendalfs.OptionError as exc:
                print(scheme, name, kind, str(exc).partition(":")[0], sep="|")
"""
NAMES = (
    "content_type",
    "content_disposition",
    "content_encoding",
    "cache_control",
    "metadata",
    "storage_class",
    "server_side_encryption",
    "kms_key_id",
    "acl",
)
SERVICES: dict[str, dict[str, Any]] = {
    "cos": {"endpoint": "http://cos.test", "secret_id": "k", "secret_key": "s"},
    "gcs": {"endpoint": "http://gcs.test", "anon": True},
    "obs": {"endpoint": "http://obs.test", "access_key_id": "k", "secret_access_key": "s"},
    "oss": {"endpoint": "http://oss.test", "key": "k", "secret": "s"},
    "s3": {"endpoint": "http://s3.test", "key": "k", "secret": "s", "region": "x"},
    "swift": {"endpoint": "http://swift.test/v1/a", "token": "t"},
}


def test_no_option_is_lost_when_an_object_is_written_in_parts() -> None:
    """OpenDAL leaves out some options when it starts an upload; those are errors."""

    def respond(request: Request) -> Response | None:
        if "uploadType=" in request.target:
            return Response(200, {}, json.dumps({"name": "key", "size": "3"}).encode())
        return stored(request)

    values = {scheme: {name: f"{scheme}-{name}" for name in NAMES} for scheme in SERVICES}
    writes = {
        scheme: {name: {"who": text} if name == "metadata" else text for name, text in found.items()}
        for scheme, found in values.items()
    }
    with ScriptedServer(respond) as proxy:
        done = subprocess.run(
            [sys.executable, "-c", SENT],
            env={**os.environ, "http_proxy": proxy.endpoint, "PYTHONDONTWRITEBYTECODE": "1"},
            input=json.dumps([(scheme, options, writes[scheme]) for scheme, options in SERVICES.items()]),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    refused = {tuple(line.split("|")[:3]): line.split("|")[3] for line in done.stdout.splitlines()}
    begins = re.compile(r"\?uploads$|multipart-manifest=put")
    for scheme, found in values.items():
        for name, text in found.items():
            sent = [request for request in proxy.requests if text in request.text]
            kinds = {"parts" if begins.search(request.target) else "whole" for request in sent}
            accepted = {"whole", "parts"} - {kind for s, n, kind in refused if (s, n) == (scheme, name)}
            assert kinds == accepted, (scheme, name)
    assert {key[:2] for key, text in refused.items() if text.startswith("an upload in parts")} == {
        *(("gcs", name) for name in ("acl", "storage_class")),
        *(("obs", name) for name in ("cache_control", "metadata")),
        ("oss", "metadata"),
        *(("swift", f"content_{name}") for name in ("disposition", "encoding", "type")),
        ("swift", "cache_control"),
    }


@pytest.mark.parametrize("scheme", ["azblob", "azdls"])
@pytest.mark.parametrize("way", ["pipe_file", "open"])
async def test_azure_gets_parts_and_not_blocks_of_256_kib(
    capture: ScriptedServer, scheme: str, way: str, tmp_path: Path
) -> None:
    options = {"account_name": "a", "account_key": "YQ==", "endpoint": capture.endpoint}
    fs = opendalfs.filesystem(scheme, skip_instance_cache=True, **options)
    await write(fs, way, "lake/key", bytes(17 * MiB), tmp_path, {})
    sizes = [len(request.body) for request in capture.requests]
    assert sorted(size for size in sizes if size >= MiB) == [MiB, 8 * MiB, 8 * MiB]
    assert sum(sizes) < 17 * MiB + 10_000
    capture.requests.clear()
    await write(fs, way, "lake/key", bytes(MiB), tmp_path, {"chunksize": 1000})
    assert max(len(request.body) for request in capture.requests) == MiB // 4


# Copies


def test_a_copy_takes_the_encryption(capture: ScriptedServer) -> None:
    def respond(request: Request) -> Response:
        if "x-amz-copy-source" in request.headers:
            return Response(200, {}, b'<CopyObjectResult><ETag>"x"</ETag></CopyObjectResult>')
        return Response(200, {"ETag": '"x"', "Content-Length": "1"})

    capture.respond = respond
    fs = opendalfs.filesystem("s3", endpoint_url=capture.endpoint, key="k", secret="s", region="x")
    fs.cp_file("lake/a", "lake/b", ServerSideEncryption="aws:kms", SSEKMSKeyId="a-key")
    copy = next(request for request in capture.requests if "x-amz-copy-source" in request.headers)
    assert copy.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "a-key"
    sent = len(capture.requests)
    for options in ({"StorageClass": "GLACIER"}, {"ContentType": "a/b"}, {"Tagging": "a=b"}):
        with pytest.raises(OptionError, match="a copy within s3 takes no"):
            fs.cp_file("lake/a", "lake/b", **options)
    assert len(capture.requests) == sent


def test_a_copy_to_another_bucket_keeps_metadata_and_takes_options(moto: Any, moto_server: Moto) -> None:
    source, target = f"{moto_server.bucket}/options-copy", "options-other/copy"
    moto_server.make_bucket("options-other")
    given = {name: value for name, value in OF_S3FS.items() if name != "CacheControl"}
    moto.pipe_file(source, b"x", **given)
    moto.cp(source, target, StorageClass="GLACIER")
    expected = {k: v for k, v in given.items() if k not in ("ServerSideEncryption", "SSEKMSKeyId")}
    found = head(moto_server, target)
    assert {name: found[name] for name in expected} == {**expected, "StorageClass": "GLACIER"}
