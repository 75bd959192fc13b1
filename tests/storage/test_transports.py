"""Both transports of a connection return and raise the same, for every verb of the storage seam."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opendal.types import Entry, Metadata, PresignedRequest

import opendalfs
from opendalfs.runtime import tasks
from opendalfs.storage.connection import Connection
from opendalfs.storage.listing_calls import ListingCalls
from opendalfs.testing import S3Server

CALLS: dict[str, tuple[Any, ...]] = {
    "stat of a file": ("stat", ("file",)),
    "stat of a link": ("stat", ("link",)),
    "stat of a directory": ("stat", ("directory/",)),
    "stat of nothing": ("stat", ("nothing",)),
    "read": ("read", ("file", 2, 3)),
    "read of a whole file": ("read", ("file", 0, None)),
    "read of a link": ("read", ("link", 0, None)),
    "read past the end": ("read", ("file", 4, 30)),
    "read of nothing": ("read", ("nothing", 0, 1)),
    "read of a directory": ("read", ("directory/", 0, 1)),
    "stream": ("stream", ("file",)),
    "stream of nothing": ("stream", ("nothing",)),
    "write": ("write", ("new", b"new")),
    "write of nothing": ("write", ("empty", b"")),
    "write over a file": ("write", ("file", b"new")),
    "write over a link": ("write", ("link", b"new")),
    "write to a directory": ("write", ("directory/", b"new")),
    "upload": ("upload", ("directory/new",)),
    "upload over a file": ("upload", ("file",)),
    "list": ("list", ("",)),
    "list of a tree": ("list", ("",), {"recursive": True}),
    "list of too many": ("list", ("", 1)),
    "list of nothing": ("list", ("nothing/",)),
    "pages": ("pages", ("directory/",)),
    "page": ("page", ("directory/",)),
    "page of nothing": ("page", ("nothing/",)),
    "holds_any of a directory": ("holds_any", ("directory/",)),
    "holds_any of nothing": ("holds_any", ("nothing/",)),
    "create_dir": ("create_dir", ("made/below/",)),
    "create_dir of one that exists": ("create_dir", ("directory/",)),
    "create_dir over a file": ("create_dir", ("file/",)),
    "copy": ("copy", ("file", "copied/file")),
    "copy over a file": ("copy", ("file", "directory/entry")),
    "copy of nothing": ("copy", ("nothing", "copied")),
    "delete of a file": ("delete", ("file",)),
    "delete of a link": ("delete", ("link",)),
    "delete of a link to a directory": ("delete", ("folder",)),
    "delete of a broken link": ("delete", ("broken",)),
    "delete of nothing": ("delete", ("nothing",)),
    "remove_all": ("remove_all", ("directory/",)),
    "remove_all of nothing": ("remove_all", ("nothing/",)),
    "remove_all without a slash": ("remove_all", ("directory",)),
    "rename of a file": ("rename", ("file", "moved/file")),
    "rename of a link": ("rename", ("link", "moved/link")),
    "rename of a link to a directory": ("rename", ("folder", "moved")),
    "rename of a broken link": ("rename", ("broken", "moved")),
    "rename of nothing": ("rename", ("nothing", "moved")),
    "publish": ("publish", ("file", "directory/entry")),
    "publish under a free name": ("publish", ("file", "moved", True)),
    "publish under a name that is taken": ("publish", ("file", "directory/entry", True)),
    "presign": ("presign", ("file", "presign_read", 60)),
}
"""The verb and the arguments of each call; keys come first."""

NO_CALLS = {"local_path", "is_link"}
"""Public methods that make no call to OpenDAL."""

LOCAL = {"publish"}
"""Verbs for local disks only."""

TWO_KEYS = {"copy", "rename", "publish"}


def test_every_verb_of_the_seam_is_in_the_table() -> None:
    members = {**vars(ListingCalls), **vars(Connection)}
    methods = {n for n, value in members.items() if n[0] != "_" and inspect.isfunction(value)}
    verbs = {name.removesuffix("_blocking").removesuffix("_async") for name in methods - NO_CALLS}
    assert verbs == {call[0] for call in CALLS.values()}


async def consume(connection: Connection, verb: str, arguments: tuple[Any, ...], options: Any) -> Any:
    """Make a call as a coroutine, and read to its end what it yields."""
    if verb == "upload":
        upload = await connection.upload_async(*arguments)
        await upload.write(b"part")
        return await upload.complete()
    found = getattr(connection, verb)(*arguments, **options)
    return await found if inspect.isawaitable(found) else [piece async for piece in found]


def call_async(connection: Connection, verb: str, arguments: tuple[Any, ...], options: Any) -> Any:
    return asyncio.run(consume(connection, verb, arguments, options))


def call_blocking(connection: Connection, verb: str, arguments: tuple[Any, ...], options: Any) -> Any:
    if verb == "upload":
        upload = connection.upload(*arguments)
        upload.write(b"part")
        return upload.complete()
    blocking = getattr(connection, f"{verb}_blocking", None)
    if blocking is not None:
        return blocking(*arguments, **options)
    return tasks.run(consume, connection, verb, arguments, options)


def plain(found: Any) -> Any:
    """Return a result as values that can be compared."""
    if isinstance(found, list):
        pieces = [plain(piece) for piece in found]
        return sorted(pieces) if found and isinstance(found[0], Entry) else pieces
    if isinstance(found, Entry):
        return found.path, *plain(found.metadata)
    if isinstance(found, Metadata):
        return found.content_length, found.is_dir, found.is_file
    if isinstance(found, PresignedRequest):
        return found.method, found.url.partition("?")[0]
    return found


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return plain(call())
    except (OSError, ValueError, RuntimeError) as exc:
        return type(exc), getattr(exc, "errno", None), getattr(exc, "filename", None), str(exc)


TRANSPORTS = (call_async, call_blocking)


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


@pytest.mark.skipif(os.name != "posix", reason="makes symbolic links")
@pytest.mark.parametrize("name", CALLS)
def test_both_transports_do_the_same_on_a_disk(name: str, tmp_path: Path) -> None:
    verb, arguments, *options = CALLS[name]
    found = []
    for number, call in enumerate(TRANSPORTS):
        parent = tmp_path / str(number)
        parent.mkdir()
        root = parent / "root"
        fill(root)
        connection, _ = opendalfs.OpendalFileSystem("fs", root=str(root)).locate("")
        result = outcome(partial(call, connection, verb, arguments, options[0] if options else {}))
        found.append((str(result).replace(str(parent), "parent"), contents(root)))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", [n for n, call in CALLS.items() if call[0] not in LOCAL and "link" not in n])
@pytest.mark.parametrize("service", ["memory", "s3"])
def test_both_transports_do_the_same_on_an_object_store(
    name: str, service: str, request: pytest.FixtureRequest
) -> None:
    if service == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        fs: Any = opendalfs.S3FileSystem(**server.options)
    else:
        fs = opendalfs.MemoryFileSystem()
    prefix: str = request.getfixturevalue("prefix")
    verb, arguments, *options = CALLS[name]
    keys = 2 if verb in TWO_KEYS else 1
    found = []
    for call in TRANSPORTS:
        fs.pipe({f"{prefix}/file": b"0123456789", f"{prefix}/directory/entry": b"entry"})
        connection, start = fs.locate(prefix)
        under = (*(f"{start}/{key}" for key in arguments[:keys]), *arguments[keys:])
        result = outcome(partial(call, connection, verb, under, options[0] if options else {}))
        found.append((result, fs.cat(fs.find(prefix, refresh=True))))
        fs.rm(prefix, recursive=True)
    assert found[0] == found[1]
