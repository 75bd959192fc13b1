"""`rm`: never without consent."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

import opendalfs

from .conftest import Run


@pytest.fixture
def folder() -> str:
    name = uuid4().hex
    files = {f"{name}/a.csv": b"1", f"{name}/b/c.csv": b"2", f"{name}/x[1]": b"3", f"{name}/x1": b"4"}
    opendalfs.filesystem("memory").pipe(files)
    return name


def names(folder: str) -> list[str]:
    found = opendalfs.filesystem("memory").find(folder)
    return [name.removeprefix(f"{folder}/") for name in found]


@pytest.mark.parametrize("arguments", [["a.csv"], ["-r", "b"], ["*"], ["-r", "*"]])
@pytest.mark.parametrize("answer", [None, "y\n"])
def test_nothing_is_removed_without_a_terminal(
    arguments: list[str], answer: str | None, run: Run, folder: str
) -> None:
    """Not even if the input says yes: it may be meant for another program."""
    *flags, path = arguments
    result = run("rm", *flags, f"memory://{folder}/{path}", stdin=answer)
    assert result.exit_code == 2
    assert "pass --yes" in result.stderr
    assert len(names(folder)) == 4


def test_yes_removes_without_a_question(run: Run, folder: str) -> None:
    assert run("rm", "-y", f"memory://{folder}/a.csv", f"memory://{folder}/x[1]").output == ""
    assert names(folder) == ["b/c.csv", "x1"]
    assert run("rm", "--yes", "-r", f"memory://{folder}/b", f"memory://{folder}/x*").output == ""
    assert names(folder) == []


def test_a_directory_is_removed_only_with_r(run: Run, folder: str) -> None:
    result = run("rm", "-y", f"memory://{folder}/a.csv", f"memory://{folder}/b")
    assert result.exit_code == 1
    assert "pass -r" in result.stderr
    assert len(names(folder)) == 4


def test_a_missing_path_removes_nothing(run: Run, folder: str) -> None:
    assert run("rm", "-y", f"memory://{folder}/a.csv", f"memory://{folder}/missing").exit_code == 3
    assert len(names(folder)) == 4


@pytest.mark.parametrize(
    "url", ["memory://", "memory:///", "/", "s3://bucket", "s3://bucket/*", "memory://{}/.."]
)
def test_a_whole_bucket_or_disk_is_never_removed(url: str, run: Run, folder: str) -> None:
    result = run("rm", "-r", "--yes", url.format(folder), *(["-o", "anon=true"] if "s3" in url else []))
    assert result.exit_code == 1
    assert "efus" in result.stderr or "cannot be reached" in result.stderr
    assert len(names(folder)) == 4


def test_of_a_link_only_the_link_is_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert run("rm", "-r", "-y", str(tmp_path / "link")).exit_code == 0
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "kept").read_bytes() == b"kept"


@pytest.mark.parametrize("argument", ["", ".", "..", "./", "b/.."])
@pytest.mark.parametrize("command", ["rm", "mv"])
def test_no_directory_is_removed_that_has_no_name(
    command: str, argument: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset variable of the shell is an empty argument, which would name the current directory."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "kept").write_bytes(b"kept")
    monkeypatch.chdir(tmp_path / "a")
    rest = ["-r", "--yes", argument] if command == "rm" else [argument, f"memory://{uuid4().hex}"]
    result = run(command, *rest)
    assert result.exit_code in (1, 2)
    assert "argument is empty" in result.stderr or "name of the directory" in result.stderr
    assert (tmp_path / "a" / "kept").read_bytes() == b"kept"


def test_the_parent_of_a_link_is_that_of_what_it_leads_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "below")
    meant, other = tmp_path / "real" / "data", tmp_path / "data"
    meant.write_bytes(b"meant")
    other.write_bytes(b"other")
    path = f"{tmp_path}/link/../data"
    assert run("cat", path).stdout_bytes == b"meant"
    assert run("rm", "--yes", path).exit_code == 0
    assert other.exists()
    assert not meant.exists()


def test_paths_that_overlap_are_removed_once(run: Run, folder: str) -> None:
    url = f"memory://{folder}"
    assert run("rm", "-r", "-y", f"{url}/b", f"{url}/b/c.csv", f"{url}/a.csv", f"{url}/a.csv").output == ""
    assert names(folder) == ["x1", "x[1]"]
