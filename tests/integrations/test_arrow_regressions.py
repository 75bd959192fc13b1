"""Faults that reviews found in `opendalfs.arrow()`, each with the way it showed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileType

import opendalfs
from opendalfs.fs.core import OpendalFileSystem


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

    def test_a_name_that_is_both_file_and_directory_goes_with_the_contents(self) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        core.pipe({"d/f": b"1", "d/f/x": b"2", "keep": b"3"})
        opendalfs.arrow(core).delete_dir_contents("d")
        assert core.find("") == ["keep"]


class TestUrls:
    def test_a_url_within_a_bound_filesystem_is_the_path_there(self) -> None:
        root = uuid4().hex
        core = OpendalFileSystem("memory", root=root)
        arrow = opendalfs.arrow(core)
        url = f"opendal+memory://{root}/d"
        ds.write_dataset(pa.table({"x": [1, 2]}), url, format="parquet", filesystem=arrow)
        assert core.find("") == ["d/part-0.parquet"]
        assert arrow.normalize_path(f"{url}/") == "d"
        assert ds.dataset(url, filesystem=arrow).files == ["d/part-0.parquet"]
        assert pq.read_table(url, filesystem=arrow)["x"].to_pylist() == [1, 2]

    def test_a_url_outside_a_bound_filesystem_is_refused(self) -> None:
        arrow = opendalfs.arrow(OpendalFileSystem("memory", root=uuid4().hex))
        with pytest.raises(ValueError, match="is not within"):
            arrow.get_file_info("opendal+memory://elsewhere/x")

    @pytest.mark.parametrize("url", ["gs://bucket/x", "opendal+gcs://bucket/x", "nope://bucket/x"])
    def test_a_url_of_another_service_is_refused_as_such(self, url: str) -> None:
        arrow = opendalfs.arrow("s3", region="us-east-1", key="a", secret="hunter2")
        for attempt in (arrow.get_file_info, arrow.open_input_file, arrow.normalize_path):
            with pytest.raises(ValueError, match="is not a path of S3FileSystem") as caught:
                attempt(url)
            assert "hunter2" not in str(caught.value)

    def test_a_url_of_another_server_is_not_taken_for_this_ones(self) -> None:
        arrow = opendalfs.arrow("webdav", endpoint="http://here.invalid:80")
        with pytest.raises(ValueError, match="another server"):
            arrow.get_file_info("opendal+webdav://elsewhere.invalid:80/x")
        assert arrow.normalize_path("opendal+webdav://here.invalid:80/a/x") == "a/x"


def parquet(value: int) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [value] * 3}), out)
    return out.getvalue().to_pybytes()


@pytest.fixture(params=["bound", "urls"])
def at(request: pytest.FixtureRequest) -> tuple[OpendalFileSystem, pafs.PyFileSystem, str, str]:
    """Give a filesystem, a view of it for pyarrow, and the same directory for each."""
    core = opendalfs.filesystem("memory")
    folder = uuid4().hex
    if request.param == "bound":
        return core, opendalfs.arrow(core), folder, folder
    return core, opendalfs.arrow(), folder, f"opendal+memory://{folder}"


At = tuple[OpendalFileSystem, pafs.PyFileSystem, str, str]


class TestOwnWrites:
    """What is written through the filesystem is what its view for pyarrow reads next."""

    def test_a_parquet_file_is_the_new_one(self, at: At) -> None:
        core, arrow, inside, outside = at
        for value in (1, 2):
            core.pipe_file(f"{inside}/t.parquet", parquet(value))
            if value == 1:
                arrow.get_file_info(f"{outside}/t.parquet")
            with pq.ParquetFile(f"{outside}/t.parquet", filesystem=arrow) as file:
                assert file.read()["x"].to_pylist() == [value] * 3

    def test_a_stream_is_the_new_one(self, at: At) -> None:
        core, arrow, inside, outside = at
        core.pipe_file(f"{inside}/x.csv", b"a")
        arrow.get_file_info(f"{outside}/x.csv")
        core.pipe_file(f"{inside}/x.csv", b"longer")
        assert arrow.open_input_stream(f"{outside}/x.csv").read() == b"longer"

    def test_what_is_published_after_a_look_is_seen(self, at: At) -> None:
        core, arrow, inside, outside = at
        core.pipe_file(f"{inside}/x.csv", b"a")
        out = arrow.open_output_stream(f"{outside}/x.csv")
        out.write(b"longer")
        assert arrow.get_file_info(f"{outside}/x.csv").size == 1
        out.close()
        assert arrow.open_input_file(f"{outside}/x.csv").read() == b"longer"

    def test_what_a_directory_held_is_gone_with_it(self, at: At) -> None:
        core, arrow, inside, outside = at
        core.pipe_file(f"{inside}/d/t.parquet", parquet(1))
        arrow.get_file_info(f"{outside}/d/t.parquet")
        pq.ParquetFile(f"{outside}/d/t.parquet", filesystem=arrow).close()
        core.rm(f"{inside}/d", recursive=True)
        with pytest.raises(FileNotFoundError):
            pq.ParquetFile(f"{outside}/d/t.parquet", filesystem=arrow)


class TestOthersWrites:
    def test_a_stream_that_has_changed_since_it_was_told_of_is_opened_anew(self) -> None:
        arrow = opendalfs.arrow(OpendalFileSystem("memory", root=f"/{uuid4().hex}"))
        core = arrow.handler.fs
        core.pipe_file("x.csv", b"a")
        for read in (lambda f: f.read(), lambda f: f.read(100), lambda f: f.readall()):
            arrow.get_file_info("x.csv")
            connection, key = core.locate("x.csv")
            connection.write_blocking(key, b"longer" + uuid4().hex[:8].encode())
            assert read(arrow.open_input_stream("x.csv")).startswith(b"longer")

    def test_a_version_that_reads_cannot_be_held_to_is_asked_for_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        arrow = opendalfs.arrow(core)
        core.pipe_file("x.bin", b"short")
        # As a service over HTTP whose listings have no entity tags: neither pinned nor compared.
        monkeypatch.setattr("opendalfs.storage.version.compares", lambda *_: False)
        monkeypatch.setattr("opendalfs.read.reader.compares", lambda *_: False)
        monkeypatch.setattr("opendalfs_arrow.file_cache.compares", lambda *_: False)
        arrow.get_file_info("x.bin")
        connection, key = core.locate("x.bin")
        connection.write_blocking(key, b"longer than before")
        assert arrow.open_input_file("x.bin").read() == b"longer than before"
