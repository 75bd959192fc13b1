"""What reviews have found: each test states a behaviour that was once missing."""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import io
import os
import resource
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec import AbstractFileSystem

import opendalfs
from opendalfs import ChangedError, OpendalFileSystem, UnsupportedError, filesystem
from opendalfs.read import async_reader
from opendalfs.services import Home


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Give a memory of its own."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


@pytest.fixture
def disk(tmp_path: Path) -> OpendalFileSystem:
    """Give a directory of its own."""
    return OpendalFileSystem("fs", root=str(tmp_path))


# Methods


def test_blocking_methods_take_what_fsspecs_own_do() -> None:
    """Each is made for a coroutine of the same name, which may be there by accident."""
    for name, theirs in inspect.getmembers(AbstractFileSystem, inspect.isfunction):
        coroutine = getattr(OpendalFileSystem, f"_{name}", None)
        if name.startswith("_") or not inspect.iscoroutinefunction(coroutine):
            continue
        mine = list(inspect.signature(coroutine).parameters.values())[1:]
        needed = [p.name for p in mine if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        taken = [p.name for p in list(inspect.signature(theirs).parameters.values())[1:]]
        assert needed == taken[: len(needed)], name


def test_tree_draws_what_is_there(memory: OpendalFileSystem) -> None:
    memory.pipe({"t/a": b"", "t/d/b": b""})
    assert memory.tree("t").split() == ["t", "├──", "d", "│", "└──", "b", "└──", "a"]


def test_versions_are_refused_where_there_are_none(memory: OpendalFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("a", b"1")
    for call in (
        lambda: memory.object_version_info("a"),
        lambda: memory.cat_file("a", version_id="1"),
        lambda: memory.cat_ranges(["a"], 0, 1, on_error="raise", version_id="1"),
        lambda: memory.get_file("a", str(tmp_path / "a"), version_id="1"),
        lambda: memory.open("a", version_id="1"),
    ):
        with pytest.raises(UnsupportedError):
            call()


# Moving


@pytest.mark.parametrize(
    ("source", "target"),
    [("q/a/*", "q/a/"), (["q/a/x"], ["q/a/x"]), (["q/a/x", "q/a/y"], "q/a/")],
)
def test_a_move_onto_itself_keeps_the_files(
    memory: OpendalFileSystem, source: object, target: object
) -> None:
    memory.pipe({"q/a/x": b"1", "q/a/y": b"2"})
    memory.mv(source, target)
    assert memory.cat(["q/a/x", "q/a/y"]) == {"q/a/x": b"1", "q/a/y": b"2"}


def test_a_move_onto_itself_tells_of_a_missing_file(memory: OpendalFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        memory.mv(["missing"], ["missing"])


def test_a_move_takes_what_does_not_stay(memory: OpendalFileSystem) -> None:
    memory.pipe({"a/x": b"1", "b/y": b"2"})
    memory.mv(["a/x", "b/y"], ["a/x", "a/y"])
    assert memory.find("") == ["a/x", "a/y"]


@pytest.mark.parametrize("targets", ["c/", ["c/x", "c/x"], ["b/x", "c/x"], ["c/x", "a/x"]])
def test_a_move_that_would_lose_a_file_changes_nothing(memory: OpendalFileSystem, targets: object) -> None:
    memory.pipe({"a/x": b"1", "b/x": b"2"})
    with pytest.raises(OSError, match="Another of the paths"):
        memory.mv(["a/x", "b/x"], targets)
    assert memory.cat(["a/x", "b/x"]) == {"a/x": b"1", "b/x": b"2"}
    assert memory.find("") == ["a/x", "b/x"]


# Copying


@pytest.mark.parametrize("existing", [False, True])
def test_a_local_copy_that_fails_leaves_what_was_there(
    disk: OpendalFileSystem, tmp_path: Path, existing: bool
) -> None:
    disk.pipe({"a": bytes(1 << 20), "b": b"old"} if existing else {"a": bytes(1 << 20)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large") as info:
            disk.cp("a", "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert info.value.errno == errno.EFBIG
    assert sorted(os.listdir(tmp_path)) == (["a", "b"] if existing else ["a"])
    assert not existing or disk.cat_file("b") == b"old"


# Writing


async def test_an_asynchronous_file_is_not_published_after_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = opendalfs.OpendalFileSystem("fs", root=str(tmp_path))

    def fail(*args: object, **kwargs: object) -> None:
        raise TimeoutError

    file: Any = await fs.open_async("new", "wb")
    await file.write(b"half")
    with monkeypatch.context() as patched:
        patched.setattr(fs.locate("new")[0], "upload", fail)
        with pytest.raises(TimeoutError):
            await file.write(bytes(9 << 20))
    with pytest.raises(OSError, match="a write of it has failed") as info:
        await file.close()
    assert info.value.filename == "new"
    assert file.closed
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [5, "text", None, [1, 2]])
def test_only_bytes_are_written(memory: OpendalFileSystem, value: object) -> None:
    with pytest.raises(TypeError):
        memory.pipe_file("a", value)
    assert not memory.exists("a")
    memory.pipe({"a": bytearray(b"1"), "b": memoryview(b"2"), "c": array("i", [3])})
    assert memory.cat(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert memory.size("c") == array("i").itemsize


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("mode", ["xb", "wb"])
@pytest.mark.parametrize("size", [0, 3, 20 << 20])
def test_a_file_that_is_never_closed_leaves_nothing(
    disk: OpendalFileSystem, tmp_path: Path, mode: str, size: int
) -> None:
    file = disk.open("new", mode)
    file.write(bytes(size))
    del file
    gc.collect()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [3, 20 << 20])
def test_of_two_that_create_a_file_the_first_to_close_wins(
    disk: OpendalFileSystem, tmp_path: Path, size: int
) -> None:
    first, second = disk.open("new", "xb"), disk.open("new", "xb")
    first.write(b"1" * size)
    second.write(b"2" * size)
    second.close()
    with pytest.raises(FileExistsError) as info:
        first.close()
    assert info.value.filename == "new"
    assert disk.cat_file("new") == b"2" * size
    assert os.listdir(tmp_path) == ["new"]


def test_a_disk_without_hard_links_creates_files_too(
    disk: OpendalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    disk.pipe_file("new", b"1", mode="create")
    with pytest.raises(FileExistsError):
        disk.pipe_file("new", b"2", mode="create")
    assert disk.cat_file("new") == b"1"
    assert os.listdir(tmp_path) == ["new"]


def test_a_write_keeps_the_mode_of_the_local_file_it_replaces(
    disk: OpendalFileSystem, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    disk.pipe_file("a", b"new")
    with disk.open("a", "wb") as file:
        file.write(b"newer")
    assert (tmp_path / "a").read_bytes() == b"newer"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_local_file_that_may_not_be_written_stays(
    disk: OpendalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write to any file, so the system's answer is put in its mouth."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o400)
    monkeypatch.setattr(os, "access", lambda path, how: not path.endswith("/a"))
    for write in (lambda: disk.pipe_file("a", b"new"), lambda: disk.open("a", "wb")):
        with pytest.raises(PermissionError) as info:
            write()
        assert info.value.filename == "a"
    assert (tmp_path / "a").read_bytes() == b"old"


WRITES: dict[str, Callable[[OpendalFileSystem, str, bytes], Any]] = {
    "pipe": lambda fs, path, data: fs.pipe_file(path, data),
    "create": lambda fs, path, data: fs.pipe_file(path, data, mode="create"),
    "open": lambda fs, path, data: fs.write_bytes(path, data),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("letter", ["n", "ü", "🦀"])
def test_a_local_name_may_be_as_long_as_the_disk_allows(
    disk: OpendalFileSystem, tmp_path: Path, write: Callable[..., Any], letter: str
) -> None:
    name = letter * (255 // len(letter.encode()))
    write(disk, name, b"1")
    (tmp_path / "d").mkdir()
    disk.get_file(name, str(tmp_path / "d" / name))
    assert (tmp_path / "d" / name).read_bytes() == disk.cat_file(name) == b"1"
    with pytest.raises(OSError, match="too long") as info:
        write(disk, name + "nnnn", b"1")
    assert info.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("size", [1, 20 << 20])
def test_a_write_below_a_file_names_what_was_to_be_written(
    disk: OpendalFileSystem, tmp_path: Path, write: Callable[..., Any], size: int
) -> None:
    disk.pipe_file("a", b"1")
    with pytest.raises(NotADirectoryError) as info:
        write(disk, "a/b", bytes(size))
    assert info.value.filename == "a/b"
    assert os.listdir(tmp_path) == ["a"]


# Downloading


def test_a_download_to_nowhere_names_the_file(memory: OpendalFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("a", b"1")
    with pytest.raises(FileNotFoundError) as info:
        memory.get_file("a", str(tmp_path / "missing" / "a"))
    assert info.value.filename == str(tmp_path / "missing" / "a")


def test_a_download_takes_no_directory_s_place(memory: OpendalFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("a", b"1")
    (tmp_path / "link").symlink_to(tmp_path)
    for place in ("/", str(tmp_path), f"{tmp_path}/", str(tmp_path / "link")):
        with pytest.raises(IsADirectoryError):
            memory.get_file("a", place)
    assert os.listdir(tmp_path) == ["link"]


async def test_a_cancelled_download_ends_only_when_its_threads_have(
    memory: OpendalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, written = threading.Event(), threading.Event(), []

    def pwrite(file: int, data: bytes, offset: int) -> None:
        begun.set()
        go_on.wait(10)
        os.fstat(file)
        written.append(offset)

    monkeypatch.setattr(async_reader, "_pwrite", pwrite)
    # What is small is written without a thread.
    await memory._pipe_file("a", bytes(300_000))
    task = asyncio.ensure_future(memory._get_file("a", str(tmp_path / "a")))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written == [0]
    assert os.listdir(tmp_path) == []


async def test_a_failed_gather_ends_only_when_its_calls_have() -> None:
    ended = []

    async def call(i: int) -> None:
        if i == 0:
            raise ValueError("the first")
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.01)
            ended.append(i)

    with pytest.raises(ValueError, match="the first"):
        await async_reader.gather(call, range(4), 4)
    assert sorted(ended) == [1, 2, 3]


def test_a_batch_size_of_minus_one_is_no_limit() -> None:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}", batch_size=-1)
    fs.pipe({"a": b"1", "b": b"2"}, batch_size=-1)
    assert fs.cat(["a", "b"], batch_size=-1) == {"a": b"1", "b": b"2"}
    assert fs.cat_ranges(["a", "b"], 0, 1, batch_size=-1) == [b"1", b"2"]
    fs.cp(["a", "b"], ["c", "d"], batch_size=-1)
    fs.rm(["a", "b"], batch_size=-1)
    assert fs.find("") == ["c", "d"]


def test_a_file_like_target_gets_no_second_version_behind_half_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = OpendalFileSystem("fs", root=str(tmp_path), use_listings_cache=True)
    fs.pipe_file("a", b"1" * 20)
    fs.ls("")
    monkeypatch.setattr(async_reader, "_WINDOW", 10)

    class Target(io.BytesIO):
        def write(self, data: Any) -> int:
            (tmp_path / "a").write_bytes(b"2" * 30)
            return super().write(data)

    target = Target()
    with pytest.raises(ChangedError):
        fs.get_file("a", target)
    assert target.getvalue() == b"1" * 10


def test_a_file_like_target_gets_the_new_version_when_it_has_nothing_yet(tmp_path: Path) -> None:
    fs = OpendalFileSystem("fs", root=str(tmp_path), use_listings_cache=True)
    fs.pipe_file("a", b"1" * 20)
    fs.ls("")
    (tmp_path / "a").write_bytes(b"2" * 30)
    target = io.BytesIO()
    fs.get_file("a", target)
    assert target.getvalue() == b"2" * 30


def test_a_download_keeps_the_mode_of_the_file_it_replaces(memory: OpendalFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("a", b"new")
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o600)
    memory.get_file("a", str(target))
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_download_into_a_pipe_goes_through_it(memory: OpendalFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("a", b"new")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        memory.get_file("a", str(pipe))
        assert os.read(reading, 99) == b"new"
    finally:
        os.close(reading)
    assert pipe.is_fifo()


# Listings


def test_listings_are_remembered_for_a_while() -> None:
    root = f"/{uuid4().hex}"
    options = {"root": root, "use_listings_cache": True, "skip_instance_cache": True}
    mine = OpendalFileSystem("memory", listings_expiry_time=0.2, **options)
    mine.pipe_file("d/a", b"1")
    assert mine.ls("d", detail=False) == ["d/a"]
    OpendalFileSystem("memory", root=root, skip_instance_cache=True).pipe_file("d/b", b"2")
    assert mine.ls("d", detail=False) == ["d/a"]
    assert mine.ls("d", detail=False, refresh=True) == ["d/a", "d/b"]
    OpendalFileSystem("memory", root=root, skip_instance_cache=True).pipe_file("d/c", b"3")
    time.sleep(0.3)
    assert mine.ls("d", detail=False) == ["d/a", "d/b", "d/c"]
    with opendalfs.trace() as trace:
        assert mine.ls("d", detail=False) == ["d/a", "d/b", "d/c"]
    assert trace.requests == 0


def unpinned(fs: OpendalFileSystem) -> OpendalFileSystem:
    """Let a disk pass for a remote service without etags or versions."""
    connection, _ = fs.locate("a")
    connection.service = replace(connection.service, home=Home.REMOTE)
    return fs


READS: dict[str, Callable[[OpendalFileSystem], bytes]] = {
    "cat": lambda fs: fs.cat_file("a"),
    "cat_range": lambda fs: fs.cat_file("a", start=1),
    "cat_ranges": lambda fs: fs.cat_ranges(["a"], 0, None)[0],
    "reader": lambda fs: fs.reader("a").read(0, 99),
    "open": lambda fs: fs.open("a").read(),
    "head": lambda fs: fs.head("a", 99),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_listing_does_not_cut_a_newer_file_where_a_read_cannot_be_pinned(
    tmp_path: Path, read: Callable[[OpendalFileSystem], bytes]
) -> None:
    fs = unpinned(OpendalFileSystem("fs", root=str(tmp_path), use_listings_cache=True))
    (tmp_path / "a").write_bytes(b"old")
    fs.ls("")
    (tmp_path / "a").write_bytes(b"a newer file")
    assert read(fs) in (b"a newer file", b" newer file")


async def test_a_listing_does_not_cut_a_newer_file_for_coroutines_either(tmp_path: Path) -> None:
    fs: Any = unpinned(OpendalFileSystem("fs", root=str(tmp_path / "d"), use_listings_cache=True))
    await fs._pipe_file("a", b"old")
    await fs._ls("")
    await asyncio.to_thread((tmp_path / "d" / "a").write_bytes, b"a newer file")
    target = io.BytesIO()
    await fs._get_file("a", target)
    assert target.getvalue() == b"a newer file"
    async with await fs.open_async("a") as file:
        assert await file.read() == b"a newer file"


# Errors


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2"])
@pytest.mark.parametrize("call", ["cat_file", "info", "open", "rm", "mkdir", "reader", "glob"])
def test_no_error_shows_the_password_of_a_url(call: str, password: str) -> None:
    fs = filesystem("webdav", endpoint="http://127.0.0.1:1", retries=0)
    with pytest.raises((ValueError, OSError)) as info:
        getattr(fs, call)(f"opendal+webdav://me:{password}@other:1/a")
    assert "ter2" not in f"{info.value} {info.value!r}"


@pytest.mark.parametrize("call", ["cat_file", "info", "open", "rm", "mv"])
def test_no_error_about_what_a_url_names_shows_its_password(call: str) -> None:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    with pytest.raises((ValueError, OSError)) as info:
        getattr(fs, call)(*["opendal+webdav://me:hunter2@other:1/a"] * (2 if call == "mv" else 1))
    assert "hunter2" not in f"{info.value} {info.value!r}"
