"""Globs match as DuckDB's own do."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

import opendalfs
from tests.waiting import eventually

PATTERNS = [
    "*", "*.csv", "?.csv", "[ab].csv", "[!a].csv", "[a-c].csv", "tmp_*", "d/*", "d*/*.csv", "*/*", "**",
    "**/*.csv", "d/**", "d/**/*.csv", "*/e/*.csv", "d/e/[c].csv", "**/e/*", ".h*", "none*",
    "d/?/c.csv", "a.csv", "d", "missing.csv",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    names = [
        "a.csv",
        "b.csv",
        "c.txt",
        ".h.csv",
        "tmp_x.csv",
        "d/a.csv",
        "d/e/c.csv",
        "d/e/f/c.csv",
        "dd/z.csv",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n1\n")
    return root


@pytest.mark.parametrize("pattern", PATTERNS)
def test_globs_match_as_duckdbs_own(tree: Path, pattern: str) -> None:
    fs = opendalfs.duckdb("fs")
    con = duckdb.connect()
    rows = con.execute("SELECT file FROM glob(?)", [f"{tree}/{pattern}"]).fetchall()
    assert fs.glob(f"opendal+fs://{tree}/{pattern}") == sorted(f"opendal+fs://{file}" for (file,) in rows)


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_globs_leave_out_staged_files(tmp_path: Path, pattern: str) -> None:
    core, fs = opendalfs.filesystem("fs"), opendalfs.duckdb("fs")
    (tmp_path / ".x.csv.0123456789abcdef0123.part").touch()
    with core.open(f"{tmp_path}/b.csv", "wb") as file:
        file.write(bytes(9 << 20))
        assert len(os.listdir(tmp_path)) == 2
        found = fs.glob(f"opendal+fs://{tmp_path}/{pattern}")
    assert [name for name in found if not name.endswith("/")] == [
        f"opendal+fs://{tmp_path}/.x.csv.0123456789abcdef0123.part"
    ]


def test_names_with_wildcards_are_found() -> None:
    core = opendalfs.filesystem("memory")
    core.pipe({"duckdb-odd/a[1].csv": b"x\n1\n", "duckdb-odd/b?.csv": b"x\n2\n"})
    fs = opendalfs.duckdb("memory")
    for url in ("opendal+memory://duckdb-odd/a[1].csv", "opendal+memory://duckdb-odd/b?.csv"):
        assert fs.glob(url) == [url]
    assert fs.glob("opendal+memory://duckdb-odd/c[1].csv") == []


def test_a_glob_sees_what_others_wrote_and_the_rest_is_two_seconds_behind() -> None:
    core = opendalfs.filesystem("memory")
    path = f"duckdb-behind/{uuid4().hex}"
    url = f"opendal+memory://{path}"
    fs = opendalfs.duckdb("memory")
    core.pipe_file(path, b"1")
    assert (fs.glob(url), fs.size(url)) == ([url], 1)
    core.pipe_file(path, b"333")
    assert fs.size(url) == 1
    assert (fs.glob(url), fs.size(url)) == ([url], 3)
    core.rm_file(path)
    assert fs.isfile(url)
    assert fs.glob(url) == []
    assert eventually(lambda: not fs.isfile(url))
