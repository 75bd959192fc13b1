"""A server that answers no request in time while it has too many of them: all arrives nevertheless."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import opendalfs
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.storage.endpoint import Endpoint
from opendalfs.testing import Request, Response, ScriptedServer, object_headers
from opendalfs_gateway.loop_thread import LoopThread

CONTENT = b"x" * 100
HEADERS = {**object_headers(100), "Content-Range": "bytes 0-99/100"}
RESPONSE = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode() + b"\r\n" + CONTENT
"""Headers and body of each response."""

MOST = 40
"""Requests in flight with which the server answers."""


TWO_KEYS = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated>"
    b"<Contents><Key>d/1</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
    b"<Contents><Key>d/2</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
    b"</ListBucketResult>"
)


class OverloadedServer:
    """An HTTP server that answers while at most `MOST` requests are in flight, and waits otherwise.

    Unlike `ScriptedServer`, it notices that a client no longer waits.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        self.port = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve until the context ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=500)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of the test, of which asyncio would print a traceback.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                self.in_flight += 1
                try:
                    if not await self._may_answer(reader):
                        break
                finally:
                    self.in_flight -= 1
                status = b"206 Partial Content" if b"\r\nrange:" in head.lower() else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\n" + RESPONSE)
        writer.close()

    async def _may_answer(self, reader: asyncio.StreamReader) -> bool:
        """Wait for its turn; return whether the client has waited too."""
        closed = asyncio.ensure_future(reader.read(1))
        await asyncio.wait([closed], timeout=0.01)
        while self.in_flight > MOST and not closed.done():
            await asyncio.wait([closed], timeout=0.01)
        waits = closed.cancel()
        await asyncio.wait([closed])
        return waits


@pytest.fixture
def server() -> Iterator[OverloadedServer]:
    server = OverloadedServer()
    thread = LoopThread("overloaded-server", server.run)
    yield server
    thread.stop()


def filesystem(server: OverloadedServer, **options: Any) -> Any:
    # Each attempt has a third of the timeout.
    times = {"timeout": 4.5, "io_timeout": 4.5, "concurrency": 64}
    keys = {"key": "k", "secret": "s", "endpoint_url": f"http://127.0.0.1:{server.port}"}
    return opendalfs.S3FileSystem(skip_instance_cache=True, **keys, **times, **options)


def whole(fs: Any, count: int) -> list[bytes]:
    return list(fs.cat([f"b/{i}" for i in range(count)]).values())


def ranges(fs: Any, count: int) -> list[bytes]:
    return list(fs.cat_ranges([f"b/{i}" for i in range(count)], 0, 100))


READS: dict[str, Callable[[Any, int], list[bytes]]] = {"coroutines": whole, "threads": ranges}


def slots(fs: Any) -> int:
    """Return the calls in flight that a filesystem is allowed; 0 if timeouts have not reduced them."""
    return int(fs.locate("b/k")[0].limit.reduced)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_overloaded_server_gets_fewer_requests_at_a_time_until_all_has_arrived(
    server: OverloadedServer, read: Callable[[Any, int], list[bytes]]
) -> None:
    first, other = filesystem(server), filesystem(server, retries=20)
    assert (slots(first), slots(other)) == (0, 0)
    with opendalfs.trace() as trace:
        assert read(first, 200) == [CONTENT] * 200
    # Without fewer slots, 600 and more requests, and no object.
    assert server.requests < 400
    assert any(record.slots == 32 for record in trace.records)
    assert "in flight after timeouts" in str(trace)
    # The other filesystem has fewer too, and its own calls restore them.
    assert 0 < slots(other) <= 32
    before = slots(other)
    assert read(other, 2 * before) == [CONTENT] * 2 * before
    assert slots(other) > before


def test_a_timeout_halves_the_slots_once_for_all_requests_that_were_in_flight() -> None:
    endpoint = Endpoint("s3", "http://127.0.0.1:1")
    limits = [ConcurrencyLimit(100), ConcurrencyLimit(8)]
    for limit in limits:
        endpoint.add_limit(limit)
    for _ in range(50):
        endpoint.record("read", 0, 2.0, "timeout")
    assert [limit.reduced for limit in limits] == [50, 4]
    # One that was sent after that halves them again.
    endpoint.record("read", 0, 0.0, "timeout")
    assert [limit.reduced for limit in limits] == [25, 2]
    endpoint.record("read", 0, 0.0, "throttled")
    assert [limit.reduced for limit in limits] == [25, 2]


@pytest.mark.parametrize("attempt", range(4))
def test_limits_may_be_added_while_timeouts_halve_them(attempt: int) -> None:
    # Without a lock about two of three attempts fail.
    endpoint = Endpoint("s3", "http://127.0.0.1:1")
    limits = [ConcurrencyLimit(8) for _ in range(1000)]
    endpoint.limits.update(limits[:500])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(lambda: [endpoint.add_limit(limit) for limit in limits[500:]])
            while not adding.done():
                endpoint.record("read", 0, 0.0, "timeout")
            adding.result()
    finally:
        sys.setswitchinterval(interval)
    assert len(endpoint.limits) == 1000


def test_a_removal_that_takes_longer_than_the_timeout_halves_nothing() -> None:
    def respond(request: Request) -> Response:
        if request.method == "POST":
            time.sleep(1)
        return Response(200, body=TWO_KEYS if "list-type" in request.target else b"")

    keys = {"key": "k", "secret": "s", "region": "us-east-1", "timeout": 0.5}
    with ScriptedServer(respond) as server:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, endpoint_url=server.endpoint, **keys)
        with pytest.raises(TimeoutError):
            fs.rm("b/d", recursive=True)
    assert slots(fs) == 0
    assert fs.locate("b/d")[0].endpoint.counts["timeout"] == 0
