"""Faults that reviews found in `opendalfs.arrow()`, each with the way it showed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs
import pytest
from pyarrow.fs import FileType

import opendalfs
from opendalfs.fs import OpendalFileSystem


@pytest.fixture(params=["memory", "fs"])
def core(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpendalFileSystem]:
    if request.param == "fs":
        yield OpendalFileSystem("fs", root=str(tmp_path))
        return
    yield OpendalFileSystem("memory", root=f"/{uuid4().hex}")


@pytest.fixture
def arrow(core: OpendalFileSystem) -> pafs.PyFileSystem:
    return opendalfs.arrow(core)


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
