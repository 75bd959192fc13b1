"""Both transports of a connection do the same: every verb that has a blocking and an asynchronous form."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.storage.connection import Connection
from opendalfs.testing import S3Server

Place = tuple[Connection, Path | None]

VERBS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "stat of a file": ("stat", ("file",)),
    "stat of a link": ("stat", ("link",)),
    "stat of a directory": ("stat", ("directory/",)),
    "stat of nothing": ("stat", ("nothing",)),
    "read": ("read", ("file", 2, 3)),
    "read of a whole file": ("read", ("file", 0, None)),
    "read of a link": ("read", ("link", 0, None)),
    "read past the end": ("read", ("file", 4, 30)),
    "read of nothing": ("read", ("nothing", 0, 1)),
    "write": ("write", ("new", b"new")),
    "write over a file": ("write", ("file", b"new")),
    "write over a link": ("write", ("link", b"new")),
    "delete of a file": ("delete", ("file",)),
    "delete of a link": ("delete", ("link",)),
    "delete of a link to a directory": ("delete", ("folder",)),
    "delete of a broken link": ("delete", ("broken",)),
    "delete of nothing": ("delete", ("nothing",)),
    "rename of a file": ("rename", ("file", "moved/file")),
    "rename of a link": ("rename", ("link", "moved/link")),
    "rename of a link to a directory": ("rename", ("folder", "moved")),
    "rename of a broken link": ("rename", ("broken", "moved")),
    "rename of nothing": ("rename", ("nothing", "moved")),
    "publish": ("publish", ("file", "directory/entry")),
    "publish in a free place": ("publish", ("file", "moved", True)),
    "publish in a place that is taken": ("publish", ("file", "directory/entry", True)),
}


def fill(root: Path) -> None:
    root.mkdir()
    (root / "file").write_bytes(b"0123456789")
    (root / "directory").mkdir()
    (root / "directory" / "entry").write_bytes(b"entry")
    (root / "link").symlink_to("file")
    (root / "folder").symlink_to("directory")
    (root / "broken").symlink_to("missing")


def contents(root: Path) -> dict[str, str | bytes | None]:
    found: dict[str, str | bytes | None] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def outcome(call: Callable[[], Any]) -> Any:
    try:
        found = call()
    except OSError as exc:
        return type(exc), exc.errno, exc.filename, str(exc)
    if hasattr(found, "content_length"):
        return found.content_length, found.is_dir, found.is_file
    return found


def run_blocking(connection: Connection, verb: str, arguments: tuple[Any, ...]) -> Any:
    return outcome(lambda: getattr(connection, f"{verb}_blocking")(*arguments))


def run_async(connection: Connection, verb: str, arguments: tuple[Any, ...]) -> Any:
    async def call() -> Any:
        return await getattr(connection, verb)(*arguments)

    return outcome(lambda: asyncio.run(call()))


def test_every_verb_that_blocks_is_in_the_table() -> None:
    names = [name for name in dir(Connection) if name.endswith("_blocking") and name[0] != "_"]
    blocking = {name.removesuffix("_blocking") for name in names}
    assert blocking == {verb for verb, _ in VERBS.values()}


@pytest.mark.skipif(os.name != "posix", reason="makes symbolic links")
@pytest.mark.parametrize(("verb", "arguments"), VERBS.values(), ids=VERBS)
def test_both_transports_do_the_same_on_a_disk(verb: str, arguments: tuple[Any, ...], tmp_path: Path) -> None:
    found = []
    for run in (run_async, run_blocking):
        root = tmp_path / run.__name__
        fill(root)
        connection, _ = opendalfs.OpendalFileSystem("fs", root=str(root)).locate("")
        found.append((run(connection, verb, arguments), contents(root)))
    assert found[0] == found[1]


def test_both_transports_do_the_same_on_s3(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    names = [
        n for n, (verb, _) in VERBS.items() if verb in ("stat", "read", "write", "delete") and "link" not in n
    ]
    for name in names:
        verb, (key, *rest) = VERBS[name][0], VERBS[name][1]
        found = []
        for run in (run_async, run_blocking):
            fs.pipe({f"{prefix}/file": b"0123456789", f"{prefix}/directory/entry": b"entry"})
            connection, start = fs.locate(prefix)
            result = run(connection, verb, (f"{start}/{key}", *rest))
            found.append((result, fs.cat(fs.find(prefix, refresh=True))))
            fs.rm(prefix, recursive=True)
        assert found[0] == found[1], name
