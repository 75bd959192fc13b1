"""Operations that copy, move and remove."""

from __future__ import annotations

from collections.abc import Mapping

from .operation import MANY, SMALL, Operation, Place, content

__all__ = ["CHANGES"]

TREE = {f"t/{name}": content(2_000, number) for number, name in enumerate(("a", "b", "sub/c", "sub/d"), 30)}
OTHER = content(1_000, 29)


def _moved(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"u{name.removeprefix('t')}": data for name, data in objects.items()}


def _remove(place: Place, paths: str | list[str], **options: bool) -> None:
    place.fs.rm(paths, **options)


CHANGES = [
    Operation(
        "cp, a file",
        {"head": 1, "copy": 1},
        lambda place: place.fs.cp_file(place.path("a"), place.path("b")),
        before={"a": SMALL, "b": OTHER},
        after={"a": SMALL, "b": SMALL},
        calls=2,
    ),
    Operation(
        "cp, a directory",
        {"list": 1, "head": MANY, "copy": MANY},
        lambda place: place.fs.cp(f"{place.path('t')}/", f"{place.path('u')}/", recursive=True),
        before=TREE,
        after={**TREE, **_moved(TREE)},
        calls=3,
    ),
    Operation(
        "mv, a file",
        {"list": 1, "head": 1, "copy": 1, "delete": 1},
        lambda place: place.fs.mv(place.path("a"), place.path("b")),
        before={"a": SMALL, "b": OTHER},
        after={"b": SMALL},
        moves=True,
        calls=4,
    ),
    Operation(
        "mv, a directory",
        {"list": 1, "head": MANY, "copy": MANY, "delete": MANY},
        lambda place: place.fs.mv(f"{place.path('t')}/", f"{place.path('u')}/", recursive=True),
        before=TREE,
        after=_moved(TREE),
        moves=True,
        calls=5,
    ),
    Operation(
        "rm, a file",
        {"head": 1, "delete": 1},
        lambda place: place.fs.rm_file(place.path("a")),
        before={"a": SMALL, "b": OTHER},
        after={"b": OTHER},
        calls=2,
    ),
    Operation(
        "rm, several files",
        {"head": MANY, "delete": MANY},
        lambda place: _remove(place, [place.path("t/a"), place.path("t/b")]),
        before=TREE,
        after={name: data for name, data in TREE.items() if name.startswith("t/sub")},
        partial=True,
        calls=3,
    ),
    Operation(
        "rm, a directory",
        {"head": 1, "list": 1, "delete-many": 1},
        lambda place: _remove(place, place.path("t"), recursive=True),
        before={**TREE, "kept": OTHER},
        after={"kept": OTHER},
        calls=3,
        # The rest of a bulk removal that fails is removed once more.
        fails=2,
    ),
]
