"""Downloads to files, pipes and file-like objects."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from opendalfs import BytesCallback, ChangedError, OpendalFileSystem
from opendalfs.read import download


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


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

    monkeypatch.setattr(download, "_write_all", pwrite)
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


def test_a_file_like_target_gets_no_second_version_behind_half_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = OpendalFileSystem("fs", root=str(tmp_path), use_listings_cache=True)
    fs.pipe_file("a", b"1" * 20)
    fs.ls("")
    monkeypatch.setattr(download, "_WINDOW", 10)

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


def test_a_pipe_gets_no_second_version_behind_half_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = OpendalFileSystem("fs", root=str(tmp_path / "root"), use_listings_cache=True)
    fs.pipe_file("a", b"1" * 20)
    fs.ls("")
    monkeypatch.setattr(download, "_WINDOW", 10)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    change = BytesCallback(lambda size: (tmp_path / "root/a").write_bytes(b"2" * 30))
    try:
        with pytest.raises(ChangedError):
            fs.get_file("a", str(pipe), callback=change)
        assert os.read(reading, 99) == b"1" * 10
    finally:
        os.close(reading)
