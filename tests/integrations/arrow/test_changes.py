"""Directories, copies, moves and removals through pyarrow."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs
import pytest
from pyarrow.fs import FileSelector, FileType

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from tests.integrations.arrow.places import Place, names, put


class TestChanges:
    def test_directories_are_created_and_deleted(self, place: Place) -> None:
        put(place, "keep.bin")
        place.fs.create_dir(place.path("x/y"), recursive=True)
        place.fs.create_dir(place.path("x/y"), recursive=True)
        put(place, "x/y/f.bin")
        assert place.fs.get_file_info(place.path("x")).type == FileType.Directory
        place.fs.delete_dir(place.path("x"))
        # SeaweedFS keeps the directory above one that was made and deleted, so only files are compared.
        found = names(place.fs.get_file_info(FileSelector(place.root, recursive=True)), place.root)
        assert [name for name, kind in found if kind == "File"] == ["keep.bin"]

    def test_a_directory_is_not_made_below_a_missing_one_unless_recursively(self, place: Place) -> None:
        with pytest.raises(FileNotFoundError):
            place.fs.create_dir(place.path("no/such"), recursive=False)

    def test_deleting_leaves_siblings_whose_name_begins_alike(self, place: Place) -> None:
        put(place, "part/a.bin")
        kept = put(place, "part-2/b.bin")
        place.fs.delete_dir(place.path("part"))
        assert place.fs.get_file_info(kept).type == FileType.File

    def test_missing_things_cannot_be_deleted(self, place: Place) -> None:
        with pytest.raises(FileNotFoundError):
            place.fs.delete_dir(place.path("no"))
        with pytest.raises(FileNotFoundError):
            place.fs.delete_file(place.path("no"))
        with pytest.raises(FileNotFoundError):
            place.fs.delete_dir_contents(place.path("no"))
        place.fs.delete_dir_contents(place.path("no"), missing_dir_ok=True)

    def test_a_file_is_no_directory_to_delete(self, place: Place) -> None:
        path = put(place, "file.bin")
        with pytest.raises(NotADirectoryError):
            place.fs.delete_dir(path)
        assert place.fs.get_file_info(path).type == FileType.File

    def test_deleting_contents_leaves_nothing_below(self, place: Place) -> None:
        put(place, "sub/a.bin")
        put(place, "sub/deep/b.bin")
        place.fs.delete_dir_contents(place.path("sub"))
        left = place.fs.get_file_info(FileSelector(place.path("sub"), recursive=True, allow_not_found=True))
        assert left == []

    def test_files_and_directories_move(self, place: Place) -> None:
        put(place, "a.bin", b"one")
        put(place, "d/b.bin", b"two")
        place.fs.move(place.path("a.bin"), place.path("c.bin"))
        place.fs.move(place.path("d"), place.path("e"))
        found = names(place.fs.get_file_info(FileSelector(place.root, recursive=True)), place.root)
        assert [f for f in found if f[1] == "File"] == [("c.bin", "File"), ("e/b.bin", "File")]
        assert place.fs.open_input_file(place.path("e/b.bin")).read() == b"two"

    def test_a_copy_leaves_the_source(self, place: Place) -> None:
        path = put(place, "a.bin", b"one")
        place.fs.copy_file(path, place.path("b.bin"))
        for name in ("a.bin", "b.bin"):
            assert place.fs.open_input_file(place.path(name)).read() == b"one"

    def test_missing_sources_raise(self, place: Place) -> None:
        with pytest.raises(FileNotFoundError):
            place.fs.copy_file(place.path("no"), place.path("b.bin"))
        with pytest.raises(FileNotFoundError):
            place.fs.move(place.path("no"), place.path("b.bin"))


class TestRoots:
    def test_the_root_of_an_operator_can_be_emptied_explicitly(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow(OpendalFileSystem("fs", root=str(tmp_path / "root")))
        beside = tmp_path / "beside.txt"
        beside.write_text("stays")
        for name in ("a.bin", "d/b.bin"):
            fs.create_dir("d")
            fs.open_output_stream(name).close()
        with pytest.raises(ValueError, match="accept_root_dir"):
            fs.delete_dir_contents("")
        fs.delete_dir_contents("", accept_root_dir=True)
        assert fs.get_file_info(FileSelector("", recursive=True)) == []
        assert beside.read_text() == "stays"

    @pytest.mark.parametrize("source", ["fs", None])
    def test_the_root_of_the_disk_or_of_all_services_cannot_be_emptied(self, source: str | None) -> None:
        with pytest.raises(NotImplementedError):
            opendalfs.arrow(source).handler.delete_root_dir_contents()


class TestLiteralPaths:
    """`[`, `]`, `*` and `?` are letters like others to pyarrow."""

    def test_a_directory_is_deleted_by_its_very_name(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/run[1]/x": b"1", "r/run1/y": b"2", "r/ru*/z": b"3"})
        arrow.delete_dir("r/run[1]")
        arrow.delete_dir("r/ru*")
        assert core.find("r") == ["r/run1/y"]

    def test_contents_are_deleted_by_their_very_names(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/a[1].csv": b"1", "r/b?/c": b"2", "keep/x": b"3"})
        arrow.delete_dir_contents("r")
        assert core.find("") == ["keep/x"]
        assert arrow.get_file_info("r").type == FileType.Directory

    def test_the_contents_of_the_root_too(self, core: OpendalFileSystem, arrow: pafs.PyFileSystem) -> None:
        core.pipe({"a[1].csv": b"1", "b*/c": b"2"})
        arrow.delete_dir_contents("", accept_root_dir=True)
        assert core.find("") == []

    def test_files_and_directories_move_by_their_very_names(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/a[1]/d/x": b"1", "r/a1/d/x": b"2", "r/f[1]": b"3", "r/f1": b"4"})
        arrow.move("r/a[1]", "r/z")
        arrow.move("r/f[1]", "r/g*")
        assert {path: core.cat_file(path) for path in core.find("r")} == {
            "r/a1/d/x": b"2",
            "r/f1": b"4",
            "r/g*": b"3",
            "r/z/d/x": b"1",
        }
        assert arrow.get_file_info("r/a[1]").type == FileType.NotFound

    def test_a_directory_is_not_moved_into_itself_or_onto_another(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/a/x": b"1", "r/b/y": b"2"})
        with pytest.raises(OSError, match="into itself"):
            arrow.move("r/a", "r/a/b")
        with pytest.raises(OSError, match="not empty"):
            arrow.move("r/a", "r/b")
        assert core.find("r") == ["r/a/x", "r/b/y"]


class TestMovesAndCopies:
    """As pyarrow's own filesystems do, where fsspec does otherwise."""

    def test_a_file_is_not_moved_into_a_directory_of_the_targets_name(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/a": b"1", "r/d/x": b"2"})
        with pytest.raises(IsADirectoryError):
            arrow.move("r/a", "r/d")
        assert core.find("r") == ["r/a", "r/d/x"]

    def test_a_directory_is_not_moved_onto_a_file(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/d/x": b"1", "r/f": b"2"})
        with pytest.raises(NotADirectoryError):
            arrow.move("r/d", "r/f")
        assert core.find("r") == ["r/d/x", "r/f"]

    @pytest.mark.parametrize("path", ["r/f", "r/d"])
    def test_what_is_moved_onto_itself_stays(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem, path: str
    ) -> None:
        core.pipe({"r/d/x": b"1", "r/f": b"2"})
        arrow.move(path, f"{path}/")
        assert core.cat(core.find("r")) == {"r/d/x": b"1", "r/f": b"2"}

    def test_what_is_both_file_and_directory_is_not_moved_into_itself(self) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        core.pipe({"a": b"1", "a/x": b"2"})
        opendalfs.arrow(core).move("a", "a")
        assert core.cat(core.find("")) == {"a": b"1", "a/x": b"2"}

    def test_what_is_missing_cannot_be_moved_onto_a_directory(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/d/x": b"1"})
        for target in ("r/d", "r/no"):
            with pytest.raises(FileNotFoundError):
                arrow.move("r/missing", target)

    def test_links_move_as_links_on_a_local_disk(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        arrow = opendalfs.arrow(OpendalFileSystem("fs", root=str(root)))
        (root / "real").mkdir(parents=True)
        (root / "real" / "x").write_text("stays")
        (root / "tree").mkdir()
        for link in (root / "link", root / "tree" / "link"):
            link.symlink_to(root / "real")
        arrow.move("link", "new/moved")
        arrow.move("tree", "grown")
        for link in (root / "new" / "moved", root / "grown" / "link"):
            assert link.is_symlink()
            assert (link / "x").read_text() == "stays"
        assert sorted(path.name for path in root.iterdir()) == ["grown", "new", "real"]

    def test_a_directory_is_not_copied_as_if_it_were_an_empty_file(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"r/d/x": b"1"})
        with pytest.raises(IsADirectoryError, match="r/d"):
            arrow.copy_file("r/d", "r/e")
        assert arrow.get_file_info("r/e").type == FileType.NotFound


class TestDeletes:
    def test_the_root_is_not_deleted_by_an_empty_path(
        self, core: OpendalFileSystem, arrow: pafs.PyFileSystem
    ) -> None:
        core.pipe({"a": b"1", "d/x": b"2"})
        for path in ("", "/"):
            with pytest.raises(ValueError, match="accept_root_dir"):
                arrow.delete_dir(path)
        assert core.find("") == ["a", "d/x"]

    def test_deleting_contents_deletes_a_name_that_is_both_file_and_directory(self) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        core.pipe({"d/f": b"1", "d/f/x": b"2", "keep": b"3"})
        opendalfs.arrow(core).delete_dir_contents("d")
        assert core.find("") == ["keep"]
