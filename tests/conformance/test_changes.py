"""Copies, moves and removals, on every target."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.targets import Place


def below(place: Place, names: Any) -> list[str]:
    return sorted(name.removeprefix(place.root).lstrip("/") for name in names)


# Removing, copying and moving


def test_rm_takes_a_list_and_a_glob(tree: Place) -> None:
    tree.fs.rm([tree.path("a"), tree.path("c", "d")])
    assert below(tree, tree.fs.find(tree.root)) == ["b.txt", "c/e.txt", "c/f/g", "h/i/j/k.txt"]
    tree.fs.rm(tree.path("c", "*.txt"))
    assert below(tree, tree.fs.find(tree.root)) == ["b.txt", "c/f/g", "h/i/j/k.txt"]


def test_rm_of_a_recursive_glob_takes_what_lies_in_what_it_takes(tree: Place) -> None:
    tree.fs.rm(tree.path("**"), recursive=True)
    assert tree.fs.find(tree.root) == []


def test_rm_leaves_siblings_that_start_with_the_same_name(listed: Place) -> None:
    listed.fs.pipe({listed.path(name): b"1" for name in ("dir/x", "dir-2/x", "dir.txt", "dirs")})
    listed.fs.rm(listed.path("dir"), recursive=True)
    assert below(listed, listed.fs.find(listed.root)) == ["dir-2/x", "dir.txt", "dirs"]


def test_rm_stops_at_maxdepth(tree: Place) -> None:
    tree.fs.rm(tree.path("c"), recursive=True, maxdepth=1)
    assert below(tree, tree.fs.find(tree.path("c"))) == ["c/f/g"]


def test_mv_moves_a_file(tree: Place) -> None:
    tree.fs.mv(tree.path("a"), tree.path("moved"))
    assert tree.fs.cat_file(tree.path("moved")) == b"a"
    assert not tree.fs.exists(tree.path("a"))


def test_mv_into_a_directory_keeps_the_name(tree: Place) -> None:
    tree.fs.mv(tree.path("a"), tree.path("c"))
    tree.fs.mv(tree.path("b.txt"), tree.path("new") + "/")
    assert tree.fs.cat_file(tree.path("c", "a")) == b"a"
    assert tree.fs.cat_file(tree.path("new", "b.txt")) == b"b.txt"


def test_mv_onto_itself_keeps_the_file(tree: Place) -> None:
    tree.fs.mv(tree.path("a"), tree.path("a"))
    tree.fs.cp_file(tree.path("a"), tree.path("a"))
    assert tree.fs.cat_file(tree.path("a")) == b"a"


def test_mv_moves_a_tree(tree: Place) -> None:
    tree.fs.mv(tree.path("c"), tree.path("moved"), recursive=True)
    assert below(tree, tree.fs.find(tree.path("moved"))) == ["moved/d", "moved/e.txt", "moved/f/g"]
    assert tree.fs.find(tree.path("c")) == []
    if tree.target.name != "s3":
        assert not tree.fs.exists(tree.path("c"))


def test_mv_with_maxdepth_keeps_what_it_does_not_move(tree: Place) -> None:
    tree.fs.mv(tree.path("c"), tree.path("moved"), recursive=True, maxdepth=1)
    assert below(tree, tree.fs.find(tree.path("moved"))) == ["moved/d", "moved/e.txt"]
    assert below(tree, tree.fs.find(tree.path("c"))) == ["c/f/g"]


def test_mv_of_a_directory_into_itself_is_refused(tree: Place) -> None:
    before = tree.fs.find(tree.root)
    with pytest.raises(OSError, match="into itself"):
        tree.fs.mv(tree.path("c"), tree.path("c", "below"), recursive=True)
    assert tree.fs.find(tree.root) == before


def test_cp_keeps_the_content_type(place: Place) -> None:
    place.require("write_with_content_type")
    place.fs.pipe_file(place.path("a"), b"<p>", content_type="text/html")
    place.fs.cp_file(place.path("a"), place.path("b"))
    assert place.fs.info(place.path("b"), refresh=True)["content_type"] == "text/html"
