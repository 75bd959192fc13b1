"""Uploads through the gateway, in one request or in parts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, status_of
from tests.waiting import eventually

PART = 5 << 20


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
