"""Paths, URLs, equality and pickles of `opendalfs.arrow()`."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector

import opendalfs
import opendalfs_arrow
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.testing import S3Server
from tests.integrations.arrow.places import TABLE, Place, put


class TestIdentity:
    def test_the_type_names_the_service(self) -> None:
        assert opendalfs.arrow("memory").type_name == "py::opendal+memory"
        assert opendalfs.arrow().type_name == "py::opendal"

    def test_filesystems_of_the_same_options_are_equal(self) -> None:
        options = {"endpoint": "http://localhost:1", "region": "us-east-1"}
        one, same = opendalfs.arrow("s3", **options), opendalfs.arrow("s3", **options)
        other = opendalfs.arrow("s3", **{**options, "region": "eu-west-1"})
        assert one.equals(same)
        assert hash(one.handler) == hash(same.handler)
        assert not one.equals(other)
        assert not one.equals(opendalfs.arrow())
        assert opendalfs.arrow(**options).equals(opendalfs.arrow(**options))

    def test_a_repr_shows_service_and_options_without_secrets(self) -> None:
        secrets = {"access_key_id": "AKIDXYZ", "secret_access_key": "s3cret"}
        options = {"endpoint": "http://user:hunter2@localhost:9000", "region": "x", **secrets}
        of_urls = opendalfs.arrow(**options, aws_session_token="t0ken")
        assert repr(of_urls) == (
            "opendalfs.arrow(access_key_id=***, aws_session_token=***, "
            "endpoint='http://***@localhost:9000', region='x', secret_access_key=***)"
        )
        of_s3 = opendalfs.arrow("s3", endpoint="http://localhost:9000", region="x", **secrets)
        assert repr(of_s3) == (
            "opendalfs.arrow(S3FileSystem(access_key_id=***, endpoint='http://localhost:9000', "
            "region='x', secret_access_key=***))"
        )
        bound = opendalfs.arrow(OpendalFileSystem("s3", bucket="lake", root="/r", region="x", **secrets))
        assert "'s3'" in repr(bound)
        assert "bucket='lake'" in repr(bound)
        assert "root='/r'" in repr(bound)
        assert repr(opendalfs_arrow.with_columns(opendalfs.arrow("memory"), ["a"])) == (
            "with_columns(opendalfs.arrow(MemoryFileSystem()), ['a'])"
        )
        assert repr(opendalfs.arrow("memory", call_hints=False)) == (
            "opendalfs.arrow(MemoryFileSystem(), call_hints=False)"
        )
        for fs in (of_urls, of_s3, bound):
            assert isinstance(fs, pafs.PyFileSystem)
            assert not any(secret in f"{fs!r}{fs}" for secret in ("AKIDXYZ", "s3cret", "hunter2", "t0ken"))

    def test_a_copy_by_pickle_has_the_same_repr_and_type(self) -> None:
        fs = opendalfs.arrow("memory", root="/lake")
        copy = pickle.loads(pickle.dumps(fs))
        assert (type(copy), repr(copy)) == (type(fs), "opendalfs.arrow(MemoryFileSystem(root='/lake'))")
        assert copy == fs == pafs.PyFileSystem(fs.handler)

    def test_pickles_are_the_same_before_and_after_use(self, place: Place) -> None:
        before = pickle.dumps(place.fs)
        put(place, "a.bin", b"12")
        place.fs.get_file_info(FileSelector(place.root))
        copy = pickle.loads(before)
        assert pickle.dumps(place.fs) == before == pickle.dumps(copy)
        assert copy.equals(place.fs)
        assert copy.open_input_file(place.path("a.bin")).read() == b"12"

    def test_a_spawned_process_reads_through_a_pickle(self, s3: Place) -> None:
        pq.write_table(TABLE, s3.path("t.parquet"), filesystem=s3.fs)
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            rows = workers.apply(pq.read_metadata, (s3.path("t.parquet"),), {"filesystem": s3.fs}).num_rows
        assert rows == TABLE.num_rows


class TestPaths:
    def test_urls_and_container_paths_lead_to_the_same_file(self, s3: Place, s3_server: S3Server) -> None:
        pq.write_table(TABLE, s3.path("t.parquet"), filesystem=s3.fs)
        everywhere = opendalfs.arrow(**s3_server.options)
        for fs, path in (
            (s3.fs, s3.path("t.parquet")),
            (s3.fs, f"opendal+s3://{s3.path('t.parquet')}"),
            (s3.fs, f"s3://{s3.path('t.parquet')}"),
            (everywhere, f"opendal+s3://{s3.path('t.parquet')}"),
            (everywhere, f"s3a://{s3.path('t.parquet')}"),
        ):
            assert pq.read_table(path, filesystem=fs).equals(TABLE)

    def test_without_a_source_a_bare_path_is_local(self, tmp_path: Path) -> None:
        path = str(tmp_path / "t.parquet")
        pq.write_table(TABLE, path, filesystem=opendalfs.arrow())
        assert pq.read_table(path).equals(TABLE)
        assert pq.read_table(path, filesystem=opendalfs.arrow()).equals(TABLE)

    def test_one_filesystem_serves_many_services(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow()
        memory, local = f"opendal+memory://urls/{tmp_path.name}.parquet", str(tmp_path / "t.parquet")
        pq.write_table(TABLE, memory, filesystem=fs)
        pafs.copy_files(memory, local, source_filesystem=fs, destination_filesystem=fs)
        assert pq.read_table(local).equals(TABLE)

    def test_a_move_between_services_is_refused_and_names_the_alternative(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow()
        with pytest.raises(NotImplementedError, match="copy and delete"):
            fs.move("opendal+memory://urls/x", str(tmp_path / "x"))


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

    def test_a_url_of_another_server_is_refused(self) -> None:
        arrow = opendalfs.arrow("webdav", endpoint="http://here.invalid:80")
        with pytest.raises(ValueError, match="another server"):
            arrow.get_file_info("opendal+webdav://elsewhere.invalid:80/x")
        assert arrow.normalize_path("opendal+webdav://here.invalid:80/a/x") == "a/x"
