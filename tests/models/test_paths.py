"""Keys arrive at storage exactly as they were written, and no path leaves its container or root."""

from __future__ import annotations

import posixpath
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.fs.registry import filesystem_class
from opendalfs.services import SERVICES, Form
from opendalfs.testing import S3Server
from tests.effort import effort

pieces = st.sampled_from(
    ["a", "..", ".", "/", "//", "%2e%2e", "%2F", "\\", "~", " ", "\u2024\u2024", "?x", "#y", "@h", ":", "+"]
)
texts = st.lists(pieces | st.text(max_size=2), min_size=1, max_size=6).map("".join)
# Neither XML nor SeaweedFS takes control characters, and SeaweedFS drops backslashes.
parts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\"), min_size=1, max_size=8
)
keys = st.lists(parts, min_size=1, max_size=3).map("/".join)
containers = sorted(name for name, row in SERVICES.items() if row.form is Form.CONTAINER)


@effort(150)
@given(st.sampled_from(containers), texts)
def test_no_path_leaves_its_container(scheme: str, text: str) -> None:
    cls = filesystem_class(scheme)
    fs = object.__new__(cls)
    path = f"lake/{text}"
    container, key = cls._split_path(fs, cls._strip_protocol(path))
    try:
        opendalfs.urls.check_key(key, path)
    except ValueError:
        return
    assert container == "lake"
    # What an HTTP client or a server would make of it is the same key.
    assert posixpath.normpath(f"/lake/{key}") == f"/lake/{key}".rstrip("/")


@settings(parent=effort(100), suppress_health_check=list(HealthCheck))
@given(text=texts)
@example(text="../out")
@example(text="a/../../out")
def test_no_path_leaves_the_root_on_a_disk(tmp_path: Path, text: str) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    fs = OpendalFileSystem("fs", root=str(root))
    try:
        fs.pipe_file(text, b"x")
    except (OSError, ValueError):
        pass
    else:
        assert (root / text.strip("/")).read_bytes() == b"x"
        shutil.rmtree(root)
    assert {path.name for path in tmp_path.iterdir()} <= {"root"}


@settings(parent=effort(15), suppress_health_check=list(HealthCheck))
@given(key=keys)
@example(key="a b/%41+%2B&=;,'\"")
@example(key="\u00e9/e\u0301/\U0001f600")
@example(key=".a/..b/c..")
@example(key="?a/#b/[c]*")
def test_a_key_arrives_at_s3_exactly(s3_server: S3Server, prefix: str, key: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    name = f"{prefix}/{key}"
    try:
        fs.pipe_file(name, b"content")
    except ValueError:
        return
    bucket, _, where = name.partition("/")
    try:
        assert s3_server.client.get_object(Bucket=bucket, Key=where)["Body"].read() == b"content"
        assert fs.cat_file(name) == b"content"
        assert fs.find(prefix) == [name]
        assert fs.info(name)["name"] == name
        fs.cp_file(name, f"{prefix}/copy")
        assert fs.cat_file(f"{prefix}/copy") == b"content"
    finally:
        fs.rm(prefix, recursive=True)
    assert not fs.exists(prefix, refresh=True) or fs.find(prefix) == []


@pytest.mark.parametrize("scheme", containers)
def test_the_url_of_a_key_is_that_key_again(scheme: str) -> None:
    fs = object.__new__(filesystem_class(scheme))
    url = f"{fs.service.protocols[0]}://lake/a%20b/c?d#e"
    assert fs._strip_protocol(url) == "lake/a%20b/c?d#e"
