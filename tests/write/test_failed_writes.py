"""Writes that fail or are never closed publish nothing."""

from __future__ import annotations

import gc
import os
from array import array
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


@pytest.fixture
def disk(tmp_path: Path) -> OpendalFileSystem:
    """Return a filesystem over an empty local directory."""
    return OpendalFileSystem("fs", root=str(tmp_path))


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
    with pytest.raises(OSError, match=r"a write has failed\. Write the file again") as info:
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
