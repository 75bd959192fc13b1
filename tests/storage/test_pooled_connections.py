"""Services with a connection pool: a cancelled call leaves no data for the next one."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import pytest

import opendalfs
from opendalfs.services import SERVICES
from opendalfs.storage.call import Call
from opendalfs.testing import MariaDB, Memcached, PostgreSQL, Redis, ServerUnavailable

T = TypeVar("T")

COUNT = 30
"""More than the connections of a pool."""

SERVERS: dict[str, Any] = {
    "memcached": Memcached,
    "postgresql": PostgreSQL,
    "mysql": MariaDB,
    "redis": Redis,
}


@contextmanager
def started(kind: type[Any]) -> Iterator[Any]:
    try:
        server = kind().start()
    except ServerUnavailable as missing:
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.services) for name in SERVERS])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    with started(SERVERS[request.param]) as server:
        yield request.param, server.options


def value(i: int) -> bytes:
    return f"value {i};".encode() * 3000


async def in_time(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat what times out: redis-rs waits 0.5 s for a response, and a busy machine may take longer.

    The option `retries` would repeat other errors too, such as those of a connection with unread data.
    """
    for _ in range(50):
        with suppress(TimeoutError):
            return await call()
    return await call()


async def read_in_time(fs: Any, key: str) -> Any:
    return await in_time(partial(fs._cat_file, key))


async def read_right(fs: Any) -> None:
    for i in range(COUNT):
        assert await read_in_time(fs, f"key{i}") == value(i)


async def write_values(service: tuple[str, dict[str, Any]], values: dict[str, bytes]) -> None:
    """Write with the default options, which repeat what fails."""
    scheme, options = service
    # Of many writers at a time MySQL refuses some, for a deadlock.
    await opendalfs.filesystem(scheme, **options)._pipe(values, batch_size=1 if scheme == "mysql" else None)


async def filled(service: tuple[str, dict[str, Any]]) -> Any:
    await write_values(service, {f"key{i}": value(i) for i in range(COUNT)})
    scheme, options = service
    return opendalfs.filesystem(
        scheme, skip_instance_cache=True, retries=0, io_timeout=30, timeout=30, **options
    )


async def test_reads_after_cancelled_reads_are_right(service: tuple[str, dict[str, Any]]) -> None:
    fs = await filled(service)
    # Requests are out and answers are not in yet, at one of these moments at least.
    for seconds in (0.003, 0.02, 0.02, 0.02, 0.05):
        tasks = [asyncio.ensure_future(fs._cat_file(f"key{i}")) for i in range(COUNT)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        for i, task in enumerate(tasks):
            with suppress(asyncio.CancelledError, TimeoutError):
                assert await task == value(i)
    await read_right(fs)


async def test_reads_after_a_gather_that_failed_are_right(service: tuple[str, dict[str, Any]]) -> None:
    fs = await filled(service)
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            await in_time(partial(fs._cat, [*(f"key{i}" for i in range(COUNT)), "missing"]))
    await read_right(fs)


async def test_none_of_500_values_is_wrong_after_reads_that_failed_and_were_cancelled(
    service: tuple[str, dict[str, Any]],
) -> None:
    """With memcached, a read returned the value of another key after a read of the same connection failed."""
    fs = await filled(service)
    keys = [f"many{i}" for i in range(500)]
    values = {key: f"{key};".encode() * (50 + i) for i, key in enumerate(keys)}
    await write_values(service, values)
    wrong = []
    for lap in range(5):
        cancelled = [asyncio.ensure_future(fs._cat_file(key)) for key in keys[lap::5]]
        failing = [asyncio.ensure_future(fs._cat_file(f"{key}-missing")) for key in keys[:20]]
        # Requests are out and responses are not in yet.
        await asyncio.sleep(0.002 * (lap + 1))
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, *failing, return_exceptions=True)
        found = await fs._cat(keys, on_error="return")
        wrong += [await different(fs, key, found[key], values[key]) for key in keys]
    blocking = fs.cat_ranges(keys, None, None, on_error="return")
    wrong += [await different(fs, key, data, values[key]) for key, data in zip(keys, blocking, strict=True)]
    assert [text for text in wrong if text] == []


async def different(fs: Any, key: str, found: object, expected: bytes) -> str:
    """Describe what is wrong about what a read returned or raised; read again what timed out."""
    if isinstance(found, TimeoutError):
        found = await read_in_time(fs, key)
    return "" if found == expected else f"{key}: {found!r:.200}"


async def test_a_cancelled_write_has_ended_when_its_cancellation_passes(
    service: tuple[str, dict[str, Any]],
) -> None:
    fs = await filled(service)
    for i in range(5):
        task = asyncio.ensure_future(fs._pipe_file("key0", b"old" * 1000))
        await asyncio.sleep(0.002)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        new = f"new{i}".encode()
        await in_time(partial(fs._pipe_file, "key0", new))
        assert await read_in_time(fs, "key0") == new


def test_a_loop_that_ends_during_reads_leaves_a_pool_that_works(service: tuple[str, dict[str, Any]]) -> None:
    fs = asyncio.run(filled(service))

    async def leave() -> None:
        for i in range(COUNT):
            task = asyncio.ensure_future(fs._cat_file(f"key{i}"))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0.005)

    asyncio.run(leave())
    asyncio.run(read_right(fs))


@pytest.fixture
def silent_memcached() -> Iterator[Memcached]:
    with started(Memcached) as server:
        yield server


def test_a_loop_that_ends_during_a_call_of_several_requests_lets_them_end() -> None:
    """As the pages of a list are: a task of its own, which the end of the loop would cancel."""
    connection, key = opendalfs.filesystem("memcached", endpoint="tcp://127.0.0.1:1").locate("key")
    ended: list[str] = []
    begun = asyncio.Event()

    async def requests(_: object) -> None:
        begun.set()
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("done")

    async def call() -> None:
        with Call(connection, "list", key).in_task() as made:
            await made.run_async(requests)

    async def main() -> None:
        task = asyncio.ensure_future(call())
        await begun.wait()
        assert not task.done()

    asyncio.run(main())
    assert ended == ["done"]


def test_a_server_that_answers_again_is_read_again(silent_memcached: Memcached) -> None:
    """A relay stands between, whose answers stop: the requests never end, and keep their connections."""
    with Relay(silent_memcached.port) as relay:
        fs = opendalfs.filesystem(
            "memcached", endpoint=f"tcp://127.0.0.1:{relay.port}", timeout=0.3, io_timeout=0.3
        )
        connection, key = fs.locate("key")

        async def many() -> list[Any]:
            reads = (connection.read(key, 0, 5) for _ in range(COUNT))
            return await asyncio.gather(*reads, return_exceptions=True)

        opendalfs.filesystem("memcached", endpoint=f"tcp://127.0.0.1:{silent_memcached.port}").pipe_file(
            "key", b"alive"
        )
        relay.silent.set()
        assert {type(found) for found in asyncio.run(many())} == {TimeoutError}
        with pytest.raises(TimeoutError):
            connection.read_blocking(key, 0, 5)
        relay.silent.clear()
        assert eventually_read(fs) == b"alive"


def eventually_read(fs: Any) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            return bytes(fs.cat_file("key"))
        except TimeoutError:
            if time.monotonic() > deadline:
                raise


class Relay:
    """Passes bytes on to a local port, and no answers while it is silent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.silent = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        for one in (self._server, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not (answers and self.silent.is_set()):
                    target.sendall(data)


def test_every_service_with_a_pool_of_connections_is_known() -> None:
    assert {name for name, row in SERVICES.items() if not row.cancels} == {
        "ftp",
        "gridfs",
        "memcached",
        "mongodb",
        "mysql",
        "postgresql",
        "redis",
    }
