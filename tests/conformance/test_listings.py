"""Listings agree with one another and with what was changed, on every target."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opendalfs.fs.services import ServiceFileSystem
from tests.conformance.targets import Place


def below(place: Place, names: Any) -> list[str]:
    return sorted(name.removeprefix(place.root).lstrip("/") for name in names)


# Searching


def test_find_walk_glob_and_du_agree(tree: Place) -> None:
    fs, root = tree.fs, tree.root
    found = fs.find(root, detail=True)
    for cached in (True, False):
        if not cached:
            fs.invalidate_cache()
        walked = [f"{top}/{name}" for top, _, files in fs.walk(root) for name in files]
        assert sorted(walked) == sorted(found)
        walked = [f"{top}/{name}" for top, _, files in fs.walk(root, topdown=False) for name in files]
        assert sorted(walked) == sorted(found)
    globbed = fs.glob(f"{root}/**", detail=True)
    assert sorted(p for p, info in globbed.items() if info["type"] == "file") == sorted(found)
    assert fs.du(root) == sum(info["size"] for info in found.values())
    assert fs.du(root, total=False) == {p: info["size"] for p, info in found.items()}
    folders = [f"{top}/{name}" for top, names, _ in fs.walk(root) for name in names]
    assert sorted({*fs.find(root, withdirs=True)} - {root}) == sorted([*found, *folders])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_is_counted_alike(tree: Place, depth: int) -> None:
    fs, root = tree.fs, tree.root
    found = fs.find(root, maxdepth=depth)
    walked = [f"{top}/{name}" for top, _, files in fs.walk(root, maxdepth=depth) for name in files]
    assert below(tree, found) == below(tree, walked)
    assert all(path.removeprefix(root).count("/") <= depth for path in found)
    folders = fs.find(root, maxdepth=depth, withdirs=True)
    assert {*found} <= {*folders}
    assert sorted(fs.find(root, maxdepth=depth, withdirs=True, detail=True)) == folders


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a", "b.txt", "c", "h"]),
        ("*.txt", ["b.txt"]),
        ("c/*", ["c/d", "c/e.txt", "c/f"]),
        ("*/*.txt", ["c/e.txt"]),
        ("**/*.txt", ["b.txt", "c/e.txt", "h/i/j/k.txt"]),
        ("c/[de]*", ["c/d", "c/e.txt"]),
        ("?", ["a", "c", "h"]),
        ("h/**/k.txt", ["h/i/j/k.txt"]),
        ("b.t*", ["b.txt"]),
        ("none*", []),
    ],
)
def test_glob_finds_what_matches(tree: Place, pattern: str, expected: list[str]) -> None:
    assert below(tree, tree.fs.glob(tree.path(pattern))) == expected
    tree.fs.find(tree.root)
    assert below(tree, tree.fs.glob(tree.path(pattern))) == expected


def test_find_takes_a_prefix(tree: Place) -> None:
    assert below(tree, tree.fs.find(tree.path("c"), prefix="e")) == ["c/e.txt"]
    assert below(tree, tree.fs.find(tree.root, prefix="h")) == ["h/i/j/k.txt"]
    assert tree.fs.find(tree.root, prefix="zz") == []


def test_infos_are_the_same_from_info_ls_and_find(tree: Place) -> None:
    path = tree.path("c", "d")
    stated = tree.fs.info(path, refresh=True)
    listed = {info["name"]: info for info in tree.fs.ls(tree.path("c"), refresh=True)}[path]
    found = tree.fs.find(tree.root, detail=True)[path]
    for key in ("name", "size", "type"):
        assert stated[key] == listed[key] == found[key]
    if tree.target.etags:
        assert stated["ETag"] == listed["ETag"] == found["ETag"]
    assert found["size"] == 3


def test_the_root_lists_the_containers_own_files(tree: Place) -> None:
    first = tree.root.strip("/").partition("/")[0]
    if tree.fs.service.container:
        assert any(name.startswith(f"{first}/") for name in tree.fs.ls(first, detail=False))
    elif tree.fs.root_marker:
        assert f"/{first}" in tree.fs.ls("/", detail=False)
    else:
        assert first in tree.fs.ls("", detail=False)
        assert tree.fs.isdir("")


@pytest.mark.services
@pytest.mark.parametrize("target", ["memory", pytest.param("s3", marks=pytest.mark.services)], indirect=True)
def test_ten_thousand_keys_in_one_directory(listed: Place) -> None:
    fs, many = listed.fs, listed.path("many")
    names = [f"{many}/{i:05}" for i in range(10_000)]
    fs.pipe(dict.fromkeys(names, b"x"))
    fs.pipe_file(f"{many}-sibling", b"")
    fs.invalidate_cache()
    assert fs.find(many) == names
    fs.invalidate_cache()
    assert fs.ls(many, detail=False) == names
    assert fs.du(many) == 10_000
    assert fs.glob(f"{many}/0999?") == names[9990:]
    assert sum(len(files) for _, _, files in fs.walk(many)) == 10_000
    assert all(info["size"] == 1 for info in map(fs.info, names[::100]))
    fs.rm(many, recursive=True)
    assert fs.find(listed.root) == [f"{many}-sibling"]


# The listing cache


CHANGES: dict[str, tuple[Callable[[Any, str, Path], Any], set[str]]] = {
    "pipe": (lambda fs, root, tmp: fs.pipe_file(f"{root}/new", b"1"), {"new"}),
    "pipe below": (lambda fs, root, tmp: fs.pipe_file(f"{root}/n1/n2/new", b"1"), {"n1/n2/new"}),
    "put": (lambda fs, root, tmp: fs.put_file(str(tmp / "local"), f"{root}/new"), {"new"}),
    "cp": (lambda fs, root, tmp: fs.cp_file(f"{root}/a", f"{root}/new"), {"new"}),
    "cp -r": (
        lambda fs, root, tmp: fs.cp(f"{root}/c", f"{root}/n", recursive=True),
        {"n/d", "n/e.txt", "n/f/g"},
    ),
    "mv": (lambda fs, root, tmp: fs.mv(f"{root}/a", f"{root}/new"), {"new", "-a"}),
    "mv -r": (
        lambda fs, root, tmp: fs.mv(f"{root}/c/f", f"{root}/n", recursive=True),
        {"n/g", "-c/f/g"},
    ),
    "rm_file": (lambda fs, root, tmp: fs.rm_file(f"{root}/a"), {"-a"}),
    "rm": (lambda fs, root, tmp: fs.rm(f"{root}/c/d"), {"-c/d"}),
    "rm -r": (
        lambda fs, root, tmp: fs.rm(f"{root}/c", recursive=True),
        {"-c/d", "-c/e.txt", "-c/f/g"},
    ),
    "touch": (lambda fs, root, tmp: fs.touch(f"{root}/new"), {"new"}),
    "open": (lambda fs, root, tmp: fs.open(f"{root}/new", "wb").close(), {"new"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_listings_show_our_own_changes_at_once(tree: Place, change: str, tmp_path: Path) -> None:
    if change in ("touch", "open"):
        tree.require("write_can_empty")
    (tmp_path / "local").write_bytes(b"1")
    fs, root = tree.fs, tree.root
    act, differs = CHANGES[change]
    before = set(below(tree, fs.find(root)))
    for top, _, _ in fs.walk(root):
        fs.ls(top)
    act(fs, root, tmp_path)
    expected = (before | {d for d in differs if d[0] != "-"}) - {d[1:] for d in differs if d[0] == "-"}
    walked = [f"{top}/{name}" for top, _, files in fs.walk(root) for name in files]
    assert set(below(tree, walked)) == expected
    assert set(below(tree, fs.find(root))) == expected
    for name in before | expected:
        assert fs.exists(f"{root}/{name}") == (name in expected)
        assert fs.isfile(f"{root}/{name}") == (name in expected)


def test_listings_show_a_directory_made_and_removed(tree: Place) -> None:
    fs, root = tree.fs, tree.root
    fs.ls(root)
    fs.mkdir(f"{root}/made")
    assert f"{root}/made" in fs.ls(root, detail=False)
    fs.rmdir(f"{root}/made")
    assert f"{root}/made" not in fs.ls(root, detail=False)


def test_listings_show_a_new_size_after_an_overwrite(tree: Place) -> None:
    path = tree.path("a")
    tree.fs.find(tree.root)
    tree.fs.pipe_file(path, b"a longer one")
    assert tree.fs.info(path)["size"] == 12
    assert tree.fs.cat_file(path) == b"a longer one"


def test_refresh_shows_what_others_changed(listed: Place, tmp_path: Path) -> None:
    mine = type(listed.fs)(
        **{**listed.fs.storage_options, "use_listings_cache": True, "skip_instance_cache": True},
        **({"scheme": listed.fs.service.scheme} if not isinstance(listed.fs, ServiceFileSystem) else {}),
    )
    listed.fs.pipe_file(listed.path("a"), b"1")
    assert below(listed, mine.ls(listed.root, detail=False)) == ["a"]
    listed.fs.pipe_file(listed.path("b"), b"1")
    assert below(listed, mine.ls(listed.root, detail=False)) == ["a"]
    assert below(listed, mine.ls(listed.root, detail=False, refresh=True)) == ["a", "b"]


def test_reading_goes_on_after_others_replaced_a_listed_file(listed: Place, tmp_path: Path) -> None:
    listed.require_target("etags")
    mine = type(listed.fs)(**{**listed.fs.storage_options, "use_listings_cache": True})
    path = listed.path("a")
    listed.fs.pipe_file(path, b"old")
    mine.ls(listed.root)
    listed.fs.pipe_file(path, b"a newer one")
    assert mine.cat_file(path) == b"a newer one"
    mine.ls(listed.root)
    listed.fs.pipe_file(path, b"the newest of them")
    assert mine.cat_ranges([path], [0], [None], on_error="raise") == [b"the newest of them"]
    mine.ls(listed.root)
    listed.fs.pipe_file(path, b"last")
    mine.get_file(path, str(tmp_path / "local"))
    assert (tmp_path / "local").read_bytes() == b"last"


def test_without_a_listings_cache_others_changes_show_at_once(listed: Place) -> None:
    mine = type(listed.fs)(
        **{**listed.fs.storage_options, "use_listings_cache": False, "skip_instance_cache": True},
        **({"scheme": listed.fs.service.scheme} if not isinstance(listed.fs, ServiceFileSystem) else {}),
    )
    listed.fs.pipe_file(listed.path("a"), b"1")
    assert below(listed, mine.find(listed.root)) == ["a"]
    assert below(listed, mine.ls(listed.root, detail=False)) == ["a"]
    listed.fs.pipe_file(listed.path("b"), b"1")
    assert below(listed, mine.ls(listed.root, detail=False)) == ["a", "b"]
    assert below(listed, [f"{t}/{f}" for t, _, names in mine.walk(listed.root) for f in names]) == ["a", "b"]


def test_a_change_while_listing_is_not_forgotten(tree: Place) -> None:
    """A listing that began before a write and ends after it must not be remembered as if it were newer."""
    import asyncio

    fs, root = tree.fs, tree.root

    async def both() -> None:
        await asyncio.gather(
            *(fs._ls(root, refresh=True) for _ in range(8)),
            *(fs._pipe_file(f"{root}/new-{i}", b"1") for i in range(4)),
            *(fs._find(root) for _ in range(4)),
        )

    from fsspec.asyn import sync

    sync(fs.loop, both)
    assert below(tree, fs.ls(root, detail=False)) == ["a", "b.txt", "c", "h", *(f"new-{i}" for i in range(4))]


def test_ls_of_what_is_missing_raises_and_is_not_remembered(place: Place) -> None:
    """OpenDAL lists a missing directory as an empty one."""
    place.require("list")
    path = place.path("missing")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            place.fs.ls(path)
        assert not place.fs.exists(path)
        with pytest.raises(FileNotFoundError):
            place.fs.rm(path, recursive=True)


def test_a_listing_does_not_hold_the_directory_itself(place: Place) -> None:
    """OpenDAL lists a directory as an entry of itself."""
    place.require("list")
    path = place.path("dir")
    place.fs.mkdir(path)
    place.fs.pipe_file(f"{path}/file", b"1")
    assert place.fs.ls(path, detail=False) == [f"{path}/file"]
    assert place.fs.find(path) == [f"{path}/file"]
    assert [top for top, _, _ in place.fs.walk(path)] == [path]


def test_modified_returns_an_aware_time_or_raises_where_the_service_has_none(place: Place) -> None:
    """DuckDB fails on None."""
    path = place.path("file")
    place.fs.pipe_file(path, b"x")
    if place.target.times:
        assert place.fs.modified(path).tzinfo is not None
        assert abs(place.fs.modified(path).timestamp() - time.time()) < 300
    else:
        with pytest.raises(NotImplementedError, match="times"):
            place.fs.modified(path)


def test_a_pattern_may_start_with_a_slash(place: Place) -> None:
    """Names of objects do not start with a slash, but patterns may."""
    place.require("list")
    place.fs.pipe_file(place.path("a.txt"), b"1")
    assert place.fs.glob(f"/{place.root.lstrip('/')}/*") == [place.path("a.txt")]
