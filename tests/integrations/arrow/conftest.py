"""Filesystems and files for the Arrow tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.fs as pafs
import pytest
from pyarrow.fs import FileType

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.testing import DelayProxy, S3Server
from tests.integrations.arrow.parquet import Wide, shrink
from tests.integrations.arrow.places import (
    PLACES,
    Place,
    s3_place,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = PLACES[request.param](request.getfixturevalue, tmp_path)
    made.fs.create_dir(made.root)
    yield made
    if made.fs.get_file_info(made.root).type == FileType.Directory:
        made.fs.delete_dir(made.root)


@pytest.fixture(params=["memory", "fs"])
def core(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpendalFileSystem]:
    if request.param == "fs":
        yield OpendalFileSystem("fs", root=str(tmp_path))
        return
    yield OpendalFileSystem("memory", root=f"/{uuid4().hex}")


@pytest.fixture
def arrow(core: OpendalFileSystem) -> pafs.PyFileSystem:
    return opendalfs.arrow(core)


@pytest.fixture
def s3(s3_server: S3Server) -> Place:
    return s3_place(s3_server)


@pytest.fixture(scope="module")
def far(s3_server: S3Server) -> Iterator[dict[str, Any]]:
    """Yield options of the S3 server behind a delay that shows round trips on a busy machine too."""
    with DelayProxy(s3_server.endpoint, latency=0.03) as proxy:
        yield proxy.through(s3_server.options)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all sizes so small that files of a few kilobytes are tails, parts, holes and windows."""
    shrink(monkeypatch, tail=512, part=700, gap=64)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all sizes small but the tail's: Arrow's first read is of the last 64 KiB, whatever is there."""
    shrink(monkeypatch, tail=70_000, part=7_000, gap=64)


@pytest.fixture(scope="module")
def wide(s3: Place) -> Wide:
    return Wide(s3)
