"""Changes of what is recorded, by other processes and with other options."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.read.cache import background, space
from opendalfs.testing import Request, Response, S3Server, ScriptedServer

from .conftest import MakeFileSystem
from .program import ROOT


def replace(server: S3Server, bucket: str, key: str, data: bytes) -> None:
    """Write an object by another program."""
    server.client.put_object(Bucket=bucket, Key=key, Body=data)


@pytest.mark.parametrize("options", [{}, {"root": "d"}, {"region": "eu-west-1"}], ids=str)
def test_a_change_is_seen_by_filesystems_with_other_options(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str, folder: Path, options: dict[str, str]
) -> None:
    reader = opendalfs.filesystem("s3", **s3_server.options, cache_dir=str(folder), cache_ttl=None)
    replace(s3_server, bucket, "d/a", b"old")
    assert reader.cat_file(f"{bucket}/d/a") == b"old"
    background.flush()
    connect(**options).pipe_file("a" if "root" in options else "d/a", b"new")
    assert reader.cat_file(f"{bucket}/d/a") == b"new"


def test_a_bucket_is_one_for_urls_and_options(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str, folder: Path
) -> None:
    replace(s3_server, bucket, "a", b"data")
    connect(cache_ttl=None).cat_file("a")
    background.flush()
    fs = opendalfs.filesystem(
        "s3", **s3_server.options, cache_dir=str(folder), cache_size="64 MiB", cache_ttl=None
    )
    with opendalfs.trace() as trace:
        assert fs.cat_file(f"{bucket}/a") == b"data"
    assert (trace.requests, trace.cache_hits) == (0, 1)


CHANGE = """
import json, sys
import opendalfs

opendalfs.OpendalFileSystem("s3", **json.loads(sys.argv[1])).pipe_file("a", b"new")
"""


def change_in_another_process(fs: Any) -> None:
    options = {"bucket": fs.storage_options["bucket"]} | fs.storage_options
    arguments = [sys.executable, "-c", CHANGE, json.dumps(options)]
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("state", ["a clock that was set back", "no space", "files that were evicted"])
def test_a_change_by_another_process_is_seen_whatever_the_state(
    connect: MakeFileSystem,
    folder: Path,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    replace(s3_server, bucket, "a", b"old")
    clock = time.time
    if state == "a clock that was set back":
        # The clock of this process is ahead of that of the other one.
        monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    assert connect(cache_ttl=None).cat_file("a") == b"old"
    background.flush()
    with opendalfs.trace() as trace:
        assert connect(cache_ttl=None).cat_file("a") == b"old"
    assert trace.requests == 0
    usage = folder / "opendalfs-1" / "usage"
    with usage.open("rb") as file:
        if state == "no space":
            space.fcntl.flock(file, space.fcntl.LOCK_EX)
        change_in_another_process(connect(cache_ttl=None))
    if state == "files that were evicted":
        for path in (folder / "opendalfs-1").rglob("*"):
            if path.is_file() and path.parent.parent.name != "packs" and path.name not in ("secret", "marks"):
                path.unlink()
    assert connect(cache_ttl=None).cat_file("a") == b"new"


def test_a_removal_of_the_marks_ends_the_use_of_records(
    connect: MakeFileSystem, folder: Path, s3_server: S3Server, bucket: str
) -> None:
    replace(s3_server, bucket, "a", b"old")
    assert connect(cache_ttl=None).cat_file("a") == b"old"
    background.flush()
    replace(s3_server, bucket, "a", b"new")
    assert connect(cache_ttl=None).cat_file("a") == b"old"
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(bytes(1024))):
        damage(folder / "opendalfs-1" / "marks")
        assert connect(cache_ttl=None).cat_file("a") == b"new"
        background.flush()
        replace(s3_server, bucket, "a", b"new")


@pytest.mark.parametrize("recursive", [False, True], ids=["rm_file", "rm"])
def test_a_removal_that_failed_may_have_removed_something(
    connect: MakeFileSystem, s3_server: S3Server, bucket: str, recursive: bool
) -> None:
    replace(s3_server, bucket, "gone/a", b"a")
    assert connect(cache_ttl=None).find("gone") == ["gone/a"]
    background.flush()

    def respond(request: Request) -> Response:
        response = request.forward(s3_server.options["endpoint_url"])
        changes = request.method == "DELETE" or "delete" in request.target
        return Response(500) if changes else response

    with ScriptedServer(respond) as server:
        fs = connect(endpoint_url=server.endpoint, retries=0)
        with pytest.raises(OSError, match=r"\S"):
            fs.rm("gone", recursive=True) if recursive else fs.rm_file("gone/a")
    assert connect(cache_ttl=None).find("gone") == []
