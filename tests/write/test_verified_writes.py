"""`verify_writes=True` compares the stored object with what was written."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Moto, Request, Response, S3Server, ScriptedServer, object_headers

ERROR = b"<Error><Code>InternalError</Code><Message>try later</Message></Error>"
COPIED = b'<CopyObjectResult><ETag>"0"</ETag></CopyObjectResult>'
EMPTY = b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
OLD = b"old content"
NEW = b"new content"
LARGE = 9 << 20

Write = Callable[[Any, str, Path, bytes], None]


class Forgetful:
    """An S3 server that answers each write with success and keeps what it held before.

    Parameters
    ----------
    stored : bytes, optional
        What it holds, under every key.
    """

    def __init__(self, stored: bytes | None = None, etag: str | None = None) -> None:
        self.stored = stored
        self.etag = etag

    def __call__(self, request: Request) -> Response:
        if request.method == "PUT":
            return Response(200, {"Content-Length": str(len(ERROR)), "ETag": '"0"'}, [ERROR])
        if self.stored is None or "list-type" in request.target:
            return Response(404, {"Content-Length": "0"})
        etag = self.etag or hashlib.md5(self.stored).hexdigest()
        headers = {**object_headers(len(self.stored)), "ETag": f'"{etag}"'}
        return Response(200, headers, [self.stored])


def connect(server: ScriptedServer, **options: Any) -> Any:
    given = {"endpoint": server.endpoint, "key": "k", "secret": "s", "region": "us-east-1", "retries": 0}
    return opendalfs.S3FileSystem(**given, verify_writes=True, **options)


def pipe(fs: Any, path: str, tmp_path: Path, data: bytes) -> None:
    fs.pipe_file(path, data)


def put(fs: Any, path: str, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "local").write_bytes(data)
    fs.put_file(str(tmp_path / "local"), path)


def opened(fs: Any, path: str, tmp_path: Path, data: bytes) -> None:
    with fs.open(path, "wb") as file:
        file.write(data)


def opened_async(fs: Any, path: str, tmp_path: Path, data: bytes) -> None:
    async def write() -> None:
        other = type(fs)(**fs.storage_options, asynchronous=True)
        async with await other.open_async(path, "wb") as file:
            await file.write(data)

    asyncio.run(write())


def arrow(fs: Any, path: str, tmp_path: Path, data: bytes) -> None:
    with opendalfs.arrow(fs).open_output_stream(path) as out:
        out.write(data)


WRITES = [pipe, put, opened, opened_async, arrow]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (None, "nothing is stored"),
        (b"shorter", "7 bytes are stored, 11 were written"),
        (OLD, "the stored content is not the one that was written"),
    ],
    ids=["nothing", "other-size", "same-size"],
)
def test_a_write_that_only_looks_like_a_success_raises(
    tmp_path: Path, write: Write, stored: bytes | None, says: str
) -> None:
    with ScriptedServer(Forgetful(stored)) as server:
        with pytest.raises(OSError, match=f"Do not trust this object: {says}") as info:
            write(connect(server), "b/new", tmp_path, NEW)
        assert info.value.filename == "b/new"


def test_a_copy_that_only_looks_like_a_success_raises() -> None:
    def answer(request: Request) -> Response:
        content = NEW if "/source" in request.target else OLD
        headers = {**object_headers(len(content)), "ETag": f'"{hashlib.md5(content).hexdigest()}"'}
        if "list-type" in request.target:
            return Response(200, {"Content-Length": str(len(EMPTY))}, [EMPTY])
        if request.method == "PUT":
            return Response(200, {"Content-Length": str(len(COPIED))}, [COPIED])
        return Response(200, headers, [content])

    with ScriptedServer(answer) as server:
        fs = connect(server)
        with pytest.raises(OSError, match="Do not trust this object: the stored content is not"):
            fs.cp_file("b/source", "b/target")
        with pytest.raises(OSError, match="Do not trust this object"):
            fs.mv("b/source", "b/target")
        assert server.count("DELETE") == 0


def test_an_engine_gets_the_error_of_its_write(tmp_path: Path) -> None:
    with ScriptedServer(Forgetful()) as server:
        fs = connect(server)
        with pytest.raises(OSError, match="Do not trust this object"):
            pq.write_table(pa.table({"x": [1]}), "b/t.parquet", filesystem=opendalfs.arrow(fs))
        con = duckdb.connect()
        con.register_filesystem(opendalfs.duckdb(fs))
        with pytest.raises(duckdb.Error, match="Do not trust this object"):
            con.execute("COPY (SELECT 42 AS x) TO 'opendal+s3://b/new.parquet'")


def test_an_etag_that_is_no_md5_costs_one_read_and_no_false_alarm() -> None:
    # As of a bucket that encrypts with KMS by default.
    with ScriptedServer(Forgetful(NEW, etag="0123456789abcdef0123456789abcdef")) as server:
        fs = connect(server)
        fs.pipe_file("b/new", NEW)
        assert server.count("GET") == 1
        fs.pipe_file("b/new", NEW)
        with pytest.raises(OSError, match="11 bytes are stored"):
            fs.pipe_file("b/new", NEW + b"more")
        assert server.count("GET") == 1


@pytest.mark.parametrize("etag", ["abc-3", "0123456789abcdef0123456789abcdef"])
def test_of_multipart_and_encrypted_objects_the_size_counts(etag: str) -> None:
    with ScriptedServer(Forgetful(NEW, etag=etag)) as server:
        encryption = {"server_side_encryption": "aws:kms"} if "-" not in etag else {}
        connect(server, **encryption).pipe_file("b/new", NEW)
        assert server.count("GET") == 0


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("size", [0, 1000, LARGE])
def test_good_writes_of_real_servers_pass(
    s3_server: S3Server, prefix: str, tmp_path: Path, write: Write, size: int
) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options, verify_writes=True)
    data = bytes(size)
    path = f"{prefix}/new"
    write(fs, path, tmp_path, data)
    fs.cp_file(path, f"{prefix}/copy")
    assert fs.cat_file(f"{prefix}/copy") == data
    connection = fs.locate(path)[0]
    assert connection.etags_are_md5


def test_good_writes_pass_on_flat_keys_and_local_services(moto_server: Moto, tmp_path: Path) -> None:
    s3 = opendalfs.S3FileSystem(**moto_server.options, verify_writes=True)
    disk = opendalfs.FsFileSystem(verify_writes=True)
    memory = opendalfs.filesystem("memory", verify_writes=True)
    for fs, folder in ((s3, moto_server.bucket), (disk, str(tmp_path)), (memory, "verified")):
        for size in (0, 1000, LARGE):
            fs.pipe_file(f"{folder}/a", bytes(size))
            with fs.open(f"{folder}/b", "wb") as file:
                file.write(bytes(size))
            fs.cp_file(f"{folder}/a", f"{folder}/c")
            assert fs.size(f"{folder}/c") == size
        with fs.open(f"{folder}/b", "ab") as file:
            file.write(b"more")
        assert fs.size(f"{folder}/b") == LARGE + 4


def test_it_costs_a_request_a_write_and_nothing_when_off(s3_server: S3Server, prefix: str) -> None:
    for verify, expected in ((False, ["write"]), (True, ["write", "stat"])):
        fs = opendalfs.S3FileSystem(**s3_server.options, verify_writes=verify)
        with opendalfs.trace() as trace:
            fs.pipe_file(f"{prefix}/a", b"x")
        assert [record.operation for record in trace.records] == expected


def test_it_is_off_by_default_and_takes_a_truth_value() -> None:
    assert opendalfs.filesystem("memory").tuning.verify_writes is False
    assert opendalfs.filesystem("memory", verify_writes="true").tuning.verify_writes is True
    with pytest.raises(OptionError, match="verify_writes must be True or False"):
        opendalfs.filesystem("memory", verify_writes="perhaps")
