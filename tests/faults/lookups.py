"""Operations that list, and that look at single paths."""

from __future__ import annotations

from typing import Any

import opendalfs

from .operation import MANY, PAGES, SMALL, Operation, Place
from .reads import run_async

__all__ = ["LOOKUPS"]

TREE = {f"t/{name}": SMALL for name in ("a.bin", "b.bin", "sub/c.bin", "sub/deep/e.bin")}
FILE = {"a.bin": SMALL}


def _info(place: Place) -> Any:
    info = place.fs.info(place.path("a.bin"))
    return info["type"], info["size"]


def _ls(place: Place) -> Any:
    return _names(place, place.fs.ls(place.path("t"), detail=False))


def _names(place: Place, paths: list[str]) -> list[str]:
    return sorted(path.removeprefix(f"{place.root}/") for path in paths)


def _arrow_selector(place: Place) -> Any:
    from pyarrow.fs import FileSelector

    infos = opendalfs.arrow(place.fs).get_file_info(FileSelector(place.path("t"), recursive=True))
    return _names(place, [info.path for info in infos if info.is_file])


def _arrow_info(place: Place) -> Any:
    info = opendalfs.arrow(place.fs).get_file_info(place.path("a.bin"))
    return info.type.name, info.size


LOOKUPS = [
    Operation("info, a file", {"head": 1}, _info, lambda _: ("file", len(SMALL)), FILE, calls=2),
    Operation(
        "info, a directory",
        {"head": 1, "list": 1},
        lambda place: place.fs.info(place.path("t"))["type"],
        lambda _: "directory",
        TREE,
        calls=2,
    ),
    Operation(
        "exists",
        {"head": 1},
        lambda place: place.fs.exists(place.path("a.bin")),
        lambda _: True,
        FILE,
        misled=(False,),
        calls=2,
    ),
    Operation(
        "isdir",
        {"list": 1},
        lambda place: place.fs.isdir(place.path("t")),
        lambda _: True,
        TREE,
        misled=(False,),
        calls=2,
    ),
    Operation("ls", {"list": 1}, _ls, lambda _: ["t/a.bin", "t/b.bin", "t/sub"], TREE, misled=([],), calls=2),
    Operation(
        "ls, two pages",
        {"list": MANY},
        lambda place: len(place.fs.ls(place.root, detail=False)),
        lambda _: PAGES,
        misled=(0, 1_000),
        shared=True,
        calls=3,
    ),
    Operation(
        "find",
        {"list": 1},
        lambda place: _names(place, place.fs.find(place.path("t"))),
        sorted,
        TREE,
        misled=([],),
        calls=2,
    ),
    Operation(
        "find, two pages",
        {"list": MANY},
        lambda place: len(place.fs.find(place.root)),
        lambda _: PAGES,
        misled=(0, 1_000),
        shared=True,
        calls=3,
    ),
    Operation(
        "find, async",
        {"list": 1},
        lambda place: _names(place, list(run_async(place, lambda fs: fs._find(place.path("t"))))),
        sorted,
        TREE,
        misled=([],),
        calls=2,
    ),
    Operation(
        "walk",
        {"list": 1},
        lambda place: [len(files) for _, _, files in place.fs.walk(place.path("t"))],
        lambda _: [2, 1, 1],
        TREE,
        misled=([], [0], [2], [2, 0], [2, 1], [2, 1, 0]),
        calls=4,
    ),
    Operation(
        "glob",
        {"list": 1},
        lambda place: _names(place, place.fs.glob(place.path("t/*.bin"))),
        lambda _: ["t/a.bin", "t/b.bin"],
        TREE,
        misled=([],),
        calls=2,
    ),
    Operation(
        "glob, recursive",
        {"list": 1},
        lambda place: _names(place, place.fs.glob(place.path("t/**/*.bin"))),
        sorted,
        TREE,
        misled=([],),
        calls=2,
    ),
    Operation(
        "du",
        {"list": 1},
        lambda p: p.fs.du(p.path("t")),
        lambda _: 4 * len(SMALL),
        TREE,
        misled=(0,),
        calls=2,
    ),
    Operation("arrow(), a selector", {"list": 1}, _arrow_selector, sorted, TREE, misled=([],), calls=2),
    Operation(
        "arrow(), info",
        {"head": 1},
        _arrow_info,
        lambda _: ("File", len(SMALL)),
        FILE,
        misled=(("NotFound", None),),
        calls=2,
    ),
]
