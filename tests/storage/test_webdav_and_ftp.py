"""WebDAV and FTP: servers with real directories and their own limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem, UnsupportedError
from opendalfs.storage.outcomes import is_temporary
from opendalfs.testing import Pyftpdlib, WsgiDav


@pytest.fixture
def ftp(ftp_server: Pyftpdlib) -> tuple[OpendalFileSystem, str]:
    """Return a filesystem on FTP and a directory of this test's own."""
    return opendalfs.filesystem("ftp", skip_instance_cache=True, **ftp_server.options), uuid4().hex


@pytest.fixture
def webdav(wsgidav_server: WsgiDav) -> tuple[OpendalFileSystem, str]:
    """Return a filesystem on WebDAV and a directory of this test's own."""
    options = wsgidav_server.options
    return opendalfs.filesystem("webdav", skip_instance_cache=True, **options), uuid4().hex


# Empty objects


def _put_empty(fs: Any, path: str, tmp: Path) -> None:
    (tmp / "empty").write_bytes(b"")
    fs.put_file(str(tmp / "empty"), path)


def _copy_empty(fs: Any, path: str, tmp: Path) -> None:
    fs.cp_file("empty", path)


def _write_by_arrow(fs: Any, path: str, tmp: Path) -> None:
    opendalfs.arrow(fs).open_output_stream(path).close()


EMPTY_WRITES: dict[str, Callable[[Any, str, Path], Any]] = {
    "pipe_file": lambda fs, path, tmp: fs.pipe_file(path, b""),
    "pipe": lambda fs, path, tmp: fs.pipe({path: b""}),
    "touch": lambda fs, path, tmp: fs.touch(path),
    "open": lambda fs, path, tmp: fs.open(path, "wb").close(),
    "put_file": _put_empty,
    "copy": _copy_empty,
    "arrow": _write_by_arrow,
}


@pytest.mark.parametrize("way", EMPTY_WRITES)
def test_an_empty_write_that_ftp_drops_raises_and_changes_nothing(
    ftp: tuple[OpendalFileSystem, str], ftp_server: Pyftpdlib, way: str, tmp_path: Path
) -> None:
    fs, root = ftp
    (ftp_server.served / "empty").touch()
    fs.pipe_file(f"{root}/old", b"old")
    with pytest.raises(UnsupportedError, match="cannot store an empty object: the object there is unchanged"):
        EMPTY_WRITES[way](fs, f"{root}/old", tmp_path)
    with pytest.raises(UnsupportedError, match="cannot store an empty object: nothing was written"):
        EMPTY_WRITES[way](fs, f"{root}/new", tmp_path)
    assert fs.cat_file(f"{root}/old") == b"old"
    assert fs.ls(root, detail=False, refresh=True) == [f"{root}/old"]


def test_an_empty_write_that_a_service_stores_all_the_same_is_no_error(tmp_path: Path) -> None:
    fs = opendalfs.filesystem("cacache", datadir=str(tmp_path), skip_instance_cache=True)
    assert not fs.locate("key")[0].can("write_can_empty")
    fs.pipe_file("key", b"old")
    fs.pipe_file("key", b"")
    assert fs.cat_file("key") == b""
    with fs.open("other", "wb"):
        pass
    assert fs.cat_file("other") == b""


# Directories


def test_removing_a_tree_removes_directories_that_hold_no_file(ftp: tuple[OpendalFileSystem, str]) -> None:
    fs, root = ftp
    fs.makedirs(f"{root}/tree/a/b/c")
    fs.makedirs(f"{root}/tree/d")
    fs.pipe_file(f"{root}/tree/e/file", b"1")
    fs.rm(f"{root}/tree", recursive=True)
    assert not fs.exists(f"{root}/tree", refresh=True)
    fs.mkdir(f"{root}/empty")
    fs.rm(f"{root}/empty", recursive=True)
    assert not fs.exists(f"{root}/empty", refresh=True)


def test_a_tree_that_cannot_be_removed_whole_is_an_error(ftp_server: Pyftpdlib) -> None:
    name = uuid4().hex
    opendalfs.filesystem("ftp", **ftp_server.options).pipe_file(f"{name}/d/file", b"1")
    fs = opendalfs.filesystem("ftp", **ftp_server.reader_options, retries=0)
    with pytest.raises(OSError, match=name):
        fs.rm(f"{name}/d", recursive=True)
    assert fs.cat_file(f"{name}/d/file") == b"1"


def test_moving_a_tree_leaves_no_directory_behind(ftp: tuple[OpendalFileSystem, str]) -> None:
    fs, root = ftp
    fs.pipe({f"{root}/tree/a/b/1": b"1", f"{root}/tree/2": b"2"})
    fs.mv(f"{root}/tree", f"{root}/moved", recursive=True)
    assert fs.find(root, refresh=True) == [f"{root}/moved/2", f"{root}/moved/a/b/1"]
    assert not fs.exists(f"{root}/tree", refresh=True)


def test_many_copies_on_ftp_all_succeed(ftp: tuple[OpendalFileSystem, str]) -> None:
    """The wheel keeps connections on which the end of a ranged read is unread; the next write fails there."""
    fs, root = ftp
    fs.pipe_file(f"{root}/source", b"2")
    for number in range(200):
        fs.cp_file(f"{root}/source", f"{root}/{number}")
    assert fs.cat_file(f"{root}/199") == b"2"


def test_a_request_after_a_read_of_a_range_succeeds_on_ftp(ftp_server: Pyftpdlib) -> None:
    name = uuid4().hex
    for _ in range(25):
        # A new pool has only the connection of the read.
        fs = opendalfs.filesystem("ftp", skip_instance_cache=True, **ftp_server.options)
        fs.pipe_file(f"{name}/file", b"0123456789")
        for start, stop in ((8, 100), (2, 5), (0, 4)):
            assert fs.cat_file(f"{name}/file", start, stop) == b"0123456789"[start:stop]
            assert not fs.exists(f"{name}/missing", refresh=True)


def test_listing_a_file_of_ftp_shows_the_file(ftp: tuple[OpendalFileSystem, str]) -> None:
    fs, root = ftp
    fs.pipe({f"{root}/file": b"1", f"{root}/same/same": b"12"})
    assert [info["size"] for info in fs.ls(f"{root}/file")] == [1]
    assert fs.ls(f"{root}/same", detail=False) == [f"{root}/same/same"]
    with pytest.raises(NotADirectoryError):
        fs.rmdir(f"{root}/file")
    assert fs.cat_file(f"{root}/file") == b"1"
    assert fs.find(f"{root}/missing") == []


def test_removing_a_file_as_a_directory_keeps_it(webdav: tuple[OpendalFileSystem, str]) -> None:
    fs, root = webdav
    fs.pipe_file(f"{root}/file", b"1")
    with pytest.raises(NotADirectoryError):
        fs.rmdir(f"{root}/file")
    assert fs.cat_file(f"{root}/file") == b"1"


def test_an_html_page_of_a_directory_is_not_a_file(webdav: tuple[OpendalFileSystem, str]) -> None:
    fs, root = webdav
    page = b"<!DOCTYPE html><title>a file of its own</title>"
    fs.pipe({f"{root}/d/file": b"1", f"{root}/page.html": page})
    for call in (fs.cat_file, fs.cat, lambda path: fs.cat_file(path, 2, 5)):
        with pytest.raises(IsADirectoryError):
            call(f"{root}/d")
    assert fs.cat_file(f"{root}/page.html") == page


@pytest.mark.parametrize(
    ("operation", "response", "repeated"),
    [("read", "226", True), ("stat", "226", True), ("write", "226", False), ("read", "550", False)],
)
def test_a_read_that_meets_the_end_of_another_one_on_ftp_is_repeated(
    operation: str, response: str, repeated: bool
) -> None:
    text = (
        f"Unexpected (permanent) at {operation} => ftp error\n\nContext:\n   service: ftp\n   path: file\n\n"
        f"Source:\n   Invalid response: [{response}] {response} Transfer complete."
    )
    assert is_temporary(text) is repeated
