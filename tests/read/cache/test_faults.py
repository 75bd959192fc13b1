"""Whatever happens to the files of the cache, a read returns what a read without it returns."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import pytest

import opendalfs
from opendalfs.read.cache import background, block_cache, space
from opendalfs.testing import Response, S3Server, ScriptedServer

from .conftest import MakeFileSystem

DATA = random.Random(3).randbytes(1_300_000)


@pytest.fixture(autouse=True)
def resume() -> Iterator[None]:
    """End the pause that a failed write of a test has begun."""
    yield
    background.flush()
    background._background._resume_at = 0.0


def blocks(folder: Path) -> list[Path]:
    """Return the files of the blocks, once all are written."""
    assert background.flush()
    return sorted(path for path in (folder / "opendalfs-1" / "blocks").rglob("*") if path.is_file())


def reads(fs: Any, name: str = "a") -> tuple[int, int]:
    """Read a file in several ways, compare it, and return the number of GETs and of hits."""
    background.flush()
    with opendalfs.trace() as trace:
        assert fs.cat_file(name) == DATA
        assert fs.cat_ranges([name] * 2, [0, 900_000], [1_000, 1_100_000]) == [
            DATA[:1_000],
            DATA[900_000:1_100_000],
        ]
        with fs.open(name) as file:
            file.seek(600_000)
            assert file.read(70_000) == DATA[600_000:670_000]
    return trace.count("read"), trace.cache_hits


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(len(data)).randrange(len(data))] ^= 0x40
    path.write_bytes(data)


def flip_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero_the_last_page(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-4096] + bytes(4096))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def exchange_for_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def exchange_for_a_link(path: Path) -> None:
    copy = path.parent.parent / "copy"
    path.rename(copy)
    path.symlink_to(copy)


def remove(path: Path) -> None:
    path.unlink()


DAMAGES: list[Callable[[Path], None]] = [
    flip,
    flip_header,
    truncate,
    zero_the_last_page,
    empty,
    exchange_for_a_directory,
    exchange_for_a_link,
    remove,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_read_from_storage(
    damage: Callable[[Path], None], connect: MakeFileSystem, folder: Path
) -> None:
    fs = connect()
    fs.pipe_file("a", DATA)
    reads(fs)
    assert reads(connect())[0] == 0
    for path in blocks(folder):
        damage(path)
    assert reads(connect())[0] >= 1
    background.flush()
    if damage is not exchange_for_a_directory:
        assert reads(connect())[0] == 0


def test_the_file_of_another_object_or_range_is_not_used(connect: MakeFileSystem, folder: Path) -> None:
    fs = connect()
    other = DATA[::-1]
    fs.pipe({"a": DATA, "b": other})
    fs.cat(["a", "b"])
    first, second = blocks(folder)
    assert first.name == second.name
    temporary = first.with_name("x")
    first.rename(temporary)
    second.rename(first)
    temporary.rename(second)
    assert connect().cat(["a", "b"]) == {"a": DATA, "b": other}
    background.flush()
    (first, _) = blocks(folder)
    start, _, stop = first.name.partition("-")
    first.rename(first.with_name(f"{int(start) + 1}-{int(stop) + 1}"))
    assert connect().cat_file("a", start=1) == DATA[1:]


def test_a_new_version_is_read_from_storage(
    connect: MakeFileSystem, folder: Path, s3_server: S3Server, bucket: str
) -> None:
    fs = connect()
    fs.pipe_file("a", DATA[::-1])
    fs.cat_file("a")
    background.flush()
    s3_server.client.put_object(Bucket=bucket, Key="a", Body=DATA)
    reads(connect())
    assert reads(connect())[0] == 0


def test_a_folder_that_disappears_is_made_again(connect: MakeFileSystem, folder: Path) -> None:
    fs = connect()
    fs.pipe_file("a", DATA)
    reads(fs)
    background.flush()
    shutil.rmtree(folder)
    assert reads(fs)[0] >= 1
    background.flush()
    assert reads(fs)[0] == 0
    assert stat.S_IMODE((folder / "opendalfs-1").stat().st_mode) == 0o700


def fail(code: int) -> Callable[..., Any]:
    def raises(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return raises


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_keeps_nothing_and_reads_go_on(
    code: int, connect: MakeFileSystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = connect()
    fs.pipe_file("a", DATA)
    monkeypatch.setattr(os, "rename", fail(code))
    reads(fs)
    assert blocks(folder) == []
    assert list((folder / "opendalfs-1" / "tmp").iterdir()) == []


def test_a_disk_without_locks_is_read_and_not_written(
    connect: MakeFileSystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = connect()
    fs.pipe({"a": DATA, "b": DATA})
    reads(fs)
    before = blocks(folder)
    monkeypatch.setattr(space.fcntl, "flock", fail(errno.ENOLCK))
    assert reads(connect())[0] == 0
    assert reads(connect(), "b")[0] >= 1
    assert blocks(folder) == before


def test_a_read_only_folder_is_read(
    connect: MakeFileSystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = connect()
    fs.pipe({"a": DATA, "b": DATA})
    reads(fs)
    before = blocks(folder)
    opened = os.open

    def open_to_read(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(folder)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_to_read)
    monkeypatch.setattr(block_cache, "_caches", {})
    monkeypatch.setattr(block_cache, "_by_connection", WeakKeyDictionary())
    assert reads(connect())[0] == 0
    assert reads(connect(), "b")[0] >= 1
    assert blocks(folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_the_folder_of_another_user_is_not_used(
    connect: MakeFileSystem, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    fs = connect()
    fs.pipe_file("a", DATA)
    with caplog.at_level(logging.WARNING, logger="opendalfs"):
        assert reads(fs)[1] == 0
        assert reads(connect())[1] == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"cache_dir is not used: cache_dir belongs to another user: {folder}: choose a directory of your own"
    ]
    with pytest.raises(OSError, match="belongs to another user"):
        opendalfs.cache_info(folder)


def test_a_folder_that_others_may_write_is_not_used(connect: MakeFileSystem, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    fs = connect()
    fs.pipe_file("a", DATA)
    assert reads(fs)[1] == 0
    assert list((folder / "opendalfs-1" / "blocks").rglob("*")) == []


def test_a_folder_that_cannot_be_made_is_not_used(connect: MakeFileSystem, folder: Path) -> None:
    folder.write_bytes(b"a file")
    fs = connect()
    fs.pipe_file("a", DATA)
    assert reads(fs)[1] == 0


def test_files_are_private_and_do_not_show_what_they_hold(connect: MakeFileSystem, folder: Path) -> None:
    umask = os.umask(0)
    try:
        fs = connect(cache_ttl=60)
        name = f"customer-{uuid4().hex}"
        fs.pipe_file(name, DATA)
        fs.cat_file(name)
        assert blocks(folder)
    finally:
        os.umask(umask)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        assert name not in str(path)
        if path.is_file() and "blocks" not in path.parts:
            assert name.encode() not in path.read_bytes()


def test_other_credentials_do_not_find_what_was_cached(connect: MakeFileSystem) -> None:
    fs = connect(cache_ttl=None)
    fs.pipe_file("a", DATA)
    reads(fs)
    background.flush()
    assert connect(cache_ttl=None).cat_file("a") == DATA
    with opendalfs.trace() as trace, pytest.raises(PermissionError):
        connect(cache_ttl=None, secret="another secret").cat_file("a")
    assert trace.cache_hits == 0


@pytest.mark.parametrize("status", [403, 405])
def test_a_server_that_refuses_stats_is_read_as_without_a_cache(folder: Path, status: int) -> None:
    def respond(request: Any) -> Response:
        headers = {"ETag": '"a"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        return Response(200, headers, b"data") if request.method == "GET" else Response(status)

    with ScriptedServer(respond) as server:
        fs = opendalfs.OpendalFileSystem("http", endpoint=server.endpoint, cache_dir=str(folder))
        assert fs.cat_file("a") == b"data"
        assert fs.cat_file("a", 0, 4) == b"data"
        assert fs.cat_ranges(["a"], 0, 4) == [b"data"]


def test_without_threads_nothing_is_kept_and_reads_go_on(
    connect: MakeFileSystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = connect()
    fs.pipe_file("a", DATA)
    reads(fs)
    assert background.flush()
    opendalfs.clear_cache(folder)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "opendalfs-cache":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(background, "_background", background._Background())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert connect().cat_file("a") == DATA
    assert background.BUDGET.held == 0
    monkeypatch.undo()
