"""Reads and listings through the gateway, as any S3 client sends them."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, client_of, status_of

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


def test_errors_of_storage_reach_the_client(server: Gateway) -> None:
    options = {"key": "k", "secret": "very-secret", "endpoint_url": "http://127.0.0.1:9", "retries": 0}
    fs = opendalfs.filesystem("s3", **options)
    url = urlsplit(server.mount(fs, "lake"))
    with pytest.raises(ClientError) as error:
        client_of(server).get_object(Bucket=url.netloc, Key=url.path.lstrip("/") + "a")
    assert status_of(error) == 424
    assert "very-secret" not in str(error.value)
    assert "Cannot reach the server" in str(error.value)
