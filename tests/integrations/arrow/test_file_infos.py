"""File infos and selectors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyarrow.fs import FileSelector, FileType

from tests.integrations.arrow.places import Place, names, put


class TestInfo:
    def test_a_file_has_size_and_a_time_with_its_zone(self, place: Place) -> None:
        path = put(place, "a.bin", b"12345")
        info = place.fs.get_file_info(path)
        assert (info.path, info.type, info.size) == (path, FileType.File, 5)
        assert info.mtime is not None
        assert abs(datetime.now(UTC) - info.mtime) < timedelta(minutes=5)

    def test_infos_of_missing_paths_and_directories_come_in_the_order_of_the_call(self, place: Place) -> None:
        path = put(place, "sub/a.bin")
        asked = [place.path("no"), place.path("sub"), path, place.path("sub/no/deeper")]
        found = place.fs.get_file_info(asked)
        assert [i.path for i in found] == asked
        kinds = [FileType.NotFound, FileType.Directory, FileType.File, FileType.NotFound]
        assert [i.type for i in found] == kinds

    def test_a_selector_gives_one_level_sorted_without_the_base(self, place: Place) -> None:
        for name in ("b.bin", "a.bin", "sub/c.bin", "sub/deep/d.bin"):
            put(place, name)
        found = place.fs.get_file_info(FileSelector(place.root))
        assert names(found, place.root) == [("a.bin", "File"), ("b.bin", "File"), ("sub", "Directory")]
        assert [i.size for i in found if i.is_file] == [1, 1]

    def test_a_recursive_selector_gives_the_tree_with_its_directories(self, place: Place) -> None:
        for name in ("a.bin", "sub/c.bin", "sub/deep/d.bin"):
            put(place, name)
        found = place.fs.get_file_info(FileSelector(place.root, recursive=True))
        assert names(found, place.root) == [
            ("a.bin", "File"),
            ("sub", "Directory"),
            ("sub/c.bin", "File"),
            ("sub/deep", "Directory"),
            ("sub/deep/d.bin", "File"),
        ]

    @pytest.mark.parametrize("recursive", [False, True])
    def test_a_missing_base_raises_unless_it_may_be_missing(self, place: Place, recursive: bool) -> None:
        base = place.path("no")
        with pytest.raises(FileNotFoundError):
            place.fs.get_file_info(FileSelector(base, recursive=recursive))
        assert place.fs.get_file_info(FileSelector(base, recursive=recursive, allow_not_found=True)) == []

    @pytest.mark.parametrize("recursive", [False, True])
    @pytest.mark.parametrize("allow", [False, True])
    def test_a_file_as_base_raises_as_with_local_files(
        self, place: Place, recursive: bool, allow: bool
    ) -> None:
        base = put(place, "file.bin")
        with pytest.raises(NotADirectoryError):
            place.fs.get_file_info(FileSelector(base, recursive=recursive, allow_not_found=allow))

    def test_own_writes_and_deletes_show_at_once(self, place: Place) -> None:
        path = put(place, "sub/a.bin", b"1")
        assert place.fs.get_file_info(place.path("sub")).type == FileType.Directory
        put(place, "sub/a.bin", b"123")
        assert place.fs.get_file_info(path).size == 3
        place.fs.delete_dir(place.path("sub"))
        found = place.fs.get_file_info([path, place.path("sub")])
        assert [i.type for i in found] == [FileType.NotFound, FileType.NotFound]
