"""`timeout` and `io_timeout` bound every call, whatever the server does, and a stalled part is retried."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import opendalfs
import opendalfs_polars as op
from opendalfs.errors import UnsupportedError
from opendalfs.runtime import workers
from opendalfs.testing import Request, Response, S3Server, ScriptedServer, drip, endless, object_headers

SIZE = 100_000
SECONDS = 0.5
"""The timeouts set here."""

LATE = 20.0
"""Far beyond the promised 10 % over, as the machine may be busy; unbounded calls take 15 minutes."""


def options(endpoint: str, **more: Any) -> dict[str, Any]:
    timeouts = {"timeout": SECONDS, "io_timeout": SECONDS}
    return {"key": "k", "secret": "s", "endpoint_url": endpoint, **timeouts, **more}


def ranged(request: Request, body: Iterator[bytes], **headers: str) -> Response:
    first, size = request.range(SIZE)
    told = {**object_headers(size), "Content-Range": f"bytes {first}-{first + size - 1}/{SIZE}", **headers}
    if "Transfer-Encoding" in told:
        del told["Content-Length"]
    return Response(206, told, body)


def half(request: Request) -> Iterator[bytes]:
    yield b"x" * 10
    request.stall()


def slow_list(request: Request) -> Response:
    return Response(
        200, {"Content-Length": str(SIZE), "Content-Type": "application/xml"}, drip(request, SIZE, 0.01)
    )


FAULTS: dict[str, Callable[[Request], Response | None]] = {
    "a byte at a time": lambda request: ranged(request, drip(request, SIZE, 0.01)),
    "a body that stops half way": lambda request: ranged(request, half(request)),
    "no answer": lambda request: request.stall(),
    "a body without end": lambda request: ranged(
        request, endless(request, pause=0.01), **{"Transfer-Encoding": "chunked"}
    ),
}


async def read_async(fs: Any, path: str) -> bytes:
    async with await fs.open_async(path) as file:
        return bytes(await file.read())


READS: dict[str, Callable[[Any, Path], object]] = {
    "cat_file": lambda fs, _: fs.cat_file("b/k"),
    "a range": lambda fs, _: fs.cat_file("b/k", 10, 50_000),
    "cat_ranges": lambda fs, _: fs.cat_ranges(["b/k"] * 3, [0, 100, 60_000], 70_000, on_error="raise"),
    "a reader": lambda fs, _: fs.reader("b/k").read(0, 10_000),
    "ranges of a reader": lambda fs, _: fs.reader("b/k").read_ranges([(0, 1000), (50_000, 51_000)], gap=0),
    "a file": lambda fs, _: fs.open("b/k").read(),
    "read_at": lambda fs, _: fs.open("b/k").read_at(5, 1000),
    "an asynchronous file": lambda fs, _: asyncio.run(read_async(fs, "b/k")),
    "get_file": lambda fs, directory: fs.get_file("b/k", str(directory / "k")),
    "arrow": lambda fs, _: opendalfs.arrow(fs).open_input_file("b/k").read(),
    "parquet": lambda fs, _: pq.read_table("b/k", filesystem=opendalfs.arrow(fs)),
}


def outcome(read: Callable[[Any, Path], object], fs: Any, directory: Path) -> tuple[type | None, float]:
    begun = time.monotonic()
    try:
        read(fs, directory)
    except Exception as exc:
        return type(exc), time.monotonic() - begun
    return None, time.monotonic() - begun


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_read_ends_in_time_whatever_the_body_does(
    fault: Callable[[Request], Response | None], tmp_path: Path
) -> None:
    def answer(request: Request) -> Response | None:
        return Response(200, object_headers(SIZE)) if request.method == "HEAD" else fault(request)

    with ScriptedServer(answer) as server, ThreadPoolExecutor(len(READS)) as threads:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint))
        running = {name: threads.submit(outcome, read, fs, tmp_path) for name, read in READS.items()}
        found = {name: future.result() for name, future in running.items()}
    # Of a body without end some reads see that it is more than they asked for.
    kinds = {UnsupportedError} if fault is FAULTS["a body without end"] else set()
    assert {kind for kind, _ in found.values()} == {TimeoutError, *kinds}
    assert max(seconds for _, seconds in found.values()) < LATE


CALLS: dict[str, Callable[[Any, Path], object]] = {
    "info": lambda fs, _: fs.info("b/k"),
    "ls": lambda fs, _: fs.ls("b/d"),
    "find": lambda fs, _: fs.find("b/d"),
    "isdir": lambda fs, _: fs.isdir("b/d"),
    "rm": lambda fs, _: fs.rm("b/d", recursive=True),
    "pipe_file": lambda fs, _: fs.pipe_file("b/k", b"x"),
    "a written file": lambda fs, _: fs.open("b/k", "xb").close(),
    "size": lambda fs, _: fs.reader("b/k").size,
}


@pytest.mark.parametrize("fault", [slow_list, lambda request: request.stall()], ids=["slow", "silent"])
def test_a_call_ends_in_time_whatever_the_server_does(
    fault: Callable[[Request], Response | None], tmp_path: Path
) -> None:
    def answer(request: Request) -> Response | None:
        return fault(request) if request.method == "GET" else request.stall()

    with ScriptedServer(answer) as server, ThreadPoolExecutor(len(CALLS)) as threads:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint))
        running = {name: threads.submit(outcome, call, fs, tmp_path) for name, call in CALLS.items()}
        found = {name: future.result() for name, future in running.items()}
    assert {name: kind for name, (kind, _) in found.items()} == dict.fromkeys(CALLS, TimeoutError)
    assert max(seconds for _, seconds in found.values()) < LATE


def test_a_query_of_duckdb_ends_in_time() -> None:
    def answer(request: Request) -> Response | None:
        if request.method == "HEAD":
            return Response(200, object_headers(SIZE))
        return ranged(request, drip(request, SIZE, 0.01))

    with ScriptedServer(answer) as server, duckdb.connect() as con:
        begun = time.monotonic()
        con.register_filesystem(opendalfs.duckdb("s3", **options(server.endpoint)))
        with pytest.raises(duckdb.Error, match="No response in time"):
            con.sql("select * from read_csv('opendal+s3://b/k.csv')").fetchall()
    assert time.monotonic() - begun < LATE


def test_reads_that_never_end_do_not_pile_up_threads() -> None:
    def answer(request: Request) -> Response | None:
        return ranged(request, drip(request, SIZE, 0.01))

    with ScriptedServer(answer) as server:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint, io_timeout=0.05))
        connection, key = fs.locate("b/k")
        for _ in range(2 * workers.MAX_ABANDONED):
            with pytest.raises(TimeoutError):
                connection.read_blocking(key, 0, 10_000)
        assert workers.abandoned() <= workers.MAX_ABANDONED + 1


def test_the_wait_for_a_turn_is_no_wait_for_the_server() -> None:
    def answer(request: Request) -> Response | None:
        request.pause(0.3)
        return ranged(request, iter([b"x" * request.range(SIZE)[1]]))

    with ScriptedServer(answer) as server:
        fs = opendalfs.S3FileSystem(
            skip_instance_cache=True, **options(server.endpoint, io_timeout=3, concurrency=2)
        )
        connection, key = fs.locate("b/k")

        async def many() -> list[bytes]:
            return await asyncio.gather(*(connection.read(key, i, 10) for i in range(20)))

        with ThreadPoolExecutor(4) as threads:
            blocking = [threads.submit(connection.read_blocking, key, i, 10) for i in range(6)]
            assert asyncio.run(many()) == [b"x" * 10] * 20
            assert [future.result() for future in blocking] == [b"x" * 10] * 6


def test_a_cancelled_wait_for_a_turn_gives_the_turn_to_the_next() -> None:
    release = threading.Event()

    def answer(request: Request) -> Response | None:
        release.wait(60)
        return ranged(request, iter([b"x" * request.range(SIZE)[1]]))

    with ScriptedServer(answer) as server:
        more = {"io_timeout": 60, "concurrency": 1}
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint, **more))
        connection, key = fs.locate("b/k")

        async def main() -> list[bytes]:
            tasks = [asyncio.ensure_future(connection.read(key, i, 10)) for i in range(4)]
            await asyncio.sleep(0.1)
            tasks[1].cancel()
            tasks[2].cancel()
            await asyncio.wait(tasks[1:3])
            release.set()
            return [await tasks[0], await tasks[3]]

        assert asyncio.run(main()) == [b"x" * 10] * 2


def test_a_blocking_call_gets_a_turn_while_the_loop_that_has_them_all_is_blocked() -> None:
    """As a query of an engine is in ``async def``: the loop returns no turn before the query has ended."""

    def answer(request: Request) -> Response | None:
        return ranged(request, iter([b"x" * request.range(SIZE)[1]]))

    with ScriptedServer(answer) as server:
        more = {"timeout": 60, "io_timeout": 60, "concurrency": 2}
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint, **more))
        connection, key = fs.locate("b/k")

        async def main() -> list[bytes]:
            tasks = [asyncio.ensure_future(connection.read(key, i, 10)) for i in range(6)]
            await asyncio.sleep(0)
            blocking = [connection.read_blocking(key, 0, 10), fs.cat_file("b/k", 0, 10)]
            return [*blocking, *await asyncio.gather(*tasks)]

        found: list[bytes] = []
        # Not waited for where it hangs.
        thread = threading.Thread(target=lambda: found.extend(asyncio.run(main())), daemon=True)
        thread.start()
        thread.join(LATE)
        assert found == [b"x" * 10] * 8
        limit = connection.limit
        assert limit is not None
        assert limit._free == 2


# A stalled part of an upload

PARTS = os.urandom(11 << 20)
PATIENT = {"io_timeout": 9, "write_chunk": 5 << 20}
"""Three seconds for each try of a part."""


def write_file(fs: Any, path: str, directory: Path) -> None:
    with fs.open(path, "wb") as file:
        file.write(PARTS)


def put_file(fs: Any, path: str, directory: Path) -> None:
    (directory / "source").write_bytes(PARTS)
    fs.put_file(str(directory / "source"), path)


async def write_async(fs: Any, path: str, directory: Path) -> None:
    async with await fs.open_async(path, "wb") as file:
        await file.write(PARTS)


def write_arrow(fs: Any, path: str, directory: Path) -> None:
    with opendalfs.arrow(fs).open_output_stream(path) as stream:
        stream.write(PARTS)


WRITES: dict[str, Callable[[Any, str, Path], object]] = {
    "pipe_file": lambda fs, path, _: fs.pipe_file(path, PARTS),
    "put_file": put_file,
    "a file": write_file,
    "an asynchronous file": lambda fs, path, directory: asyncio.run(write_async(fs, path, directory)),
    "arrow": write_arrow,
}


class StalledPart:
    """Passes requests on to a server, but for the first of one part, which it never answers."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self.stalled = 0

    def __call__(self, request: Request) -> Response | None:
        if "partNumber=2" in request.target:
            with self._lock:
                first = not self.stalled
                self.stalled += 1
            if first:
                return request.stall()
        return request.forward(self._endpoint)


def test_a_stalled_part_is_sent_again(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    plain = opendalfs.S3FileSystem(**s3_server.options)

    def one(name: str) -> tuple[bool, bool]:
        path, fault = f"{prefix}/{name}", StalledPart(s3_server.endpoint)
        with ScriptedServer(fault) as server:
            through = {**s3_server.options, "endpoint_url": server.endpoint, **PATIENT}
            fs = opendalfs.S3FileSystem(skip_instance_cache=True, **through)
            WRITES[name](fs, path, tmp_path)
        return fault.stalled >= 2, plain.cat_file(path) == PARTS

    with ThreadPoolExecutor(len(WRITES)) as threads:
        assert dict(zip(WRITES, threads.map(one, WRITES), strict=True)) == dict.fromkeys(WRITES, (True, True))


@pytest.mark.services
def test_a_stalled_part_of_a_copy_of_duckdb_is_sent_again(s3_server: S3Server, prefix: str) -> None:
    fault = StalledPart(s3_server.endpoint)
    path = f"opendal+s3://{prefix}/copy.parquet"
    query = "select range i, hash(range) h, hash(range + 1) g from range(700_000)"
    with ScriptedServer(fault) as server, duckdb.connect() as con:
        through = {**s3_server.options, "endpoint_url": server.endpoint, **PATIENT}
        con.register_filesystem(opendalfs.duckdb("s3", **through))
        con.sql(f"copy ({query}) to '{path}' (format parquet, compression uncompressed)")
        assert fault.stalled >= 2
        assert con.sql(f"select count(*), sum(i) from '{path}'").fetchall() == [(700_000, 244_999_650_000)]


@pytest.mark.services
def test_a_stalled_part_of_a_sink_of_polars_is_sent_again(s3_server: S3Server, prefix: str) -> None:
    fault = StalledPart(s3_server.endpoint)
    url = f"opendal+s3://{prefix}/sink.parquet"
    rows = pl.LazyFrame({"i": pl.int_range(1_500_000, eager=True)}).select(pl.col("i").hash(seed=3))
    with ScriptedServer(fault) as server:
        through = {**s3_server.options, "endpoint_url": server.endpoint, **PATIENT}
        op.sink_parquet(rows, url, compression="uncompressed", storage_options=through, backend="gateway")
        assert fault.stalled >= 2
    assert_frame_equal(op.read_parquet(url, storage_options=s3_server.options), rows.collect())


@pytest.mark.services
def test_a_stalled_part_of_a_copy_between_buckets_is_sent_again(
    s3_server: S3Server, prefix: str, bucket: str
) -> None:
    fault = StalledPart(s3_server.endpoint)
    opendalfs.S3FileSystem(**s3_server.options).pipe_file(f"{prefix}/source", PARTS)
    with ScriptedServer(fault) as server:
        through = {**s3_server.options, "endpoint_url": server.endpoint, **PATIENT}
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **through)
        fs.cp_file(f"{prefix}/source", f"{bucket}/copy")
    assert fault.stalled >= 2
    assert opendalfs.S3FileSystem(**s3_server.options).cat_file(f"{bucket}/copy") == PARTS


def test_a_blocking_write_that_times_out_names_its_path_and_cause() -> None:
    with ScriptedServer(lambda request: request.stall()) as server:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **options(server.endpoint))
        file = fs.open("b/k", "wb")
        file.write(b"x")
        with pytest.raises(TimeoutError, match="No response in time") as info:
            file.close()
        assert info.value.filename == "b/k"
        # That of the call, or of its last attempt.
        assert "timeout" in str(info.value.__cause__)
        file.discard()
