"""Keys that OpenDAL would change are refused; all others are kept exactly."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.fs.registry import filesystem_class

# What cannot be reached


@pytest.mark.parametrize(
    ("scheme", "key"),
    [
        *(
            ("s3", k)
            for k in (
                "a//b",
                "/a",
                "a/./b",
                "a/../b",
                "..",
                ".",
                "a/..",
                " a",
                "a ",
                "a\n",
                "a\0b",
                "//a",
                "a\udcff",
            )
        ),
        *(("memory", k) for k in ("a//b", "./a", "../a", " a", "a ", "a\t", "a\0b", "\ud800/a")),
    ],
)
def test_keys_that_opendal_would_misread_are_refused(scheme: str, key: str) -> None:
    bound = OpendalFileSystem("s3", bucket="bucket") if scheme == "s3" else OpendalFileSystem("memory")
    service = filesystem_class(scheme)()
    paths_of_it = [(service, f"bucket/{key}")] if scheme == "s3" else []
    if not key.startswith("/"):
        # A leading slash is no part of a path that is relative to its filesystem.
        paths_of_it += [(bound, key)] + ([(service, key)] if scheme == "memory" else [])
    for fs, path in paths_of_it:
        with pytest.raises(ValueError, match="cannot be reached through OpenDAL"):
            fs.locate(path)


@pytest.mark.parametrize(
    "key", [".hidden", "a.", "...", "a/.b/c..", "a b", "x/ y".replace(" ", "\u00e9"), "a/b/"]
)
def test_keys_that_only_look_odd_are_served(key: str) -> None:
    fs = opendalfs.MemoryFileSystem()
    name = f"odd-{uuid4().hex}/{key}"
    fs.pipe_file(name, b"x")
    assert fs.cat_file(name) == b"x"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_every_key_is_refused_or_kept_exactly(text: str) -> None:
    fs = OpendalFileSystem("memory", root="/exact")
    try:
        fs.pipe_file(text, b"x")
    except (ValueError, IsADirectoryError):
        return
    try:
        assert fs.find("") == [text.strip("/")]
    finally:
        fs.rm_file(text)


@pytest.mark.parametrize("key", ["a /x", "a/b\u00a0/x", "a\t/b/x"])
def test_directories_that_could_not_be_listed_are_refused_where_directories_are_real(
    key: str, tmp_path: Path
) -> None:
    disk = OpendalFileSystem("fs", root=str(tmp_path))
    for call in (disk.cat_file, disk.info, disk.find, lambda path: disk.pipe_file(path, b"x")):
        with pytest.raises(ValueError, match="whose name ends with white space"):
            call(key)
    flat = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    flat.pipe_file(key, b"x")
    assert flat.find("") == [key]
