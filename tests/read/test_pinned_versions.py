"""A cached listing never truncates a read of a newer object."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opendalfs import OpendalFileSystem
from opendalfs.services import Locality


@pytest.fixture
def disk(tmp_path: Path) -> OpendalFileSystem:
    """Return a filesystem over an empty local directory."""
    return OpendalFileSystem("fs", root=str(tmp_path))


def unpinned(fs: OpendalFileSystem) -> OpendalFileSystem:
    """Return a local filesystem that is treated as a remote service without etags or versions."""
    connection, _ = fs.locate("a")
    connection.service = replace(connection.service, locality=Locality.REMOTE)
    return fs


READS: dict[str, Callable[[OpendalFileSystem], bytes]] = {
    "cat": lambda fs: fs.cat_file("a"),
    "cat_range": lambda fs: fs.cat_file("a", start=1),
    "cat_ranges": lambda fs: fs.cat_ranges(["a"], 0, None)[0],
    "reader": lambda fs: fs.reader("a").read(0, 99),
    "open": lambda fs: fs.open("a").read(),
    "head": lambda fs: fs.head("a", 99),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_listing_does_not_cut_a_newer_file_where_a_read_cannot_be_pinned(
    tmp_path: Path, read: Callable[[OpendalFileSystem], bytes]
) -> None:
    fs = unpinned(OpendalFileSystem("fs", root=str(tmp_path), use_listings_cache=True))
    (tmp_path / "a").write_bytes(b"old")
    fs.ls("")
    (tmp_path / "a").write_bytes(b"a newer file")
    assert read(fs) in (b"a newer file", b" newer file")


async def test_a_listing_does_not_cut_a_newer_file_for_coroutines_either(tmp_path: Path) -> None:
    fs: Any = unpinned(OpendalFileSystem("fs", root=str(tmp_path / "d"), use_listings_cache=True))
    await fs._pipe_file("a", b"old")
    await fs._ls("")
    await asyncio.to_thread((tmp_path / "d" / "a").write_bytes, b"a newer file")
    target = io.BytesIO()
    await fs._get_file("a", target)
    assert target.getvalue() == b"a newer file"
    async with await fs.open_async("a") as file:
        assert await file.read() == b"a newer file"
