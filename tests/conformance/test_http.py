"""Reads by plain HTTP, of files that WebDAV has written to the same server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem, UnsupportedError
from tests.conformance.targets import HTTP
from tests.conformance.test_content import DATA, NAMES, RANGES

SIZE = 3 << 20


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.services] if "nginx" in name else []) for name in HTTP],
    scope="module",
)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(target: str, request: pytest.FixtureRequest) -> OpendalFileSystem:
    options = request.getfixturevalue(HTTP[target]).options
    return opendalfs.filesystem("webdav", skip_instance_cache=True, **options)


@pytest.fixture
def fs(target: str, request: pytest.FixtureRequest) -> OpendalFileSystem:
    options = request.getfixturevalue(HTTP[target]).options
    return opendalfs.filesystem("http", skip_instance_cache=True, **options)


@pytest.fixture
def path(written: OpendalFileSystem) -> Iterator[str]:
    folder = uuid4().hex
    written.pipe_file(f"{folder}/file", DATA)
    yield f"{folder}/file"
    written.rm(folder, recursive=True)


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_cat_file_cuts_as_a_slice_does(
    fs: OpendalFileSystem, path: str, start: int | None, end: int | None
) -> None:
    assert fs.cat_file(path, start, end) == DATA[start:end]


def test_cat_ranges_cuts_as_slices_do(fs: OpendalFileSystem, path: str) -> None:
    starts, ends = [start for start, _ in RANGES], [end for _, end in RANGES]
    found = fs.cat_ranges([path] * len(RANGES), starts, ends, on_error="raise")
    assert found == [DATA[start:end] for start, end in RANGES]


def test_a_large_file_is_read_by_position_and_in_order(
    fs: OpendalFileSystem, written: OpendalFileSystem, path: str
) -> None:
    content = bytes(range(256)) * (SIZE // 256)
    written.pipe_file(path, content)
    assert fs.cat_file(path) == content
    with fs.open(path, "rb", block_size=100_000) as file:
        assert file.read() == content
        assert file.read_at(SIZE - 5, 100) == content[-5:]
    copy = io.BytesIO()
    fs.get_file(path, copy)
    assert copy.getvalue() == content


@pytest.mark.parametrize("name", NAMES)
def test_reserved_characters_are_part_of_the_name(
    fs: OpendalFileSystem, written: OpendalFileSystem, path: str, name: str
) -> None:
    other = path.replace("file", name)
    written.pipe_file(other, name.encode())
    assert fs.cat_file(other) == name.encode()


def test_info_has_the_size_and_a_missing_file_is_not_found(fs: OpendalFileSystem, path: str) -> None:
    assert fs.info(path)["size"] == len(DATA)
    assert fs.exists(path)
    assert not fs.exists(f"{path}-missing")
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{path}-missing")


def test_a_write_and_a_listing_say_that_the_service_has_none(fs: OpendalFileSystem, path: str) -> None:
    with pytest.raises(UnsupportedError, match="http"):
        fs.pipe_file(path, b"other")
    with pytest.raises(UnsupportedError, match="http"):
        fs.rm_file(path)
    with pytest.raises(UnsupportedError, match="http"):
        fs.find(path.rpartition("/")[0])
    assert fs.cat_file(path) == DATA
