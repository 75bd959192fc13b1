"""`Writer` and `AsyncWriter` do the same: every way to write, from threads and from coroutines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.storage.connection import Connection
from opendalfs.testing import S3Server
from opendalfs.write.async_writer import AsyncWriter
from opendalfs.write.options import write_options
from opendalfs.write.writer import Writer

MiB = 1 << 20


@dataclass(frozen=True)
class Write:
    """One way to write: the pieces that are written to a key, and how the write ends."""

    key: str = "new"
    pieces: tuple[bytes, ...] = (b"some ", b"bytes")
    exclusive: bool = False
    end: str = "commit"
    created_meanwhile: bool = False
    options: dict[str, Any] = field(default_factory=dict)


WRITES = {
    "a new object": Write(),
    "an empty object": Write(pieces=()),
    "an object that exists": Write(key="file"),
    "a link": Write(key="link"),
    "a broken link": Write(key="broken"),
    "in a missing directory": Write(key="a/b/new"),
    "below a file": Write(key="file/new"),
    "over a directory": Write(key="directory"),
    "parts in one piece": Write(pieces=(b"x" * (20 * MiB),)),
    "parts in small pieces": Write(pieces=(b"y" * (3 * MiB),) * 7),
    "a whole number of parts": Write(pieces=(b"z" * (8 * MiB),) * 2),
    "parts of a given size": Write(pieces=(b"x" * (11 * MiB),), options={"chunksize": 5 * MiB}),
    "one part at a time": Write(pieces=(b"x" * (20 * MiB),), options={"max_concurrency": 1}),
    "a new object exclusively": Write(exclusive=True),
    "a new object in parts exclusively": Write(exclusive=True, pieces=(b"x" * (20 * MiB),)),
    "an object that exists exclusively": Write(key="file", exclusive=True),
    "a link exclusively": Write(key="link", exclusive=True),
    "one that another writer created first": Write(exclusive=True, created_meanwhile=True),
    "parts that another writer created first": Write(
        exclusive=True, created_meanwhile=True, pieces=(b"x" * (20 * MiB),)
    ),
    "an abort": Write(key="file", end="abort"),
    "an abort of parts": Write(key="file", end="abort", pieces=(b"x" * (20 * MiB),)),
    "a second commit": Write(end="commit commit"),
    "a commit after an abort": Write(end="abort commit"),
    "an abort after a commit": Write(end="commit abort"),
    "a write after a commit": Write(end="commit write"),
    "a write after an abort": Write(end="abort write"),
}


def run_writer(connection: Connection, key: str, write: Write) -> list[object]:
    writer = Writer(connection, key, exclusive=write.exclusive, **write.options)
    seen: list[object] = []
    for piece in write.pieces:
        writer.write(piece)
        seen += [writer.size, writer.buffered]
    if write.created_meanwhile:
        connection.write_blocking(key, b"other")
    for verb in write.end.split():
        result = writer.write(b"more") if verb == "write" else getattr(writer, verb)()
        seen += [verb, result, writer.state]
    return seen


def run_async_writer(connection: Connection, key: str, write: Write) -> list[object]:
    async def run() -> list[object]:
        options = write_options(connection, write.options)
        writer = AsyncWriter(connection, key, **options, if_not_exists=write.exclusive)
        await writer.__aenter__()
        seen: list[object] = []
        for piece in write.pieces:
            await writer.write(piece)
            seen += [writer.size, writer.buffered]
        if write.created_meanwhile:
            await connection.write(key, b"other")
        for verb in write.end.split():
            result: object = None
            if verb == "abort":
                result = writer.abort()
            else:
                await (writer.write(b"more") if verb == "write" else writer.commit())
            seen += [verb, result, writer.state]
        return seen

    return asyncio.run(run())


Runner = Callable[[Connection, str, Write], list[object]]


def outcome(runner: Runner, fs: OpendalFileSystem, folder: str, write: Write) -> object:
    """Run one write, and return what its caller saw and which requests it made."""
    connection, key = fs.locate(f"{folder}/{write.key}" if folder else write.key)
    with opendalfs.trace() as trace:
        try:
            seen: object = runner(connection, key, write)
        except (OSError, ValueError) as exc:
            seen = type(exc), getattr(exc, "errno", None), getattr(exc, "filename", None), str(exc)
    requests = [record.operation for record in trace.records]
    if write.exclusive and requests[:1] == ["stat"]:
        # `Writer` asks early, when its caller has no bytes yet; `AsyncWriter` does so only on disks.
        del requests[0]
    return seen, requests


def fill(root: Path) -> None:
    (root / "directory").mkdir(parents=True)
    (root / "directory" / "entry").write_bytes(b"entry")
    (root / "file").write_bytes(b"old")
    (root / "link").symlink_to("file")
    (root / "broken").symlink_to("missing")


def contents(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.skipif(os.name != "posix", reason="makes symbolic links")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_both_writers_do_the_same_on_a_disk(write: Write, tmp_path: Path) -> None:
    found = []
    for runner in (run_writer, run_async_writer):
        root = tmp_path / runner.__name__
        fill(root)
        fs = opendalfs.OpendalFileSystem("fs", root=str(root))
        found.append((outcome(runner, fs, "", write), contents(root)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "write", [write for name, write in WRITES.items() if name != "an object that exists exclusively"]
)
@pytest.mark.parametrize("service", ["memory", "s3"])
def test_both_writers_do_the_same_on_object_stores(
    service: str, write: Write, request: pytest.FixtureRequest
) -> None:
    prefix: str = request.getfixturevalue("prefix")
    options = request.getfixturevalue("s3_server").options if service == "s3" else {}
    fs: Any = opendalfs.filesystem(service, **options)
    found = []
    for runner in (run_writer, run_async_writer):
        fs.pipe({f"{prefix}/file": b"old", f"{prefix}/directory/entry": b"entry"})
        found.append((outcome(runner, fs, prefix, write), fs.cat(fs.find(prefix, refresh=True))))
        fs.rm(prefix, recursive=True)
    assert found[0] == found[1]


def test_a_writer_refuses_at_once_and_an_async_writer_at_the_commit(s3_server: S3Server, prefix: str) -> None:
    fs: Any = opendalfs.S3FileSystem(**s3_server.options)
    fs.pipe_file(f"{prefix}/file", b"old")
    connection, key = fs.locate(f"{prefix}/file")
    with pytest.raises(FileExistsError):
        Writer(connection, key, exclusive=True)

    async def create() -> None:
        writer = AsyncWriter(connection, key, if_not_exists=True)
        await writer.write(b"new")
        with pytest.raises(FileExistsError):
            await writer.commit()

    asyncio.run(create())
    assert fs.cat_file(f"{prefix}/file") == b"old"
