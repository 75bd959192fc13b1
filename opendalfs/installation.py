"""Detection of another package named opendalfs in the same environment.

The name ``opendalfs`` on PyPI belongs to another package, which also has an ``opendalfs`` folder and
``opendal+s3`` entry points. pip replaces one by the other. An environment contains both after an install into
a folder (``--target``), with a system and a user environment, or with a checkout on ``PYTHONPATH``.
"""

from __future__ import annotations

import os
import warnings
from importlib.metadata import distributions
from typing import Final

__all__ = ["check"]

_OURS: Final = "opendalfs.fs.services:"
"""Part of this package's entry points, and of no other's."""


def check() -> None:
    """Raise or warn if another package named opendalfs is installed.

    Raises
    ------
    ImportError
        If it is installed into the same folder, so that files of both are mixed.

    Warns
    -----
    RuntimeWarning
        If it is installed elsewhere: URLs such as ``opendal+s3://`` may lead to it.
    """
    folder = os.path.dirname(os.path.dirname(__file__))
    for other in distributions(name="opendalfs"):
        if _OURS in (other.read_text("entry_points.txt") or ""):
            continue
        its_folder = str(other.locate_file(""))
        found = f"another package named opendalfs ({other.version}) is installed in {its_folder}"
        if os.path.realpath(its_folder) == os.path.realpath(folder):
            raise ImportError(
                f"{found}, mixed with this one: remove opendalfs* there, and install only one of them"
            )
        warnings.warn(
            f"{found}, and this one in {folder}: opendal+s3:// may lead to either, so uninstall one of them",
            RuntimeWarning,
            stacklevel=3,
        )
