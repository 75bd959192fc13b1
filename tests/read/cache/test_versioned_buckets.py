"""Buckets that keep versions: stats return version ids, lists of S3 do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.read.cache import background
from opendalfs.testing import S3Server

from .conftest import MakeFileSystem

OLD, NEW = b"old" * 1000, b"new" * 1000


@pytest.fixture(scope="module", params=["Enabled", "Suspended"])
def bucket(request: pytest.FixtureRequest, s3_server: S3Server) -> str:
    """Create a bucket that keeps versions, or has done so, and return its name."""
    name = f"versions-{uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    status = {"Status": request.param}
    s3_server.client.put_bucket_versioning(Bucket=name, VersioningConfiguration=status)
    return name


READS: dict[str, Callable[[Any], bytes]] = {
    "by its name": lambda fs: fs.cat_file("d/a"),
    "after a list": lambda fs: fs.cat("d/*")["d/a"],
}


@pytest.mark.parametrize("order", [list(READS), [*READS][::-1]], ids=lambda names: names[0])
def test_a_read_after_a_list_and_one_after_a_stat_share_what_is_cached(
    connect: MakeFileSystem, order: list[str]
) -> None:
    connect().pipe_file("d/a", OLD)
    assert READS[order[0]](connect()) == OLD
    background.flush()
    with opendalfs.trace() as trace:
        assert READS[order[1]](connect()) == OLD
    assert (trace.count("read"), trace.cache_hits) == (0, 1)
    connect().pipe_file("d/a", NEW)
    assert [READS[name](connect()) for name in order] == [NEW, NEW]


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "not cached"])
def test_an_open_file_never_shows_a_newer_version(connect: MakeFileSystem, cached: bool) -> None:
    connect().pipe_file("open", OLD)
    options = {} if cached else {"cache_dir": ""}
    with connect(**options).open("open", cache_type="none") as file:
        version = file.details.get("VersionId")
        connect().pipe_file("open", NEW)
        try:
            assert file.read(100) == OLD[:100]
        except opendalfs.ChangedError:
            # S3 has replaced the content of the version "null".
            assert version in (None, "null")
