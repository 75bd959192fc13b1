"""What reviews have found: each test states a behaviour that was once missing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from opendalfs import OpendalFileSystem


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Give a memory of its own."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


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


# Writing


async def test_an_asynchronous_file_is_not_published_after_a_failed_write(memory: OpendalFileSystem) -> None:
    file: Any = await memory.open_async("new", "wb")
    await file.write(b"half")
    with pytest.raises(TypeError):
        await file.write("no bytes")
    with pytest.raises(OSError, match="a write had failed") as info:
        await file.close()
    assert info.value.filename == "new"
    assert file.closed
    assert not memory.exists("new")
