"""Exits: a process that uses storage ends at once and cleanly, whatever is in flight."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.runtime.programs import Runner, finish, silent

# Exit


def test_processes_that_exit_right_after_an_awaited_read_end_well(runner: Runner) -> None:
    for _ in range(3):
        together = [runner.start("print(len(asyncio.run(fs._cat_file(path))))") for _ in range(4)]
        assert [finish(process) for process in together] == ["5000"] * 4


def test_a_process_that_exits_right_after_a_blocking_read_ends_well(runner: Runner) -> None:
    assert runner.run("print(len(fs.cat_file(path)), fs.reader(path).size)") == "5000 5000"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Yield a server that accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


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
    # The read waits for 60 s.
    assert time.monotonic() - begun < 30


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
    assert out == "_pipe_file was cancelled, because the interpreter is exiting"


def test_an_interrupt_at_exit_skips_no_later_step_of_the_exit(silent_server: str) -> None:
    """As a second Ctrl-C: connections of engines must still be closed, and their threads waited for."""
    code = """
        import signal
        from opendalfs.runtime import process
        process.at_exit(lambda: os.kill(os.getpid(), signal.SIGINT))
        process.at_exit(lambda: print("closed"))
        # The traceback of a thread at exit may hold the lock of stderr when the interpreter ends.
        threading.excepthook = lambda _: None
        threading.Thread(target=fs.cat_file, args=(path,), daemon=True).start()
        time.sleep(0.3)
        timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
        timer.daemon = True
        timer.start()
    """
    out, err = Runner(silent(silent_server), "b/k").start(code).communicate(timeout=60)
    assert out.split() == ["closed"]
    assert "KeyboardInterrupt" in err
    assert "Fatal" not in err


@pytest.mark.parametrize("call", ["tasks.run(write)", "fs.info('b/k')"])
def test_a_call_that_an_interrupt_cancels_cleans_up_before_the_exit(call: str) -> None:
    code = f"""
        import signal
        from opendalfs.runtime import tasks
        async def write(*_, **__):
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(60)
            finally:
                time.sleep(0.2)
                print("removed", flush=True)
        fs._info = write
        try:
            {call}
        except KeyboardInterrupt:
            pass
    """
    assert Runner({}, "").run(code) == "removed"
