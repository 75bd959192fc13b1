"""Operations that read contents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import opendalfs
from opendalfs import S3FileSystem

from .operation import LARGE, MANY, SMALL, Objects, Operation, Place, content

__all__ = ["READS"]

KiB = 1 << 10
FILES = {f"d/{number}.bin": content(4 * KiB, number) for number in range(4)}
ONE = {"a.bin": LARGE}
PARTS = {"head": 1, "get": 6}
"""A whole object whose stream is slow is read in parts."""
STARTS = [0, 200_000, 900_000, 1_400_000, 2_000_000, 3_000_000]


def _ranges(objects: Objects) -> list[bytes]:
    return [objects["a.bin"][start : start + 10_000] for start in STARTS]


def _all(objects: Objects) -> bytes:
    return objects["a.bin"]


def _cat_ranges(place: Place) -> Any:
    paths, ends = [place.path("a.bin")] * len(STARTS), [start + 10_000 for start in STARTS]
    return place.fs.cat_ranges(paths, STARTS, ends, on_error="raise")


def _read_in_pieces(place: Place) -> bytes:
    pieces = []
    with place.fs.open(place.path("a.bin")) as file:
        while piece := file.read(100_000):
            pieces.append(piece)
    return b"".join(pieces)


def _read_with_seeks(place: Place) -> list[bytes]:
    with place.fs.open(place.path("a.bin")) as file:
        return [_read_at(file, start) for start in reversed(STARTS)]


def _read_at(file: Any, start: int) -> bytes:
    file.seek(start)
    data: bytes = file.read(10_000)
    return data


def _get_file(place: Place) -> bytes:
    place.fs.get_file(place.path("a.bin"), str(place.local / "a.bin"))
    return (place.local / "a.bin").read_bytes()


def _get_directory(place: Place) -> dict[str, bytes]:
    place.fs.get(place.path("d") + "/", f"{place.local}/d/", recursive=True)
    return {f"d/{path.name}": path.read_bytes() for path in (place.local / "d").iterdir()}


def _cat_files(place: Place) -> dict[str, bytes]:
    found = place.fs.cat([place.path(name) for name in FILES])
    return {path.removeprefix(f"{place.root}/"): data for path, data in found.items()}


def run_async(place: Place, function: Callable[[S3FileSystem], Awaitable[Any]]) -> Any:
    """Run a coroutine with an asynchronous filesystem, on an event loop of its own."""

    async def main() -> Any:
        return await function(S3FileSystem(asynchronous=True, skip_instance_cache=True, **place.options))

    return asyncio.run(main())


async def _read_async_file(fs: S3FileSystem, path: str) -> bytes:
    pieces = []
    async with await fs.open_async(path, "rb") as file:
        while piece := await file.read(100_000):
            pieces.append(piece)
    return b"".join(pieces)


async def _cat_ranges_async(fs: S3FileSystem, path: str) -> Any:
    ends = [start + 10_000 for start in STARTS]
    return await fs._cat_ranges([path] * len(STARTS), STARTS, ends, on_error="raise")


def _arrow_stream(place: Place) -> bytes:
    with opendalfs.arrow(place.fs).open_input_stream(place.path("a.bin")) as file:
        data: bytes = file.read()
        return data


def _arrow_read_at(place: Place) -> list[bytes]:
    with opendalfs.arrow(place.fs).open_input_file(place.path("a.bin")) as file:
        return [file.read_at(10_000, start) for start in STARTS]


READS = [
    Operation(
        "cat_file, small",
        {"get": 1},
        lambda place: place.fs.cat_file(place.path("s.bin")),
        lambda objects: objects["s.bin"],
        {"s.bin": SMALL},
    ),
    Operation(
        "cat_file, large",
        {"get": 1},
        lambda place: place.fs.cat_file(place.path("a.bin")),
        _all,
        ONE,
        # The first request, and then the parts of an object that is larger than it.
        fails=2,
        besides=PARTS,
    ),
    Operation(
        "cat_file, a range",
        {"get": 1},
        lambda place: place.fs.cat_file(place.path("a.bin"), 1_000, 200_000),
        lambda objects: objects["a.bin"][1_000:200_000],
        ONE,
    ),
    Operation("cat_ranges", {"get": MANY, "head": 1}, _cat_ranges, _ranges, ONE),
    Operation("cat, several files", {"get": MANY}, _cat_files, dict, FILES),
    Operation("open, sequential", {"get": MANY, "head": 1}, _read_in_pieces, _all, ONE, calls=8),
    Operation(
        "open, seeks",
        {"get": MANY, "head": 1},
        _read_with_seeks,
        lambda objects: _ranges(objects)[::-1],
        ONE,
        calls=7,
    ),
    Operation("get, a file", {"get": MANY, "head": 1}, _get_file, _all, ONE, calls=2),
    Operation(
        "get, a directory",
        {"get": MANY, "list": 1},
        _get_directory,
        dict,
        FILES,
        calls=2,
    ),
    Operation(
        "cat_file, async",
        {"get": 1},
        lambda place: run_async(place, lambda fs: fs._cat_file(place.path("a.bin"))),
        _all,
        ONE,
        # The first request, and then the parts of an object that is larger than it.
        fails=2,
        besides=PARTS,
    ),
    Operation(
        "cat_ranges, async",
        {"get": MANY, "head": 1},
        lambda place: run_async(place, lambda fs: _cat_ranges_async(fs, place.path("a.bin"))),
        _ranges,
        ONE,
    ),
    Operation(
        "open_async, sequential",
        {"get": MANY, "head": 1},
        lambda place: run_async(place, lambda fs: _read_async_file(fs, place.path("a.bin"))),
        _all,
        ONE,
        calls=8,
    ),
    Operation("arrow(), a stream", {"get": 1, "head": 1}, _arrow_stream, _all, ONE, calls=8),
    Operation("arrow(), read_at", {"get": MANY, "head": 1}, _arrow_read_at, _ranges, ONE, calls=7),
]
