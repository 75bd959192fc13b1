"""The requests of S3 clients: boto3 and s3fs over a writable server."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import s3fs
from botocore.exceptions import ClientError

import opendalfs
from opendalfs.testing import Fault, FaultProxy, S3Server
from opendalfs_gateway import S3Endpoint
from tests.integrations.serve.client import Bucket, code_of, status_of

PART = 5 << 20


@pytest.fixture
def bucket(server: S3Endpoint) -> Bucket:
    return Bucket(server)


# Objects


def test_an_object_is_stored_and_read(bucket: Bucket) -> None:
    for key in ("plain", "a b+c%&=?#'\"<ä€𝄞>", "nested/deep/er"):
        etag = bucket.put(key, b"0123456789")
        found = bucket.s3.head_object(**bucket.at(key))
        assert (found["ContentLength"], found["ETag"]) == (10, etag)
        assert bucket.get(key) == b"0123456789"
        assert bucket.keys(bucket.list()).count(key) == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-3", b"0123"),
        ("bytes=8-", b"89"),
        ("bytes=-2", b"89"),
        ("bytes=-99", b"0123456789"),
        ("bytes=5-99", b"56789"),
        ("bytes=0-0", b"0"),
    ],
)
def test_ranges(bucket: Bucket, asked: str, expected: bytes) -> None:
    bucket.put("a", b"0123456789")
    answer = bucket.s3.get_object(**bucket.at("a"), Range=asked)
    assert answer["Body"].read() == expected
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    start = b"0123456789".index(expected)
    assert answer["ContentRange"] == f"bytes {start}-{start + len(expected) - 1}/10"


def test_a_range_past_the_end_is_416(bucket: Bucket) -> None:
    bucket.put("a", b"0123456789")
    with pytest.raises(ClientError) as error:
        bucket.get("a", Range="bytes=10-")
    assert (status_of(error), code_of(error)) == (416, "InvalidRange")


def test_reads_under_conditions(bucket: Bucket) -> None:
    etag = bucket.put("a", b"1")
    assert bucket.get("a", IfMatch=etag) == b"1"
    assert bucket.get("a", IfNoneMatch='"other"') == b"1"
    before, after = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    assert bucket.get("a", IfModifiedSince=before, IfUnmodifiedSince=after) == b"1"
    for options, status in (
        ({"IfMatch": '"other"'}, 412),
        ({"IfNoneMatch": etag}, 304),
        ({"IfNoneMatch": "*"}, 304),
        ({"IfModifiedSince": after}, 304),
        ({"IfUnmodifiedSince": before}, 412),
    ):
        for call in (bucket.s3.get_object, bucket.s3.head_object):
            with pytest.raises(ClientError) as error:
                call(**bucket.at("a"), **options)
            assert status_of(error) == status, options


def test_a_missing_object_is_404(bucket: Bucket) -> None:
    with pytest.raises(ClientError) as error:
        bucket.get("missing")
    assert (status_of(error), code_of(error)) == (404, "NoSuchKey")
    bucket.s3.delete_object(**bucket.at("missing"))


def test_an_object_replaced_by_another_program_is_read_anew(bucket: Bucket) -> None:
    fs = opendalfs.filesystem("memory")
    path = f"{bucket.server._directory.root}/{bucket.folder}/a"
    bucket.put("a", b"old")
    assert bucket.get("a") == b"old"
    for content in (b"newer and longer", b"", b"short"):
        fs.pipe_file(path, content)
        assert bucket.get("a") == content
        assert bucket.get("a", Range="bytes=-3") == content[-3:] if content else True


# Conditional writes


def test_only_a_new_object_is_written(bucket: Bucket) -> None:
    bucket.put("a", b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        bucket.put("a", b"2", IfNoneMatch="*")
    assert (status_of(error), code_of(error)) == (412, "PreconditionFailed")
    assert bucket.get("a") == b"1"


def test_only_the_version_that_was_read_is_replaced(bucket: Bucket) -> None:
    first = bucket.put("a", b"1")
    second = bucket.put("a", b"2", IfMatch=first)
    assert second != first
    assert second == bucket.s3.head_object(**bucket.at("a"))["ETag"]
    with pytest.raises(ClientError) as error:
        bucket.put("a", b"3", IfMatch=first)
    assert status_of(error) == 412
    with pytest.raises(ClientError) as error:
        bucket.put("missing", b"3", IfMatch=first)
    assert (status_of(error), code_of(error)) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as error:
        bucket.s3.delete_object(**bucket.at("a"), IfMatch=first)
    assert status_of(error) == 412
    bucket.s3.delete_object(**bucket.at("a"), IfMatch=second)
    assert bucket.keys(bucket.list()) == []


def test_what_would_be_lost_is_refused(bucket: Bucket) -> None:
    for options in (
        {"Metadata": {"a": "b"}},
        {"ACL": "public-read"},
        {"StorageClass": "GLACIER"},
        {"ServerSideEncryption": "AES256"},
        {"Tagging": "a=b"},
        {"ContentEncoding": "gzip"},
        {"CacheControl": "no-cache"},
        {"ContentDisposition": "attachment"},
        {"ContentLanguage": "en"},
        {"Expires": datetime(2030, 1, 1, tzinfo=UTC)},
    ):
        with pytest.raises(ClientError) as error:
            bucket.put("a", b"1", **options)
        assert (status_of(error), code_of(error)) == (501, "NotImplemented")
    with pytest.raises(ClientError) as error:
        bucket.put("folder/", b"")
    assert status_of(error) == 501
    # boto3 sends "Expect: 100-continue".
    assert error.value.response["ResponseMetadata"]["HTTPHeaders"]["connection"] == "close"
    with pytest.raises(ClientError) as error:
        bucket.s3.create_multipart_upload(**bucket.at("a"), ContentEncoding="gzip")
    assert status_of(error) == 501
    assert bucket.keys(bucket.list()) == []
    bucket.put("a", b"1", ACL="private", StorageClass="STANDARD", ContentType="text/plain")
    # botocore adds the encoding of the chunks.
    bucket.put("a", b"2", ContentEncoding="aws-chunked", ChecksumAlgorithm="CRC32")
    assert bucket.get("a") == b"2"


def test_checksums_are_verified(bucket: Bucket) -> None:
    right = base64.b64encode(hashlib.md5(b"1").digest()).decode()
    bucket.put("a", b"1", ContentMD5=right)
    for options in ({"ContentMD5": right}, {"ChecksumSHA256": base64.b64encode(bytes(32)).decode()}):
        with pytest.raises(ClientError) as error:
            bucket.put("b", b"2", **options)
        assert (status_of(error), code_of(error)) == (400, "BadDigest")
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        bucket.put("c", b"3", ChecksumAlgorithm=algorithm)
    assert bucket.keys(bucket.list()) == ["a", "c"]


# Multipart uploads, copies, removals


def begin(bucket: Bucket, key: str, data: list[bytes]) -> dict[str, Any]:
    upload = {**bucket.at(key), "UploadId": bucket.s3.create_multipart_upload(**bucket.at(key))["UploadId"]}
    parts = []
    for number, piece in enumerate(data, 1):
        etag = bucket.s3.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    return {**upload, "MultipartUpload": {"Parts": parts}}


def test_a_multipart_upload(bucket: Bucket) -> None:
    data = [os.urandom(PART), os.urandom(PART), b"end"]
    answer = bucket.s3.complete_multipart_upload(**begin(bucket, "a", data))
    assert bucket.get("a") == b"".join(data)
    assert answer["ETag"] == bucket.s3.head_object(**bucket.at("a"))["ETag"]


def test_a_multipart_upload_of_a_new_object_only(bucket: Bucket) -> None:
    first, second = begin(bucket, "a", [b"1"]), begin(bucket, "a", [b"2"])
    bucket.s3.complete_multipart_upload(**first, IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        bucket.s3.complete_multipart_upload(**second, IfNoneMatch="*")
    assert (status_of(error), code_of(error)) == (412, "PreconditionFailed")
    assert bucket.get("a") == b"1"
    etag = bucket.s3.head_object(**bucket.at("a"))["ETag"]
    bucket.s3.complete_multipart_upload(**begin(bucket, "a", [b"3"]), IfMatch=etag)
    assert bucket.get("a") == b"3"


def test_copies(bucket: Bucket) -> None:
    source = bucket.put("a b", b"0123456789")
    for key, options in (
        ("b", {}),
        ("c", {"IfNoneMatch": "*"}),
        ("d", {"CopySourceIfMatch": source}),
        ("a b", {"MetadataDirective": "REPLACE"}),
    ):
        answer = bucket.s3.copy_object(**bucket.at(key), CopySource=bucket.at("a b"), **options)
        assert bucket.get(key) == b"0123456789"
        assert answer["CopyObjectResult"]["ETag"] == bucket.s3.head_object(**bucket.at(key))["ETag"]
    for options in (
        {"IfNoneMatch": "*"},
        {"IfMatch": '"other"'},
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": source},
    ):
        with pytest.raises(ClientError) as error:
            bucket.s3.copy_object(**bucket.at("b"), CopySource=bucket.at("a b"), **options)
        assert status_of(error) == 412, options
    with pytest.raises(ClientError) as error:
        bucket.s3.copy_object(**bucket.at("x"), CopySource=bucket.at("missing"))
    assert status_of(error) == 404


def test_parts_are_copied(bucket: Bucket) -> None:
    bucket.put("a", b"0123456789")
    begun = {**bucket.at("b"), "UploadId": bucket.s3.create_multipart_upload(**bucket.at("b"))["UploadId"]}
    parts = []
    for number, asked in ((1, {"CopySourceRange": "bytes=2-4"}), (2, {})):
        answer = bucket.s3.upload_part_copy(**begun, PartNumber=number, CopySource=bucket.at("a"), **asked)
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    bucket.s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert bucket.get("b") == b"2340123456789"


def test_removals(bucket: Bucket) -> None:
    for key in ("a", "b", "c", "d"):
        bucket.put(key, b"1")
    bucket.s3.delete_object(**bucket.at("a"))
    listed = [{"Key": bucket.at(key)["Key"]} for key in ("b", "c", "missing")]
    answer = bucket.s3.delete_objects(
        Bucket=bucket.server.bucket, Delete={"Objects": [*listed, {"Key": "../x"}]}
    )
    assert sorted(item["Key"] for item in answer["Deleted"]) == sorted(item["Key"] for item in listed)
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [("../x", "AccessDenied")]
    assert bucket.keys(bucket.list()) == ["d"]
    quiet = bucket.s3.delete_objects(
        Bucket=bucket.server.bucket, Delete={"Objects": [{"Key": bucket.at("d")["Key"]}], "Quiet": True}
    )
    assert "Deleted" not in quiet
    with pytest.raises(ClientError) as error:
        bucket.s3.delete_object(**bucket.at("d"), VersionId="1")
    assert status_of(error) == 501


# Lists


def test_lists_page_by_page(bucket: Bucket) -> None:
    names = ["a", "b/1", "b/2", "b!", "c/1", "c/2/3", "d", "é", "z z"]
    for name in names:
        bucket.put(name, b"1")
    assert bucket.keys(bucket.list()) == sorted(names)
    for size in (1, 2, 3, 100):
        pages = bucket.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket.server.bucket, Prefix=f"{bucket.folder}/", PaginationConfig={"PageSize": size}
        )
        assert [key for page in pages for key in bucket.keys(page)] == sorted(names)
        for listing in ("list_objects_v2", "list_objects"):
            pages = bucket.s3.get_paginator(listing).paginate(
                Bucket=bucket.server.bucket,
                Prefix=f"{bucket.folder}/",
                Delimiter="/",
                PaginationConfig={"PageSize": size},
            )
            found = [found for page in pages for found in (*bucket.keys(page), *bucket.prefixes(page))]
            assert sorted(found) == ["a", "b!", "b/", "c/", "d", "z z", "é"]
    found = bucket.list(StartAfter=f"{bucket.folder}/b/1")
    assert bucket.keys(found) == ["b/2", "c/1", "c/2/3", "d", "z z", "é"]
    found = bucket.list(StartAfter=f"{bucket.folder}/b/1", Delimiter="/")
    assert (bucket.keys(found), bucket.prefixes(found)) == (["d", "z z", "é"], ["b/", "c/"])
    assert bucket.keys(bucket.list("b")) == ["b!", "b/1", "b/2"]
    assert bucket.list(MaxKeys=0)["IsTruncated"] is False
    assert bucket.keys(bucket.list("nothing/of/this")) == []


def test_requests_about_the_bucket(bucket: Bucket) -> None:
    name = bucket.server.bucket
    assert [found["Name"] for found in bucket.s3.list_buckets()["Buckets"]] == [name]
    assert bucket.s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert bucket.s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    with pytest.raises(ClientError) as error:
        bucket.s3.list_objects_v2(Bucket="another-bucket")
    assert (status_of(error), code_of(error)) == (404, "NoSuchBucket")
    with pytest.raises(ClientError) as error:
        bucket.s3.get_bucket_acl(Bucket=name)
    assert (status_of(error), code_of(error)) == (501, "NotImplemented")


def test_s3fs_reads_writes_copies_and_removes(server: S3Endpoint) -> None:
    fs = s3fs.S3FileSystem(**server.storage_options("s3fs"), skip_instance_cache=True)
    root = f"{server.bucket}/{os.urandom(4).hex()}"
    data = os.urandom(6 << 20)
    fs.pipe_file(f"{root}/a/b", b"0123456789")
    with fs.open(f"{root}/a/large", "wb") as file:
        file.write(data)
    assert fs.cat_file(f"{root}/a/b", start=2, end=-2) == b"234567"
    assert fs.cat_file(f"{root}/a/large") == data
    fs.cp_file(f"{root}/a/b", f"{root}/c")
    assert sorted(fs.find(root)) == [f"{root}/a/b", f"{root}/a/large", f"{root}/c"]
    assert {info["name"]: info["type"] for info in fs.ls(root, detail=True, refresh=True)} == {
        f"{root}/a": "directory",
        f"{root}/c": "file",
    }
    # As s3fs raises it over S3 itself.
    with pytest.raises(OSError, match="the object exists"):
        fs.pipe_file(f"{root}/c", b"x", mode="create")
    fs.rm(root, recursive=True)
    assert not fs.exists(root)


# Errors with status 200


@pytest.fixture
def faulty(s3_server: S3Server, prefix: str) -> Iterator[tuple[Bucket, FaultProxy]]:
    with FaultProxy(s3_server.endpoint) as proxy:
        options = {
            **proxy.through(s3_server.options),
            "write_chunk": PART,
            "retries": 1,
            "retry_max_delay": 0.01,
        }
        fs = opendalfs.filesystem("s3", skip_instance_cache=True, **options)
        with opendalfs.serve(fs, path=prefix, writable=True) as server:
            yield Bucket(server), proxy


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("kind", ["put", "complete", "copy"])
def test_no_success_is_reported_for_what_was_not_written(
    kind: str, exists: bool, faulty: tuple[Bucket, FaultProxy]
) -> None:
    """Storage responds with status 200 and an error, which OpenDAL takes for a success."""
    bucket, proxy = faulty
    bucket.put("source", b"new")
    if exists:
        bucket.put("a", b"old")
    writes: dict[str, Callable[[], object]] = {
        "put": lambda: bucket.put("a", b"new"),
        "copy": lambda: bucket.s3.copy_object(**bucket.at("a"), CopySource=bucket.at("source")),
        "complete": lambda: bucket.s3.upload_fileobj(
            io.BytesIO(bytes(2 * PART + 1)), *bucket.at("a").values()
        ),
    }
    proxy.inject(Fault(kind, "error-200", times=None))
    with pytest.raises(ClientError) as error:
        writes[kind]()
    assert status_of(error) == 424
    proxy.clear()
    assert bucket.keys(bucket.list("a")) == ["a"] * exists
    if exists:
        assert bucket.get("a") == b"old"
