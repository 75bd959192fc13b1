"""Appends, transactions, exclusive creation and failed writes, on every target."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import opendal
import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.conformance.targets import Place

MiB = 1 << 20


@pytest.fixture
def s3(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Return an S3 filesystem with its own listings cache."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)


def test_append_keeps_what_was_there(place: Place) -> None:
    """OpenDAL's S3 accepts ``append=True`` and replaces the object."""
    path = place.path("log")
    with place.fs.open(path, "wb") as file:
        file.write(b"hello ")
    with place.fs.open(path, "ab") as file:
        file.write(b"world")
    assert place.fs.cat_file(path) == b"hello world"


def test_append_to_what_is_missing_creates_it(place: Place) -> None:
    """An append reads the object first, which may be missing."""
    with place.fs.open(place.path("log"), "ab") as file:
        file.write(b"first")
    assert place.fs.cat_file(place.path("log")) == b"first"


def test_opendal_appends_to_s3_by_replacing(s3_server: S3Server) -> None:
    """The reason for the two above; when this fails, OpenDAL has mended it."""
    operator = opendal.Operator(
        "s3",
        bucket=s3_server.bucket,
        endpoint=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        region=s3_server.region,
    )
    key = f"append/{uuid4().hex}"
    operator.write(key, b"hello ")
    operator.write(key, b"world", append=True)
    assert operator.capability().write_can_append
    assert bytes(operator.read(key)) == b"world"


def write_half(place: Place, path: str, data: bytes) -> None:
    with place.fs.open(path, "wb") as file:
        file.write(data)
        raise RuntimeError("mid-way")


def transact_half(place: Place, paths: list[str]) -> None:
    with place.fs.transaction:
        for path in paths:
            with place.fs.open(path, "wb") as file:
                file.write(b"x")
        assert not place.fs.exists(paths[0])
        raise RuntimeError("mid-way")


def test_an_exception_while_writing_publishes_nothing(place: Place) -> None:
    """The end of a block that failed must not close the file, which would publish a part."""
    path = place.path("file")
    with pytest.raises(RuntimeError, match="mid-way"):
        write_half(place, path, b"x" * 9 * MiB)
    assert not place.fs.exists(path, refresh=True)
    if place.can("list"):
        assert not place.fs.exists(place.root, refresh=True) or place.fs.find(place.root) == []


def test_an_exception_while_writing_keeps_what_was_there(place: Place) -> None:
    """The part that was written must not replace the old content."""
    path = place.path("file")
    place.fs.pipe_file(path, b"old")
    with pytest.raises(RuntimeError, match="mid-way"):
        write_half(place, path, b"new")
    assert place.fs.cat_file(path) == b"old"


def test_a_transaction_that_fails_publishes_nothing(place: Place) -> None:
    """A close within a transaction publishes nothing."""
    paths = [place.path("one"), place.path("two")]
    with pytest.raises(RuntimeError, match="mid-way"):
        transact_half(place, paths)
    assert not any(place.fs.exists(path) for path in paths)


def test_a_transaction_that_succeeds_publishes_all(place: Place) -> None:
    """Nothing is published before the end of the transaction."""
    paths = [place.path("one"), place.path("two")]
    with place.fs.transaction:
        for path in paths:
            with place.fs.open(path, "wb") as file:
                file.write(b"x")
        assert not place.fs.exists(paths[0])
    assert [place.fs.cat_file(path) for path in paths] == [b"x", b"x"]


def test_open_exclusive_fails_before_anything_is_written(place: Place) -> None:
    """The error comes at the opening, not at the close."""
    path = place.path("file")
    place.fs.pipe_file(path, b"first")
    with pytest.raises(FileExistsError):
        place.fs.open(path, "xb")
    assert place.fs.cat_file(path) == b"first"


def test_of_two_exclusive_writers_one_fails(place: Place) -> None:
    """A check before the write would let both succeed."""
    place.require("write_with_if_not_exists")
    path = place.path("file")
    published = []
    writers = [place.fs.open(path, "xb"), place.fs.open(path, "xb")]
    for i, writer in enumerate(writers):
        writer.write(b"%d" % i)
        try:
            writer.close()
        except FileExistsError:
            continue
        published.append(i)
    assert published == [0]
    assert place.fs.cat_file(path) == b"0"


@pytest.mark.parametrize("size", [3, 9 * MiB])
def test_put_file_creates_only_what_is_missing(place: Place, tmp_path: Path, size: int) -> None:
    """The mode counts for multipart uploads too."""
    local, path = tmp_path / "local", place.path("file")
    local.write_bytes(b"x" * size)
    place.fs.put_file(str(local), path, mode="create")
    assert place.fs.size(path) == size
    local.write_bytes(b"y" * size)
    with pytest.raises(FileExistsError):
        place.fs.put_file(str(local), path, mode="create")
    with pytest.raises(FileExistsError):
        place.fs.pipe_file(path, b"y" * size, mode="create")
    assert place.fs.cat_file(path, 0, 3) == b"xxx"
    assert place.fs.size(path) == size
