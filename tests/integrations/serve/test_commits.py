"""Conditional writes of concurrent clients: of those with one condition, one is the winner."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

import opendalfs
from opendalfs_gateway import S3Endpoint
from tests.integrations.serve.client import Raw, client_of, if_met, status_of
from tests.integrations.serve.places import NAMES, open_place

WRITERS = 8
FAST = ("memory", "fs")
PLACES = [name if name in FAST else pytest.param(name, marks=pytest.mark.tools) for name in NAMES]
"""``make tools`` runs the others too, which need servers."""


@pytest.fixture(params=PLACES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Endpoint]:
    fs, root = open_place(request.param, request.getfixturevalue, tmp_path)
    with opendalfs.serve(fs, path=root, writable=True) as server:
        yield server


def at_once(work: Any) -> list[Any]:
    """Call a function in several threads at the same time, each with its number."""
    barrier = threading.Barrier(WRITERS)

    def run(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(run, range(WRITERS)))


def test_one_of_many_creators_wins(served: S3Endpoint) -> None:
    s3 = client_of(served)

    def create(number: int) -> bool:
        at = {"Bucket": served.bucket, "Key": "log/0.json"}
        return if_met(s3.put_object, **at, Body=b"%d" % number, IfNoneMatch="*") is not None

    won = at_once(create)
    assert sum(won) == 1
    content = s3.get_object(Bucket=served.bucket, Key="log/0.json")["Body"].read()
    assert content == b"%d" % won.index(True)


def test_no_update_is_lost(served: S3Endpoint) -> None:
    """All writers add to one counter, whose size never changes."""
    s3 = client_of(served)
    at = {"Bucket": served.bucket, "Key": "counter"}
    s3.put_object(**at, Body=b"000")

    def add(number: int) -> None:
        for _ in range(2):
            added = None
            while added is None:
                found = s3.get_object(**at)
                content = found["Body"].read()
                if len(content) < 3:
                    # WsgiDAV shows files that it is still writing.
                    continue
                value = int(content) + 1
                added = if_met(s3.put_object, **at, Body=b"%03d" % value, IfMatch=found["ETag"])

    at_once(add)
    assert s3.get_object(**at)["Body"].read() == b"%03d" % (2 * WRITERS)


def test_each_write_has_an_etag_of_its_own(served: S3Endpoint) -> None:
    """Also if objects of one size are written at the same time, by the clock of the service."""
    s3 = client_of(served)
    at = {"Bucket": served.bucket, "Key": "a"}
    etags = [s3.put_object(**at, Body=content)["ETag"] for content in (b"1", b"2", b"3")]
    assert len(set(etags)) == 3
    assert s3.head_object(**at)["ETag"] == etags[-1]
    for etag in etags[:2]:
        with pytest.raises(ClientError) as error:
            s3.put_object(**at, Body=b"4", IfMatch=etag)
        assert status_of(error) == 412
    assert s3.get_object(**at)["Body"].read() == b"3"


def test_copies_and_uploads_under_a_condition_have_one_winner(served: S3Endpoint) -> None:
    s3 = client_of(served)
    bucket = served.bucket

    def publish(number: int) -> bool:
        source = {"Bucket": bucket, "Key": f"staged-{number}"}
        s3.put_object(**source, Body=b"%d" % number)
        target = {"Bucket": bucket, "Key": "published"}
        if number % 2:
            copied = if_met(s3.copy_object, **target, CopySource=source, IfNoneMatch="*")
            return copied is not None
        # As object_store copies what must not exist yet.
        begun = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
        part = s3.upload_part_copy(**begun, PartNumber=1, CopySource=source)["CopyPartResult"]
        listed = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        done = if_met(s3.complete_multipart_upload, **begun, MultipartUpload=listed, IfNoneMatch="*")
        return done is not None

    won = at_once(publish)
    assert sum(won) == 1
    assert s3.get_object(Bucket=bucket, Key="published")["Body"].read() == b"%d" % won.index(True)


def test_a_large_upload_of_a_new_object_is_refused_if_there_is_one(served: S3Endpoint) -> None:
    """Also where its parts are sent to the service before its condition is known."""
    s3 = client_of(served)
    at = {"Bucket": served.bucket, "Key": "large"}
    begun = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    parts = []
    for number in (1, 2, 3):
        etag = s3.upload_part(**begun, PartNumber=number, Body=b"x" * (6 << 20))["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.put_object(**at, Body=b"first")
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert status_of(error) == 412
    with pytest.raises(ClientError) as error:
        s3.put_object(**at, Body=b"y" * (18 << 20), IfNoneMatch="*")
    assert status_of(error) == 412
    assert s3.get_object(**at)["Body"].read() == b"first"


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_the_condition_with_which_an_upload_begins_is_checked_at_its_end(header: str, tmp_path: Path) -> None:
    """By the server too, as SQLite checks none."""
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE a (key TEXT PRIMARY KEY, value BLOB)")
    database.close()
    options = {"connection_string": f"sqlite://{tmp_path}/a.db", "table": "a"}
    fs = opendalfs.filesystem("sqlite", **options, key_field="key", value_field="value")
    with opendalfs.serve(fs, writable=True) as server:
        s3 = client_of(server)
        at = {"Bucket": server.bucket, "Key": "a"}
        value = "*" if header == "If-None-Match" else s3.put_object(**at, Body=b"older")["ETag"]
        answer = Raw(server).call("POST", f"/{server.bucket}/a?uploads=", headers={header: value})
        begun = {**at, "UploadId": ElementTree.fromstring(answer.body)[2].text}
        part = {"PartNumber": 1, "ETag": s3.upload_part(**begun, PartNumber=1, Body=b"late")["ETag"]}
        s3.put_object(**at, Body=b"first")
        complete = s3.complete_multipart_upload
        assert if_met(complete, **begun, MultipartUpload={"Parts": [part]}) is None
        assert s3.get_object(**at)["Body"].read() == b"first"


@pytest.mark.parametrize("name", [*FAST, pytest.param("s3", marks=pytest.mark.tools)])
def test_creators_through_two_servers_have_one_winner(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The service itself decides, where it can."""
    fs, root = open_place(name, request.getfixturevalue, tmp_path)
    with (
        opendalfs.serve(fs, path=root, writable=True) as one,
        opendalfs.serve(fs, path=root, writable=True) as other,
    ):
        clients = client_of(one), client_of(other)
        for i in range(3):

            def create(number: int, key: str = f"log/{i}") -> bool:
                put = clients[number % 2].put_object
                at = {"Bucket": one.bucket, "Key": key}
                return if_met(put, **at, Body=b"%d" % number, IfNoneMatch="*") is not None

            assert sum(at_once(create)) == 1
