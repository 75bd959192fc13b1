"""Listings, downloads and copies follow links as fsspec's filesystem of local files does."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

import opendalfs
from opendalfs import FsFileSystem, OpendalFileSystem
from tests.storage.links.trees import TREE, WHOLE, below

# Listings


def test_find_glob_and_walk_go_no_further_than_fsspecs_own(
    fs: FsFileSystem, local: LocalFileSystem, tree: Path
) -> None:
    theirs = local.find(str(tree), withdirs=True)
    theirs.remove(str(tree / "gone"))
    assert fs.find(str(tree), withdirs=True) == theirs
    assert fs.glob(f"{tree}/**") == theirs
    assert fs.glob(f"{tree}/*/*") == [p for p in local.glob(f"{tree}/*/*") if p != str(tree / "gone")]
    walked = [f"{top}/{name}" for top, folders, files in fs.walk(str(tree)) for name in (*folders, *files)]
    assert sorted([str(tree), *walked]) == theirs


@pytest.mark.parametrize("link", ["ldout", "d/ld", "d/lempty"])
@pytest.mark.parametrize("call", ["find", "ls", "du"])
def test_a_link_named_by_the_caller_is_followed(
    fs: FsFileSystem, local: LocalFileSystem, tree: Path, call: str, link: str
) -> None:
    options = {"detail": False} if call == "ls" else {}
    mine, theirs = (getattr(each, call)(str(tree / link), **options) for each in (fs, local))
    assert mine == (sorted(theirs) if call == "ls" else theirs)


def test_a_linked_directory_is_listed_as_one_with_a_mark(fs: FsFileSystem, tree: Path) -> None:
    for infos in (
        fs.ls(str(tree)),
        fs.find(str(tree), withdirs=True, detail=True).values(),
        fs.find(str(tree), withdirs=True, detail=True, maxdepth=1).values(),
    ):
        found = {info["name"]: info for info in infos}
        assert found[str(tree / "ldout")]["type"] == "directory"
        assert found[str(tree / "ldout")]["islink"]
        assert "islink" not in found[str(tree / "d")]
        assert found[str(tree / "lout")]["type"] == "file"
        assert found[str(tree / "lout")]["size"] == 4


def test_du_counts_what_is_listed(fs: FsFileSystem, tree: Path) -> None:
    assert fs.du(str(tree)) == 1 + 2 + 3 + 1 + 4


def test_a_link_to_nothing_is_there_and_does_not_exist(fs: FsFileSystem, tree: Path) -> None:
    assert fs.lexists(str(tree / "gone"))
    assert not fs.exists(str(tree / "gone"))
    assert not fs.lexists(str(tree / "missing"))
    assert str(tree / "gone") not in fs.ls(str(tree), detail=False)


def test_a_deep_listing_cut_at_a_depth_goes_into_no_link(
    fs: FsFileSystem, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fs.find(str(tree), withdirs=True, maxdepth=3)
    monkeypatch.setattr("opendalfs.listing.tree._MAX_ENTRIES", 1)
    assert fs.find(str(tree), withdirs=True, maxdepth=3) == expected


def test_a_remembered_tree_does_not_take_its_links_for_empty(tree: Path) -> None:
    fs = OpendalFileSystem("fs", root=str(tree), use_listings_cache=True)
    fs.find("")
    assert fs.ls("ldout", detail=False) == ["ldout/f", "ldout/s"]


def test_links_that_lead_back_make_no_listing_endless(fs: FsFileSystem, tree: Path) -> None:
    expected = fs.find(str(tree))
    for i in range(4):
        (tree / "d" / f"up{i}").symlink_to("..")
        (tree / "d" / f"self{i}").symlink_to(".")
    assert fs.find(str(tree)) == expected
    assert sum(len(files) for _, _, files in fs.walk(str(tree))) == len(expected)
    assert fs.du(str(tree)) == 11


def test_a_link_to_itself_raises_an_error_that_names_it(fs: FsFileSystem, tree: Path) -> None:
    """OpenDAL's list ends there, and goes on for nobody who asks again."""
    (tree / "loop").symlink_to("loop")
    for call in (fs.ls, fs.find, fs.du, lambda path: fs.pipe_file(f"{path}/loop", b"")):
        with pytest.raises(OSError, match="Too many levels of symbolic links") as info:
            call(str(tree))
        assert info.value.errno == errno.ELOOP
    assert (tree / "loop").is_symlink()


def test_a_tree_without_links_costs_one_list_for_each_directory(fs: FsFileSystem, tmp_path: Path) -> None:
    fs.pipe({f"{tmp_path}/t/{name}": content for name, content in TREE.items()})
    with opendalfs.trace() as trace:
        fs.find(f"{tmp_path}/t")
        fs.du(f"{tmp_path}/t")
        fs.glob(f"{tmp_path}/t/**")
        fs.expand_path(f"{tmp_path}/t", recursive=True)
    assert trace.requests == 4 * 3


# Copies


def test_get_takes_along_what_links_lead_to(fs: FsFileSystem, tree: Path, tmp_path: Path) -> None:
    fs.get(str(tree), str(tmp_path / "new"), recursive=True)
    assert below(tmp_path / "new") == WHOLE
    assert (tmp_path / "new/ldout/s/g").read_bytes() == b"55555"


@pytest.mark.parametrize("source", ["t", "?"])
def test_cp_takes_along_what_links_lead_to(tree: Path, tmp_path: Path, source: Any) -> None:
    (tmp_path / "root").mkdir()
    tree.rename(tmp_path / "root" / "t")
    (tmp_path / "root" / "t" / "ldout").unlink()
    (tmp_path / "root" / "t" / "ldout").symlink_to(tmp_path / "out")
    disk = OpendalFileSystem("fs", root=str(tmp_path / "root"))
    disk.cp(source, "new/", recursive=True)
    new = tmp_path / "root" / "new"
    assert {"ldout/s/g", "d/ld/c"} <= below(new)
    assert (new / "ldout/s/g").read_bytes() == b"55555"
    assert not (new / "ldout").is_symlink()


def test_a_copy_of_some_levels_counts_those_behind_a_link(
    fs: FsFileSystem, tree: Path, tmp_path: Path
) -> None:
    fs.get(str(tree), str(tmp_path / "new"), recursive=True, maxdepth=2)
    assert below(tmp_path / "new") == {"a", "d", "d/b", "ldout", "ldout/f", "lf", "lout"}


@pytest.mark.parametrize("call", ["cp", "get"])
@pytest.mark.parametrize("target", [".", "..", "../t", "../out/back"])
def test_a_copy_that_would_be_endless_is_refused(
    fs: FsFileSystem, tree: Path, tmp_path: Path, call: str, target: str
) -> None:
    (tmp_path / "out" / "back").symlink_to("../t")
    (tree / "link").symlink_to(target)
    with pytest.raises(OSError, match="contains it") as info:
        getattr(fs, call)(str(tree), str(tmp_path / "new"), recursive=True)
    assert info.value.errno == errno.ELOOP
    assert not (tmp_path / "new").exists()
