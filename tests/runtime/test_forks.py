"""Forked children, worker processes and pickles."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import weakref

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.runtime.programs import Runner

# Fork

fork = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")

FORKED = """
    {before}
    def in_child(inside):
        pid = os.fork()
        if pid == 0:
            try:
                exec(inside)
            except opendalfs.ForkError as exc:
                print("ForkError", "spawn" in str(exc), flush=True)
            os._exit(0)
        deadline = time.monotonic() + 30
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                print("hangs", flush=True)
                break
            time.sleep(0.01)
    for inside in {insides!r}:
        in_child(inside)
"""


def forked(runner: Runner, before: str, *insides: str) -> list[str]:
    """Run each `inside` in a forked child of its own; return what each prints."""
    return runner.run(FORKED.format(before=before, insides=insides)).splitlines()


INSIDES = [
    "fs.cat_file(path)",
    "fs.cat_ranges([path], [0], [5], on_error='raise')",
    "fs.info(path)",
    "fs.open(path).read()",
    "fs.pipe_file(path + '2', b'x')",
    "opendalfs.S3FileSystem(retries=1, **fs.storage_options).exists(path)",
    "opendalfs.OpendalFileSystem('memory').ls('')",
    "asyncio.run(fs._info(path))",
    "fs.reader(path).read(0, 5)",
]


@fork
@pytest.mark.parametrize("before", ["fs.cat_file(path)", "fs.reader(path).read(0, 5)"])
def test_a_forked_child_of_a_user_gets_an_error_at_once(runner: Runner, before: str) -> None:
    found = dict(zip(INSIDES, forked(runner, before, *INSIDES), strict=True))
    assert found == dict.fromkeys(INSIDES, "ForkError True")


@fork
@pytest.mark.parametrize(
    "before",
    ["pass", "repr(fs); fs._repr_html_(); fs.unstrip_protocol(path)", "fs.locate(path)"],
    ids=["constructed", "shown", "connected"],
)
def test_a_forked_child_of_one_that_only_constructed_works(runner: Runner, before: str) -> None:
    insides = "print(len(fs.cat_file(path)), flush=True)", "print(fs.reader(path).size, flush=True)"
    assert forked(runner, before, *insides) == ["5000", "5000"]


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
    assert forked(runner, before, inside) == [says]


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
