"""Changes and reads follow the storage, also where a cached listing shows what another client has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from opendalfs import OpendalFileSystem

Change = Callable[[OpendalFileSystem], object]

CASES: dict[str, tuple[Change, Change, Change, dict[str, bytes]]] = {
    # Before, by the other client, by the client with the cached listings, and what is there then.
    "mv to a directory that is gone": (
        lambda fs: fs.pipe({"a": b"a", "d/x": b"x"}),
        lambda fs: fs.rm("d", recursive=True),
        lambda fs: fs.mv("a", "d"),
        {"d": b"a"},
    ),
    "cp to a directory that is gone": (
        lambda fs: fs.pipe({"a": b"a", "d/x": b"x"}),
        lambda fs: fs.rm("d", recursive=True),
        lambda fs: fs.cp("a", "d"),
        {"a": b"a", "d": b"a"},
    ),
    "makedirs of a directory that is gone": (
        lambda fs: fs.mkdir("d"),
        lambda fs: fs.rmdir("d"),
        lambda fs: (fs.makedirs("d", exist_ok=True), fs.rmdir("d")),
        {},
    ),
    "rm of a directory that is a file": (
        lambda fs: fs.pipe({"d/x": b"x", "e": b"e"}),
        lambda fs: (fs.rm("d", recursive=True), fs.pipe("d", b"file")),
        lambda fs: fs.rm("d", recursive=True),
        {"e": b"e"},
    ),
    "rm_file of a directory that is a file": (
        lambda fs: fs.pipe({"d/x": b"x", "e": b"e"}),
        lambda fs: (fs.rm("d", recursive=True), fs.pipe("d", b"file")),
        lambda fs: fs.rm_file("d"),
        {"e": b"e"},
    ),
    "rm of a file that is a directory": (
        lambda fs: fs.pipe({"d": b"file", "e": b"e"}),
        lambda fs: (fs.rm("d"), fs.pipe("d/x", b"x")),
        lambda fs: fs.rm("d", recursive=True),
        {"e": b"e"},
    ),
    "touch of a file that is gone": (
        lambda fs: fs.pipe({"a": b"a"}),
        lambda fs: fs.rm("a"),
        lambda fs: fs.touch("a", truncate=False),
        {"a": b""},
    ),
}


@pytest.fixture
def clients() -> tuple[OpendalFileSystem, OpendalFileSystem]:
    """Return a client with cached listings, and another one of the same files."""
    options = {"root": f"/{uuid4().hex}", "skip_instance_cache": True}
    return (
        OpendalFileSystem("memory", use_listings_cache=True, **options),
        OpendalFileSystem("memory", use_listings_cache=False, **options),
    )


@pytest.mark.parametrize("case", CASES)
def test_changes_act_on_what_the_storage_has(
    clients: tuple[OpendalFileSystem, OpendalFileSystem], case: str
) -> None:
    mine, other = clients
    before, behind, change, expected = CASES[case]
    before(other)
    mine.find("")
    behind(other)
    change(mine)
    assert other.cat(other.find("") or ["none"], on_error="omit") == expected


def test_find_of_a_file_follows_the_storage(clients: tuple[OpendalFileSystem, OpendalFileSystem]) -> None:
    mine, other = clients
    other.pipe({"a": b"1", "b": b"2"})
    mine.find("")
    other.rm("a")
    other.pipe("b", b"longer")
    assert mine.find("a") == []
    assert mine.du("b") == 6


def test_a_directory_that_has_become_a_file_is_read(
    clients: tuple[OpendalFileSystem, OpendalFileSystem], tmp_path: Path
) -> None:
    mine, other = clients
    other.pipe({"d/x": b"x", "e": b"e"})
    mine.find("")
    other.rm("d", recursive=True)
    other.pipe("d", b"file")
    with mine.open("d", "rb") as file:
        assert file.read() == b"file"
    mine.find("e")
    mine.get("d", str(tmp_path / "d"))
    assert (tmp_path / "d").read_bytes() == b"file"
