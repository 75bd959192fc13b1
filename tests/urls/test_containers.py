"""Names of containers: a name that OpenDAL would send to another container is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import fsspec
import fsspec.core
import polars as pl
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_duckdb
from opendalfs import OpendalFileSystem, OptionError, UnsupportedError
from opendalfs.fs.registry import filesystem_class
from opendalfs.fs.services import ServiceFileSystem
from opendalfs.services import SERVICES, Form
from opendalfs.testing import S3Server, ScriptedServer

WITH_CONTAINERS = [s.scheme for s in SERVICES.values() if s.form is Form.CONTAINER]
BAD = [
    "vic#",
    "vic?x",
    "vic?x=y&z",
    "..",
    ".",
    "a%2fb",
    "a b",
    "a@b",
    "a:b",
    "a\\b",
    "a\nb",
    "a;b",
    "a\u2215b",
]
GOOD = ["lake", "$web", "$logs", "$root", "My_Old.Bucket", "a.b.c-d", "9", "-", "...", "x" * 64]


@pytest.fixture(scope="module")
def capture() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def served(scheme: str, endpoint: str) -> ServiceFileSystem:
    """Make the filesystem of a service at an endpoint, with the options that it cannot do without."""
    extra: dict[str, dict[str, Any]] = {
        "b2": {"bucket_id": {"lake": "id"}, "application_key_id": "i", "application_key": "hush"},
        "upyun": {"operator": "me", "password": "hush"},
        "swift": {"token": "hush"},
        "azblob": {"account_name": "acct"},
        "azdls": {"account_name": "acct"},
        "azfile": {"account_name": "acct"},
    }
    options = dict(extra.get(scheme, {}))
    if "endpoint" in SERVICES[scheme].options:
        options["endpoint"] = endpoint
    return filesystem_class(scheme)(**options)


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "rm_file": lambda fs, box: fs.rm_file(f"{box}/k"),
    "rm": lambda fs, box: fs.rm(f"{box}/k", recursive=True),
    "rm-bucket": lambda fs, box: fs.rm(box, recursive=True),
    "rmdir": lambda fs, box: fs.rmdir(f"{box}/k"),
    "pipe_file": lambda fs, box: fs.pipe_file(f"{box}/k", b"x"),
    "open-write": lambda fs, box: fs.write_bytes(f"{box}/k", b"x"),
    "open-read": lambda fs, box: fs.read_bytes(f"{box}/k"),
    "touch": lambda fs, box: fs.touch(f"{box}/k"),
    "mkdir": lambda fs, box: fs.mkdir(f"{box}/k"),
    "cat_file": lambda fs, box: fs.cat_file(f"{box}/k"),
    "cat_ranges": lambda fs, box: fs.cat_ranges([f"{box}/k"], [0], [1], on_error="raise"),
    "info": lambda fs, box: fs.info(f"{box}/k"),
    "exists": lambda fs, box: fs.exists(f"{box}/k"),
    "ls": lambda fs, box: fs.ls(box),
    "ls-key": lambda fs, box: fs.ls(f"{box}/k"),
    "find": lambda fs, box: fs.find(box),
    "walk": lambda fs, box: list(fs.walk(box)),
    "du": lambda fs, box: fs.du(box),
    "copy-from": lambda fs, box: fs.cp_file(f"{box}/k", "lake/copy"),
    "copy-to": lambda fs, box: fs.cp_file("lake/k", f"{box}/k"),
    "move": lambda fs, box: fs.mv(f"{box}/k", "lake/moved"),
    "sign": lambda fs, box: fs.sign(f"{box}/k"),
}


@pytest.mark.parametrize("scheme", WITH_CONTAINERS)
def test_no_service_takes_a_name_that_changes_the_url(scheme: str, capture: ScriptedServer) -> None:
    fs = served(scheme, capture.endpoint)
    for name in BAD:
        with pytest.raises(ValueError, match=r"use .*letters, digits") as caught:
            fs.locate(f"{name}/key")
        assert str(SERVICES[scheme].container) in str(caught.value)
    assert capture.requests == []


@pytest.mark.parametrize("scheme", [s for s in WITH_CONTAINERS if s != "b2"])
def test_every_service_takes_the_names_that_stores_give(scheme: str, capture: ScriptedServer) -> None:
    fs = served(scheme, capture.endpoint)
    for name in GOOD:
        connection, key = fs.locate(f"{name}/key")
        assert (connection.container, key) == (name, "key")


def test_only_swift_takes_letters_beyond_ascii(capture: ScriptedServer) -> None:
    assert served("swift", capture.endpoint).locate("f\u00fcr/key")[0].container == "f\u00fcr"
    for scheme in WITH_CONTAINERS:
        if scheme != "swift":
            with pytest.raises(ValueError, match="use ASCII letters"):
                served(scheme, capture.endpoint).locate("f\u00fcr/key")


@pytest.mark.parametrize("name", [*BAD, "a/b"])
def test_the_container_among_the_options_is_checked_too(name: str, capture: ScriptedServer) -> None:
    for scheme in ("s3", "azblob", "oss", "swift"):
        options = dict(served(scheme, capture.endpoint).native)
        container = SERVICES[scheme].container
        assert container is not None
        with pytest.raises(ValueError, match=r"use .*letters, digits"):
            OpendalFileSystem(scheme, **{**options, container: name})


@pytest.mark.parametrize("scheme", WITH_CONTAINERS)
def test_a_url_without_a_container_is_refused(scheme: str) -> None:
    url = f"opendal+{scheme}:///key/name"
    with pytest.raises(ValueError, match="does not name"):
        fsspec.core.url_to_fs(url)
    with pytest.raises(ValueError, match="does not name"):
        filesystem_class(scheme)().locate(url)


@pytest.fixture(scope="module")
def victim(s3_server: S3Server) -> Iterator[str]:
    """Make an empty bucket, which a request for the bucket itself would remove."""
    name = f"victim-{uuid4().hex[:8]}"
    s3_server.make_bucket(name)
    yield name
    with suppress(Exception):
        s3_server.client.delete_bucket(Bucket=name)


def buckets(server: S3Server) -> set[str]:
    return {bucket["Name"] for bucket in server.client.list_buckets()["Buckets"]}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_touches_another_bucket(s3_server: S3Server, victim: str, call: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options, skip_instance_cache=True)
    for mark in ("#", "?x", "/../"):
        for box in (f"{victim}{mark}", f"new-{victim}{mark}"):
            # A "?" is a glob to those that expand them, and buckets cannot be listed.
            with pytest.raises(
                (ValueError, UnsupportedError),
                match=r"use ASCII letters|cannot be reached|cannot list the|Refused",
            ):
                CALLS[call](fs, box)
    found = buckets(s3_server)
    assert victim in found
    assert f"new-{victim}" not in found


def test_engines_touch_no_other_bucket(s3_server: S3Server, victim: str) -> None:
    url = f"opendal+s3://{victim}#/t.parquet"
    before = buckets(s3_server)
    frame = pl.DataFrame({"x": [1]})
    arrow = opendalfs.arrow("s3", **s3_server.options)
    with pytest.raises(ValueError, match="use ASCII letters"):
        pq.write_table(frame.to_arrow(), url, filesystem=arrow)
    with pytest.raises(ValueError, match="use ASCII letters"):
        pq.read_table(url, filesystem=arrow)
    with opendalfs.polars(), pytest.raises(ValueError, match="use ASCII letters"):
        frame.write_parquet(url, storage_options=s3_server.options)
    with opendalfs.polars(), pytest.raises(ValueError, match="use ASCII letters"):
        pl.scan_parquet(url, storage_options=s3_server.options).collect()
    with duckdb.connect() as con:
        opendalfs_duckdb.register(con, "s3", **s3_server.options)
        for query in (f"COPY (SELECT 1 AS x) TO '{url}'", f"FROM '{url}'"):
            with pytest.raises(duckdb.Error, match="use ASCII letters"):
                con.execute(query)
        opendalfs_duckdb.unregister(con, "s3")
    assert buckets(s3_server) == before


# Repositories


@pytest.mark.parametrize(
    "path",
    [
        "datasets/../x",
        "datasets/o/..",
        "datasets/./x",
        "../x",
        "datasets/o/n#",
        "datasets/o/n?x",
        "datasets/%2e%2e/x",
        "datasets/o/%2e%2e",
        "datasets/o%2fp/n",
        "datasets/o/n@..",
        "datasets/o/n@%2e%2e",
        "datasets/o/n@%252e%252e",
        "datasets/o/n@refs%2F..%2Fx",
        "datasets/o/n@a%2F",
        "datasets/o/n@%2Fa",
        "datasets/o/n@a%252Fb",
        "datasets/o/n@a%20b",
        "datasets/o/n@a%00b",
        "datasets/o/n@a%5Cb",
        "datasets/o/n@",
        "datasets/o@main/n",
    ],
)
def test_a_repository_that_would_be_another_one_is_refused(path: str, capture: ScriptedServer) -> None:
    fs = opendalfs.HfFileSystem(endpoint=capture.endpoint)
    with pytest.raises(
        ValueError, match=r"is not a valid name of a repository|does not name a repository|revision"
    ):
        fs.cat_file(f"{path}/key")
    assert capture.requests == []


@pytest.mark.parametrize(
    "options", [{"repo_id": "../x"}, {"repo_id": "o/n#"}, {"repo_id": "o/n", "revision": ".."}]
)
def test_the_repository_among_the_options_is_checked_too(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"is not a valid name of a repository|is not a valid revision"):
        OpendalFileSystem("hf", repo_type="model", **options)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("datasets/o/n@refs%2Fpr%2F1", "/datasets/o/n/resolve/refs%2Fpr%2F1/key"),
        ("datasets/o-1/n.x_y@v1.0+b#2", "/datasets/o-1/n.x_y/resolve/v1%2E0%2Bb%232/key"),
        ("o/n", "/o/n/resolve/main/key"),
    ],
)
def test_revisions_of_git_are_served(path: str, target: str, capture: ScriptedServer) -> None:
    fs = opendalfs.HfFileSystem(endpoint=capture.endpoint, retries=0)
    capture.requests.clear()
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{path}/key")
    assert target in {request.target for request in capture.requests}
    capture.requests.clear()


def test_a_repository_without_an_owner_is_served_by_a_bound_filesystem() -> None:
    assert OpendalFileSystem("hf", repo_type="model", repo_id="gpt2").locate("key")[1] == "key"


def test_errors_name_the_characters_and_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.', '_', '-' and '\$'") as caught:
        opendalfs.S3FileSystem().locate("b?X-Amz-Signature=hush-hush/k")
    assert not isinstance(caught.value, OptionError)
    assert "hush-hush" not in str(caught.value)


def test_the_arn_of_an_access_point_is_refused_with_what_to_write(capture: ScriptedServer) -> None:
    """OpenDAL would sign for a bucket of that name; s3fs takes both, so its users come with an ARN."""
    fs = opendalfs.S3FileSystem(endpoint_url=capture.endpoint, key="k", secret="s", retries=0)
    with pytest.raises(ValueError, match="for an access point use its alias"):
        fs.info("arn:aws:s3:us-east-1:123456789012:accesspoint/name/key")
    assert capture.requests == []
