"""`opendalfs.arrow()` as pyarrow uses it: every method of the handler, datasets, URLs, requests."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileType

import opendalfs
import opendalfs_arrow
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.testing import DelayProxy, S3Server
from tests.integrations.arrow_places import PLACES, Place, numbers, s3_place

TABLE = numbers(2_000)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = PLACES[request.param](request.getfixturevalue, tmp_path)
    made.fs.create_dir(made.root)
    yield made
    if made.fs.get_file_info(made.root).type == FileType.Directory:
        made.fs.delete_dir(made.root)


@pytest.fixture
def s3(s3_server: S3Server) -> Place:
    return s3_place(s3_server)


def put(place: Place, name: str, data: bytes = b"x") -> str:
    path = place.path(name)
    place.fs.create_dir(path.rpartition("/")[0])
    with place.fs.open_output_stream(path) as out:
        out.write(data)
    return path


def names(infos: list[pafs.FileInfo], root: str) -> list[tuple[str, str]]:
    return [(i.path.removeprefix(root + "/"), i.type.name) for i in infos]


class TestInfo:
    def test_a_file_has_size_and_a_time_with_its_zone(self, place: Place) -> None:
        path = put(place, "a.bin", b"12345")
        info = place.fs.get_file_info(path)
        assert (info.path, info.type, info.size) == (path, FileType.File, 5)
        assert info.mtime is not None
        assert abs(datetime.now(UTC) - info.mtime) < timedelta(minutes=5)

    def test_missing_paths_and_directories_are_told_in_the_order_asked(self, place: Place) -> None:
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


class TestChanges:
    def test_directories_come_and_go(self, place: Place) -> None:
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
    def test_an_operators_root_can_be_emptied_when_asked_for_by_name(self, tmp_path: Path) -> None:
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
    def test_nobody_empties_the_disk_or_all_services(self, source: str | None) -> None:
        with pytest.raises(NotImplementedError):
            opendalfs.arrow(source).handler.delete_root_dir_contents()


class TestFiles:
    def test_random_access(self, place: Place) -> None:
        data = bytes(range(256)) * 40
        with place.fs.open_input_file(put(place, "r.bin", data)) as file:
            assert file.size() == len(data)
            assert file.read_at(10, 250) == data[250:260]
            assert file.read_at(100, len(data) - 5) == data[-5:]
            file.seek(-3, 2)
            assert (file.tell(), file.read(), file.read(4)) == (len(data) - 3, data[-3:], b"")

    def test_streams(self, place: Place) -> None:
        data = bytes(range(256)) * 40
        with place.fs.open_input_stream(put(place, "s.bin", data)) as stream:
            assert stream.read(1000) == data[:1000]
            assert stream.read() == data[1000:]

    def test_compressed_streams_are_decompressed_once(self, place: Place) -> None:
        data = bytes(range(256)) * 40
        path = place.path("s.csv.gz")
        with place.fs.open_output_stream(path) as out:
            out.write(data)
        assert place.fs.get_file_info(path).size < len(data)
        with place.fs.open_input_stream(path) as stream:
            assert stream.read() == data
        with place.fs.open_input_stream(path, compression=None) as stream:
            assert stream.read(2) == b"\x1f\x8b"

    def test_an_empty_file(self, place: Place) -> None:
        path = put(place, "e.bin", b"")
        assert place.fs.open_input_file(path).read() == b""
        assert place.fs.open_input_stream(path).read() == b""

    @pytest.mark.parametrize("name", ["no.bin", "no.parquet", "no.csv", "no/such/dir/x.csv.gz", "no"])
    def test_opening_a_missing_file_raises_there_and_then(self, place: Place, name: str) -> None:
        for opens in (place.fs.open_input_file, place.fs.open_input_stream):
            with pytest.raises(FileNotFoundError, match=name):
                opens(place.path(name))

    @pytest.mark.parametrize("name", ["d", "d.parquet", "d.csv"])
    def test_opening_a_directory_raises_there_and_then(self, place: Place, name: str) -> None:
        put(place, f"{name}/x.bin")
        for opens in (place.fs.open_input_file, place.fs.open_input_stream):
            with pytest.raises(IsADirectoryError, match=name):
                opens(place.path(name))

    def test_a_file_that_is_gone_cannot_be_opened(self, place: Place) -> None:
        path = put(place, "gone.parquet")
        assert place.fs.get_file_info(path).type == FileType.File
        place.fs.delete_file(path)
        for opens in (place.fs.open_input_file, place.fs.open_input_stream):
            with pytest.raises(FileNotFoundError, match=r"gone\.parquet"):
                opens(path)

    def test_the_root_is_no_file(self, place: Place) -> None:
        root = place.root.partition("/")[0]
        for opens in (place.fs.open_input_file, place.fs.open_input_stream):
            with pytest.raises(OSError, match=r"(?i)directory"):
                opens(root or "/")

    def test_reading_after_close_raises(self, place: Place) -> None:
        file = place.fs.open_input_file(put(place, "c.bin", b"123"))
        file.close()
        with pytest.raises(ValueError, match="closed"):
            file.read()

    def test_many_threads_read_one_file(self, place: Place) -> None:
        data = bytes(range(256)) * 4_000
        file = place.fs.open_input_file(put(place, "t.bin", data))
        wrong: list[int] = []

        def work(offset: int) -> None:
            wrong.extend(
                at for at in range(offset, len(data), 16_000) if file.read_at(500, at) != data[at : at + 500]
            )

        threads = [threading.Thread(target=work, args=(i * 1000,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_an_append_adds_where_the_service_can_and_is_refused_elsewhere(self, place: Place) -> None:
        path = put(place, "log.txt", b"one ")
        if place.name in ("fs", "operator-fs"):
            with place.fs.open_append_stream(path) as out:
                out.write(b"two")
            assert place.fs.open_input_file(path).read() == b"one two"
        else:
            with pytest.raises(NotImplementedError, match="append"):
                place.fs.open_append_stream(path)
            assert place.fs.open_input_file(path).read() == b"one "

    def test_local_files_are_arrows_own(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"local")
        bound = opendalfs.arrow(OpendalFileSystem("fs", root=str(tmp_path)))
        for fs, name in (
            (opendalfs.arrow("fs"), str(path)),
            (opendalfs.arrow(), str(path)),
            (bound, "a.bin"),
        ):
            with opendalfs.trace() as trace:
                file, stream = fs.open_input_file(name), fs.open_input_stream(name)
                assert file.read() == stream.read() == b"local"
            assert trace.requests == 0

    def test_metadata_reaches_the_object(self, s3: Place, s3_server: S3Server) -> None:
        metadata = {"Content-Type": "text/csv", "Cache-Control": "no-store", "origin": "a test"}
        with s3.fs.open_output_stream(s3.path("m.csv"), metadata=metadata) as out:
            out.write(b"1,2")
        head = s3_server.client.head_object(
            Bucket=s3_server.bucket, Key=s3.path("m.csv").removeprefix(f"{s3_server.bucket}/")
        )
        assert head["ContentType"] == "text/csv"
        assert head["CacheControl"] == "no-store"
        assert head["Metadata"] == {"origin": "a test"}

    def test_metadata_that_a_service_cannot_keep_is_left_out(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow("fs")
        with fs.open_output_stream(str(tmp_path / "m"), metadata={"Content-Type": "a/b", "x": "y"}) as out:
            out.write(b"1")
        assert (tmp_path / "m").read_bytes() == b"1"


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

    def test_a_move_between_services_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow()
        with pytest.raises(NotImplementedError, match="copy and delete"):
            fs.move("opendal+memory://urls/x", str(tmp_path / "x"))


class TestTables:
    def test_tables_come_back(self, place: Place) -> None:
        pq.write_table(TABLE, place.path("t.parquet"), filesystem=place.fs)
        assert pq.read_table(place.path("t.parquet"), filesystem=place.fs).equals(TABLE)
        assert pq.read_schema(place.path("t.parquet"), filesystem=place.fs).equals(TABLE.schema)

    def test_metadata_files_come_back(self, place: Place) -> None:
        pq.write_metadata(TABLE.schema, place.path("_common_metadata"), filesystem=place.fs)
        found = pq.read_metadata(place.path("_common_metadata"), filesystem=place.fs)
        assert found.schema.to_arrow_schema().equals(TABLE.schema)

    @pytest.mark.parametrize("form", ["parquet", "csv", "ipc"])
    def test_datasets_come_back(self, place: Place, form: str) -> None:
        ds.write_dataset(
            TABLE,
            place.path(form),
            format=form,
            filesystem=place.fs,
            max_rows_per_file=900,
            max_rows_per_group=900,
        )
        found = ds.dataset(place.path(form), format=form, filesystem=place.fs)
        assert len(found.files) == 3
        assert found.count_rows() == TABLE.num_rows
        assert found.to_table().sort_by("id").equals(TABLE)

    def test_partitions_are_written_found_and_pruned(self, place: Place) -> None:
        table = TABLE.append_column("year", pa.array([2020 + i % 3 for i in range(TABLE.num_rows)]))
        part = ds.partitioning(pa.schema([("year", pa.int64())]), flavor="hive")
        ds.write_dataset(table, place.path("h"), format="parquet", partitioning=part, filesystem=place.fs)
        found = ds.dataset(place.path("h"), partitioning="hive", filesystem=place.fs)
        assert sorted(f.removeprefix(place.root) for f in found.files) == [
            f"/h/year={y}/part-0.parquet" for y in (2020, 2021, 2022)
        ]
        only = found.to_table(filter=ds.field("year") == 2021)
        assert only.num_rows == sum(1 for i in range(TABLE.num_rows) if i % 3 == 1)

    def test_existing_data_is_treated_as_asked(self, place: Place) -> None:
        def write(table: pa.Table, **kwargs: Any) -> int:
            ds.write_dataset(table, place.path("w"), format="parquet", filesystem=place.fs, **kwargs)
            return int(ds.dataset(place.path("w"), filesystem=place.fs).count_rows())

        rows = TABLE.num_rows
        assert write(TABLE) == rows
        with pytest.raises(pa.ArrowInvalid, match="not empty"):
            write(TABLE)
        more = {"existing_data_behavior": "overwrite_or_ignore", "basename_template": "more-{i}.parquet"}
        assert write(TABLE, **more) == 2 * rows
        assert write(TABLE.slice(0, 10), existing_data_behavior="delete_matching") == 10

    def test_copy_files_copies_a_tree_in_and_out(self, place: Place, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        (source / "sub").mkdir(parents=True)
        (source / "a.bin").write_bytes(b"a" * 3_000_000)
        (source / "sub" / "b.bin").write_bytes(b"b")
        local = pafs.LocalFileSystem()
        pafs.copy_files(str(source), place.path("in"), local, place.fs)
        pafs.copy_files(place.path("in"), place.path("within"), place.fs, place.fs)
        pafs.copy_files(place.path("within"), str(tmp_path / "out"), place.fs, local)
        assert (tmp_path / "out" / "a.bin").read_bytes() == b"a" * 3_000_000
        assert (tmp_path / "out" / "sub" / "b.bin").read_bytes() == b"b"


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
        assert (trace.count("stat"), trace.count("list"), trace.count("read")) == (1, 0, 1)

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
    def test_a_name_without_an_ending_is_told_for_what_it_is(self, s3: Place, name: str) -> None:
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

    def test_two_hundred_files_are_asked_for_together(self, s3: Place, s3_server: S3Server) -> None:
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
        # One after another they are more than 100.
        assert trace.round_trips <= 12
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
