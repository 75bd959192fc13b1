"""Writes to a local disk: modes, names, and creation without hard links."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opendalfs import OpendalFileSystem


@pytest.fixture
def disk(tmp_path: Path) -> OpendalFileSystem:
    """Return a filesystem over an empty local directory."""
    return OpendalFileSystem("fs", root=str(tmp_path))


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


@pytest.mark.parametrize(
    "change", [Path.touch, lambda path: path.unlink(missing_ok=True)], ids=["new", "gone"]
)
@pytest.mark.parametrize("before", [True, False])
def test_a_file_that_another_process_creates_or_removes_meanwhile_is_no_denied_one(
    disk: OpendalFileSystem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    before: bool,
) -> None:
    (tmp_path / "a").touch()
    access = os.access

    def changed(path: str, mode: int) -> bool:
        if before:
            change(Path(path))
        allowed = access(path, mode)
        change(Path(path))
        return allowed

    monkeypatch.setattr(os, "access", changed)
    disk.pipe_file("a", b"new")
    assert disk.cat_file("a") == b"new"
    disk.pipe_file("b", b"new")
    assert disk.cat_file("b") == b"new"


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
