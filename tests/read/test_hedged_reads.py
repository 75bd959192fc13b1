"""A late read is sent again, and the first result counts; the number of such requests is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import opendalfs
from opendalfs import S3FileSystem
from opendalfs.read.reader import Reader
from opendalfs.runtime import tasks, workers
from opendalfs.storage.connection import Connection
from opendalfs.storage.endpoint import Endpoint
from opendalfs.storage.hedge_budget import HedgeBudget
from opendalfs.storage.hedging import Hedge
from opendalfs.storage.latency import Latency
from opendalfs.testing import DelayProxy, Request, Response, S3Server, ScriptedServer, drip, object_headers
from tests.waiting import eventually

pytestmark = pytest.mark.hedges

SIZE = 1 << 20
PART = 1000
DATA = bytes(range(250)) * 4
CALL = tuple[Connection, Callable[..., bytes]]


class TwoRequests:
    """A server on which `first` and `second` respond to the two GETs of an object; others are served."""

    def __init__(self, first: Callable[..., Any], second: Callable[..., Any]) -> None:
        self.parts = [first, second]
        self.second_arrived = threading.Event()
        self.lock = threading.Lock()
        self.seen = 0

    def __call__(self, request: Request) -> Response | None:
        if request.method == "HEAD" or "late" not in request.target:
            return served(request, self)
        with self.lock:
            i = self.seen
            self.seen += 1
        if i == 1:
            self.second_arrived.set()
        found: Response | None = self.parts[i](request, self) if i < 2 else Response(500)
        return found


def served(request: Request, _: TwoRequests) -> Response | None:
    if request.method == "HEAD":
        return Response(200, object_headers(SIZE))
    headers = object_headers(PART, Content_Range=f"bytes 0-{PART - 1}/{SIZE}")
    return Response(206, headers, DATA)


def stalled(request: Request, _: TwoRequests) -> Response | None:
    return request.stall()


def after_the_second(respond: Callable[..., Any]) -> Callable[..., Any]:
    def later(request: Request, state: TwoRequests) -> Any:
        state.second_arrived.wait(60)
        return respond(request, state)

    return later


def failed(status: int) -> Callable[..., Any]:
    return lambda request, state: Response(status)


def late_failure(request: Request, _: TwoRequests) -> Response | None:
    request.pause(0.2)
    return Response(500)


def late_success(request: Request, state: TwoRequests) -> Response | None:
    request.pause(0.2)
    return served(request, state)


def teach(endpoint: Endpoint | None, seconds: float = 0.05) -> Endpoint:
    """Have an endpoint know the duration of a request, and earn four hedges."""
    assert endpoint is not None
    for _ in range(200):
        endpoint.latency.record(PART, seconds, whole=True)
        endpoint.latency.record(0, seconds)
        endpoint.hedges.late_after(PART)
    return endpoint


@pytest.fixture(params=["threads", "coroutines"])
def read(request: pytest.FixtureRequest) -> Callable[[S3FileSystem, str], bytes]:
    """Reads the first bytes of an object, by one of the transports."""

    def in_thread(fs: S3FileSystem, path: str) -> bytes:
        connection, key = fs.locate(path)
        return connection.read_blocking(key, 0, PART)

    def in_coroutine(fs: S3FileSystem, path: str) -> bytes:
        connection, key = fs.locate(path)
        return asyncio.run(connection.read(key, 0, PART))

    return in_thread if request.param == "threads" else in_coroutine


Read = Callable[[S3FileSystem, str], bytes]


def connected(server: ScriptedServer, **options: Any) -> S3FileSystem:
    fs = S3FileSystem(
        endpoint_url=server.endpoint, key="k", secret="s", retries=0, skip_instance_cache=True, **options
    )
    connection = fs.locate("b/other")[0]
    # The first range of a connection is read by a coroutine in any case.
    tasks.run(connection.read, "other", 0, PART)
    teach(connection.endpoint)
    return fs


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (stalled, served),
        (after_the_second(served), stalled),
        (after_the_second(failed(500)), late_success),
        (after_the_second(late_success), failed(500)),
        (after_the_second(failed(503)), late_success),
    ],
    ids=["second wins", "first wins", "first fails", "second fails", "first is refused"],
)
def test_the_first_success_of_two_requests_is_the_result(read: Read, first: Any, second: Any) -> None:
    with ScriptedServer(TwoRequests(first, second)) as server:
        fs = connected(server)
        with opendalfs.trace() as t:
            assert read(fs, "b/late") == DATA
        record = t.records[-1]
        assert (record.requests, record.hedges, record.bytes, record.error) == (2, 1, PART, "")
        assert t.hedges == 1
        assert "1 hedges" in str(t)
    eventually(lambda: not workers.abandoned())


def test_an_error_of_both_requests_is_raised(read: Read) -> None:
    with ScriptedServer(TwoRequests(after_the_second(failed(500)), late_failure)) as server:
        fs = connected(server)
        with pytest.raises(OSError, match="Unexpected response"):
            read(fs, "b/late")
        assert sum("late" in request.target for request in server.requests) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, FileNotFoundError), (403, PermissionError)],
)
def test_an_error_that_both_would_have_is_raised_at_once(read: Read, status: int, error: Any) -> None:
    with ScriptedServer(TwoRequests(stalled, failed(status))) as server, pytest.raises(error):
        read(connected(server), "b/late")


def test_a_changed_object_is_noticed_by_either_request() -> None:
    with ScriptedServer(TwoRequests(stalled, failed(412))) as server:
        fs = connected(server)
        reader = Reader(*fs.locate("b/late"))
        assert reader.size == SIZE
        with pytest.raises(opendalfs.ChangedError):
            reader.read(0, PART)
        tags = [r.headers["if-match"] for r in server.requests if r.method == "GET" and "late" in r.target]
        assert len(tags) == 2
        assert len(set(tags)) == 1


def test_a_late_read_of_an_object_of_unknown_size_is_hedged() -> None:
    state = TwoRequests(stalled, lambda request, _: Response(200, object_headers(PART), DATA))
    with ScriptedServer(state) as server:
        connection, key = connected(server).locate("b/late")
        assert tasks.run(connection.read, key, 0, None) == DATA
        assert state.seen == 2


def test_a_late_whole_object_is_hedged(s3_server: S3Server, prefix: str) -> None:
    path = f"{prefix}/whole"
    opendalfs.S3FileSystem(**s3_server.options).pipe_file(path, DATA)
    gets = []

    def respond(request: Request) -> Response | None:
        gets.append(request.method)
        return request.stall() if len(gets) == 1 else request.forward(s3_server.endpoint)

    with ScriptedServer(respond) as server:
        fs = S3FileSystem(**{**s3_server.options, "endpoint_url": server.endpoint}, retries=0)
        teach(fs.locate(path)[0].endpoint)
        assert fs.cat_file(path) == DATA
        assert gets == ["GET", "GET"]


def test_steps_of_a_stream_are_not_hedged() -> None:
    def dripping(request: Request, _: TwoRequests) -> Response:
        return Response(200, object_headers(3 * PART), drip(request, 3 * PART, 0.2, PART))

    state = TwoRequests(dripping, dripping)
    with ScriptedServer(state) as server:
        connection, key = connected(server).locate("b/late")

        async def size() -> int:
            return sum([len(piece) async for piece in connection.stream(key)])

        assert tasks.run(size) == 3 * PART


def test_a_late_stat_is_hedged() -> None:
    def respond(request: Request) -> Response | None:
        if request.method == "GET":
            return Response(206, object_headers(PART, Content_Range=f"bytes 0-{PART - 1}/{SIZE}"), DATA)
        return request.stall() if server.count("HEAD") == 1 else Response(200, object_headers(SIZE))

    with ScriptedServer(respond) as server:
        fs = connected(server)
        assert fs.info("b/late")["size"] == SIZE
        assert server.count("HEAD") == 2


def assert_not_hedged(fs: S3FileSystem, read: Read) -> None:
    with opendalfs.trace() as t:
        assert read(fs, "b/late") == DATA
    assert t.hedges == 0


def slow(request: Request, _: TwoRequests) -> Response | None:
    request.pause(0.3)
    return served(request, _)


def test_the_option_turns_hedges_off(read: Read) -> None:
    with ScriptedServer(TwoRequests(slow, served)) as server:
        assert_not_hedged(connected(server, hedge_reads=False), read)


def test_a_hedge_does_not_wait_for_a_slot(read: Read) -> None:
    with ScriptedServer(TwoRequests(slow, served)) as server:
        assert_not_hedged(connected(server, concurrency=1), read)


@pytest.mark.parametrize("outcome", ["throttled", "timeout", "unreachable"])
def test_no_hedges_after_trouble(read: Read, outcome: Any) -> None:
    with ScriptedServer(TwoRequests(slow, served)) as server:
        fs = connected(server)
        endpoint = fs.locate("b/late")[0].endpoint
        assert endpoint is not None
        endpoint.record("read", 0, 0.1, outcome)
        assert_not_hedged(fs, read)


def test_hedges_return_their_slots(read: Read) -> None:
    with ScriptedServer(TwoRequests(stalled, served)) as server:
        fs = connected(server, concurrency=2)
        assert read(fs, "b/late") == DATA
        limit = fs.locate("b/late")[0].limit
        assert limit is not None
        assert limit.try_acquire()
        assert limit.try_acquire()
        assert not limit.try_acquire()


def test_two_requests_that_never_end_are_given_up_at_the_timeout(read: Read) -> None:
    def endless(request: Request, _: TwoRequests) -> Response:
        headers = object_headers(PART, Content_Range=f"bytes 0-{PART - 1}/{SIZE}")
        return Response(206, headers, drip(request, PART, 0.1, 1))

    with ScriptedServer(TwoRequests(endless, endless)) as server:
        fs = connected(server, io_timeout=1.5, concurrency=2)
        with opendalfs.trace() as t, pytest.raises(TimeoutError):
            read(fs, "b/late")
        assert t.requests == 2
        limit = fs.locate("b/late")[0].limit
        assert limit is not None
        # Both slots were returned, and the timeout has halved them.
        assert (limit.reduced, [limit.try_acquire() for _ in range(2)]) == (1, [True, False])


@pytest.mark.parametrize("service", ["redis", "memcached", "postgresql", "mysql", "gridfs", "mongodb"])
def test_services_that_keep_a_connection_pool_have_no_hedges(service: str) -> None:
    assert not opendalfs.services.lookup(service).cancels


def test_local_services_and_other_operations_have_no_hedges() -> None:
    memory = opendalfs.filesystem("memory").locate("a")[0]
    assert Hedge.of(memory, "read", 10, None) is None
    fs = S3FileSystem(endpoint_url="http://127.0.0.1:1", key="k", secret="s", skip_instance_cache=True)
    connection = fs.locate("b/k")[0]
    teach(connection.endpoint)
    assert Hedge.of(connection, "read", 10, None) is not None
    assert Hedge.of(connection, "stat", None, None) is not None
    for operation in ("write", "delete", "list", "copy", "rename", "create_dir"):
        assert Hedge.of(connection, operation, 10, None) is None


def spent(budget: HedgeBudget, count: int) -> int:
    return sum(budget.spend() for _ in range(count) if budget.late_after(PART))


def known(seconds: float = 0.02) -> HedgeBudget:
    latency = Latency()
    for _ in range(16):
        latency.record(PART, seconds)
    return HedgeBudget(latency)


def test_hedges_are_at_most_a_twentieth_of_the_requests() -> None:
    assert spent(known(), 1000) == 50


def test_a_burst_has_at_most_four_more() -> None:
    budget = known()
    for _ in range(1000):
        budget.late_after(PART)
    assert spent(budget, 100) <= 4 + 5


def test_nothing_is_late_before_16_requests_are_known_nor_within_5_ms() -> None:
    latency = Latency()
    budget = HedgeBudget(latency)
    for _ in range(15):
        latency.record(PART, 0.001)
    assert budget.late_after(PART) is None
    latency.record(PART, 0.001)
    assert budget.late_after(PART) == 0.005


def test_a_server_that_is_slow_as_a_whole_gets_no_more_hedges() -> None:
    latency = Latency()
    budget = HedgeBudget(latency)
    hedges = 0
    for i in range(1000):
        seconds = 0.02 if i < 500 else 0.4
        late = budget.late_after(PART)
        if late is not None and seconds > late and budget.spend():
            hedges += 1
        latency.record(PART, seconds)
    assert 1 <= hedges <= 6


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[DelayProxy]:
    with DelayProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.mark.services
def test_a_tail_of_slow_requests_is_cut_within_the_budget(
    s3_server: S3Server, proxy: DelayProxy, prefix: str
) -> None:
    path = f"{prefix}/tail"
    opendalfs.S3FileSystem(**s3_server.options).pipe_file(path, DATA)
    fs = opendalfs.S3FileSystem(**proxy.through(s3_server.options), skip_instance_cache=True)
    reader = Reader(*fs.locate(path))
    assert reader.read(0, PART) == DATA
    proxy.set(0.002, 0, tail=0.02, factor=100)
    proxy.reset()
    with opendalfs.trace() as t:
        assert all(reader.read(0, PART) == DATA for _ in range(500))
    seen = proxy.counters()
    assert 500 + t.hedges == seen.requests <= 525
    slow = [r for r in t.records if r.end - r.start >= 0.2]
    # Without hedges each of them is slow. The first ones have none, and a busy machine uses some for others.
    assert seen.slow >= 5
    assert len(slow) < seen.slow
