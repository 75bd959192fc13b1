"""One filesystem in many event loops and threads; cancellation; what an import starts."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import opendalfs
from opendalfs.runtime import process as lifecycle
from opendalfs.runtime import tasks
from opendalfs.testing import S3Server
from tests.runtime.programs import one, silent
from tests.waiting import eventually

# Loops and threads


def test_one_filesystem_works_from_many_loops(s3_server: S3Server, path: str) -> None:
    fs = opendalfs.S3FileSystem(asynchronous=True, **s3_server.options)
    sync = opendalfs.S3FileSystem(**s3_server.options)

    async def read() -> list[int]:
        return [len(await f._cat_file(path)) for f in (fs, sync)]

    for _ in range(3):
        assert asyncio.run(read()) == [5000, 5000]
    assert len(sync.cat_file(path)) == 5000


def test_one_filesystem_works_from_many_threads(s3_server: S3Server, path: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)

    def work(i: int) -> int:
        if i % 3 == 0:
            return len(fs.cat_file(path))
        if i % 3 == 1:
            return len(fs.cat_ranges([path], [0], [None], on_error="raise")[0])
        return len(asyncio.run(fs._cat_file(path)))

    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(work, range(60))) == {5000}


def waiting(call: Callable[[], object]) -> object:
    """Return the result or the error of a call; fail when it hangs."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(call())
        except Exception as exc:
            found.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it hangs"
    return found[0]


def test_a_loop_that_could_not_be_started_is_started_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tasks, "_loop", None)
    monkeypatch.setattr(tasks, "_loop_thread", None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            tasks.run(one)
    assert waiting(lambda: tasks.run(one)) == 1
    loop = tasks._loop
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    assert eventually(lambda: not loop.is_running())
    loop.close()


def test_a_blocking_call_from_its_own_loop_raises_and_does_not_hang() -> None:
    async def nested() -> int:
        return tasks.run(one)

    assert "event loop" in str(waiting(lambda: tasks.run(nested)))


def test_a_call_that_the_garbage_collector_ends_does_not_wait_for_one_that_begins() -> None:
    def collected() -> str:
        with lifecycle._lock:
            lifecycle.begin_call()
            lifecycle.end_call()
        return "ended"

    assert waiting(collected) == "ended"


def test_a_timeout_may_be_of_any_length(s3_server: S3Server, path: str) -> None:
    longest = {"timeout": 1e12, "io_timeout": 1e12}
    fs = opendalfs.S3FileSystem(skip_instance_cache=True, **longest, **s3_server.options)
    assert (fs.reader(path).read(0, 5), fs.cat_file(path, 0, 5)) == (b"alive", b"alive")


def test_a_cancelled_task_drops_its_connection() -> None:
    dropped = threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        fs = opendalfs.S3FileSystem(**silent(f"http://127.0.0.1:{server.getsockname()[1]}"))

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                while connection.recv(4096):
                    pass
                dropped.set()

        async def main() -> None:
            task = asyncio.ensure_future(fs._cat_file("b/k"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        thread = threading.Thread(target=serve)
        thread.start()
        asyncio.run(main())
        assert dropped.wait(20)
        thread.join()


# Imports


def modules(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_is_light() -> None:
    ours = modules("import opendalfs")
    assert not ours & {"pyarrow", "duckdb", "polars", "numpy", "pandas", "aiohttp", "s3fs", "botocore"}
    # Modules, not seconds, which depend on the machine: what is ours and a few of the standard library.
    more = {m for m in ours - modules("import fsspec, fsspec.asyn, opendal") if not m.startswith("opendal")}
    assert len(more) <= 25, sorted(more)


def test_the_import_starts_no_thread_and_uses_no_storage() -> None:
    code = "import opendalfs, threading; from opendalfs.runtime import process; "
    program = code + "print(threading.active_count(), process.used())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
