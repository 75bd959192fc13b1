"""A server over a filesystem with a cache on disk: changes by other programs are seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.read.cache import background
from opendalfs.testing import S3Server
from opendalfs_gateway import S3Endpoint
from tests.integrations.serve.client import client_of, if_met

MINUTE = 60.0


@pytest.fixture(scope="module")
def other(s3_server: S3Server) -> OpendalFileSystem:
    """Return a filesystem for another program: without a cache."""
    bucket = f"serve-{uuid4().hex[:12]}"
    s3_server.make_bucket(bucket)
    return OpendalFileSystem("s3", bucket=bucket, **s3_server.options, skip_instance_cache=True)


@pytest.fixture(params=[0, MINUTE], ids=["no-ttl", "ttl"])
def served(
    request: pytest.FixtureRequest, s3_server: S3Server, other: OpendalFileSystem, tmp_path: Path
) -> Iterator[tuple[S3Endpoint, float]]:
    options = {"cache_dir": str(tmp_path / "cache"), "cache_ttl": request.param}
    bucket = other.storage_options["bucket"]
    fs = OpendalFileSystem("s3", bucket=bucket, **s3_server.options, **options, skip_instance_cache=True)
    with opendalfs.serve(fs, writable=True) as server:
        yield server, request.param


def content(s3: Any, at: dict[str, str], **options: Any) -> bytes:
    data: bytes = s3.get_object(**at, **options)["Body"].read()
    background.flush()
    return data


def recorded_etag(s3: Any, at: dict[str, str]) -> str:
    """Return the etag of an object, once it is recorded for the time of `cache_ttl`."""
    etag: str = s3.head_object(**at)["ETag"]
    background.flush()
    return etag


def test_a_read_gets_what_another_program_has_written(
    served: tuple[S3Endpoint, float], other: OpendalFileSystem
) -> None:
    server, ttl = served
    s3 = client_of(server)
    at = {"Bucket": server.bucket, "Key": uuid4().hex}
    other.pipe_file(at["Key"], b"old" * 100)
    assert content(s3, at) == b"old" * 100
    assert content(s3, at, Range="bytes=0-2") == b"old"
    other.pipe_file(at["Key"], b"new" * 100)
    if ttl:
        assert content(s3, at, Range="bytes=0-2") == b"old"
    else:
        assert content(s3, at, Range="bytes=0-2") == b"new"
        assert content(s3, at) == b"new" * 100


def test_a_new_object_is_refused_where_another_program_has_written_one(
    served: tuple[S3Endpoint, float], other: OpendalFileSystem
) -> None:
    server, _ = served
    s3 = client_of(server)
    at = {"Bucket": server.bucket, "Key": uuid4().hex}
    other.pipe_file(at["Key"], b"first")
    assert if_met(s3.put_object, **at, Body=b"second", IfNoneMatch="*") is None
    assert other.cat_file(at["Key"]) == b"first"


def test_a_condition_is_compared_with_the_object_in_storage(
    served: tuple[S3Endpoint, float], other: OpendalFileSystem
) -> None:
    """Not with a record of `cache_ttl`, which must not refuse for its time what is right, or the reverse."""
    server, _ = served
    s3 = client_of(server)
    at = {"Bucket": server.bucket, "Key": uuid4().hex}
    other.pipe_file(at["Key"], b"old")
    old = recorded_etag(s3, at)
    other.pipe_file(at["Key"], b"new")
    assert if_met(s3.delete_object, **at, IfMatch=old) is None
    assert other.cat_file(at["Key"]) == b"new"
    # What failed shows that the record is out of date.
    new = recorded_etag(s3, at)
    assert new != old
    other.rm_file(at["Key"])
    assert if_met(s3.put_object, **at, Body=b"created", IfNoneMatch="*") is not None
    assert other.cat_file(at["Key"]) == b"created"


def test_a_copy_is_of_the_current_object(served: tuple[S3Endpoint, float], other: OpendalFileSystem) -> None:
    server, _ = served
    s3 = client_of(server)
    source = {"Bucket": server.bucket, "Key": uuid4().hex}
    other.pipe_file(source["Key"], b"old")
    old = recorded_etag(s3, source)
    other.pipe_file(source["Key"], b"new")
    target = {"Bucket": server.bucket, "Key": uuid4().hex}
    assert if_met(s3.copy_object, **target, CopySource=source, CopySourceIfMatch=old) is None
    assert if_met(s3.copy_object, **target, CopySource=source, IfNoneMatch="*") is not None
    assert other.cat_file(target["Key"]) == b"new"
