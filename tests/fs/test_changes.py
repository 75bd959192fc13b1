"""Moves and copies that fail, or whose target is their source, lose nothing."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from uuid import uuid4

import pytest

from opendalfs import OpendalFileSystem


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


@pytest.fixture
def disk(tmp_path: Path) -> OpendalFileSystem:
    """Return a filesystem over an empty local directory."""
    return OpendalFileSystem("fs", root=str(tmp_path))


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


def test_a_move_of_a_missing_file_onto_itself_raises(memory: OpendalFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        memory.mv(["missing"], ["missing"])


def test_a_move_takes_what_does_not_stay(memory: OpendalFileSystem) -> None:
    memory.pipe({"a/x": b"1", "b/y": b"2"})
    memory.mv(["a/x", "b/y"], ["a/x", "a/y"])
    assert memory.find("") == ["a/x", "a/y"]


@pytest.mark.parametrize("targets", ["c/", ["c/x", "c/x"], ["b/x", "c/x"], ["c/x", "a/x"]])
def test_a_move_that_would_lose_a_file_changes_nothing(memory: OpendalFileSystem, targets: object) -> None:
    memory.pipe({"a/x": b"1", "b/x": b"2"})
    with pytest.raises(OSError, match="target of another move"):
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
