"""A bucket, and filesystems with a cache on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.testing import S3Server

MakeFileSystem = Callable[..., Any]


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """Create a bucket, and return its name."""
    name = f"cache-{uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the directory of a cache, which does not exist."""
    return tmp_path / "cache"


@pytest.fixture
def connect(s3_server: S3Server, bucket: str, folder: Path) -> MakeFileSystem:
    """Return a function that makes a new filesystem with the cache."""

    def make(**options: Any) -> Any:
        given = {"cache_dir": str(folder), "cache_size": "64 MiB", **options}
        return opendalfs.OpendalFileSystem(
            "s3", bucket=bucket, **s3_server.options | given, skip_instance_cache=True
        )

    return make
