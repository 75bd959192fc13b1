"""A filesystem bound to a container serves that container only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem, OptionError
from opendalfs.testing import S3Server


@pytest.fixture
def s3(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Return an S3 filesystem with its own listings cache."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)


@pytest.mark.parametrize("url", ["opendal+s3://other/key", "opendals3://other/key", "s3://other/key"])
def test_a_bound_filesystem_refuses_another_bucket(s3_server: S3Server, url: str) -> None:
    """Without the check, ``other/key`` would be written into its own bucket."""
    fs = OpendalFileSystem("s3", bucket=s3_server.bucket, **s3_server.options)
    calls: list[Callable[[], Any]] = [
        lambda: fs.pipe_file(url, b""),
        lambda: fs.cp_file(url, "copy"),
        lambda: fs.open(url, "wb"),
        lambda: fs.ls(url),
        lambda: fs.rm(url),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not "):
            call()
    assert not fs.exists("other")


def test_a_bound_filesystem_takes_urls_of_its_own_bucket(s3_server: S3Server) -> None:
    """fsspec.open and engines pass URLs."""
    fs = OpendalFileSystem("s3", bucket=s3_server.bucket, root="bound", **s3_server.options)
    key = uuid4().hex
    fs.pipe_file(key, b"x")
    assert fs.unstrip_protocol(key) == f"opendal+s3://{s3_server.bucket}/bound/{key}"
    assert fs.cat_file(fs.unstrip_protocol(key)) == b"x"


def test_a_service_filesystem_refuses_a_bucket_option(s3_server: S3Server) -> None:
    """With that option OpenDAL would take the bucket in the path as a part of the key."""
    with pytest.raises(OptionError, match="begin each path with it"):
        opendalfs.filesystem("s3", bucket=s3_server.bucket, **s3_server.options)
