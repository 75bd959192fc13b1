"""On a terminal: the question of `rm`, progress bars, Ctrl-C."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import opendalfs
from opendalfs.testing import DelayProxy, S3Server
from tests.waiting import eventually

from .conftest import terminal

# Each starts a process, and some wait.
pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1), ("\x04", 1), ("\x03", 130)]
)
def test_rm_removes_only_after_a_yes(answer: str, code: int, tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[31m.csv"
    file.write_bytes(b"12345")
    with terminal("rm", str(file)) as command:
        command.wait_for("Remove? [y/N]")
        command.type(answer)
        assert command.wait() == code
    assert "a?[31m.csv (5 B)" in command.output
    assert file.exists() == (code != 0)


def test_rm_asks_once_for_all_that_is_below(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"d{i}").mkdir()
        (tmp_path / f"d{i}" / "a").write_bytes(b"1" * 1000)
    with terminal("rm", "-r", *(str(path) for path in tmp_path.iterdir())) as command:
        command.wait_for("and 2 more")
        command.wait_for("Remove? [y/N]")
        command.type("y\n")
        assert command.wait() == 0
    assert "and all that is below it (1 file, 1 kB)" in command.output
    assert list(tmp_path.iterdir()) == []


def test_a_copy_shows_bytes_and_rate(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(20_000_000))
    with DelayProxy(s3_server.endpoint, bandwidth=10_000_000) as proxy:
        options = ["-o", f"endpoint={proxy.endpoint}", "-o", "key=minioadmin", "-o", "secret=minioadmin"]
        with terminal("cp", str(tmp_path / "big"), f"s3://{prefix}/big", *options) as command:
            assert command.wait() == 0, command.output
    assert "copying" in command.output
    assert "20.0/20.0 MB" in command.output
    # How many depends on the machine.
    assert "B/s" in command.output
    assert opendalfs.filesystem("s3", **s3_server.options).info(f"{prefix}/big")["size"] == 20_000_000


@pytest.mark.parametrize("previous", [None, b"previous"])
def test_ctrl_c_ends_a_download_without_an_incomplete_file(
    previous: bytes | None, s3_server: S3Server, prefix: str, tmp_path: Path
) -> None:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/big", os.urandom(40_000_000))
    target = tmp_path / "big"
    if previous is not None:
        target.write_bytes(previous)
    with DelayProxy(s3_server.endpoint, bandwidth=500_000) as proxy:
        options = ["-o", f"endpoint={proxy.endpoint}", "-o", "key=minioadmin", "-o", "secret=minioadmin"]
        with terminal("cp", f"s3://{prefix}/big", str(target), *options) as command:
            command.wait_for("copying")
            # The staged file.
            assert eventually(lambda: any(path != target for path in tmp_path.iterdir()), 60)
            command.type("\x03")
            assert command.wait() == 130, command.output
    assert "Traceback" not in command.output
    assert [path.name for path in tmp_path.iterdir()] == ([] if previous is None else ["big"])
    if previous is not None:
        assert target.read_bytes() == previous


def test_ctrl_c_ends_an_upload_without_an_object(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(40_000_000))
    with DelayProxy(s3_server.endpoint, bandwidth=500_000) as proxy:
        options = ["-o", f"endpoint={proxy.endpoint}", "-o", "key=minioadmin", "-o", "secret=minioadmin"]
        with terminal("mv", str(tmp_path / "big"), f"s3://{prefix}/big", *options) as command:
            command.wait_for("moving")
            assert eventually(lambda: proxy.counters().requests >= 2, 60)
            command.type("\x03")
            assert command.wait() == 130, command.output
    assert not opendalfs.filesystem("s3", **s3_server.options).exists(f"{prefix}/big")
    assert (tmp_path / "big").stat().st_size == 40_000_000
