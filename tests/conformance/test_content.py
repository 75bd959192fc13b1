"""Content, on every target: reads are slices, writes replace all of an object, names are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from opendalfs import ChangedError
from opendalfs.services import Locality
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
_STRIPPED = "OpenDAL's ftp drops spaces at the start of a listed name"
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


def test_cat_of_many_files_returns_all_contents_or_names_the_files_that_fail(place: Place) -> None:
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
def test_glob_characters_are_part_of_the_name_in_calls_without_globs(place: Place, name: str) -> None:
    if place.target.name == "webdav" and "?" in name:
        pytest.skip("OpenDAL's webdav treats the text after a question mark as a query")
    path = place.path(name)
    place.fs.pipe_file(path, DATA)
    assert place.fs.cat_file(path) == DATA
    assert place.fs.info(path)["name"] == path


@pytest.mark.parametrize("name", ["a//b", "a/./b", "a/../b", "outer "])
def test_keys_that_opendal_would_change_are_refused(place: Place, name: str) -> None:
    if place.target.name == "fs" and name != "outer ":
        pytest.skip("the operating system resolves a local path")
    with pytest.raises(ValueError, match="OpenDAL"):
        place.fs.pipe_file(place.path(name), DATA)


def test_a_file_that_changes_while_it_is_read_raises(place: Place) -> None:
    """A read must not return bytes of two versions."""
    if not (place.target.etags or place.target.times):
        pytest.skip("objects have no version and no time to compare")
    if place.target.name == "gcs":
        pytest.skip("the emulator ignores If-Match")
    if place.fs.service.locality is Locality.REMOTE:
        place.require_target("etags")
    path = place.path("file")
    place.fs.pipe_file(path, b"a" * 100)
    with place.fs.open(path, "rb", cache_type="none") as file:
        assert file.read(10) == b"a" * 10
        place.fs.pipe_file(path, b"b" * 200)
        with pytest.raises(ChangedError, match="changed"):
            file.read(10)
    with place.fs.open(path, "rb") as file:
        assert file.read(10) == b"b" * 10


def test_reads_past_the_end_are_cut(place: Place) -> None:
    """OpenDAL raises past the end, where a slice in Python is shorter."""
    path = place.path("file")
    place.fs.pipe_file(path, b"0123456789")
    assert place.fs.cat_file(path, 5, 100) == b"56789"
    assert place.fs.cat_file(path, 10, 100) == b""
    assert place.fs.cat_file(path, 50, 100) == b""
    assert place.fs.cat_ranges([path, path], [8, 90], [100, 100]) == [b"89", b""]
    with place.fs.open(path, "rb") as file:
        file.seek(50)
        assert file.read(10) == b""
    assert place.fs.head(path, 100) == b"0123456789"
    assert place.fs.tail(path, 100) == b"0123456789"


def test_moving_a_file_onto_itself_does_nothing(place: Place) -> None:
    """OpenDAL raises IsSameFile, or a copy and a removal would delete the only copy."""
    path = place.path("file")
    place.fs.pipe_file(path, b"x")
    place.fs.mv(path, path)
    place.fs.cp(path, path)
    assert place.fs.cat_file(path) == b"x"
