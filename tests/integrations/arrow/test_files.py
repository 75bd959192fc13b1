"""Files that pyarrow opens: random access, streams, writes, metadata."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pyarrow.fs import FileType

import opendalfs
from opendalfs import OptionError
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.testing import Request, Response, S3Server, ScriptedServer
from tests.integrations.arrow.places import Place, put


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

    def test_a_deleted_file_cannot_be_opened(self, place: Place) -> None:
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

    def test_metadata_that_parts_would_lose_names_the_option_of_the_filesystem(self) -> None:
        def respond(request: Request) -> Response:
            return Response(200, {"ETag": '"1"'})

        with ScriptedServer(respond) as server:
            options = {"endpoint": server.endpoint, "key": "k", "secret": "s", "addressing_style": "path"}
            small, large = (opendalfs.arrow("oss", write_chunk=size << 20, **options) for size in (1, 4))
            with (
                pytest.raises(
                    OptionError, match=r"would lose user_metadata: .*\n.*pyarrow, pass write_chunk="
                ),
                small.open_output_stream("lake/m", metadata={"origin": "a test"}) as out,
            ):
                out.write(bytes(3 << 20))
            assert server.requests == []
            with large.open_output_stream("lake/m", metadata={"origin": "a test"}) as out:
                out.write(bytes(3 << 20))
            assert server.requests[-1].headers["x-oss-meta-origin"] == "a test"

    def test_metadata_that_a_service_cannot_keep_is_left_out(self, tmp_path: Path) -> None:
        fs = opendalfs.arrow("fs")
        with fs.open_output_stream(str(tmp_path / "m"), metadata={"Content-Type": "a/b", "x": "y"}) as out:
            out.write(b"1")
        assert (tmp_path / "m").read_bytes() == b"1"
