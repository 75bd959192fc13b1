"""Archives on storage are published by their close, and otherwise not."""

from __future__ import annotations

import gc
import zipfile
from collections.abc import Callable
from contextlib import (
    closing,
)

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.zip import ZipFileSystem

from opendalfs import UnsupportedError
from tests.write.conftest import dropped_files_may_warn
from tests.write.places import Boom, Place, binary, open_file

# Archives of fsspec


def archive_of_a_url(place: Place) -> ZipFileSystem:
    return fsspec.filesystem("zip", fo=place.url, mode="w", target_options=place.options)


def archive_of_an_open_file(place: Place) -> ZipFileSystem:
    return ZipFileSystem(fo=open_file(place), mode="w")


def archive_of_a_file(place: Place) -> ZipFileSystem:
    return ZipFileSystem(fo=binary(place), mode="w")


ARCHIVES = [archive_of_a_url, archive_of_an_open_file, archive_of_a_file]


@pytest.mark.parametrize("make", ARCHIVES)
def test_the_close_of_an_archive_publishes_it(place: Place, make: Callable[[Place], ZipFileSystem]) -> None:
    archive = make(place)
    archive.pipe("inner/a.txt", b"in a zip")
    with archive.open("b.txt", "wb") as member:
        member.write(b"another")
    assert not place.published
    archive.close()
    with place.fs.open(place.path) as file, zipfile.ZipFile(file) as found:
        assert found.read("inner/a.txt") == b"in a zip"
        assert found.read("b.txt") == b"another"
    archive.close()
    del archive
    gc.collect()
    assert place.published


@pytest.mark.parametrize("make", ARCHIVES)
def test_an_archive_that_is_not_closed_or_fails_is_not_published(
    memory: Place, make: Callable[[Place], ZipFileSystem], caplog: pytest.LogCaptureFixture
) -> None:
    archives = [make(memory)]
    archives[0].pipe("a", b"x")
    archives.clear()
    assert "was not published: a finalizer closed it" in caplog.text

    def fail_in_block() -> None:
        with closing(make(memory)) as archive:
            archive.pipe("a", b"x")
            raise Boom

    def fail_before_finally() -> None:
        archive = make(memory)
        try:
            raise Boom
        finally:
            archive.close()

    with pytest.raises(Boom):
        fail_in_block()
    with pytest.raises(OSError, match="Not published"):
        fail_before_finally()
    dropped_files_may_warn()
    assert not memory.published


def test_an_archive_whose_publication_fails_says_so_at_its_close(memory: Place) -> None:
    archive = ZipFileSystem(fo=memory.fs.open(memory.path, "xb"), mode="w")
    archive.pipe("a", b"x")
    memory.fs.pipe_file(memory.path, b"other")
    with pytest.raises(FileExistsError):
        archive.close()
    assert memory.fs.cat_file(memory.path) == b"other"


def test_a_member_of_an_archive_in_a_chained_url_is_refused_at_the_open(memory: Place) -> None:
    chained = f"zip://a.csv::{memory.url}"
    with (
        pytest.raises(UnsupportedError, match="Open it yourself") as info,
        fsspec.open(chained, "wb", zip={"mode": "w"}),
    ):
        pass
    assert "zipfile.ZipFile(file" in str(info.value)
    with pytest.raises(UnsupportedError):
        pd.DataFrame({"a": [1]}).to_csv(chained, storage_options={"zip": {"mode": "w"}})
    with pytest.raises(UnsupportedError, match="not changed in place"):
        fsspec.filesystem("zip", fo=memory.url, mode="a")
    assert not memory.published
