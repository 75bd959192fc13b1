"""The commands that list and print: `ls`, `du`, `tree`, `find`, `cat`, `head`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import opendalfs
from opendalfs.testing import S3Server

from .conftest import Run

LINES = b"".join(b"%d\n" % i for i in range(100_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake" / "2026").mkdir(parents=True)
    (tmp_path / "lake" / "a.csv").write_bytes(b"12345")
    (tmp_path / "lake" / "2026" / "b.csv").write_bytes(b"1234567")
    (tmp_path / "lake" / "2026" / "c[1].txt").write_bytes(b"literal")
    (tmp_path / "lake" / "2026" / "c1.txt").write_bytes(b"pattern")
    return tmp_path / "lake"


def test_ls_lists_names_with_a_slash_after_directories(run: Run, folder: Path) -> None:
    assert run("ls", str(folder)).stdout == "2026/\na.csv\n"
    assert run("ls", "-R", str(folder)).stdout.split() == [
        "2026/",
        "2026/b.csv",
        "2026/c1.txt",
        "2026/c[1].txt",
        "a.csv",
    ]
    assert run("ls", "-l", str(folder / "a.csv")).stdout.split()[::2] == ["5", "a.csv"]


def test_ls_prints_json(run: Run, folder: Path) -> None:
    found = json.loads(run("ls", "--json", str(folder)).stdout)
    assert [(one["url"], one["type"], one["size"]) for one in found] == [
        (f"{folder}/2026", "directory", None),
        (f"{folder}/a.csv", "file", 5),
    ]
    assert found[1]["modified"].endswith("Z")


def test_du_counts_bytes_and_files(run: Run, folder: Path) -> None:
    assert run("du", str(folder)).stdout.split() == ["26", "4", "files", str(folder)]
    rows = json.loads(run("du", "--json", "-d", "1", str(folder)).stdout)
    assert [(row["bytes"], row["files"]) for row in rows] == [(21, 3), (26, 4)]


def test_tree_draws_what_is_below(run: Run, folder: Path) -> None:
    assert run("tree", str(folder)).stdout == (
        f"{folder}\n"
        "├── 2026/\n│   ├── b.csv  7\n│   ├── c1.txt  7\n│   └── c[1].txt  7\n"
        "└── a.csv  5\n4 files, 26 bytes\n"
    )
    assert "b.csv" not in run("tree", "-L", "1", str(folder)).stdout


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ([], ["2026", "2026/b.csv", "2026/c1.txt", "2026/c[1].txt", "a.csv"]),
        (["--name", "*.csv"], ["2026/b.csv", "a.csv"]),
        (["--size", "+6", "--name", "*.csv"], ["2026/b.csv"]),
        (["--size", "-6"], ["a.csv"]),
        (["--size", "5"], ["a.csv"]),
        (["--type", "d"], ["2026"]),
        (["--maxdepth", "1", "--type", "f"], ["a.csv"]),
        (["--newer", "2999-01-01"], []),
        (["--newer", "1h", "--maxdepth", "1"], ["a.csv"]),
    ],
)
def test_find_lists_what_meets_all_conditions(
    conditions: list[str], names: list[str], run: Run, folder: Path
) -> None:
    result = run("find", str(folder), *conditions)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{folder}/{name}" for name in names]


def test_cat_prints_bytes_unchanged(run: Run, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(b"\r\n\xff")
    assert run("cat", str(tmp_path / "a"), str(tmp_path / "b")).stdout_bytes == data + b"\r\n\xff"


def test_a_file_whose_name_looks_like_a_pattern_is_meant_itself(run: Run, folder: Path) -> None:
    assert run("cat", f"{folder}/2026/c[1].txt").stdout == "literal"
    assert run("cat", f"{folder}/2026/c[1-9].txt").stdout == "pattern"


def test_head_prints_the_first_lines_or_bytes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(LINES)
    file = str(tmp_path / "a")
    assert run("head", file).stdout_bytes == LINES[:20]
    assert run("head", "-n", "50000", file).stdout.count("\n") == 50_000
    assert run("head", "-n", "0", file).stdout == ""
    assert run("head", "-c", "1234567", file).stdout_bytes == LINES[:1_234_567]
    assert run("head", "-c", "7", file).stdout_bytes == LINES[:7]


def test_urls_of_s3_are_read_with_options_of_any_library(
    run: Run, s3_server: S3Server, s3_options: list[str], prefix: str
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe({f"{prefix}/a.csv": b"12345", f"{prefix}/x/b.csv": LINES})
    assert run("ls", f"s3://{prefix}", *s3_options).stdout == "a.csv\nx/\n"
    assert run("find", f"s3://{prefix}", "--name", "*.csv", *s3_options).stdout.splitlines() == [
        f"opendal+s3://{prefix}/a.csv",
        f"opendal+s3://{prefix}/x/b.csv",
    ]
    with opendalfs.trace() as trace:
        assert run("head", "-n", "3", f"opendal+s3://{prefix}/x/b.csv", *s3_options).stdout == "0\n1\n2\n"
    assert trace.bytes <= 128 * 1024
    assert run("cat", f"s3://{prefix}/*.csv", *s3_options).stdout == "12345"


def test_the_environment_names_server_and_keys(
    run: Run, s3_server: S3Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/a.csv", b"12345")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    assert run("cat", f"s3://{prefix}/a.csv").stdout == "12345"
