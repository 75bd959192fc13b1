"""What fsspec promises and its own suites do not ask: the same on every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opendalfs.fs.services import ServiceFileSystem
from tests.conformance.targets import Place

DATA = b"0123456789"
NAMES = [
    "with space",
    " leading",
    "per%cent",
    "per%20cent",
    "plus+plus",
    "hash#hash",
    "amp&ersand",
    "equals=sign",
    "quote'quote",
    "comma,comma",
    "semi;colon",
    "at@at",
    "dollar$",
    "bang!",
    "tilde~",
    "paren(thesis)",
    "colon:colon",
    "year=2026",
    "dots..inside",
    ".hidden",
    "ünïcödé",
    "日本語",
    "🦀",
    "-dash",
]
_STRIPPED = "OpenDAL's ftp takes the spaces before a listed name for the listing's own"
SERVERS_OWN = {
    ("webdav-wsgidav", "semi;colon"): "WsgiDAV cuts the target of a copy at a semicolon",
    ("webdav-nginx", ".hidden"): "nginx's PROPFIND leaves out names that start with a dot",
    ("ftp-vsftpd", " leading"): _STRIPPED,
    ("ftp-pyftpdlib", " leading"): _STRIPPED,
}
RANGES = [
    (None, None),
    (0, 4),
    (3, None),
    (None, 4),
    (-3, None),
    (None, -3),
    (-5, -2),
    (2, -2),
    (5, 5),
    (7, 3),
    (8, 100),
    (10, 20),
    (100, 200),
    (-100, 4),
    (0, 0),
]


@pytest.fixture
def listed(place: Place) -> Place:
    """Give a place on a service that lists."""
    place.require("list")
    return place


@pytest.fixture
def tree(listed: Place) -> Place:
    """Give a small tree."""
    names = ("a", "b.txt", "c/d", "c/e.txt", "c/f/g", "h/i/j/k.txt")
    listed.fs.pipe({listed.path(name): name.encode() for name in names})
    return listed


def below(place: Place, names: Any) -> list[str]:
    return sorted(name.removeprefix(place.root).lstrip("/") for name in names)


# Content


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_cat_file_cuts_as_a_slice_does(place: Place, start: int | None, end: int | None) -> None:
    path = place.path("file")
    place.fs.pipe_file(path, DATA)
    assert place.fs.cat_file(path, start, end) == DATA[start:end]


def test_cat_ranges_cuts_as_slices_do(place: Place) -> None:
    path = place.path("file")
    place.fs.pipe_file(path, DATA)
    starts, ends = [start for start, _ in RANGES], [end for _, end in RANGES]
    found = place.fs.cat_ranges([path] * len(RANGES), starts, ends, on_error="raise")
    assert found == [DATA[start:end] for start, end in RANGES]


def test_cat_ranges_returns_errors_in_the_place_of_their_ranges(place: Place) -> None:
    path = place.path("file")
    place.fs.pipe_file(path, DATA)
    found = place.fs.cat_ranges([path, place.path("missing"), path], [0, 0, 4], [2, 2, 6])
    assert found[0] == b"01"
    assert isinstance(found[1], FileNotFoundError)
    assert found[2] == b"45"


def test_cat_of_many_files_gives_each_whole_and_tells_of_those_that_fail(place: Place) -> None:
    files = {place.path(f"many-{i:02}"): bytes([i]) * 7 * (i + 1) for i in range(20)}
    missing = place.path("missing")
    place.fs.pipe(files)
    assert place.fs.cat(list(files)) == files
    with pytest.raises(FileNotFoundError):
        place.fs.cat([*files, missing])
    assert place.fs.cat([*files, missing], on_error="omit") == files
    told = place.fs.cat([*files, missing], on_error="return")
    assert isinstance(told.pop(missing), FileNotFoundError)
    assert told == files


def test_an_empty_file_is_a_file_of_no_bytes(place: Place) -> None:
    place.require("write_can_empty")
    path = place.path("empty")
    place.fs.pipe_file(path, b"")
    assert place.fs.info(path)["type"] == "file"
    assert place.fs.size(path) == 0
    assert place.fs.cat_file(path) == b""
    assert place.fs.cat_file(path, 0, 10) == b""
    with place.fs.open(path, "rb") as file:
        assert file.read() == b""


def test_an_empty_file_is_copied_and_downloaded(place: Place, tmp_path: Path) -> None:
    place.require("write_can_empty")
    path, copy, local = place.path("empty"), place.path("copy"), tmp_path / "local"
    place.fs.pipe_file(path, b"")
    place.fs.cp_file(path, copy)
    place.fs.get_file(copy, str(local))
    assert local.read_bytes() == b""


def test_overwriting_replaces_all_of_a_file(place: Place) -> None:
    path = place.path("file")
    place.fs.pipe_file(path, b"a longer text than the next")
    place.fs.pipe_file(path, b"short")
    assert place.fs.cat_file(path) == b"short"
    assert place.fs.info(path)["size"] == 5


def test_writing_makes_the_directories_above(place: Place) -> None:
    path = place.path("one", "two", "three")
    place.fs.pipe_file(path, DATA)
    assert place.fs.cat_file(path) == DATA


def test_a_write_refuses_the_root(place: Place) -> None:
    container = place.fs.locate(place.root)[0].container
    with pytest.raises(IsADirectoryError):
        place.fs.pipe_file(container or "/", b"")


def test_what_was_put_can_be_got(place: Place, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = bytes(range(256)) * 40_000
    source.write_bytes(content)
    place.fs.put_file(str(source), place.path("file"))
    place.fs.get_file(place.path("file"), str(target))
    assert target.read_bytes() == content


@pytest.mark.parametrize("name", NAMES)
def test_reserved_characters_are_part_of_the_name(place: Place, name: str) -> None:
    if (place.target.name, name) in SERVERS_OWN:
        pytest.skip(SERVERS_OWN[place.target.name, name])
    path = place.path("names", name, name)
    place.fs.pipe_file(path, name.encode())
    assert place.fs.cat_file(path) == name.encode()
    assert place.fs.info(path)["name"] == path
    place.fs.cp_file(path, place.path("copy-" + name))
    assert place.fs.cat_file(place.path("copy-" + name)) == name.encode()
    if place.can("list"):
        assert place.fs.ls(place.path("names"), detail=False) == [place.path("names", name)]
        assert place.fs.find(place.path("names")) == [path]
    place.fs.rm_file(path)
    assert not place.fs.exists(path)


@pytest.mark.parametrize("name", ["what?", "star*", "brackets[1]"])
def test_glob_characters_are_part_of_the_name_where_no_glob_is_asked(place: Place, name: str) -> None:
    if place.target.name == "webdav" and "?" in name:
        pytest.skip("OpenDAL's webdav takes what follows a question mark for a query")
    path = place.path(name)
    place.fs.pipe_file(path, DATA)
    assert place.fs.cat_file(path) == DATA
    assert place.fs.info(path)["name"] == path


@pytest.mark.parametrize("name", ["a//b", "a/./b", "a/../b", "outer "])
def test_keys_that_opendal_would_change_are_refused(place: Place, name: str) -> None:
    if place.target.name == "fs" and name != "outer ":
        pytest.skip("a local path means what the system takes it to mean")
    with pytest.raises(ValueError, match="OpenDAL"):
        place.fs.pipe_file(place.path(name), DATA)


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


def test_a_directory_is_told_from_a_file(tree: Place) -> None:
    with pytest.raises(IsADirectoryError):
        tree.fs.cat_file(tree.path("c"))
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


def test_asking_for_what_is_missing_says_no(place: Place) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("target", ["memory", "s3"], indirect=True)
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
