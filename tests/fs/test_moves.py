"""Moves, to a directory that takes in what is moved (fsspec), or to a literal path (pyarrow)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from opendalfs import FsFileSystem, OpendalFileSystem
from opendalfs.fs.moves import move
from opendalfs.runtime.tasks import run


@pytest.fixture(params=["memory", "fs"])
def fs(request: Any, tmp_path: Path) -> OpendalFileSystem:
    root = str(tmp_path) if request.param == "fs" else f"/{uuid4().hex}"
    fs = OpendalFileSystem(request.param, root=root)
    fs.pipe({"tree/a": b"1", "tree/d/b": b"2"})
    fs.mkdir("empty")
    return fs


def content(fs: OpendalFileSystem) -> dict[str, bytes]:
    return {path: fs.cat_file(path) for path in fs.find("")}


def test_a_directory_goes_into_an_existing_directory(fs: OpendalFileSystem) -> None:
    fs.pipe({"r/tree/a": b"1", "r/full/x": b"3"})
    run(move, fs, "r/tree", "r/full")
    assert fs.find("r") == ["r/full/tree/a", "r/full/x"]


def test_a_literal_move_replaces_an_empty_directory(fs: OpendalFileSystem) -> None:
    run(move, fs, "tree", "empty", literal=True)
    assert content(fs) == {"empty/a": b"1", "empty/d/b": b"2"}
    assert not fs.exists("tree")


def test_a_literal_move_creates_the_directories_above(fs: OpendalFileSystem) -> None:
    run(move, fs, "tree", "new/deep/name", literal=True)
    assert content(fs) == {"new/deep/name/a": b"1", "new/deep/name/d/b": b"2"}


def test_a_literal_move_does_not_replace_a_directory_with_content(fs: OpendalFileSystem) -> None:
    fs.pipe_file("full/x", b"3")
    with pytest.raises(OSError, match="not empty"):
        run(move, fs, "tree", "full", literal=True)
    assert content(fs) == {"full/x": b"3", "tree/a": b"1", "tree/d/b": b"2"}


def test_a_literal_move_takes_a_pattern_for_a_name(fs: OpendalFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        run(move, fs, "tre*", "new", literal=True)
    assert sorted(content(fs)) == ["tree/a", "tree/d/b"]


async def test_the_coroutine_for_one_file_takes_a_pattern_for_a_name() -> None:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    await fs._pipe({"a[1]": b"1", "a1": b"2"})
    await fs._mv_file("a[1]", "b")
    assert await fs._find("") == ["a1", "b"]


def test_a_link_to_a_directory_that_cannot_be_moved_raises(tmp_path: Path) -> None:
    fs = FsFileSystem()
    fs.pipe({f"{tmp_path}/tree/a": b"1", f"{tmp_path}/file": b"2"})
    link = tmp_path / "link"
    link.symlink_to("tree")
    for source, target in [(str(link), f"{tmp_path}/file/x"), ([str(link)], [f"{tmp_path}/file/x"])]:
        with pytest.raises((FileExistsError, NotADirectoryError)):
            fs.mv(source, target)
        assert link.is_symlink()
