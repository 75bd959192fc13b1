"""Detection of another package of this name in the same environment.

The name ``opendalfs`` on PyPI belongs to another package, with an ``opendalfs`` folder and
``opendal+s3`` entry points of its own. pip replaces one by the other. Both are there after an install into
a folder (``--target``), from a system and a user environment, or with a checkout on ``PYTHONPATH``.
"""

from __future__ import annotations

import os
import warnings
from importlib.metadata import distributions
from typing import Final

__all__ = ["check"]

_OURS: Final = "opendalfs.fs.services:"
"""Part of our entry points, and of those of no other package."""


def check() -> None:
    """Detect another package of this name.

    Raises
    ------
    ImportError
        When the other package is installed into the same folder, so that files of both are mixed.

    Warns
    -----
    RuntimeWarning
        When it is installed elsewhere: URLs such as ``opendal+s3://`` may lead to it.
    """
    folder = os.path.dirname(os.path.dirname(__file__))
    for other in distributions(name="opendalfs"):
        if _OURS in (other.read_text("entry_points.txt") or ""):
            continue
        place = str(other.locate_file(""))
        named = f"another package named opendalfs ({other.version}) is installed in {place}"
        if os.path.realpath(place) == os.path.realpath(folder):
            raise ImportError(
                f"{named}, over or under this one. Remove opendalfs* there, and install one of them."
            )
        warnings.warn(
            f"{named}, beside this one in {folder}: opendal+s3:// may lead to it. Uninstall one of them.",
            RuntimeWarning,
            stacklevel=3,
        )
