"""The tree on a local disk, and fsspec's own filesystem to compare."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

import opendalfs
from opendalfs import FsFileSystem
from tests.storage.links.trees import LINKS, OUTSIDE, TREE


@pytest.fixture
def fs() -> FsFileSystem:
    """Return a filesystem of local files."""
    return opendalfs.filesystem("fs", skip_instance_cache=True)


@pytest.fixture
def local() -> LocalFileSystem:
    """Return fsspec's own filesystem of local files."""
    return LocalFileSystem()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree with links within it, out of it, to nothing."""
    (tmp_path / "empty").mkdir()
    for folder, files in (("t", TREE), ("out", OUTSIDE)):
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for name, target in LINKS.items():
        (tmp_path / "t" / name).symlink_to(target)
    return tmp_path / "t"


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Make a link to a file in a directory of its own."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("d/target")
    return tmp_path / "link"
