"""A tree with links into itself, out of itself and to nothing."""

from __future__ import annotations

import os
from pathlib import Path

TREE = {"a": b"1", "d/b": b"22", "d/e/c": b"333"}
OUTSIDE = {"f": b"4444", "s/g": b"55555"}
LINKS = {
    "lf": "a",
    "lout": "../out/f",
    "d/ld": "e",
    "ldout": "../out",
    "d/lempty": "../../empty",
    "gone": "no",
}
WHOLE = {
    *("a", "d", "d/b", "d/e", "d/e/c", "d/ld", "d/ld/c", "d/lempty"),
    *("ldout", "ldout/f", "ldout/s", "ldout/s/g", "lf", "lout"),
}
"""The tree with all that its links lead to."""


def below(folder: Path) -> set[str]:
    """Name all that is below a directory, through its links."""
    return {
        os.path.relpath(os.path.join(top, name), folder)
        for top, folders, files in os.walk(folder, followlinks=True)
        for name in (*folders, *files)
    }
