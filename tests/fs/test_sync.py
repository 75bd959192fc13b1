"""Blocking methods accept what fsspec's own accept."""

from __future__ import annotations

import inspect
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from opendalfs import OpendalFileSystem, UnsupportedError


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


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


def test_a_batch_size_of_minus_one_is_no_limit() -> None:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}", batch_size=-1)
    fs.pipe({"a": b"1", "b": b"2"}, batch_size=-1)
    assert fs.cat(["a", "b"], batch_size=-1) == {"a": b"1", "b": b"2"}
    assert fs.cat_ranges(["a", "b"], 0, 1, batch_size=-1) == [b"1", b"2"]
    fs.cp(["a", "b"], ["c", "d"], batch_size=-1)
    fs.rm(["a", "b"], batch_size=-1)
    assert fs.find("") == ["c", "d"]


def test_blocking_methods_are_documented_by_their_coroutines() -> None:
    for name in (
        "info",
        "ls",
        "find",
        "cat_file",
        "pipe_file",
        "get_file",
        "put_file",
        "cp_file",
        "mv",
        "rm",
    ):
        method, coroutine = getattr(OpendalFileSystem, name), getattr(OpendalFileSystem, f"_{name}")
        assert method.__name__ == name
        assert "Raises\n" in method.__doc__
        assert method.__doc__ == coroutine.__doc__
        assert inspect.signature(method) == inspect.signature(coroutine)


def test_few_public_names_are_added_to_those_of_fsspec(memory: OpendalFileSystem) -> None:
    added = {name for name in dir(memory) if not name.startswith("_")} - set(dir(AsyncFileSystem()))
    of_s3fs = {"getxattr", "metadata", "object_version_info", "url", "clear_multipart_uploads"}
    options = {"endpoint", "native", "provider", "service", "tuning"}
    paths = {"check_server", "locate", "locate_for_writing", "reader"}
    caches = {"add_change_listener", "cached_info", "cached_version"}
    own = {"clear_uploads"}
    assert added == own | of_s3fs | options | paths | caches
