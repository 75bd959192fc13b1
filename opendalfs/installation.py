"""Checks of the environment: old versions of other packages, and another package named opendalfs.

The name ``opendalfs`` on PyPI belongs to another package, which also has an ``opendalfs`` folder and
``opendal+s3`` entry points. pip replaces one by the other. An environment contains both after an install into
a folder (``--target``), with a system and a user environment, or with a checkout on ``PYTHONPATH``.
"""

from __future__ import annotations

import os
import re
import warnings
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import Final

__all__ = ["FLOORS", "check", "require"]

FLOORS: Final = {
    "aiohttp": "3.14",
    "duckdb": "2.0",
    "fsspec": "2025.2",
    "polars": "2.0",
    "pyarrow": "18",
    "pyiceberg": "0.10",
    "universal-pathlib": "0.3.10",
}
"""The lowest version of each package that opendalfs and its adapters import; pyproject.toml has the same."""

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


def require(package: str) -> None:
    """Raise if an older version of a package is installed than opendalfs works with.

    Parameters
    ----------
    package : str
        A key of `FLOORS`. Nothing is raised if it is not installed: its import raises.

    Raises
    ------
    ImportError
        The message names the package, its version and the lowest version that works.
    """
    try:
        installed = version(package)
    except PackageNotFoundError:
        return
    floor = FLOORS[package]
    if _release(installed) < _release(floor):
        raise ImportError(
            f"{package} {installed} is installed, but opendalfs needs at least {floor}: "
            f"pip install '{package}>={floor}'"
        )


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version without a suffix such as rc1."""
    return tuple(int(number) for number in re.split(r"[^\d.]", text)[0].split(".") if number)
