"""Unknown services and paths without a container: the first line of the error says what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fsspec
import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.errors import NoContainerError
from opendalfs.fs.services import S3FileSystem
from opendalfs.services import _PRODUCTS, SERVICES, lookup
from opendalfs.testing import S3Server


def first_line(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises((OSError, ValueError)) as caught:
        call(*args, **kwargs)
    line = str(caught.value).splitlines()[0]
    assert len(line) < 180
    return line


@pytest.mark.parametrize(
    "call",
    [
        lambda: fsspec.open("opendal://bucket/key"),
        lambda: fsspec.filesystem("opendal"),
        lambda: opendalfs.filesystem("opendal"),
        lambda: opendalfs.filesystem("opendal://"),
        lambda: opendalfs.filesystem(""),
        lambda: opendalfs.arrow("opendal://bucket"),
        lambda: opendalfs.register("opendal"),
        lambda: OpendalFileSystem(),
    ],
)
def test_the_error_of_a_url_without_a_service_shows_how_to_name_one(call: Callable[[], Any]) -> None:
    line = first_line(call)
    assert "is not a service: write a URL as in opendal+s3://bucket/key, or pass scheme='s3'" in line


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minio", "it speaks S3, so use 's3' with endpoint_url='https://...'"),
        ("azure", "use 'azblob' (Blob Storage), 'azdls' (Data Lake) or 'azfile' (Files)"),
        ("Azure_Blob", "use 'azblob'"),
        ("gcp", "use 'gcs'"),
        ("sftp", "the opendal package for Python is built without it"),
    ],
)
def test_the_name_of_a_product_is_answered_with_the_service_for_it(name: str, hint: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: opendalfs.filesystem(name),
        lambda: OpendalFileSystem(name),
        lambda: opendalfs.arrow(f"{name}://bucket/key"),
        lambda: opendalfs.register(name),
    ]
    for call in calls:
        assert f"no OpenDAL service is called '{name}': {hint}" in first_line(call)


def test_the_name_of_the_package_is_no_service() -> None:
    assert "is this package, not a service: write opendal+fs://" in first_line(
        opendalfs.filesystem, "opendalfs"
    )
    with pytest.raises(ValueError, match="Protocol not known: opendalfs"):
        fsspec.open("opendalfs:///tmp/key")
    assert isinstance(fsspec.filesystem("opendallocal"), opendalfs.FsFileSystem)


def test_products_are_no_services_and_their_hints_name_some() -> None:
    for product, hint in _PRODUCTS.items():
        with pytest.raises(ValueError, match="is called"):
            lookup(product)
        named = [word for word in hint.split("'")[1::2] if not word.startswith("https:")]
        assert all(word in SERVICES for word in named), hint
        assert len(f"no OpenDAL service is called {product!r}: {hint}") < 120


def test_an_unknown_name_is_answered_with_the_nearest_and_then_with_all() -> None:
    with pytest.raises(ValueError, match="s4") as caught:
        opendalfs.filesystem("s4")
    line, services = str(caught.value).splitlines()
    assert line == "no OpenDAL service is called 's4': did you mean 's3' or 'gs' or 'fs'?"
    assert services == f"The services are: {', '.join(SERVICES)}."


@pytest.fixture
def fs(s3_server: S3Server) -> S3FileSystem:
    return S3FileSystem(**s3_server.options, skip_instance_cache=True)


@pytest.mark.parametrize("path", ["", "/", "opendal+s3://"])
@pytest.mark.parametrize("method", ["ls", "find", "cat_file", "open", "rm_file"])
def test_the_error_of_a_path_without_a_bucket_shows_how_to_write_one(
    fs: S3FileSystem, path: str, method: str
) -> None:
    assert "write 'opendal+s3://bucket/key'" in first_line(getattr(fs, method), path)


def test_a_url_of_three_slashes_is_not_one_whose_key_is_the_bucket(fs: S3FileSystem) -> None:
    url = "opendal+s3:///key"
    for call in (fs.cat_file, fs.open, fs.ls, fs.exists, fs.locate, fs.isfile):
        assert first_line(call, url) == f"'{url}' does not name a bucket: write 'opendal+s3://bucket/key'"
    assert "does not name a bucket" in first_line(fsspec.url_to_fs, url)
    # Of a path, not a URL, fsspec drops the slash.
    assert fs.locate("/bucket/key")[1] == "key"
    assert opendalfs.filesystem("fs")._strip_protocol("opendal+fs:///tmp/x") == "/tmp/x"


def test_the_error_of_a_path_of_one_part_calls_it_a_bucket(fs: S3FileSystem, s3_server: S3Server) -> None:
    bucket = s3_server.bucket
    writes: list[Callable[[], Any]] = [
        lambda: fs.pipe_file("orders.parquet", b""),
        lambda: fs.open("orders.parquet", "wb"),
        lambda: fs.cp_file(f"{bucket}/key", "orders.parquet"),
        lambda: fs.cat_file(bucket),
        lambda: fs.open(bucket),
    ]
    for call in writes:
        with pytest.raises(IsADirectoryError, match="Is a bucket, without a key: write 'bucket/key'"):
            call()
    for read in (fs.open, fs.info):
        with pytest.raises(NoContainerError, match=r"No such bucket: create it .*, or write 'bucket/key' if"):
            read("orders.parquet")
    assert not fs.exists("orders.parquet")
    with pytest.raises(IsADirectoryError, match="add the name of a file"):
        OpendalFileSystem("memory").pipe_file("", b"")
