"""Operations that write objects, over an older one or where there is none."""

from __future__ import annotations

import opendalfs
from opendalfs import S3FileSystem

from .operation import MANY, SMALL, Operation, Place, content
from .reads import run_async

__all__ = ["WRITES"]

MiB = 1 << 20
NEW = content(5_000, 11)
LONG = content(5 * MiB + 100_000, 12)
OLD = {"w.bin": SMALL}
FILES = {f"up/{number}.bin": content(3_000, 20 + number) for number in range(4)}
UPLOAD = {"create": 1, "part": MANY, "complete": 1}
PATIENT = {"timeout": 6.0, "io_timeout": 6.0}
"""Parts are large, for a loaded machine."""


def _open_in_pieces(place: Place, data: bytes) -> None:
    with place.fs.open(place.path("w.bin"), "wb") as file:
        for start in range(0, len(data), MiB):
            file.write(data[start : start + MiB])


def _put_file(place: Place, data: bytes) -> None:
    (place.local / "w.bin").write_bytes(data)
    place.fs.put_file(str(place.local / "w.bin"), place.path("w.bin"))


def _put_directory(place: Place) -> None:
    for name, data in FILES.items():
        (place.local / name).parent.mkdir(exist_ok=True)
        (place.local / name).write_bytes(data)
    place.fs.put(f"{place.local}/up/", place.path("up/"), recursive=True)


async def _write_async(fs: S3FileSystem, path: str) -> None:
    async with await fs.open_async(path, "wb") as file:
        for start in range(0, len(LONG), MiB):
            await file.write(LONG[start : start + MiB])


def _arrow_output(place: Place) -> None:
    with opendalfs.arrow(place.fs).open_output_stream(place.path("w.bin")) as file:
        for start in range(0, len(LONG), MiB):
            file.write(LONG[start : start + MiB])


WRITES = [
    Operation(
        "pipe, small",
        {"put": 1},
        lambda place: place.fs.pipe_file(place.path("w.bin"), NEW),
        before=OLD,
        after={"w.bin": NEW},
    ),
    Operation(
        "pipe, small, new",
        {"put": 1},
        lambda place: place.fs.pipe_file(place.path("w.bin"), NEW),
        after={"w.bin": NEW},
    ),
    Operation(
        "pipe, several files",
        {"put": MANY},
        lambda place: place.fs.pipe({place.path(name): data for name, data in FILES.items()}),
        before={"up/0.bin": SMALL},
        after=FILES,
    ),
    Operation(
        "pipe, multipart",
        UPLOAD,
        lambda place: place.fs.pipe_file(place.path("w.bin"), LONG),
        before=OLD,
        after={"w.bin": LONG},
        options=PATIENT,
        calls=3,
    ),
    Operation(
        'open("wb"), small',
        {"put": 1},
        lambda place: _open_in_pieces(place, NEW),
        before=OLD,
        after={"w.bin": NEW},
        calls=2,
    ),
    Operation(
        'open("wb"), multipart',
        UPLOAD,
        lambda place: _open_in_pieces(place, LONG),
        before=OLD,
        after={"w.bin": LONG},
        options=PATIENT,
        calls=4,
    ),
    Operation(
        "open_async, multipart",
        UPLOAD,
        lambda place: run_async(place, lambda fs: _write_async(fs, place.path("w.bin"))),
        before=OLD,
        after={"w.bin": LONG},
        options=PATIENT,
        calls=4,
    ),
    Operation(
        "put, small",
        {"put": 1},
        lambda place: _put_file(place, NEW),
        before=OLD,
        after={"w.bin": NEW},
    ),
    Operation(
        "put, multipart",
        UPLOAD,
        lambda place: _put_file(place, LONG),
        before=OLD,
        after={"w.bin": LONG},
        options=PATIENT,
        calls=4,
    ),
    Operation(
        "pipe, small, verified",
        {"put": 1, "head": 1},
        lambda place: place.fs.pipe_file(place.path("w.bin"), NEW),
        before=OLD,
        after={"w.bin": NEW},
        options={"verify_writes": True},
        calls=2,
    ),
    Operation(
        'open("wb"), multipart, verified',
        {**UPLOAD, "head": 1},
        lambda place: _open_in_pieces(place, LONG),
        before=OLD,
        after={"w.bin": LONG},
        options={**PATIENT, "verify_writes": True},
        calls=5,
    ),
    Operation("put, a directory", {"list": 1, "put": MANY}, _put_directory, after=FILES, calls=2),
    Operation(
        "arrow(), an output",
        UPLOAD,
        _arrow_output,
        before=OLD,
        after={"w.bin": LONG},
        options=PATIENT,
        calls=4,
    ),
]
