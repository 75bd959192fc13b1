"""The life of a process that uses storage: exits, forks, threads, loops, pickles, caches."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import opendalfs
from opendalfs.runtime import process as lifecycle
from opendalfs.runtime import tasks
from opendalfs.testing import S3Server
from tests.waiting import eventually

SETUP = """
import asyncio, os, sys, threading, time, opendalfs
fs = opendalfs.S3FileSystem(**{options!r})
path = {path!r}
"""


@pytest.fixture
def path(s3_server: S3Server, prefix: str) -> str:
    path = f"{prefix}/life"
    opendalfs.S3FileSystem(**s3_server.options).pipe_file(path, b"alive" * 1000)
    return path


class Runner:
    """Runs a program in a Python of its own, with ``fs`` and ``path`` at hand."""

    def __init__(self, options: dict[str, Any], path: str) -> None:
        self.setup = SETUP.format(options=options, path=path)

    def start(self, code: str) -> subprocess.Popen[str]:
        program = self.setup + textwrap.dedent(code)
        pipe = subprocess.PIPE
        # From 3.12 on Python warns of each fork of a process with threads, which is what is tested here.
        quiet = ["-W", "ignore:This process:DeprecationWarning"]
        return subprocess.Popen([sys.executable, *quiet, "-c", program], stdout=pipe, stderr=pipe, text=True)

    def run(self, code: str) -> str:
        return finish(self.start(code))


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


@pytest.fixture
def runner(s3_server: S3Server, path: str) -> Runner:
    return Runner(s3_server.options, path)


# Exit


def test_processes_that_exit_right_after_an_awaited_read_end_well(runner: Runner) -> None:
    for _ in range(5):
        together = [runner.start("print(len(asyncio.run(fs._cat_file(path))))") for _ in range(4)]
        assert [finish(process) for process in together] == ["5000"] * 4


def test_a_process_that_exits_right_after_a_blocking_read_ends_well(runner: Runner) -> None:
    assert runner.run("print(len(fs.cat_file(path)), fs.reader(path).size)") == "5000 5000"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Give a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def silent(url: str) -> dict[str, Any]:
    return {"key": "k", "secret": "s", "endpoint_url": url, "timeout": 60, "io_timeout": 60}


def test_an_exit_during_an_awaited_read_ends_well(silent_server: str) -> None:
    code = """
        async def main():
            afs = opendalfs.S3FileSystem(asynchronous=True, **fs.storage_options)
            asyncio.ensure_future(afs._cat_file(path))
            await asyncio.sleep(0.3)
        asyncio.run(main())
        print("out")
    """
    assert Runner(silent(silent_server), "b/k").run(code) == "out"


def test_an_exit_while_fsspecs_loop_waits_ends_well(silent_server: str) -> None:
    code = """
        from fsspec.asyn import get_loop
        asyncio.run_coroutine_threadsafe(fs._cat_file(path), get_loop())
        time.sleep(0.3)
        print("out")
    """
    assert Runner(silent(silent_server), "b/k").run(code) == "out"


def test_an_exit_while_threads_read_ends_well(runner: Runner) -> None:
    code = """
        def work():
            while True:
                fs.cat_ranges([path] * 4, [0, 100, 2000, 4000], [10, 200, 2010, 4100])
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.5)
        print("out", flush=True)
    """
    process = runner.start(code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "out")
    assert "Fatal" not in err


def test_an_exit_handler_registered_before_the_first_use_reads_and_writes(runner: Runner) -> None:
    code = """
        import atexit
        def late():
            fs.pipe_file(path + ".late", b"late")
            with fs.open(path + ".later", "wb") as file:
                file.write(b"later")
            print(fs.cat([path + ".late", path + ".later"]).values(), fs.reader(path).read(0, 1))
            print(fs.cat_ranges([path] * 4, [0, 100, 2000, 4000], [1, 101, 2001, 4001], max_gap=0))
            print(fs.cat_ranges([path, path + ".late"], 0, 1))
        atexit.register(late)
        # What is registered last runs first, so that `late` runs when storage has been left.
        fs.cat_file(path)
    """
    for _ in range(3):
        assert runner.run(code).splitlines() == [
            "dict_values([b'late', b'later']) b'a'",
            "[b'a', b'a', b'a', b'a']",
            "[b'a', b'l']",
        ]


def test_other_threads_are_refused_storage_while_the_interpreter_exits(runner: Runner) -> None:
    code = """
        import atexit
        def late():
            go.set()
            thread.join()
        def wait():
            go.wait()
            try:
                fs.reader(path).read(0, 1)
            except RuntimeError as exc:
                print(exc)
        go = threading.Event()
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        atexit.register(late)
        fs.cat_file(path)
    """
    assert runner.run(code) == "storage cannot be used while the interpreter exits"


def test_an_exit_with_a_read_that_does_not_end_is_quick(silent_server: str) -> None:
    code = """
        threading.Thread(target=lambda: fs.reader(path).read(0, 10), daemon=True).start()
        time.sleep(0.5)
        print("out", flush=True)
    """
    process = Runner(silent(silent_server), "b/k").start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "out\n"
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert time.monotonic() - begun < 4


def test_a_write_that_the_exit_cancels_is_no_success(silent_server: str) -> None:
    code = """
        import atexit
        def work():
            try:
                fs.pipe_file(path, b"x")
            except RuntimeError as exc:
                print(exc, flush=True)
            else:
                print("written", flush=True)
        thread = threading.Thread(target=work, daemon=True)
        # Runs last, as it is registered first.
        atexit.register(thread.join)
        thread.start()
        time.sleep(0.5)
    """
    out = Runner(silent(silent_server), "b/k").run(code)
    assert out == "_pipe_file was cancelled: the interpreter exits"


# Fork

fork = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")

FORKED = """
    {before}
    pid = os.fork()
    if pid == 0:
        try:
            {inside}
        except opendalfs.ForkError as exc:
            print("ForkError", "spawn" in str(exc), flush=True)
        os._exit(0)
    deadline = time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            print("hangs")
            break
        time.sleep(0.01)
"""


@fork
@pytest.mark.parametrize(
    "inside",
    [
        "fs.cat_file(path)",
        "fs.cat_ranges([path], [0], [5], on_error='raise')",
        "fs.info(path)",
        "fs.open(path).read()",
        "fs.pipe_file(path + '2', b'x')",
        "opendalfs.S3FileSystem(retries=1, **fs.storage_options).exists(path)",
        "opendalfs.OpendalFileSystem('memory').ls('')",
        "asyncio.run(fs._info(path))",
        "fs.reader(path).read(0, 5)",
    ],
)
@pytest.mark.parametrize("before", ["fs.cat_file(path)", "fs.reader(path).read(0, 5)"])
def test_a_forked_child_of_a_user_gets_an_error_at_once(runner: Runner, before: str, inside: str) -> None:
    assert runner.run(FORKED.format(before=before, inside=inside)) == "ForkError True"


@fork
@pytest.mark.parametrize(
    "inside", ["print(len(fs.cat_file(path)), flush=True)", "print(fs.reader(path).size, flush=True)"]
)
@pytest.mark.parametrize(
    "before",
    ["pass", "repr(fs); fs.unstrip_protocol(path)", "fs.locate(path)"],
    ids=["constructed", "shown", "connected"],
)
def test_a_forked_child_of_one_that_only_constructed_works(runner: Runner, before: str, inside: str) -> None:
    assert runner.run(FORKED.format(before=before, inside=inside)) == "5000"


@fork
@pytest.mark.parametrize(("held", "says"), [(True, "ForkError True"), (False, "1")])
def test_a_cache_in_use_as_the_process_forks_does_not_hang_the_child(
    runner: Runner, held: bool, says: str
) -> None:
    before = "fs.ls(path.rpartition('/')[0])"
    if held:
        hold = "(fs.dircache._listings._lock.acquire(), taken.set(), time.sleep(60))"
        start = f"threading.Thread(target=lambda: {hold}, daemon=True).start()"
        before += f"; taken = threading.Event(); {start}; taken.wait()"
    inside = "print(len(asyncio.run(fs._ls(path.rpartition('/')[0]))), flush=True)"
    assert runner.run(FORKED.format(before=before, inside=inside)) == says


def read_in_worker(fs: opendalfs.OpendalFileSystem, path: str) -> int:
    return len(fs.cat_file(path))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_use_a_pickled_filesystem(s3_server: S3Server, path: str, method: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    assert fs.exists(path)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(read_in_worker, [(fs, path)] * 4) == [5000] * 4


# Pickles and the instance cache


def test_pickles_are_deterministic() -> None:
    options = {"key": "k", "secret": "s", "client_kwargs": {"region_name": "eu"}, "retries": 2}
    one = pickle.dumps(opendalfs.S3FileSystem(skip_instance_cache=True, **options))
    two = pickle.dumps(opendalfs.S3FileSystem(skip_instance_cache=True, **options))
    assert one == two


def test_a_pickle_of_a_filesystem_in_use_is_the_same(s3_server: S3Server, path: str) -> None:
    fs = opendalfs.S3FileSystem(skip_instance_cache=True, **s3_server.options)
    before = pickle.dumps(fs)
    fs.ls(path.rpartition("/")[0])
    assert pickle.dumps(fs) == before
    assert pickle.loads(before).cat_file(path) == fs.cat_file(path)


def test_a_bound_filesystem_can_be_pickled(s3_server: S3Server, path: str) -> None:
    bucket, _, key = path.partition("/")
    fs = opendalfs.OpendalFileSystem("s3", bucket=bucket, **s3_server.options)
    twin = pickle.loads(pickle.dumps(fs))
    assert twin.cat_file(key) == fs.cat_file(key)


def test_an_open_file_for_reading_can_be_pickled_and_one_for_writing_not() -> None:
    fs = opendalfs.MemoryFileSystem()
    fs.pipe_file("life/pickled", b"0123456789")
    with fs.open("life/pickled") as file:
        file.seek(4)
        with pickle.loads(pickle.dumps(file)) as twin:
            assert (twin.tell(), twin.read(2)) == (4, b"45")
    with fs.open("life/new", "wb", autocommit=False) as file, pytest.raises(TypeError, match="pickled"):
        pickle.dumps(file)


def test_equal_options_share_an_instance_that_lives_as_long_as_it_is_held() -> None:
    fs = opendalfs.MemoryFileSystem(retries=3)
    assert opendalfs.MemoryFileSystem(retries=3) is fs
    assert opendalfs.MemoryFileSystem(retries=2) is not fs
    fs.pipe_file("life/kept", b"kept")
    gone = weakref.ref(fs)
    del fs
    gc.collect()
    assert gone() is None
    assert opendalfs.MemoryFileSystem(retries=3).cat_file("life/kept") == b"kept"


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


async def one() -> int:
    return 1


def test_a_loop_that_could_not_be_started_is_started_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tasks, "_loops", {})
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            tasks.run(one)
    assert waiting(lambda: tasks.run(one)) == 1
    loop = tasks._loop()
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
            lifecycle.begin()
            lifecycle.end()
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
