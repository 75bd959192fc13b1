"""Staged files of local disks: hidden from listings, and removed when their writer was killed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs as pafs
import pytest

import opendalfs
from opendalfs.storage import staged_files
from opendalfs.storage.staged_files import is_staged_name, stage_file

LARGE = 9 << 20
"""More than one part, so that the staged file is there before the close."""

LOOKALIKES = [
    ".a.csv.0123456789ab.part",
    ".a.csv.0123456789abcdef0123.part",
    "a.csv.part",
    ".hidden.part",
    ".part",
]

WRITER = """
import sys, fsspec, opendalfs
fs = opendalfs.filesystem("fs")
if sys.argv[2] == "get":
    source = opendalfs.filesystem("memory")
    source.pipe_file("d/a", bytes(100))
    def stop(self, size):
        print("ready", flush=True)
        sys.stdin.read()
    callback = fsspec.callbacks.NoOpCallback()
    callback.relative_update = lambda size=1: stop(None, size)
    source.get_file("d/a", sys.argv[1], callback=callback)
else:
    file = fs.open(sys.argv[1], "wb")
    file.write(bytes(9 << 20))
    print("ready", flush=True)
    sys.stdin.read()
    file.close()
"""


@contextmanager
def other_writer(path: Path, how: str = "open") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has begun to write a file, and waits for the end of its input to publish it."""
    command = [sys.executable, "-c", WRITER, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def fs() -> Any:
    return opendalfs.filesystem("fs")


def staged_in(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if is_staged_name(name)]


def test_an_unfinished_write_is_in_no_listing(fs: Any, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    fs.pipe_file(f"{folder}/b.csv", b"b")
    rooted = opendalfs.OpendalFileSystem("fs", root=str(folder))
    with fs.open(f"{folder}/a.csv", "wb") as file:
        file.write(bytes(LARGE))
        assert len(staged_in(folder)) == 1
        shown = [f"{folder}/b.csv"]
        assert fs.ls(folder, detail=False, refresh=True) == shown
        assert fs.find(folder) == fs.find(folder, maxdepth=1) == fs.glob(f"{folder}/*") == shown
        assert fs.glob(f"{folder}/.*") == []
        assert fs.find(tmp_path) == shown
        assert list(fs.walk(folder)) == [(str(folder), [], ["b.csv"])]
        assert fs.du(folder) == 1
        assert rooted.find("") == ["b.csv"]
        selected = opendalfs.arrow("fs").get_file_info(pafs.FileSelector(str(folder), recursive=True))
        assert [info.path for info in selected] == shown
        fs.get(f"{folder}/", f"{tmp_path}/got/", recursive=True)
        fs.copy(f"{folder}/", f"{tmp_path}/copied/", recursive=True)
        assert os.listdir(tmp_path / "got") == os.listdir(tmp_path / "copied") == ["b.csv"]
    assert sorted(os.listdir(folder)) == ["a.csv", "b.csv"]


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_file_that_only_looks_similar_is_listed(fs: Any, tmp_path: Path, name: str) -> None:
    fs.pipe_file(f"{tmp_path}/{name}", b"x")
    assert fs.ls(tmp_path, detail=False) == fs.find(tmp_path) == [f"{tmp_path}/{name}"]


def test_object_stores_list_every_name(tmp_path: Path) -> None:
    staged = stage_file(f"{tmp_path}/a.csv")
    memory = opendalfs.filesystem("memory")
    memory.pipe_file(f"staged-names/{staged.name}", b"x")
    staged.remove()
    assert memory.ls("staged-names", detail=False) == [f"staged-names/{staged.name}"]


@pytest.mark.parametrize("how", ["open", "get"])
def test_the_next_write_of_a_file_removes_what_a_killed_writer_left(
    fs: Any, tmp_path: Path, how: str
) -> None:
    target = tmp_path / "a.csv"
    with other_writer(target, how) as process:
        kill(process)
    assert len(staged_in(tmp_path)) == 1
    assert fs.find(tmp_path) == []
    fs.pipe_file(str(target), b"new")
    assert os.listdir(tmp_path) == ["a.csv"]
    assert target.read_bytes() == b"new"


def leave_behind(target: Path) -> None:
    """Leave what a writer that was killed leaves."""
    staged = stage_file(str(target))
    staged.remove()
    Path(staged.path).write_bytes(b"half")


@pytest.mark.parametrize("write", ["open", "open_async", "pipe_file", "put_file", "get_file", "copy"])
async def test_every_kind_of_write_removes_leftover_files(tmp_path: Path, write: str) -> None:
    fs: Any = opendalfs.FsFileSystem(asynchronous=True)
    target, source = tmp_path / "d" / "a.csv", tmp_path / "source"
    source.write_bytes(b"new")
    target.parent.mkdir()
    leave_behind(target)
    if write == "open":
        with opendalfs.FsFileSystem().open(str(target), "wb") as file:
            file.write(b"new")
    elif write == "open_async":
        async with await fs.open_async(str(target), "wb") as file:
            await file.write(b"new")
    elif write == "pipe_file":
        await fs._pipe_file(str(target), b"new")
    else:
        await getattr(fs, f"_{write}")(str(source), str(target))
    assert os.listdir(target.parent) == ["a.csv"]
    assert target.read_bytes() == b"new"


def test_the_staged_file_of_a_live_writer_stays(fs: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with other_writer(target) as alive, other_writer(target) as killed:
        assert len(staged_in(tmp_path)) == 2
        kill(killed)
        fs.pipe_file(str(target), b"first")
        assert len(staged_in(tmp_path)) == 1
        assert target.read_bytes() == b"first"
        assert alive.stdin is not None
        alive.stdin.close()
        assert alive.wait() == 0
    assert target.read_bytes() == bytes(LARGE)
    assert os.listdir(tmp_path) == ["a.csv"]


def test_writers_of_one_file_do_not_share_a_staged_file(fs: Any, tmp_path: Path) -> None:
    target = f"{tmp_path}/a"
    barrier = threading.Barrier(8)

    def write(i: int) -> None:
        barrier.wait()
        for _ in range(10):
            fs.pipe_file(target, bytes([i]) * 1000)
            with fs.open(target, "wb") as file:
                file.write(bytes([i]) * 1000)
            found = Path(target).read_bytes()
            assert len(found) == 1000
            assert len(set(found)) == 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert os.listdir(tmp_path) == ["a"]


def test_names_that_begin_alike_have_staged_files_of_their_own(fs: Any, tmp_path: Path) -> None:
    names = ["x" * 60 + end for end in "ab"]
    files = [fs.open(f"{tmp_path}/{name}", "wb") for name in names]
    for file, content in zip(files, b"ab", strict=True):
        file.write(bytes([content]) * LARGE)
    assert len(staged_in(tmp_path)) == 2
    for file in files:
        file.close()
    assert sorted(os.listdir(tmp_path)) == names
    assert (tmp_path / names[0]).read_bytes()[:1] == b"a"


def test_a_staged_file_that_another_program_replaced_is_not_published(fs: Any, tmp_path: Path) -> None:
    file = fs.open(f"{tmp_path}/a", "wb")
    file.write(bytes(LARGE))
    (staged,) = staged_in(tmp_path)
    os.unlink(tmp_path / staged)
    (tmp_path / staged).write_bytes(b"foreign")
    with pytest.raises(OSError, match="another program removed or replaced the staged file"):
        file.close()
    assert os.listdir(tmp_path) == [staged]
    assert (tmp_path / staged).read_bytes() == b"foreign"


def test_a_link_or_pipe_of_that_name_is_left_alone(fs: Any, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep")
    names = []
    for make in (lambda path: os.symlink(victim, path), os.mkfifo):
        staged = stage_file(f"{tmp_path}/a")
        names.append(staged.name)
        staged.remove()
        make(tmp_path / names[-1])
    fs.pipe_file(f"{tmp_path}/a", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([*set(names), "a", "victim"])
    assert victim.read_bytes() == b"keep"


def test_without_locks_nothing_is_removed(fs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_behind(tmp_path / "a")
    left = staged_in(tmp_path)
    monkeypatch.setattr(staged_files, "fcntl", None)
    fs.pipe_file(f"{tmp_path}/a", b"new")
    with fs.open(f"{tmp_path}/b", "wb") as file:
        file.write(bytes(LARGE))
    assert sorted(os.listdir(tmp_path)) == sorted([*left, "a", "b"])
    assert fs.find(tmp_path) == [f"{tmp_path}/a", f"{tmp_path}/b"]


def smb_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked file cannot be written with another descriptor: see flock(2), "CIFS details"."""

    class Locked(io.FileIO):
        def write(self, data: Any) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(staged_files, "open", lambda path, *_, **__: Locked(path, "r+"), raising=False)


def changing_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells whether a path still leads to an open file, as on some FUSE disks."""
    monkeypatch.setattr(staged_files, "_is_same_file", lambda *_: False)


@pytest.mark.parametrize("disk", [smb_locks, changing_inodes])
def test_locks_that_hinder_a_writer_are_not_used(
    fs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[[pytest.MonkeyPatch], None]
) -> None:
    leave_behind(tmp_path / "a")
    left = staged_in(tmp_path)
    monkeypatch.setattr(staged_files, "_usable", {})
    disk(monkeypatch)
    with fs.open(f"{tmp_path}/a", "wb") as file:
        file.write(bytes(LARGE))
        (staged,) = set(staged_in(tmp_path)) - set(left)
        with open(tmp_path / staged, "rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (tmp_path / "a").stat().st_size == LARGE
    assert staged_in(tmp_path) == left
    fs.rm(f"{tmp_path}/a")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(tmp_path)
    assert staged_in(tmp_path) == left


def test_a_write_ends_when_a_file_has_taken_the_place_of_its_directory(fs: Any, tmp_path: Path) -> None:
    kept, dropped = (fs.open(f"{tmp_path}/d/{name}", "wb") for name in "ab")
    for file in (kept, dropped):
        file.write(bytes(LARGE))
    shutil.rmtree(tmp_path / "d")
    (tmp_path / "d").write_bytes(b"")
    dropped.discard()
    with pytest.raises(OSError, match="another program removed or replaced the staged file") as info:
        kept.close()
    assert info.value.filename == f"{tmp_path}/d/a"


def test_a_directory_with_leftovers_is_removed(fs: Any, tmp_path: Path) -> None:
    for i, remove in enumerate((fs.rmdir, lambda path: fs.rm(path, recursive=True))):
        folder = tmp_path / str(i)
        folder.mkdir()
        leave_behind(folder / "a")
        remove(str(folder))
        assert not folder.exists()


def test_a_directory_that_a_writer_is_at_work_in_is_not_empty(fs: Any, tmp_path: Path) -> None:
    with fs.open(f"{tmp_path}/d/a", "wb") as file:
        file.write(bytes(LARGE))
        with pytest.raises(OSError, match="not empty"):
            fs.rmdir(f"{tmp_path}/d")
        assert len(staged_in(tmp_path / "d")) == 1


def test_a_lost_write_leaves_nothing(fs: Any, tmp_path: Path) -> None:
    file = fs.open(f"{tmp_path}/a", "wb")
    file.write(bytes(LARGE))
    assert len(staged_in(tmp_path)) == 1
    held = [file]
    del file
    with pytest.warns(ResourceWarning, match="never closed"):
        held.clear()
    assert os.listdir(tmp_path) == []


def test_opendal_s_own_atomic_writes_go_on(tmp_path: Path) -> None:
    (tmp_path / "atomic").mkdir()
    fs = fsspec.filesystem("opendal+fs", atomic_write_dir=str(tmp_path / "atomic"))
    fs.pipe_file(f"{tmp_path}/d/a", b"x")
    with fs.open(f"{tmp_path}/d/b", "wb") as file:
        file.write(bytes(LARGE))
    assert sorted(os.listdir(tmp_path / "d")) == ["a", "b"]
    assert os.listdir(tmp_path / "atomic") == []
