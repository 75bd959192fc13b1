"""Ctrl-C: a SIGINT ends waiting calls, publishes nothing, and lets the process exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from opendalfs.testing import Request, Response, ScriptedServer, object_headers

PROMISED = 1.0
"""Seconds from the signal to the KeyboardInterrupt; 2 to the end of the process."""

SLACK = 20.0
"""For a busy machine; what hangs waits for 60 s and more."""

SETUP = """
import asyncio, os, sys, threading, time, opendalfs
{before}
options = {{"key": "k", "secret": "s", "endpoint_url": {endpoint!r}, "timeout": 60, "io_timeout": 60}}
fs = opendalfs.S3FileSystem(**options)
threading.Timer(0.5, lambda: print("go", flush=True)).start()
try:
    {code}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    {then}
"""

SIZE = 50_000_000

BEFORE = {
    "a read once Polars is imported": "import polars",
    "a wait for a turn once Polars is imported": "import polars",
}

BLOCKED = {
    "cat_file": "fs.cat_file('b/k')",
    "a file": "fs.open('b/k').read()",
    "read_at": "fs.reader('b/k').read(0, 100)",
    "ranges": "fs.reader('b/k').read_ranges([(0, 10), (20_000_000, 20_000_010)])",
    "ranges of files": "fs.cat_ranges(['b/k', 'b/l'], 0, 10)",
    "pipe_file": "fs.pipe_file('b/k', b'x' * 1000)",
    "a written file": "f = fs.open('b/k', 'wb'); f.write(b'x' * 1000); f.close()",
    "a large written file": "f = fs.open('b/k', 'wb'); f.write(b'x' * 20_000_000); f.close()",
    "a coroutine": "asyncio.run(fs._cat_file('b/k'))",
    "a wait for a turn once Polars is imported": (
        "one = opendalfs.S3FileSystem(**options, concurrency=1); other = one.reader('b/k'); "
        "threading.Thread(target=other.read, args=(0, 9), daemon=True).start(); time.sleep(0.2); "
        "one.reader('b/l').size"
    ),
    "a read once Polars is imported": "fs.reader('b/k').read(0, 100)",
    "a Parquet file in Arrow's threads": (
        "import pyarrow.parquet as pq; pq.ParquetFile('b/k', filesystem=opendalfs.arrow(fs)).read()"
    ),
    "a Parquet file": "import pyarrow.parquet as pq; pq.read_table('b/k', filesystem=opendalfs.arrow(fs))",
}


def silent_reads(request: Request) -> Response | None:
    return Response(200, object_headers(SIZE)) if request.method == "HEAD" else request.stall()


def interrupt(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    return time.monotonic()


def start(code: str, endpoint: str, then: str = "pass", before: str = "") -> subprocess.Popen[str]:
    program = SETUP.format(code=code, endpoint=endpoint, then=then, before=before)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)


def check_end(process: subprocess.Popen[str], begun: float) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"
    assert time.monotonic() - begun < PROMISED + SLACK
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 2 * PROMISED + SLACK
    assert process.returncode == 0, err
    assert "Fatal" not in err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_ends_what_waits_and_the_process() -> None:
    with ScriptedServer(silent_reads) as server, ThreadPoolExecutor(4) as threads:

        def one(name: str) -> None:
            process = start(BLOCKED[name], server.endpoint, before=BEFORE.get(name, ""))
            check_end(process, interrupt(process))

        list(threads.map(one, BLOCKED))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupted_write_is_published_by_no_later_attempt() -> None:
    """The server never answers a first attempt, and would take a second one."""

    def answer(request: Request) -> Response | None:
        first = sum(other.target == request.target for other in server.requests) == 1
        return request.stall() if first else Response(200, {"Content-Length": "0"})

    with ScriptedServer(answer) as server:
        code = """
    fs = opendalfs.S3FileSystem(**{**options, "io_timeout": 6})
    def blocked():
        with fs.open("b/file", "wb") as file:
            file.write(b"x")
    blocked()
"""
        process = start(code.strip(), server.endpoint, "time.sleep(3)")
        begun = interrupt(process)
        check_end(process, begun + 3)
        assert server.count("PUT") == 1


@pytest.mark.skipif(os.name != "posix", reason="sends SIGUSR1")
def test_a_write_that_a_signal_handler_ends_is_published_by_no_later_attempt() -> None:
    """As one that raises SystemExit for SIGTERM; the server would take a second attempt."""

    def answer(request: Request) -> Response | None:
        first = sum(other.target == request.target for other in server.requests) == 1
        return request.stall() if first else Response(200, {"Content-Length": "0"})

    with ScriptedServer(answer) as server:
        code = """
    import signal
    def leave(*details):
        raise TimeoutError("too long")
    signal.signal(signal.SIGUSR1, leave)
    threading.Timer(1, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    try:
        opendalfs.S3FileSystem(**{**options, "io_timeout": 6}).pipe_file("b/k", b"x")
    except TimeoutError as exc:
        print(exc, flush=True)
    time.sleep(3)
"""
        process = start(code.strip(), server.endpoint)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.splitlines() == ["go", "too long"]
        assert server.count("PUT") == 1


ENGINES = """
import asyncio, io, os, sys, threading, time
import duckdb, polars as pl, opendalfs_duckdb, opendalfs_polars as op
options = {{"key": "k", "secret": "s", "endpoint_url": {endpoint!r}, "timeout": 60, "io_timeout": 60}}
gateway = {{"storage_options": options, "backend": "gateway"}}
con = duckdb.connect()
opendalfs_duckdb.register(con, "s3", **options)
con.execute("SET threads = 4")
timer = threading.Timer(0.5, lambda: print("go", flush=True))
timer.daemon = True
timer.start()
{code}
"""

QUERIES = {
    "DuckDB, Parquet": "con.execute(\"FROM 'opendal+s3://b/k.parquet'\").fetchall()",
    "DuckDB, CSV": "con.execute(\"FROM 'opendal+s3://b/k.csv'\").fetchall()",
    "DuckDB, COPY": "con.execute(\"COPY (SELECT 1 AS i) TO 'opendal+s3://b/new.csv'\")",
    "DuckDB, large COPY": "con.execute(\"COPY (FROM range(5000000)) TO 'opendal+s3://b/new.parquet'\")",
    "Polars, Parquet": "op.scan_parquet('opendal+s3://b/k.parquet', **gateway).collect()",
    "Polars, CSV": "op.read_csv('opendal+s3://b/k.csv', **gateway)",
    "Polars, sink": "op.sink_parquet(pl.LazyFrame({'a': [1]}), 'opendal+s3://b/new.parquet', **gateway)",
}


def silent_but_for_new(request: Request) -> Response | None:
    if request.method == "HEAD" and "new" in request.target:
        return Response(404, {"Content-Length": "0"})
    return silent_reads(request)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param(silent_but_for_new, [*QUERIES], id="GET", marks=pytest.mark.services),
        pytest.param(Request.stall, ["DuckDB, Parquet", "Polars, Parquet"], id="HEAD"),
    ],
)
def test_an_interrupt_ends_queries_that_wait_in_threads_of_engines(answer: Any, names: list[str]) -> None:
    with ScriptedServer(answer) as server, ThreadPoolExecutor(2) as threads:

        def one(name: str) -> None:
            program = ENGINES.format(code=QUERIES[name], endpoint=server.endpoint)
            pipe = subprocess.PIPE
            process = subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)
            begun = interrupt(process)
            _, err = process.communicate(timeout=60)
            assert time.monotonic() - begun < 2 * PROMISED + SLACK, name
            # Which error it is depends on the engine, and on which of its threads is the first to fail.
            assert process.returncode, (name, err)
            assert "Fatal" not in err

        list(threads.map(one, names))


ERROR_WITH_SIGNAL_PENDING = """
import os, pickle, signal, threading
from opendalfs.runtime import interrupts
reading, writing = os.pipe()
def wait():
    done = threading.Event()
    with interrupts.ends_on_interrupt(done.set):
        print("go", flush=True)
        done.wait(60)
    os.write(writing, b"x")
interrupts.watch()
# As Polars does: the signal does not end the read below, which returns an error when `wait` has ended.
signal.siginterrupt(signal.SIGINT, False)
file = open(reading, "rb", 0)
threading.Thread(target=wait, daemon=True).start()
pickle.load(file)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_engine_error_that_an_interrupt_causes_is_printed_with_its_traceback() -> None:
    """CPython before 3.13 prints "lost sys.stderr" instead while the signal is pending."""
    pipe = subprocess.PIPE
    program = [sys.executable, "-c", ERROR_WITH_SIGNAL_PENDING]
    process = subprocess.Popen(program, stdout=pipe, stderr=pipe, text=True)
    interrupt(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "KeyboardInterrupt" in err
    assert "in <module>\n_pickle.UnpicklingError: invalid load key" in err
    assert "lost sys.stderr" not in err
