"""The services that the tests of this folder serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from opendalfs import OpendalFileSystem
from tests.conformance.targets import TARGETS

__all__ = ["NAMES", "open_place"]

NAMES = {
    "memory": "memory",
    "fs": "fs",
    "s3": "s3",
    "webdav": "webdav-wsgidav",
    "sqlite": "sqlite",
}
"""Names in the ids of tests, and the targets of the conformance tests: one for each way to write."""


def open_place(name: str, lookup: Callable[[str], Any], folder: Path) -> tuple[OpendalFileSystem, str]:
    """Return a filesystem of a service, and a path in it that nothing else uses."""
    return TARGETS[NAMES[name]].connect(lookup, folder)
