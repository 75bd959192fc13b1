"""Servers that claim wrong sizes and ranges cause an error, without much memory or time."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.read.ranges import Range, split
from opendalfs.runtime.tasks import gather
from opendalfs.testing import Nginx, Request, Response, ScriptedServer, endless, object_headers

REAL = 100_000
INVALID = b"<?xml version='1.0'?><Error><Code>InvalidRange</Code></Error>"
CLAIMED = [10**15, 9_200_000_000_000_000_000]


def options(server: ScriptedServer) -> dict[str, Any]:
    return {"key": "k", "secret": "s", "endpoint_url": server.endpoint, "timeout": 30, "io_timeout": 30}


@contextmanager
def claiming(size: int) -> Iterator[ScriptedServer]:
    """Start a server whose objects have `REAL` bytes, and whose HEAD tells another size."""

    def answer(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(200, object_headers(size))
        first, _ = request.range(size)
        count = min(request.range(size)[1], REAL - first)
        if count <= 0:
            return Response(416, object_headers(0, Content_Range=f"bytes */{REAL}"))
        headers = object_headers(count, Content_Range=f"bytes {first}-{first + count - 1}/{REAL}")
        return Response(206, headers, [b"x" * count])

    with ScriptedServer(answer) as server:
        yield server


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


READS: dict[str, Callable[[Any, Path], object]] = {
    "a file": lambda fs, _: fs.open("b/k").read(),
    "a reader": lambda fs, _: (lambda reader: reader.read(0, reader.size))(fs.reader("b/k")),
    "all but the first byte": lambda fs, _: fs.cat_file("b/k", 1),
    "cat_ranges": lambda fs, _: fs.cat_ranges(["b/k"], [1], [None], on_error="raise"),
    "get_file": lambda fs, directory: fs.get_file("b/k", str(directory / "k")),
    "an appended file": lambda fs, _: fs.open("b/k", "ab"),
    "arrow": lambda fs, _: opendalfs.arrow(fs).open_input_file("b/k").read(),
}


@pytest.mark.parametrize("claimed", CLAIMED)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_size_that_is_not_true_costs_an_error(
    read: Callable[[Any, Path], object], claimed: int, tmp_path: Path
) -> None:
    with claiming(claimed) as server:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server))
        before = peak()
        with pytest.raises((OSError, MemoryError, OverflowError)):
            read(fs, tmp_path)
        assert peak() - before < 300 << 20
        assert len(server.requests) < 200
    assert not list(tmp_path.iterdir())


def test_parts_of_a_range_are_made_one_at_a_time() -> None:
    assert list(islice(split(Range(0, 10**18), 4), 2)) == [Range(0, 4), Range(4, 8)]


async def test_gather_takes_its_items_one_at_a_time() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(10**9):
            taken = i
            yield i

    async def fail(i: int) -> int:
        await asyncio.sleep(0)
        if i == 5:
            raise ZeroDivisionError
        return i

    with pytest.raises(ZeroDivisionError):
        await gather(fail, items(), 3)
    assert taken < 20


# Ranges past the end


PAST: dict[str, Callable[[Any, str], object]] = {
    "cat_file": lambda fs, path: fs.cat_file(path, 10, 20),
    "cat_file to the end": lambda fs, path: fs.cat_file(path, 10),
    "cat_ranges": lambda fs, path: fs.cat_ranges([path], [10], [20], on_error="raise")[0],
    "a reader": lambda fs, path: fs.reader(path).read(10, 10),
    "a file": lambda fs, path: fs.open(path).read_at(10, 10),
}
SERVICES: dict[str, tuple[dict[str, Any], str]] = {
    "s3": ({"key": "k", "secret": "s"}, "b/k"),
    "azblob": ({"account_name": "a", "account_key": "aw=="}, "b/k"),
    "swift": ({"token": "t"}, "b/k"),
    "http": ({}, "k"),
}


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("scheme", SERVICES)
def test_a_range_past_the_end_is_empty(scheme: str, size: int) -> None:
    def answer(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(200, object_headers(size))
        return Response(416, object_headers(0, Content_Range=f"bytes */{size}"))

    more, path = SERVICES[scheme]
    with ScriptedServer(answer) as server:
        fs = opendalfs.filesystem(scheme, skip_instance_cache=True, endpoint=server.endpoint, **more)
        assert {name: read(fs, path) for name, read in PAST.items()} == dict.fromkeys(PAST, b"")


def test_a_range_past_the_end_is_empty_on_nginx(nginx_server: Nginx) -> None:
    fs = opendalfs.filesystem("webdav", **nginx_server.options)
    for name, data in (("empty", b""), ("short", b"12345")):
        fs.pipe_file(name, data)
        assert {call: read(fs, name) for call, read in PAST.items()} == dict.fromkeys(PAST, b"")
        assert fs.cat_file(name, 3, 20) == data[3:]


# Answers that are longer than the range


def long_answer(request: Request) -> Response:
    """Ignore the range, and send a gigabyte."""
    return Response(200, object_headers(1 << 30), (b"x" * 65536 for _ in range(1 << 14)))


def endless_answer(request: Request) -> Response:
    """Claim the range, and never stop to send."""
    first, size = request.range(1 << 30)
    headers = object_headers(size, Content_Range=f"bytes {first}-{first + size - 1}/{1 << 30}")
    del headers["Content-Length"]
    return Response(206, {**headers, "Transfer-Encoding": "chunked"}, endless(request))


RANGED: dict[str, Callable[[Any, str], object]] = {
    "cat_file": lambda fs, path: fs.cat_file(path, 10, 1000),
    "cat_ranges": lambda fs, path: fs.cat_ranges([path], [10], [1000], on_error="raise"),
    "a reader": lambda fs, path: fs.reader(path).read(10, 1000),
}


@pytest.mark.parametrize("scheme", ["s3", "http"])
@pytest.mark.parametrize("long", [long_answer, endless_answer])
def test_no_more_is_read_than_the_range(scheme: str, long: Callable[[Request], Response]) -> None:
    def answer(request: Request) -> Response:
        return Response(200, object_headers(1 << 30)) if request.method == "HEAD" else long(request)

    more, path = SERVICES[scheme]
    for name, read in RANGED.items():
        with ScriptedServer(answer) as server:
            fs = opendalfs.filesystem(scheme, skip_instance_cache=True, endpoint=server.endpoint, **more)
            with pytest.raises(OSError, match="ignores ranges"):
                read(fs, path)
            # What the kernel's buffers hold.
            assert server.sent < 100 << 20, name


def test_an_object_is_not_empty_because_the_server_refuses_the_range_of_a_whole_read() -> None:
    def answer(request: Request) -> Response:
        return (
            Response(200, object_headers(REAL)) if request.method == "HEAD" else Response(416, body=INVALID)
        )

    with ScriptedServer(answer) as server, pytest.raises(OSError, match="No byte of 100000 was received"):
        opendalfs.filesystem("s3", skip_instance_cache=True, **options(server)).cat_file("b/k")


def test_an_empty_object_is_empty() -> None:
    with ScriptedServer(lambda _: Response(200, object_headers(0))) as server:
        fs = opendalfs.filesystem("s3", skip_instance_cache=True, **options(server))
        assert fs.cat_file("b/k") == b""
