"""A place on each kind of service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.fs.places import MiB, Place


@pytest.fixture(params=["memory", "fs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        options = {"write_chunk": 5 * MiB, "use_listings_cache": False, **server.options}
        yield Place(opendalfs.S3FileSystem(**options), request.getfixturevalue("prefix"))
    elif request.param == "fs":
        yield Place(opendalfs.FsFileSystem(use_listings_cache=False), str(tmp_path))
    else:
        fs = opendalfs.MemoryFileSystem(use_listings_cache=False)
        folder = f"files-{uuid4().hex}"
        yield Place(fs, folder)
        if fs.exists(folder):
            fs.rm(folder, recursive=True)
