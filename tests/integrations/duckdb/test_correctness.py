"""Every result equals DuckDB's own on the local file, however its threads interleave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from fsspec.implementations.local import LocalFileSystem

import opendalfs
from opendalfs.testing import S3Server
from tests.integrations.duckdb import harness
from tests.integrations.duckdb.lake import Lake, make_lake

ROOT = Path(__file__).resolve().parents[3]
OLDER = ROOT / ".cache" / f"duckdb-1-py{sys.version_info.major}.{sys.version_info.minor}"
"""Where DuckDB 1.5 is put, which the environment cannot hold beside 2.0."""

REPEATS = 3


@pytest.fixture(scope="module")
def lake(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    yield from make_lake(s3_server, tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def older_duckdb() -> Path:
    """Return a folder with DuckDB 1.5, downloaded from PyPI once."""
    if OLDER.exists():
        return OLDER
    OLDER.parent.mkdir(exist_ok=True)
    fresh = tempfile.mkdtemp(prefix="duckdb-", dir=OLDER.parent)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh]
    try:
        done = subprocess.run([*pip, "duckdb>=1.5,<2"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"DuckDB 1.5 cannot be installed here: {done.stderr[-500:]}")
        with suppress(OSError):
            Path(fresh).rename(OLDER)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return OLDER


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(name, marks=[pytest.mark.services] if harness.SETTINGS[name] else [])
        for name in harness.SETTINGS
    ],
)
def test_results_are_those_of_local_files(lake: Lake, setting: str) -> None:
    con = harness.connect(lake.options, setting)
    if con is None:
        pytest.skip(f"DuckDB {duckdb.__version__} knows no {setting}")
    lake.wait_until_cacheable()
    cold = setting != "cache"
    found: list[str] = []
    reads: dict[str, int] = {}
    with harness.busy_thread():
        for shape, expected in lake.expected.items():
            for scheme in ("opendal+s3", "s3"):
                root = lake.url("", scheme).rstrip("/")
                with opendalfs.trace() as t:
                    found += harness.wrong(con, shape, root, expected, REPEATS, cold=cold)
                reads[f"{shape} at {scheme}"] = t.count("read")
    con.close()
    assert found == []
    if cold:
        assert min(reads.values()) >= REPEATS, "each time was read, none answered from DuckDB's cache"


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("setting", harness.SETTINGS)
def test_results_are_those_of_local_files_for_long(lake: Lake, setting: str) -> None:
    con = harness.connect(lake.options, setting)
    assert con is not None
    with harness.busy_thread():
        for shape, expected in lake.expected.items():
            for scheme in ("opendal+s3", "s3"):
                root = lake.url("", scheme).rstrip("/")
                assert harness.wrong(con, shape, root, expected, 100, cold=setting != "cache") == []
    con.close()


class Plain(LocalFileSystem):
    """Local files the usual way: one handle with one position."""

    protocol = "plain"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("plain://"))

    def unstrip_protocol(self, name: str) -> str:
        return f"plain://{name}"

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(os.stat(self._strip_protocol(path)).st_mtime, UTC)


def test_the_harness_catches_an_ordinary_handle(lake: Lake) -> None:
    con = duckdb.connect()
    con.register_filesystem(Plain(skip_instance_cache=True))
    root = f"plain://{lake.local}"
    with harness.busy_thread():
        # Which thread comes first is up to chance, so that a few runs may be right.
        attempts = (harness.wrong(con, "full", root, lake.expected["full"], REPEATS) for _ in range(40))
        found = next(filter(None, attempts), [])
    con.close()
    assert found, "ordinary handles have become right: see whether DuckDB reads in another way now"


@pytest.mark.services
def test_an_older_duckdb_is_refused(older_duckdb: Path) -> None:
    folders = os.pathsep.join(map(str, [older_duckdb, ROOT, ROOT / "integrations"]))
    done = subprocess.run(
        [sys.executable, "-c", "import opendalfs_duckdb"],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "ImportError: duckdb 1.5." in done.stderr
    assert "opendalfs needs at least 2.0" in done.stderr
