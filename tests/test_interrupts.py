"""Ctrl-C: a real SIGINT ends what waits for storage, publishes nothing, and lets the process exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fault_server import Answer, FaultServer, Request, object_headers

PROMISED = 1.0
"""Seconds from the signal to the KeyboardInterrupt; 2 to the end of the process."""

SLACK = 3.0
"""For a busy machine; what hangs waits for 60 s and more."""

SETUP = """
import asyncio, os, sys, threading, time, opendalfs
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
    "a Parquet file": "import pyarrow.parquet as pq; pq.read_table('b/k', filesystem=opendalfs.arrow(fs))",
}


def silent_reads(request: Request) -> Answer | None:
    return Answer(200, object_headers(SIZE)) if request.method == "HEAD" else request.stall()


def interrupt(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    return time.monotonic()


def start(code: str, endpoint: str, then: str = "pass") -> subprocess.Popen[str]:
    program = SETUP.format(code=code, endpoint=endpoint, then=then)
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
    with FaultServer(silent_reads) as server, ThreadPoolExecutor(4) as threads:

        def one(name: str) -> None:
            process = start(BLOCKED[name], server.endpoint)
            check_end(process, interrupt(process))

        list(threads.map(one, BLOCKED))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupted_write_is_published_by_no_later_attempt() -> None:
    """The server never answers a first attempt, and would take a second one."""

    def answer(request: Request) -> Answer | None:
        first = sum(other.target == request.target for other in server.requests) == 1
        return request.stall() if first else Answer(200, {"Content-Length": "0"})

    with FaultServer(answer) as server:
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

    def answer(request: Request) -> Answer | None:
        first = sum(other.target == request.target for other in server.requests) == 1
        return request.stall() if first else Answer(200, {"Content-Length": "0"})

    with FaultServer(answer) as server:
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
