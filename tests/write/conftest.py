"""A place on the memory service, and one on each kind of service."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.write.places import Place


@pytest.fixture
def memory() -> Place:
    return Place(opendalfs.filesystem("memory"), f"publication-{uuid4().hex}")


@pytest.fixture(params=["memory", "fs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return Place(opendalfs.filesystem("memory"), f"publication-{uuid4().hex}")
    if request.param == "fs":
        return Place(opendalfs.filesystem("fs"), str(tmp_path))
    server: S3Server = request.getfixturevalue("s3_server")
    return Place(opendalfs.filesystem("s3", **server.options), request.getfixturevalue("prefix"))


def dropped_files_may_warn() -> None:
    """Collect files that nobody closed, each of which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
