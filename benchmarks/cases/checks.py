"""Digests of results that are bytes or names, small enough to compare."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["called", "checksum", "key_of", "local_check", "names", "scratch"]


def checksum(found: Any) -> object:
    """Return the size and the CRC of bytes, whole or as a list of pieces."""
    pieces = found if isinstance(found, list) else [found]
    total, size = 0, 0
    for piece in pieces:
        total = zlib.crc32(piece, total)
        size += len(memoryview(piece))
    return size, total


def names(found: Iterable[str]) -> object:
    """Return the length of a listing and a digest of the last two parts of each name."""
    known = sorted("/".join(name.rsplit("/", 2)[-2:]) for name in found)
    return len(known), hashlib.md5("\n".join(known).encode()).hexdigest()


def called(look: Callable[[], object]) -> object:
    """Call the check that a piece of work returned."""
    return look()


def key_of(path: str) -> str:
    """Return a path without its bucket."""
    return path.partition("/")[2]


def scratch() -> Path:
    """Create a local folder, which `local_check` removes."""
    return Path(tempfile.mkdtemp(prefix="opendalfs-benchmark-"))


def local_check(folder: Path) -> Callable[[], object]:
    """Return a function that digests the files of a local folder and removes it."""

    def look() -> object:
        found = sorted(f for f in folder.rglob("*") if f.is_file())
        total = 0
        for file in found:
            total = zlib.crc32(file.read_bytes(), total)
        shutil.rmtree(folder)
        return len(found), total

    return look
