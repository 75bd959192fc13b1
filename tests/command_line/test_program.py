"""What all commands have in common: exit codes, errors of one line, secrets, pipes, completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from opendalfs.__main__ import main

from .conftest import Run

COMMAND = [sys.executable, "-m", "opendalfs"]


def test_errors_are_one_line_with_an_exit_code(run: Run, tmp_path: Path) -> None:
    missing = run("cat", str(tmp_path / "missing"))
    assert missing.exit_code == 3
    assert missing.stderr == f"opendalfs cat: {tmp_path}/missing: No such file or directory\n"
    failed = run("cat", str(tmp_path))
    assert failed.exit_code == 1
    assert failed.stderr.count("\n") == 1
    assert "Traceback" in run("cat", "--debug", str(tmp_path)).stderr
    assert "Traceback" in run("--debug", "cat", str(tmp_path)).stderr
    assert "Traceback" not in run("cat", str(tmp_path)).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", ".", "-o", "region"],
        ["ls", "memory://", "-o", "source=s3"],
        ["serve", "memory://x", "-o", "bucket=y"],
        ["nothing"],
        ["find", ".", "--size", "many"],
        ["find", ".", "--newer", "then"],
        ["find", ".", "--newer", "999999"],
        ["head", "-n", "1", "-c", "1", "x"],
    ],
)
def test_wrong_arguments_have_the_exit_code_2(arguments: list[str], run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("opendalfs")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "s3://b/k", "-o", "secret=T0PSECRET"],
        ["ls", "s3://b/k", "secret=T0PSECRET"],
        ["ls", "s3://b/k", "-o", "T0PSECRET"],
        ["ls", "s3://b/k", "-o", "key=k", "-o", "secret=T0PSECRET", "-o", "endpoint=http://127.0.0.1:9"],
        ["ls", "webdav://me:T0PSECRET@127.0.0.1:9/x"],
        ["ls", "--debug", "webdav://me:T0PSECRET@127.0.0.1:9/x"],
        ["ls", "s3://KEY:T0PSECRET@bucket/k"],
        ["doctor", "s3://KEY:T0PSECRET@bucket/k"],
        ["ls", "--debug", "s3://b/k", "-o", "key=k", "-o", "secret=T0PSECRET", "-o", "regoin=T0PSECRET"],
    ],
)
def test_no_error_contains_a_secret(arguments: list[str], run: Run) -> None:
    result = (
        run(*arguments, "-o", "retry_timeout=0") if arguments[-1].endswith(("/x", ":9")) else run(*arguments)
    )
    assert result.exit_code in (1, 2)
    assert result.output
    assert "T0PSECRET" not in result.output


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"line\n" * 1_000_000)
    process = subprocess.Popen(
        [*COMMAND, "cat", str(tmp_path / "big")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_errors_show_no_control_characters_of_names(run: Run, tmp_path: Path) -> None:
    name = "a\x1b]0;title\x07\n\x9b2J\u202egpj.exe"
    for arguments in (["cat"], ["cat", "--debug"], ["rm", "--yes"], ["cp", "/missing"], ["head", "--no"]):
        stderr = run(*arguments, str(tmp_path / name)).stderr
        assert "".join(stderr.split("\n")).isprintable()
    assert run("cat", str(tmp_path / name)).stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
@pytest.mark.parametrize("arguments", [["cat", "big"], ["ls"], ["cat", "big", "missing"]])
def test_a_full_disk_is_one_line_and_an_exit_code(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"line\n" * 10)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments[:1], *(arguments[1:] or ["."])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    assert done.returncode in (1, 3)
    assert done.stderr.count("\n") == 1, done.stderr


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    command = f"{shlex.join([*COMMAND, 'cp', 'a', 'b'])} >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=tmp_path, timeout=60, check=False).returncode == 0
    assert (tmp_path / "b").read_bytes() == b"content"


def test_names_are_printed_where_the_encoding_lacks_their_characters(tmp_path: Path) -> None:
    (tmp_path / "caf\xe9").touch()
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*COMMAND, "ls", str(tmp_path)], env=env, stdout=subprocess.PIPE, timeout=60, check=True
    )
    assert done.stdout == b"caf\\xe9\n"


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "_OPENDALFS_COMPLETE": "bash_complete",
        "COMP_WORDS": "opendalfs l",
        "COMP_CWORD": "1",
    }
    program = [sys.executable, "-c", "import opendalfs_cli; opendalfs_cli.main()"]
    done = subprocess.run(program, env=env, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert "plain,ls" in done.stdout


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    for name in [name for name in sys.modules if name.startswith("opendalfs_cli")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["ls", "."]) == 1
    assert capsys.readouterr().err == (
        "opendalfs: the command line needs click and rich: pip install 'click>=8.1' 'rich>=13'\n"
    )
