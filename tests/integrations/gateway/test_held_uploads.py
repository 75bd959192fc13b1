"""Files of a sink that the gateway publishes only when the sink has succeeded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError

import opendalfs
import opendalfs_polars as op
from opendalfs.testing import S3Server
from opendalfs_gateway import held_files
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted

PART = 5 << 20


@pytest.fixture
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


@pytest.fixture
def held(server: Gateway, tmp_path: Path) -> Mounted:
    """Return the mount of a sink in which ``refused`` cannot be written: it is a directory with a file."""
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "file").write_bytes(b"1")
    return Mounted(server, str(tmp_path), hold=True, fs=opendalfs.filesystem("fs"))


def put(mounted: Mounted, key: str, data: bytes = b"x" * 100) -> None:
    mounted.s3.put_object(**mounted.at(key), Body=data)


def upload(mounted: Mounted, key: str, data: bytes) -> None:
    begun: dict[str, Any] = {**mounted.at(key)}
    begun["UploadId"] = mounted.s3.create_multipart_upload(**mounted.at(key))["UploadId"]
    etag = mounted.s3.upload_part(**begun, PartNumber=1, Body=data)["ETag"]
    mounted.s3.complete_multipart_upload(
        **begun, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )


def names_in(folder: Path) -> set[str]:
    """Names of the files in a folder, those that a writer has staged included."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("send", [put, upload])
def test_a_held_file_that_storage_refuses_fails_the_sink_and_no_other_file_is_published_empty(
    held: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, send: Any
) -> None:
    monkeypatch.setattr(held_files, "_MAX_BYTES", 150)
    send(held, "refused", b"x" * 100)
    # The second file makes one too many, so that the first is published, which fails; a client tries again.
    for _ in range(2):
        with pytest.raises(ClientError):
            send(held, "second", b"y" * 100)
    with pytest.raises(OSError, match=r"directory|exists"):
        held.server.publish(held.base)
    assert names_in(tmp_path) == {"refused"}


def test_a_file_that_fails_at_the_end_of_a_sink_takes_those_behind_it_along(
    held: Mounted, tmp_path: Path
) -> None:
    for key in ("first", "refused", "third"):
        put(held, key)
    with pytest.raises(OSError, match=r"directory|exists"):
        held.server.publish(held.base)
    assert names_in(tmp_path) == {"first", "refused"}
    assert held.server.uploads == 0


def test_a_file_that_is_written_twice_is_published_once_with_its_last_content(
    held: Mounted, tmp_path: Path
) -> None:
    put(held, "a", b"old")
    put(held, "a", b"new")
    with opendalfs.trace() as trace:
        held.server.publish(held.base)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names_in(tmp_path) == {"a", "refused"}
    assert [record.operation for record in trace.records].count("write") == 1


def test_a_sink_is_published_once(held: Mounted) -> None:
    put(held, "a")
    held.server.publish(held.base)
    with pytest.raises(OSError, match="has ended"):
        held.server.publish(held.base)


def test_a_sink_that_was_ended_is_not_published(held: Mounted, tmp_path: Path) -> None:
    put(held, "a")
    held.server.end(held.base)
    with pytest.raises(OSError, match="has ended"):
        held.server.publish(held.base)
    assert names_in(tmp_path) == {"refused"}


def test_uploads_that_a_sink_left_unfinished_end_with_it(held: Mounted, tmp_path: Path) -> None:
    held.s3.create_multipart_upload(**held.at("a"))
    assert held.server.uploads == 1
    held.server.publish(held.base)
    assert held.server.uploads == 0
    assert names_in(tmp_path) == {"refused"}


def test_publishing_on_a_gateway_that_was_stopped_raises(held: Mounted, tmp_path: Path) -> None:
    put(held, "a")
    held.server.stop()
    with pytest.raises(OSError, match="stopped before"):
        held.server.publish(held.base)
    assert names_in(tmp_path) == {"refused"}


def test_a_stop_while_a_sink_is_published_raises_or_publishes(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is never told of a success that was none, nor left waiting."""
    mounted = Mounted(server, "stopped", hold=True)
    keys = [f"{i:03}" for i in range(200)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put(mounted, key), keys))
    stopping = threading.Thread(target=server.stop)
    begun = threading.Event()
    commit = opendalfs.write.writer.Writer.commit

    def slow(self: Any) -> None:
        if not begun.is_set():
            begun.set()
            stopping.start()
            stopping.join(0.2)
        commit(self)

    monkeypatch.setattr(opendalfs.write.writer.Writer, "commit", slow)
    error: OSError | None = None
    try:
        server.publish(mounted.base)
    except OSError as exc:
        error = exc
    stopping.join()
    published = mounted.fs.find("stopped")
    assert (error is None) == (len(published) == len(keys))
    for path in published:
        assert mounted.fs.cat_file(path) == b"x" * 100


def test_a_sink_into_a_bucket_that_does_not_exist_raises(s3_server: S3Server) -> None:
    with pytest.raises(OSError, match="No such bucket"):
        op.sink_csv(
            pl.LazyFrame({"a": [1]}),
            "opendal+s3://no-such-bucket-here/a.csv",
            storage_options=s3_server.options,
            backend="gateway",
        )


def test_partitions_into_a_bucket_that_does_not_exist_raise(s3_server: S3Server) -> None:
    with pytest.raises(OSError, match="No such bucket"):
        op.sink_parquet(
            pl.LazyFrame({"a": [1, 2, 3]}),
            pl.PartitionBy("opendal+s3://no-such-bucket-here/parts/", key="a"),
            storage_options=s3_server.options,
            backend="gateway",
            mkdir=True,
        )
