"""Objects of 2 GB take bounded memory, the interpreter and the engine included."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from opendalfs.testing import S3Server

ROOT = Path(__file__).resolve().parents[2]
SIZE = 2_000_000_000
MOST_MB = 400
MOST_MB_OF_SCANS = 600
"""A scan holds up to 256 MiB that it has read ahead, and glibc keeps freed blocks of several threads."""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc"),
]


class Runs:
    """Runs operations on one object, each in a process of its own.

    Parameters
    ----------
    options : dict
        Options of the filesystem.
    remote : str
        Path of the object.
    local : Path
        A local file.
    size : int
        Bytes of the object.
    """

    def __init__(
        self, options: dict[str, Any], remote: str, local: Path, size: int, figures: list[str]
    ) -> None:
        self._order = {"options": options, "remote": remote, "local": str(local), "size": size}
        self._size = size
        self._figures = figures

    def run(self, operation: str) -> int:
        """Return the result of an operation, once its memory was checked."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.soak.large", json.dumps({**self._order, "operation": operation})],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout.splitlines()[-1])
        rate = self._size / 1e6 / (time.monotonic() - began)
        self._figures.append(
            f"{operation}: {self._size / 1e9:.1f} GB, {told['megabytes']:.0f} MB, {rate:.0f} MB/s"
        )
        most = MOST_MB_OF_SCANS if "scan" in operation else MOST_MB
        assert told["megabytes"] < most, operation
        return int(told["result"])


@pytest.fixture
def runs(s3_server: S3Server, prefix: str, tmp_path: Path, figures: list[str]) -> Runs:
    return Runs(s3_server.options, f"{prefix}/{uuid4().hex}.parquet", tmp_path / "file", SIZE, figures)


def test_files_are_uploaded_and_downloaded_in_bounded_memory(runs: Runs, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(SIZE)
    assert runs.run("put") == SIZE
    assert runs.run("get") == SIZE
    assert runs.run("read_file") == SIZE
    assert runs.run("gateway_get") == SIZE


def test_objects_are_written_piece_by_piece_in_bounded_memory(runs: Runs) -> None:
    assert runs.run("write_file") == SIZE
    assert runs.run("gateway_put") == SIZE


def test_parquet_is_written_and_scanned_in_bounded_memory(runs: Runs) -> None:
    rows = runs.run("write_stream")
    assert rows * 16 >= SIZE
    assert runs.run("scan") == rows
    assert runs.run("polars_scan") == rows
