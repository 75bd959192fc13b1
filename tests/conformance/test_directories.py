"""Directories and missing paths, on every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.targets import Place

# Directories


def test_trailing_slashes_do_not_matter(tree: Place) -> None:
    fs, path = tree.fs, tree.path("c")
    assert fs.ls(path + "/", detail=False) == fs.ls(path, detail=False)
    assert fs.find(path + "/") == fs.find(path)
    assert fs.info(path + "/") == fs.info(path)
    assert fs.isdir(path + "/")
    assert fs.exists(path + "/")
    assert fs.du(path + "/") == fs.du(path)


def test_mkdir_makes_a_directory_that_is_there_and_empty(listed: Place) -> None:
    path = listed.path("empty")
    listed.fs.mkdir(path)
    assert listed.fs.isdir(path)
    assert not listed.fs.isfile(path)
    assert listed.fs.info(path)["type"] == "directory"
    assert listed.fs.ls(path) == []
    assert listed.fs.find(path) == []
    assert listed.fs.find(listed.root, withdirs=True) == [listed.root, path]
    assert listed.fs.ls(listed.root, detail=False) == [path]


def test_mkdir_of_what_exists_fails(tree: Place) -> None:
    with pytest.raises(FileExistsError):
        tree.fs.mkdir(tree.path("c"))
    with pytest.raises(FileExistsError):
        tree.fs.makedirs(tree.path("c"))
    tree.fs.makedirs(tree.path("c"), exist_ok=True)


def test_mkdir_without_parents_wants_the_directory_above(listed: Place) -> None:
    with pytest.raises(FileNotFoundError):
        listed.fs.mkdir(listed.path("missing", "new"), create_parents=False)


def test_rmdir_removes_only_empty_directories(tree: Place) -> None:
    tree.fs.mkdir(tree.path("empty"))
    tree.fs.rmdir(tree.path("empty"))
    assert not tree.fs.exists(tree.path("empty"))
    with pytest.raises(OSError, match="not empty"):
        tree.fs.rmdir(tree.path("c"))
    with pytest.raises(NotADirectoryError):
        tree.fs.rmdir(tree.path("a"))
    with pytest.raises(FileNotFoundError):
        tree.fs.rmdir(tree.path("missing"))


def test_a_directory_is_distinguished_from_a_file(tree: Place) -> None:
    with pytest.raises(IsADirectoryError):
        tree.fs.cat_file(tree.path("c"))
    for start, end in ((0, 4), (1 << 20, None), (-4, None)):
        with pytest.raises(IsADirectoryError):
            tree.fs.cat_file(tree.path("c"), start, end)
    with pytest.raises(IsADirectoryError):
        tree.fs.open(tree.path("c"), "rb")
    with pytest.raises(IsADirectoryError):
        tree.fs.rm_file(tree.path("c"))
    with pytest.raises(IsADirectoryError):
        tree.fs.rm(tree.path("c"))
    with pytest.raises(IsADirectoryError):
        tree.fs.mv(tree.path("c"), tree.path("z"))
    assert tree.fs.cat_file(tree.path("c", "d")) == b"c/d"


def test_ls_of_a_file_is_the_file(tree: Place) -> None:
    assert tree.fs.ls(tree.path("a"), detail=False) == [tree.path("a")]
    assert tree.fs.ls(tree.path("a"))[0]["type"] == "file"


def test_a_name_can_be_a_file_and_a_prefix(listed: Place) -> None:
    listed.require_target("both")
    fs, both = listed.fs, listed.path("both")
    fs.pipe({both: b"file", f"{both}/below": b"below"})
    assert fs.info(both)["type"] == "file"
    assert fs.cat_file(both) == b"file"
    assert fs.isfile(both)
    assert fs.isdir(both)
    assert fs.find(listed.root) == [both, f"{both}/below"]
    assert fs.ls(both, detail=False) == [f"{both}/below"]
    assert sorted(info["type"] for info in fs.ls(listed.root)) == ["directory", "file"]
    fs.invalidate_cache()
    assert sorted(info["type"] for info in fs.ls(listed.root)) == ["directory", "file"]
    assert fs.du(listed.root) == 9
    fs.rm_file(both)
    assert fs.cat_file(f"{both}/below") == b"below"
    assert fs.info(both)["type"] == "directory"


def test_removing_a_name_that_is_both_removes_both(listed: Place) -> None:
    listed.require_target("both")
    both = listed.path("both")
    listed.fs.pipe({both: b"file", f"{both}/below": b"below", f"{both}er": b"sibling"})
    listed.fs.rm(both, recursive=True)
    assert listed.fs.find(listed.root) == [f"{both}er"]


# What is missing


MISSING: dict[str, Callable[[Any, str, str], Any]] = {
    "info": lambda fs, path, local: fs.info(path),
    "size": lambda fs, path, local: fs.size(path),
    "cat": lambda fs, path, local: fs.cat(path),
    "cat_file": lambda fs, path, local: fs.cat_file(path),
    "cat_file of a range": lambda fs, path, local: fs.cat_file(path, 1, 3),
    "cat_file from the end": lambda fs, path, local: fs.cat_file(path, -3),
    "open": lambda fs, path, local: fs.open(path, "rb"),
    "cp": lambda fs, path, local: fs.cp(path, path + "-copy"),
    "cp_file": lambda fs, path, local: fs.cp_file(path, path + "-copy"),
    "mv": lambda fs, path, local: fs.mv(path, path + "-moved"),
    "mv onto itself": lambda fs, path, local: fs.mv(path, path),
    "rm": lambda fs, path, local: fs.rm(path),
    "rm_file": lambda fs, path, local: fs.rm_file(path),
    "get": lambda fs, path, local: fs.get(path, local),
    "get_file": lambda fs, path, local: fs.get_file(path, local),
}
MISSING_LISTED: dict[str, Callable[[Any, str, str], Any]] = {
    "ls": lambda fs, path, local: fs.ls(path),
    "rm -r": lambda fs, path, local: fs.rm(path, recursive=True),
    "cp -r": lambda fs, path, local: fs.cp(path, path + "-copy", recursive=True),
    "mv -r": lambda fs, path, local: fs.mv(path, path + "-moved", recursive=True),
    "get -r": lambda fs, path, local: fs.get(path, local, recursive=True),
}


@pytest.mark.parametrize("call", MISSING)
def test_what_is_missing_raises(place: Place, call: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MISSING[call](place.fs, place.path("missing"), str(tmp_path / "local"))
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("call", MISSING_LISTED)
def test_what_is_missing_raises_for_calls_that_list(tree: Place, call: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MISSING_LISTED[call](tree.fs, tree.path("missing"), str(tmp_path / "local"))


def test_exists_isdir_and_isfile_are_false_for_missing_paths(place: Place) -> None:
    path = place.path("missing")
    assert not place.fs.exists(path)
    assert not place.fs.isfile(path)
    assert not place.fs.isdir(path)
    assert not place.fs.lexists(path)


def test_searching_what_is_missing_finds_nothing(tree: Place) -> None:
    path = tree.path("missing")
    assert tree.fs.find(path) == []
    assert tree.fs.glob(f"{path}/*") == []
    assert tree.fs.glob(path) == []
    assert tree.fs.du(path) == 0
    assert list(tree.fs.walk(path)) == [(path, [], [])]
    assert not tree.fs.exists(path)
