"""Reads show what this process and others have written since."""

from __future__ import annotations

from uuid import uuid4

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from tests.integrations.arrow.places import parquet


@pytest.fixture(params=["bound", "urls"])
def at(request: pytest.FixtureRequest) -> tuple[OpendalFileSystem, pafs.PyFileSystem, str, str]:
    """Return a filesystem, its pyarrow filesystem, and the path of one directory in each."""
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

    def test_files_of_a_deleted_directory_do_not_exist(self, at: At) -> None:
        core, arrow, inside, outside = at
        core.pipe_file(f"{inside}/d/t.parquet", parquet(1))
        arrow.get_file_info(f"{outside}/d/t.parquet")
        pq.ParquetFile(f"{outside}/d/t.parquet", filesystem=arrow).close()
        core.rm(f"{inside}/d", recursive=True)
        with pytest.raises(FileNotFoundError):
            pq.ParquetFile(f"{outside}/d/t.parquet", filesystem=arrow)


class TestOthersWrites:
    def test_a_stream_of_a_file_that_changed_since_its_info_reads_the_new_version(self) -> None:
        arrow = opendalfs.arrow(OpendalFileSystem("memory", root=f"/{uuid4().hex}"))
        core = arrow.handler.fs
        core.pipe_file("x.csv", b"a")
        for read in (lambda f: f.read(), lambda f: f.read(100), lambda f: f.readall()):
            arrow.get_file_info("x.csv")
            connection, key = core.locate("x.csv")
            connection.write_blocking(key, b"longer" + uuid4().hex[:8].encode())
            assert read(arrow.open_input_stream("x.csv")).startswith(b"longer")

    def test_a_version_without_an_etag_is_looked_up_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        arrow = opendalfs.arrow(core)
        core.pipe_file("x.bin", b"short")
        # As a service over HTTP whose listings have no entity tags: neither pinned nor compared.
        monkeypatch.setattr("opendalfs.storage.version.compares", lambda *_: False)
        monkeypatch.setattr("opendalfs.read.plan.compares", lambda *_: False)
        arrow.get_file_info("x.bin")
        connection, key = core.locate("x.bin")
        connection.write_blocking(key, b"longer than before")
        assert arrow.open_input_file("x.bin").read() == b"longer than before"
