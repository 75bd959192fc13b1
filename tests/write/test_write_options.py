"""Options of one write, as users of s3fs, gcsfs and adlfs pass them."""

from __future__ import annotations

import threading
import time
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fsspec
import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Request, Response, S3Server, ScriptedServer

MiB = 1 << 20
DATA = bytes(range(256)) * (11 * MiB // 256)
"""Two parts of the default 8 MiB, three of the least that S3 takes, 5 MiB."""


def parts_of(server: S3Server, path: str) -> int:
    """Count the parts of an object; S3 has them in the etag. 1 when it was one PUT."""
    bucket, _, key = path.partition("/")
    etag: str = server.client.head_object(Bucket=bucket, Key=key)["ETag"]
    return int(etag.strip('"').partition("-")[2] or 1)


SIZES = [
    ("chunksize", None, 2),
    ("chunksize", 5 * MiB, 3),
    ("blocksize", 6 * MiB, 2),
    ("block_size", 20 * MiB, 1),
    # S3 takes no less than 5 MiB.
    ("block_size", 1, 3),
]


@pytest.mark.parametrize(("name", "size", "parts"), SIZES)
@pytest.mark.parametrize("write", ["pipe", "put", "put_file", "open", "open_text", "open_async"])
async def test_the_size_of_a_part_is_that_of_the_write(
    s3_server: S3Server, prefix: str, tmp_path: Path, write: str, name: str, size: int | None, parts: int
) -> None:
    options = {name: size}
    path = f"{prefix}/a"
    fs: Any = opendalfs.S3FileSystem(**s3_server.options)
    if write.startswith("pipe"):
        getattr(fs, write)(path, DATA, **options)
    elif write.startswith("put"):
        (tmp_path / "a").write_bytes(DATA)
        getattr(fs, write)(str(tmp_path / "a"), path, **options)
    elif write == "open":
        with fs.open(path, "wb", **options) as file:
            file.write(DATA)
    elif write == "open_text":
        with fs.open(path, "w", encoding="latin-1", newline="", **options) as file:
            file.write(DATA.decode("latin-1"))
    else:
        other: Any = opendalfs.S3FileSystem(**s3_server.options, asynchronous=True)
        async with await other.open_async(path, "wb", **options) as file:
            await file.write(DATA)
    assert fs.cat_file(path) == DATA
    assert parts_of(s3_server, path) == parts


@pytest.mark.parametrize("write", ["pipe_file", "put_file", "open", "copy"])
def test_all_parts_but_the_last_have_the_size_of_a_part(
    s3_server: S3Server, prefix: str, bucket: str, tmp_path: Path, write: str
) -> None:
    # Cloudflare's R2 completes no other upload.
    sizes: dict[int, int] = {}

    def answer(request: Request) -> Response:
        number = parse_qs(urlsplit(request.target).query).get("partNumber")
        if number:
            sizes[int(number[0])] = len(request.body)
        return request.forward(s3_server.endpoint)

    part = 8 * MiB
    data = bytes(2 * part + MiB)
    with ScriptedServer(answer) as server:
        fs: Any = opendalfs.S3FileSystem(**{**s3_server.options, "endpoint_url": server.endpoint})
        if write == "pipe_file":
            fs.pipe_file(f"{prefix}/a", data)
        elif write == "put_file":
            (tmp_path / "a").write_bytes(data)
            fs.put_file(str(tmp_path / "a"), f"{prefix}/a")
        elif write == "copy":
            s3_server.client.put_object(Bucket=bucket, Key="b", Body=data)
            fs.cp_file(f"{bucket}/b", f"{prefix}/a")
        else:
            with fs.open(f"{prefix}/a", "wb") as file:
                file.write(data)
    assert [sizes[number] for number in sorted(sizes)] == [part, part, MiB]


class Peak:
    """Forwards to a server, and counts the parts that are in flight at the same time."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        if "partNumber" not in request.target:
            return request.forward(self.endpoint)
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.1)
        answer = request.forward(self.endpoint)
        with self._lock:
            self._now -= 1
        return answer


@pytest.mark.parametrize("write", ["pipe_file", "put_file", "open"])
def test_no_more_parts_are_in_flight_than_a_write_asks_for(
    s3_server: S3Server, prefix: str, tmp_path: Path, write: str
) -> None:
    data = bytes(25 * MiB)
    options = {"chunksize": 5 * MiB, "max_concurrency": 1}
    peak = Peak(s3_server.endpoint)
    with ScriptedServer(peak) as server:
        fs: Any = opendalfs.S3FileSystem(**{**s3_server.options, "endpoint_url": server.endpoint})
        if write == "pipe_file":
            fs.pipe_file(f"{prefix}/a", data, **options)
        elif write == "put_file":
            (tmp_path / "a").write_bytes(data)
            fs.put_file(str(tmp_path / "a"), f"{prefix}/a", **options)
        else:
            with fs.open(f"{prefix}/a", "wb", **options) as file:
                file.write(data)
        assert peak.most == 1
        fs.pipe_file(f"{prefix}/a", data, chunksize=5 * MiB)
        assert peak.most > 1
    assert parts_of(s3_server, f"{prefix}/a") == 5


@pytest.mark.parametrize("service", ["memory", "fs"])
def test_services_that_need_no_parts_take_the_options_too(service: str, tmp_path: Path) -> None:
    fs = opendalfs.filesystem(service)
    options = {"chunksize": 1000, "max_concurrency": 2}
    path = f"{tmp_path}/a"
    fs.pipe_file(path, DATA, **options)
    assert fs.cat_file(path) == DATA
    with fs.open(path, "wb", block_size=100_000) as file:
        file.write(DATA)
    with fs.open(path, "ab", **options) as file:
        file.write(b"more")
    assert fs.cat_file(path) == DATA + b"more"
    with fsspec.open(fs.unstrip_protocol(path), "wb", **dict(fs.storage_options)) as file:
        file.write(b"x")
    assert fs.cat_file(path) == b"x"


SIZE_NAMES = ["chunksize", "blocksize", "block_size", "max_concurrency"]
WRONG_SIZES: list[Any] = [-1, 1.5, "8MB", True, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [*product(SIZE_NAMES, WRONG_SIZES), ("chunksize", 0), ("max_concurrency", 0)],
)
def test_a_size_is_a_whole_number_of_at_least_one(name: str, value: Any) -> None:
    fs = opendalfs.filesystem("memory")
    with pytest.raises(OptionError, match=f"invalid {name}: .*whole number of at least 1"):
        fs.pipe_file("write-options/a", b"x", **{name: value})
    with pytest.raises(OptionError, match=name):
        fs.open("write-options/a", "wb", **{name: value})
    assert not fs.exists("write-options/a")


@pytest.mark.parametrize("name", ["blocksize", "block_size"])
def test_a_block_of_no_bytes_leaves_the_size_of_a_part_as_it_is(name: str) -> None:
    fs = opendalfs.filesystem("memory")
    with fs.open("write-options/b", "wb", **{name: 0}) as file:
        file.write(b"x")
    assert fs.cat_file("write-options/b") == b"x"
