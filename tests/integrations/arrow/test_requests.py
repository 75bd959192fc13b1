"""The number of requests that each call of pyarrow costs."""

from __future__ import annotations

import threading
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileType

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.testing import DelayProxy, S3Server
from tests.integrations.arrow.places import LOOKS, TABLE, Place, names, numbers, put, s3_place


class TestRequests:
    @pytest.mark.parametrize("told_by", ["info", "listing"])
    def test_opening_what_a_listing_returned_makes_no_request_in_the_callers_thread(
        self, s3: Place, told_by: str
    ) -> None:
        path = put(s3, "o.parquet", b"x" * 100)
        s3.fs.get_file_info(path if told_by == "info" else FileSelector(s3.root))
        with opendalfs.trace() as trace:
            file, stream = s3.fs.open_input_file(path), s3.fs.open_input_stream(path)
            assert file.read() == b"x" * 100
        here = threading.current_thread().name
        assert [r.operation for r in trace.records] == ["read"]
        assert [r.operation for r in trace.records if r.thread == here] == []
        assert not stream.closed

    @pytest.mark.parametrize("name", ["o.parquet", "o.bin", "o.csv"])
    def test_opening_any_other_path_costs_the_stat_that_its_first_read_needs(
        self, s3: Place, name: str
    ) -> None:
        path = put(s3, name, b"x" * 100)
        for opens in (s3.fs.open_input_file, s3.fs.open_input_stream):
            s3.core.invalidate_cache()
            with opendalfs.trace() as trace:
                assert opens(path).read() == b"x" * 100
            assert sorted(r.operation for r in trace.records) == ["read", "stat"]

    def test_a_missing_file_costs_two_stats(self, s3: Place) -> None:
        with opendalfs.trace() as trace, pytest.raises(FileNotFoundError):
            s3.fs.open_input_file(s3.path("never-there.parquet"))
        assert [r.operation for r in trace.records] == ["stat", "stat"]

    def test_one_missing_file_of_a_list_raises(self, s3: Place) -> None:
        paths = [s3.path(f"l/{i}.parquet") for i in range(4)]
        for path in paths[:3]:
            pq.write_table(TABLE, path, filesystem=s3.fs)
        with pytest.raises(FileNotFoundError, match=r"l/3\.parquet"):
            pq.read_table(paths, filesystem=s3.fs)

    def test_a_table_costs_one_stat_and_no_second_look_at_the_end(self, s3: Place) -> None:
        pq.write_table(TABLE, s3.path("t.parquet"), filesystem=s3.fs)
        with opendalfs.trace() as trace:
            pq.read_table(s3.path("t.parquet"), filesystem=s3.fs)
        assert (trace.count("stat"), trace.count("list"), trace.count("read")) == (LOOKS, 0, 1)

    @pytest.mark.parametrize(("name", "stats", "lists"), [("d", 1, 1), ("d.parquet", 2, 1)])
    def test_a_directory_costs_a_look_and_one_list(
        self, s3: Place, name: str, stats: int, lists: int
    ) -> None:
        for i in range(5):
            pq.write_table(TABLE, s3.path(f"{name}/{i}.parquet"), filesystem=s3.fs)
        with opendalfs.trace() as trace:
            found = pq.read_table(s3.path(name), filesystem=s3.fs)
        assert found.num_rows == 5 * TABLE.num_rows
        assert (trace.count("stat"), trace.count("list"), trace.count("read")) == (stats, lists, 5)

    def test_a_list_that_a_look_brought_shows_what_was_written_since(self, s3: Place) -> None:
        folder = uuid4().hex
        put(s3, f"{folder}/a.bin")
        assert s3.fs.get_file_info(s3.path(folder)).type == FileType.Directory
        put(s3, f"{folder}/b.bin")
        found = s3.fs.get_file_info(FileSelector(s3.path(folder), recursive=True))
        assert names(found, s3.path(folder)) == [("a.bin", "File"), ("b.bin", "File")]

    def test_a_look_at_a_directory_brings_one_page_of_it_at_most(self, s3: Place) -> None:
        folder = uuid4().hex
        s3.core.pipe({s3.path(f"{folder}/{i:04}"): b"" for i in range(1_001)})
        with opendalfs.trace() as trace:
            assert s3.fs.get_file_info(s3.path(folder)).type == FileType.Directory
        assert (trace.count("stat"), trace.count("list"), trace.requests) == (1, 1, 2)
        found = s3.fs.get_file_info(FileSelector(s3.path(folder), recursive=True))
        assert len(found) == 1_001

    @pytest.mark.parametrize("name", ["plain", "missing", "marker", "folder"])
    def test_a_name_without_a_suffix_is_a_file_or_a_directory_as_stored(self, s3: Place, name: str) -> None:
        folder = s3.path(uuid4().hex)
        s3.core.pipe_file(f"{folder}/plain", b"123")
        s3.core.mkdir(f"{folder}/marker")
        s3.core.pipe_file(f"{folder}/folder/inside", b"1")
        info = s3.fs.get_file_info(f"{folder}/{name}")
        kinds = {"plain": FileType.File, "missing": FileType.NotFound}
        assert info.type == kinds.get(name, FileType.Directory)
        assert info.size == (3 if name == "plain" else None)

    @pytest.mark.parametrize("recursive", [False, True])
    def test_a_selector_costs_one_list(self, s3: Place, recursive: bool) -> None:
        for name in ("a.bin", "d/b.bin", "d/e/c.bin"):
            put(s3, name)
        with opendalfs.trace() as trace:
            s3.fs.get_file_info(FileSelector(s3.root, recursive=recursive))
        assert [r.operation for r in trace.records] == ["list"]

    def test_infos_of_two_hundred_files_are_requested_concurrently(
        self, s3: Place, s3_server: S3Server
    ) -> None:
        path = put(s3, "one.bin", b"12")
        with DelayProxy(s3_server.endpoint, latency=0.03) as proxy:
            far = opendalfs.arrow("s3", **proxy.through(s3_server.options))
            with opendalfs.trace() as trace:
                found = far.get_file_info([path, s3.path("no")] * 100)
        assert [i.size for i in found] == [2, None] * 100
        # One for what is there, and one more for what may be a directory.
        assert (trace.count("stat"), trace.count("list")) == (300, 0)
        assert trace.in_flight >= 64

    @pytest.mark.parametrize("bound", [False, True])
    def test_the_contents_of_a_directory_are_deleted_together(self, s3_server: S3Server, bound: bool) -> None:
        near = s3_place(s3_server)
        near.core.pipe({near.path(f"d/{i:02}"): b"x" for i in range(50)} | {near.path("d/e/f"): b"x"})
        kept = put(near, "d-2/x.bin")
        with DelayProxy(s3_server.endpoint, latency=0.03) as proxy:
            options = proxy.through(s3_server.options)
            bucket, _, prefix = near.path("d").partition("/")
            if bound:
                far = opendalfs.arrow(OpendalFileSystem("s3", bucket=bucket, root=f"/{prefix}", **options))
            else:
                far = opendalfs.arrow("s3", **options)
            with opendalfs.trace() as trace:
                if bound:
                    far.delete_dir_contents("", accept_root_dir=True)
                else:
                    far.delete_dir_contents(near.path("d"))
        # One after another they are more than 100; on a busy machine fewer overlap.
        assert trace.round_trips <= 40
        assert near.core.find(near.path("d")) == []
        assert near.fs.get_file_info(kept).type == FileType.File
        if not bound:
            assert near.fs.get_file_info(near.path("d")).type == FileType.Directory

    def test_a_file_of_the_directorys_name_stays_when_the_contents_are_deleted(self) -> None:
        core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
        fs = opendalfs.arrow(core)
        core.pipe({"t/d/x": b"1", "t/d/e/y": b"2", "t/d/e": b"3"})
        fs.delete_dir_contents("t/d")
        core.pipe_file("t/d", b"file")
        assert core.find("") == ["t/d"]

    def test_a_changed_file_is_read_anew_when_it_is_opened_again(
        self, s3: Place, s3_server: S3Server
    ) -> None:
        path = s3.path("t.parquet")
        changed = numbers(3_000, seed=7)
        pq.write_table(TABLE, path, filesystem=s3.fs)
        assert pq.read_table(path, filesystem=s3.fs).equals(TABLE)
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink)
        bucket, _, key = path.partition("/")
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=sink.getvalue().to_pybytes())
        assert pq.read_table(path, filesystem=s3.fs).equals(changed)

    def test_a_file_that_changed_since_it_was_listed_is_opened_as_it_is_now(self, s3: Place) -> None:
        path = s3.path("d/t.parquet")
        pq.write_table(TABLE, path, filesystem=s3.fs)
        found = ds.dataset(s3.path("d"), schema=TABLE.schema, filesystem=s3.fs)
        changed = numbers(5_000, seed=8)
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink)
        s3.core.pipe_file(path, sink.getvalue().to_pybytes())
        assert found.to_table().equals(changed)
